//! The policies of a listener or a route, asked about one request: who may, and how much. Which route it is,
//! and what is answered, is not known here.

use std::sync::Arc;

use meltemi_frame::{Fault, Message};
use meltemi_router_core::{Access, Authorizer, Policies};

use crate::call::Call;
use crate::config::view::ServedView;
use crate::dispatch::parked::Word;
use crate::downstream::Downstream;
use crate::ratelimit::Question;
use crate::tasks::downstream::DownstreamTask;
use crate::telemetry::stats::listener;

/// Why a request goes no further.
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    pub(crate) text: String,
}

impl DownstreamTask {
    /// Asks the policies of a listener or a route. Services are asked, too; their `words` are waited for
    /// later.
    pub(super) fn ask(
        &self,
        served: &ServedView,
        policies: &Policies,
        message: &Message<'_>,
        call: &mut Call,
        words: &mut Option<Vec<Word>>,
    ) -> Result<(), Refusal> {
        let source = self.down.peer.ip();
        if let Some(authorizer) = policies.authorization() {
            authorize(&self.down, authorizer, message, call)?;
        }
        for limiter in policies.local() {
            if !limiter.take(message, source, self.worker.now_us()) {
                if let Some(track) = call.track_mut() {
                    track.note(|entry| limiter.name().to_string().clone_into(&mut entry.limit));
                }
                return Err(Refusal {
                    fault: Fault::RateLimited,
                    text: format!("over the limit {}", limiter.name()),
                });
            }
        }
        for limiter in policies.global() {
            let Some(descriptors) = limiter.descriptors(message, source) else {
                continue;
            };
            let service = served.clusters.get(limiter.cluster);
            let service = service.map_or_else(String::new, |one| one.config.borrow().name.clone());
            words.get_or_insert_default().push(Word {
                limit: Arc::clone(&limiter.name),
                answer: self.worker.rate_limits.ask(Question {
                    limit: Arc::clone(&limiter.name),
                    cluster: service.into(),
                    domain: limiter.domain.to_string(),
                    descriptors,
                    hits: 1,
                    timeout: limiter.timeout,
                }),
                deny_on_failure: limiter.deny_on_failure,
            });
        }
        Ok(())
    }
}

/// Asks whether a request of a client may go on.
pub(crate) fn authorize(
    down: &Downstream,
    authorizer: &Authorizer,
    message: &Message<'_>,
    call: &mut Call,
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
    if let Some(track) = call.track_mut() {
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
