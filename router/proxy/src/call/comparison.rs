//! Whether the copy of a request was answered like the original.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{Limits, Message, Output, Protocol, Session, Side};
use meltemi_router_core::stable_hash;

use crate::telemetry::stats::{MetricSet, cluster};

/// The comparisons of one request.
pub(crate) struct Compared(pub(crate) Vec<Rc<Comparison>>);

/// The answer to a request beside the answer to its copy.
pub(crate) struct Comparison {
    protocol: Arc<dyn Protocol>,
    /// Of the cluster of the copy.
    group: Arc<MetricSet>,
    /// The digest of the answer that came first.
    first: Cell<Option<u64>>,
    /// One of them will not come, or the comparison is done.
    over: Cell<bool>,
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
    /// `group`: the counters of the cluster of the copy.
    pub(crate) fn new(protocol: &Arc<dyn Protocol>, group: &Arc<MetricSet>) -> Rc<Self> {
        Rc::new(Self {
            protocol: Arc::clone(protocol),
            group: Arc::clone(group),
            first: Cell::new(None),
            over: Cell::new(false),
        })
    }

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
