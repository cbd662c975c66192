//! Beyond one-to-one: a request that is split over several endpoints, and replies that are merged.
//!
//! A designed extension: protocols may offer it (`Protocol::fanout`), and it is agnostic of the
//! protocol in the router.

use std::ops::Range;

use crate::{Message, Output};

/// One part of a split request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The shard that it goes to.
    pub shard: usize,
    /// Which of the request's elements (keys) it carries, by position.
    pub elements: Vec<usize>,
    /// Where its bytes lie in the `Output` given to [`Fanout::split`].
    pub bytes: Range<usize>,
}

/// How the replies to the parts become one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Each element's reply at the element's place (`MGET`).
    Gather,
    /// The sum of integers (`DEL`, `EXISTS`).
    Sum,
    /// The first, if all are well (`MSET`).
    AllOk,
    /// The replies' elements one after the other (`KEYS`).
    Concatenate,
}

/// Splitting requests and merging replies.
pub trait Fanout: Send + Sync {
    /// Splits a request by the shard of each of its elements, if it can be split: writes the parts'
    /// bytes to `out`, and tells them and how to merge the replies. `None` if it goes whole.
    fn split(
        &self,
        request: &Message<'_>,
        shard: &mut dyn FnMut(&[u8]) -> usize,
        out: &mut Output,
    ) -> Option<(Vec<Part>, Merge)>;

    /// Merges the replies, in the order of the parts, into the one that the client gets. A reply
    /// that is a failure makes the whole a failure.
    fn merge(&self, merge: Merge, parts: &[Part], replies: &[Message<'_>], out: &mut Output);
}
