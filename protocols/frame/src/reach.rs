//! The endpoints that must get a request: any one, the one that gave a value in the request, or all
//! of them.

use std::num::NonZeroU16;

/// The number of an endpoint. It depends only on the endpoint's address, so that another proxy in
/// front of the same endpoints computes the same numbers.
pub type Mark = NonZeroU16;

/// The endpoints that must get a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// Any endpoint of the cluster can serve the request.
    #[default]
    Any,
    /// Any endpoint can serve the request. The response holds a value that only this endpoint
    /// understands (a cursor). If a cluster has several endpoints, the router sets the mark of the
    /// endpoint on the response ([`Message::set_mark`](crate::Message::set_mark)), and the codec
    /// writes it into the response.
    Begins,
    /// The request carries such a value, with this mark in it. The router sends the request to the
    /// endpoint of the mark and sets the mark on it. The codec then removes the mark when it
    /// encodes the request. If the router sets no mark, the request is sent as it arrived. `None`
    /// if the value has no mark.
    Continues(Option<Mark>),
    /// Every endpoint that may serve the client. The router sends a copy to each and waits for all
    /// responses. The client gets the first failure, or else the first response.
    Every {
        /// `true` if the request fails when an endpoint cannot be reached. Else such an endpoint is
        /// left out.
        must: bool,
    },
}

impl Reach {
    /// Returns `true` if any endpoint can serve the request, and the response is valid for all
    /// endpoints.
    pub const fn is_any(self) -> bool {
        matches!(self, Self::Any)
    }
}
