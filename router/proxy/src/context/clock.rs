//! The clock of a proxy. All workers count from the same start, so that they can compare times.

use std::time::Instant;

/// A clock that started with the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the microseconds since the proxy started. At least 1, so that 0 can mean never.
    pub(crate) fn now_us(&self) -> u64 {
        let now = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        now.max(1)
    }
}
