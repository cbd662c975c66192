//! Whether a request may go on, as the authorization policies of a listener, a route or a destination decide.

use meltemi_frame::{Fault, Message};
use meltemi_router_core::{Access, Authorizer};

use crate::call::Call;
use crate::downstream::Downstream;
use crate::telemetry::stats::listener;

/// Why a request goes no further.
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    pub(crate) text: String,
}

/// Asks whether a request of a client may go on.
pub(crate) fn authorize(
    down: &Downstream,
    authorizer: &Authorizer,
    message: &Message<'_>,
    call: &mut Box<Call>,
) -> Result<(), Refusal> {
    let peer = down.identity();
    for policy in authorizer.audits(message, &peer) {
        down.count(listener::AUDITED, 1);
        tracing::info!(downstream = %down.peer, policy, "audited");
    }
    let Access::Denied {
        policy,
        undetermined,
    } = authorizer.decide(message, &peer)
    else {
        return Ok(());
    };
    let name = policy.unwrap_or("no policy allows it");
    if undetermined.is_some() {
        down.count(listener::UNDETERMINED, 1);
    }
    if let Some(track) = call.telemetry_mut() {
        track.note(|entry| {
            name.clone_into(&mut entry.policy);
            entry.undetermined = undetermined.unwrap_or_default().to_owned();
        });
    }
    Err(Refusal {
        fault: Fault::Denied,
        // Which policy it was is for the operator: the log says it.
        text: "access denied".to_owned(),
    })
}
