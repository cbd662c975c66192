//! Which endpoints a request concerns: any one, the one that gave what the request carries, or all of them.

use std::num::NonZeroU16;

/// The number of an endpoint. It depends on the endpoint's address, so that another proxy in front of the same
/// endpoints gives the same numbers.
pub type Mark = NonZeroU16;

/// Which endpoints a request concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// Any endpoint of its cluster can serve it.
    #[default]
    Any,
    /// Any endpoint can serve it. The answer holds something that only this endpoint understands (a cursor).
    /// Where a cluster has several endpoints, the router sets the mark of the endpoint on the response
    /// ([`Message::set_mark`](crate::Message::set_mark)), and the codec writes it into the answer.
    Begins,
    /// The request carries such a thing, with this mark in it. The router sends the request to the endpoint of
    /// that mark and sets the mark on it; then the codec removes the mark when it encodes the request.
    /// Where the router sets no mark, the request is sent as it came. `None`: there is no mark in it.
    Continues(Option<Mark>),
    /// Every endpoint that may serve the client. The router sends a copy to each and waits for all answers. The
    /// client gets the first failure, or else the first answer.
    Every {
        /// An endpoint that cannot be reached makes the request fail. Otherwise it is left out.
        must: bool,
    },
}

impl Reach {
    /// Returns `true` if any endpoint can serve the request, and others understand its answer.
    pub const fn is_any(self) -> bool {
        matches!(self, Self::Any)
    }
}
