//! Copies of requests for other clusters (mirrors). A copy never delays or fails the original
//! request.

use std::time::Duration;

use meltemi_frame::Message;
use meltemi_router_core::Mirrors;

use crate::call::comparison::{Compared, Comparison};
use crate::call::{Call, Who};
use crate::dispatch::Dispatch;
use crate::telemetry::stats::cluster;

/// The timeout of a copy if nothing else limits it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

impl Dispatch<'_> {
    /// Sends copies of a request to the mirrors of its route, each with its configured probability.
    #[inline]
    pub(crate) fn copy(&self, message: &Message<'_>, original: &mut Box<Call>) {
        let extras = self.route.rules.extras();
        if let Some(mirrors) = extras.and_then(|extras| extras.mirrors.as_ref()) {
            self.copy_to(mirrors, message, original);
        }
    }

    /// Makes the call of a copy for a cluster. `None` if a policy denies the copy.
    pub(super) fn copy_for(
        &self,
        cluster: usize,
        who: Who,
        message: &Message<'_>,
    ) -> Option<Box<Call>> {
        let mut call = Box::new(Call::new(who, message.head.id));
        call.cluster = cluster;
        match self.guard(message, &mut call, None) {
            Ok(()) => Some(call),
            Err(refusal) => {
                call.refuse(self.worker, refusal.fault, &refusal.text);
                None
            }
        }
    }

    fn copy_to(&self, mirrors: &Mirrors, message: &Message<'_>, original: &mut Box<Call>) {
        // Requests that stream in pieces cannot be copied: the pieces are forwarded as they arrive.
        if !message.head.end {
            return;
        }
        let mut compared = Vec::new();
        let mut random = || self.worker.random();
        for target in mirrors.draw(&message.head, &mut random) {
            let Some(cluster) = self.served.clusters.get(target.cluster) else {
                continue;
            };
            let comparison = target
                .compare
                .then(|| Comparison::new(&self.served.protocol, &cluster.group));
            let who = Who::Mirror(comparison.clone());
            let Some(mut call) = self.copy_for(target.cluster, who, message) else {
                continue;
            };
            cluster.group.add(cluster::MIRRORED, 1);
            if let Some(track) = original.telemetry_mut() {
                let name = || cluster.config.borrow().name.clone();
                track.note(|entry| entry.mirrors.push(name()));
            }
            compared.extend(comparison);
            call.hash = target.hash(message, self.down.peer.ip());
            call.deadline_ms = self.worker.after(self.route.timeout.unwrap_or(PATIENCE));
            Dispatch { cluster, ..*self }.run(&mut message.clone(), call);
        }
        if let Some(caller) = original.caller_mut()
            && !compared.is_empty()
        {
            caller.compared = Some(Box::new(Compared(compared)));
        }
    }
}
