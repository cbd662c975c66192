//! The compiled configuration: the part that all workers share, and the view of one worker.

pub(crate) mod snapshot;
pub(crate) mod view;
