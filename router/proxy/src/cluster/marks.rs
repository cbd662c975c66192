//! The numbers of endpoints, for what only one endpoint understands. What they are for is not known here.

use std::collections::BTreeSet;
use std::rc::Rc;

use meltemi_frame::Mark;
use meltemi_router_core::stable_hash;

use super::ClusterState;
use crate::cluster::endpoint::EndpointState;

impl ClusterState {
    /// Numbers the endpoints by their addresses. If two have the same number, the one with the larger address
    /// takes the next free number.
    pub(super) fn mark(&self, endpoints: &[Rc<EndpointState>]) {
        if endpoints.len() > 1 {
            self.plural.set(true);
        }
        let mut sorted: Vec<&Rc<EndpointState>> = endpoints.iter().collect();
        sorted.sort_by_key(|endpoint| endpoint.address);
        let mut taken = BTreeSet::new();
        for endpoint in sorted {
            let hash = stable_hash(endpoint.address.to_string().as_bytes());
            let [low, high, ..] = hash.to_le_bytes();
            let mut mark = next(u16::from_le_bytes([low, high]));
            // More endpoints than numbers: some share one.
            while taken.len() < usize::from(u16::MAX) && !taken.insert(mark) {
                mark = next(mark.get());
            }
            endpoint.mark.set(mark);
        }
    }

    /// All endpoints.
    pub(crate) fn all(&self) -> Vec<Rc<EndpointState>> {
        self.endpoints.borrow().clone()
    }

    /// The endpoint of this number.
    pub(crate) fn endpoint_of(&self, mark: Mark) -> Option<Rc<EndpointState>> {
        let endpoints = self.endpoints.borrow();
        let found = endpoints.iter().find(|one| one.mark.get() == mark);
        found.cloned()
    }

    /// Returns `true` if it has several endpoints, or had: what began then may go on now.
    pub(crate) const fn is_plural(&self) -> bool {
        self.plural.get()
    }
}

/// The number behind this one. 0 is none.
fn next(number: u16) -> Mark {
    Mark::new(number.wrapping_add(1)).unwrap_or(Mark::MIN)
}
