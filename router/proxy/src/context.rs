//! What everything in a worker may use: the clock and the ticker. Depends on nothing else of this crate.

pub(crate) mod beat;
pub(crate) mod clock;
