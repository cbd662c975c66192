//! Compares the response to a mirrored copy with the response to the original request.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{Limits, Message, Output, Protocol, Session, Side};
use meltemi_router_core::stable_hash;

use crate::telemetry::stats::{MetricSet, cluster};

/// The comparisons of one request, one per mirrored copy.
pub(crate) struct Compared(pub(crate) Vec<Rc<Comparison>>);

/// Compares the response to a request with the response to its copy.
pub(crate) struct Comparison {
    protocol: Arc<dyn Protocol>,
    /// The counters of the copy's cluster.
    group: Arc<MetricSet>,
    /// The digest of the response that arrived first.
    first: Cell<Option<u64>>,
    /// The comparison is done, or one of the responses will not arrive.
    over: Cell<bool>,
}

impl Compared {
    /// Records the response that the client gets.
    pub(crate) fn answered(&self, message: &Message<'_>) {
        for comparison in &self.0 {
            comparison.answered(message);
        }
    }

    /// Records that the client gets no response from its upstream.
    pub(crate) fn lost(&self) {
        for comparison in &self.0 {
            comparison.lost();
        }
    }
}

impl Comparison {
    /// `group`: the counters of the copy's cluster.
    pub(crate) fn new(protocol: &Arc<dyn Protocol>, group: &Arc<MetricSet>) -> Rc<Self> {
        Rc::new(Self {
            protocol: Arc::clone(protocol),
            group: Arc::clone(group),
            first: Cell::new(None),
            over: Cell::new(false),
        })
    }

    /// Records one of the two responses.
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

    /// Records that one of the responses will not arrive or cannot be compared.
    pub(crate) fn lost(&self) {
        if !self.over.replace(true) {
            self.group.add(cluster::MIRROR_LOST, 1);
        }
    }
}

/// Returns a digest of a response that does not depend on the correlation id. `None` if the
/// response is not complete.
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
