//! Which protocol does a client speak? Decided from its first bytes, among several.

use std::sync::Arc;

use crate::Protocol;

/// What the first bytes of a client tell of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detect {
    /// It is not this one.
    No,
    /// At least this many bytes are needed to tell.
    Need(usize),
    /// It is this one.
    Yes,
}

/// What the first bytes of a client tell of several protocols.
#[derive(Clone, Debug)]
pub enum Identified {
    /// This one: the position in the candidates.
    One(usize),
    /// At least this many bytes are needed to tell.
    Need(usize),
    /// None of them.
    None,
}

/// Asks every candidate in order. The first that says yes wins, unless one before it needs more
/// bytes to tell: order is priority.
pub fn identify(candidates: &[Arc<dyn Protocol>], prefix: &[u8]) -> Identified {
    let mut need = None;
    for (at, protocol) in candidates.iter().enumerate() {
        match protocol.detect(prefix) {
            Detect::No => {}
            Detect::Yes if need.is_none() => return Identified::One(at),
            Detect::Yes => {}
            Detect::Need(bytes) => {
                let more = bytes.max(prefix.len() + 1);
                need = Some(need.map_or(more, |so_far: usize| so_far.min(more)));
            }
        }
    }
    need.map_or(Identified::None, Identified::Need)
}
