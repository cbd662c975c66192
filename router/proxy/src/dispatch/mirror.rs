//! Copies of requests for other clusters, and whether these answer the same. Nothing here waits, fails
//! or slows the request that is copied.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{Limits, Message, Output, Protocol, Session, Side};
use meltemi_router_core::{Mirrors, stable_hash};

use crate::call::{Call, Who};
use crate::dispatch::Errand;
use crate::telemetry::stats::{Group, cluster};

/// How long a copy may take where its original may take for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// The comparisons of one request.
pub(crate) struct Compared(Vec<Rc<Comparison>>);

/// The answer to a request beside the answer to its copy.
pub(crate) struct Comparison {
    protocol: Arc<dyn Protocol>,
    /// Of the cluster of the copy.
    group: Arc<Group>,
    /// The digest of the answer that came first.
    first: Cell<Option<u64>>,
    /// One of them will not come, or the comparison is done.
    over: Cell<bool>,
}

impl Errand<'_> {
    /// Sends copies of a request to the mirrors of its route that are drawn.
    #[inline]
    pub(crate) fn copy(&self, message: &Message<'_>, original: &mut Call) {
        let extras = self.route.rules.extras();
        if let Some(mirrors) = extras.and_then(|extras| extras.mirrors.as_ref()) {
            self.copy_to(mirrors, message, original);
        }
    }

    fn copy_to(&self, mirrors: &Mirrors, message: &Message<'_>, original: &mut Call) {
        // Pieces of what is not held whole are forwarded as they come, and cannot be in two places.
        if !message.head.end {
            return;
        }
        let mut compared = Vec::new();
        let mut random = || self.worker.random();
        for target in mirrors.draw(&message.head, &mut random) {
            let Some(cluster) = self.served.clusters.get(target.cluster) else {
                continue;
            };
            let comparison = target.compare.then(|| {
                Rc::new(Comparison {
                    protocol: Arc::clone(&self.served.protocol),
                    group: Arc::clone(&cluster.group),
                    first: Cell::new(None),
                    over: Cell::new(false),
                })
            });
            let who = Who::Mirror(comparison.clone());
            let mut call = self.worker.calls.call(who, message.head.id);
            call.cluster = target.cluster;
            if let Err(refusal) = self.guard(message, &mut call, None) {
                call.refuse(self.worker, refusal.fault, &refusal.text);
                continue;
            }
            cluster.group.add(cluster::MIRRORED, 1);
            if let Some(track) = original.track_mut() {
                let name = || cluster.config.borrow().name.clone();
                track.note(|entry| entry.mirrors.push(name()));
            }
            compared.extend(comparison);
            call.hash = target.hash(message, self.down.peer.ip());
            call.deadline_ms = self.worker.after(self.route.timeout.unwrap_or(PATIENCE));
            Errand { cluster, ..*self }.run(&mut message.clone(), call);
        }
        if let Some(caller) = original.caller_mut()
            && !compared.is_empty()
        {
            caller.compared = Some(Box::new(Compared(compared)));
        }
    }
}

impl Compared {
    /// The caller gets this answer.
    pub(crate) fn answered(&self, message: &Message<'_>) {
        for comparison in &self.0 {
            comparison.answered(message);
        }
    }

    /// The caller gets no answer of its upstream.
    pub(crate) fn lost(&self) {
        for comparison in &self.0 {
            comparison.lost();
        }
    }
}

impl Comparison {
    /// An answer is there.
    pub(crate) fn answered(&self, message: &Message<'_>) {
        if self.over.get() {
            return;
        }
        let Some(digest) = digest(&self.protocol, message) else {
            return self.lost();
        };
        match self.first.replace(Some(digest)) {
            None => {}
            Some(first) => {
                self.over.set(true);
                let same = first == digest;
                let what = if same {
                    cluster::MIRROR_SAME
                } else {
                    cluster::MIRROR_DIFFERENT
                };
                self.group.add(what, 1);
            }
        }
    }

    /// One of the answers will not come, or cannot be compared.
    pub(crate) fn lost(&self) {
        if !self.over.replace(true) {
            self.group.add(cluster::MIRROR_LOST, 1);
        }
    }
}

/// A digest of an answer that does not depend on its correlation id. `None`: it is not whole.
fn digest(protocol: &Arc<dyn Protocol>, message: &Message<'_>) -> Option<u64> {
    if !message.head.end {
        return None;
    }
    if protocol.spec().correlation.id_bits().is_none() {
        return Some(stable_hash(message.wire()));
    }
    let mut same_id = message.without_edits();
    same_id.set_id(0);
    let mut out = Output::new();
    let mut codec = protocol.codec(Side::Server, &Limits::default(), &Session::default());
    codec.encode(&same_id, &mut out).ok()?;
    Some(stable_hash(&out.drain()))
}
