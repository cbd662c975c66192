//! Protocol detection: decides from a client's first bytes which of several protocols it uses.

use std::sync::Arc;

use crate::Protocol;

/// The result of testing a client's first bytes for one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detect {
    /// The client does not use this protocol.
    No,
    /// At least this many bytes are needed to decide.
    Need(usize),
    /// The client uses this protocol.
    Yes,
}

/// The result of testing a client's first bytes for several protocols.
#[derive(Clone, Debug)]
pub enum Identified {
    /// The protocol at this position in the candidates.
    One(usize),
    /// At least this many bytes are needed to decide.
    Need(usize),
    /// None of the candidates.
    None,
}

/// Tests every candidate in order. The first match wins, unless an earlier candidate needs more
/// bytes to decide: order is priority.
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
