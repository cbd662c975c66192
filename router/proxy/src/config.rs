//! The compiled configuration: what all workers share of it, and what one worker makes of that.

pub(crate) mod snapshot;
pub(crate) mod view;
