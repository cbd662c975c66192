//! Warm-up: how much of its share a new endpoint gets, and when to recompute it.

use meltemi_config::Warmup;

use super::PickRequest;

/// The full weight, in thousandths.
pub(super) const WHOLE: u32 = 1000;

/// The number of steps in which weights change during a warm-up.
const STEPS: u64 = 100;

/// The shortest and the longest time between two steps, in microseconds.
const SHORTEST_US: u64 = 10_000;
const LONGEST_US: u64 = 10_000_000;

/// The warm-up of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Warming {
    duration_us: u64,
    minimum: f64,
    exponent: f64,
    /// When weights change next without a new epoch.
    next_us: u64,
    /// The epoch of the current weights. `None` before the first one.
    epoch: Option<u64>,
}

impl Warming {
    pub(super) fn new(warmup: &Warmup) -> Self {
        Self {
            duration_us: u64::try_from(warmup.duration.as_micros()).unwrap_or(u64::MAX),
            minimum: f64::from(warmup.minimum.as_millionths()) / 1_000_000.0,
            exponent: 1000.0 / f64::from(warmup.aggression.max(1)),
            next_us: 0,
            epoch: None,
        }
    }

    /// Returns `true` if the weights may have changed.
    pub(super) fn is_due(&self, ask: &PickRequest<'_>) -> bool {
        ask.now_us >= self.next_us || self.epoch != Some(ask.epoch)
    }

    /// Records that the weights are up to date. `some` is `true` if an endpoint still has less than
    /// its full weight.
    pub(super) fn applied(&mut self, ask: &PickRequest<'_>, some: bool) {
        let step = (self.duration_us / STEPS).clamp(SHORTEST_US, LONGEST_US);
        // No endpoint starts a warm-up without a new epoch.
        self.next_us = if some {
            ask.now_us.saturating_add(step)
        } else {
            u64::MAX
        };
        self.epoch = Some(ask.epoch);
    }

    /// Returns how many thousandths of its weight an endpoint of this age gets: `max(minimum, (age
    /// / duration) ^ (1 / aggression))`.
    pub(super) fn portion(&self, age_us: u64) -> u32 {
        if age_us >= self.duration_us {
            return WHOLE;
        }
        let grown = (age_us as f64 / self.duration_us as f64).powf(self.exponent);
        // Between 0 and 1000.
        (grown.max(self.minimum) * f64::from(WHOLE)).round() as u32
    }
}

#[cfg(test)]
mod tests;
