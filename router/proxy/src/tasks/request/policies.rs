//! Applies the policies of a listener or a route to one request: authorization and rate limits.
//! Must not depend on how the route was found or how the request is answered.

use std::sync::Arc;

use meltemi_frame::{Fault, Message};
use meltemi_router_core::Policies;

use crate::call::Call;
use crate::call::delayed::PendingLimit;
use crate::config::view::ServedView;
use crate::dispatch::authorize::{Refusal, authorize};
use crate::ratelimit::Question;
use crate::tasks::downstream::DownstreamTask;

impl DownstreamTask {
    /// Applies the policies of a listener or a route. Rate limit services are also called here.
    /// Their replies (`words`) arrive later.
    pub(super) fn ask(
        &self,
        served: &ServedView,
        policies: &Policies,
        message: &Message<'_>,
        call: &mut Box<Call>,
        words: &mut Option<Vec<PendingLimit>>,
    ) -> Result<(), Refusal> {
        let source = self.down.peer.ip();
        if let Some(authorizer) = policies.authorization() {
            authorize(&self.down, authorizer, message, call)?;
        }
        for limiter in policies.local() {
            if !limiter.take(message, source, self.worker.now_us()) {
                if let Some(track) = call.telemetry_mut() {
                    track.note(|entry| entry.limit = limiter.name().to_string());
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
            words.get_or_insert_default().push(PendingLimit {
                limit: Arc::clone(&limiter.name),
                answer: self.worker.services.rate_limits.ask(Question {
                    limit: Arc::clone(&limiter.name),
                    cluster: service.into(),
                    domain: limiter.domain.to_string(),
                    descriptors,
                    timeout: limiter.timeout,
                }),
                deny_on_failure: limiter.deny_on_failure,
            });
        }
        Ok(())
    }
}
