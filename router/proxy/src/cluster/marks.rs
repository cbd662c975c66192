//! Numbers the endpoints. A number marks values that only one endpoint understands, such as
//! cursors. The module does not depend on such values.

use std::collections::BTreeSet;
use std::rc::Rc;

use meltemi_frame::Mark;
use meltemi_router_core::stable_hash;

use super::ClusterState;
use crate::cluster::endpoint::EndpointState;

impl ClusterState {
    /// Numbers the endpoints by their addresses. If two have the same number, the one with the
    /// larger address takes the next free number.
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
            // With more endpoints than numbers, some endpoints share a number.
            while taken.len() < usize::from(u16::MAX) && !taken.insert(mark) {
                mark = next(mark.get());
            }
            endpoint.mark.set(mark);
        }
    }

    /// Returns all endpoints.
    pub(crate) fn all(&self) -> Vec<Rc<EndpointState>> {
        self.endpoints.borrow().clone()
    }

    /// Returns the endpoint with this number.
    pub(crate) fn endpoint_of(&self, mark: Mark) -> Option<Rc<EndpointState>> {
        let endpoints = self.endpoints.borrow();
        let found = endpoints.iter().find(|one| one.mark.get() == mark);
        found.cloned()
    }

    /// Returns `true` if the cluster has, or once had, several endpoints. A cursor opened then may
    /// still be in use.
    pub(crate) const fn is_plural(&self) -> bool {
        self.plural.get()
    }
}

/// Returns the next number. Skips 0, which means no number.
fn next(number: u16) -> Mark {
    Mark::new(number.wrapping_add(1)).unwrap_or(Mark::MIN)
}
