//! Applies the authorization policies of a listener, a route or a destination to a request.

use meltemi_frame::{Fault, Message};
use meltemi_router_core::{Access, Authorizer};

use crate::call::Call;
use crate::downstream::Downstream;
use crate::telemetry::stats::listener;

/// Why a request is denied.
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    pub(crate) text: String,
}

/// Decides whether a request may go on.
pub(crate) fn authorize(
    down: &Downstream,
    authorizer: &Authorizer,
    message: &Message<'_>,
    call: &mut Box<Call>,
) -> Result<(), Refusal> {
    let peer = down.identity();
    for policy in authorizer.audits(message, &peer) {
        down.count(listener::AUDITED, 1);
        tracing::info!(downstream = %down.peer, policy, "request matches an AUDIT policy");
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
        // The policy name is only for the operator. It is in the log, not in the reply.
        text: "access denied".to_owned(),
    })
}
