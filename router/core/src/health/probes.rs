//! The probe state of one endpoint.

use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};

use meltemi_config::HealthCheck;

/// The probe state of one endpoint.
///
/// An endpoint that was never probed counts as healthy, so that a new proxy serves at once. The
/// first probe decides alone, in both directions. After that, [`HealthCheck::unhealthy`] failures
/// in a row make the endpoint unhealthy, and [`HealthCheck::healthy`] successes in a row make it
/// healthy again.
#[derive(Debug)]
pub struct Health {
    /// The current state, and the number of results in a row against it. Both change at once.
    state: AtomicU32,
    healthy: u32,
    unhealthy: u32,
}

const UNKNOWN: u32 = 0;
const HEALTHY: u32 = 1;
const UNHEALTHY: u32 = 2;

/// The bit at which the number of results starts.
const COUNT: u32 = 2;

const fn verdict(state: u32) -> u32 {
    state & ((1 << COUNT) - 1)
}

impl Health {
    /// Creates the state of an endpoint that was never probed.
    pub fn new(check: &HealthCheck) -> Self {
        let most = u32::MAX >> COUNT;
        Self {
            state: AtomicU32::new(UNKNOWN),
            healthy: check.healthy.clamp(1, most),
            unhealthy: check.unhealthy.clamp(1, most),
        }
    }

    /// Returns `true` if requests may be sent to the endpoint.
    pub fn is_healthy(&self) -> bool {
        verdict(self.state.load(Acquire)) != UNHEALTHY
    }

    /// Returns `true` if the endpoint has been probed.
    pub fn is_known(&self) -> bool {
        verdict(self.state.load(Acquire)) != UNKNOWN
    }

    /// Records the result of a probe. Returns the new health if it changed: `true` if requests may
    /// be sent to the endpoint.
    pub fn probed(&self, ok: bool) -> Option<bool> {
        let next = |state| Some(self.next(state, ok));
        let before = match self.state.fetch_update(AcqRel, Acquire, next) {
            Ok(before) | Err(before) => before,
        };
        let is = verdict(self.next(before, ok)) != UNHEALTHY;
        let was = verdict(before) != UNHEALTHY;
        (is != was).then_some(is)
    }

    const fn next(&self, state: u32, ok: bool) -> u32 {
        let (same, other, limit) = match (verdict(state), ok) {
            (UNKNOWN, true) => return HEALTHY,
            (UNKNOWN, false) => return UNHEALTHY,
            (HEALTHY, _) => (ok, UNHEALTHY, self.unhealthy),
            (_, _) => (!ok, HEALTHY, self.healthy),
        };
        if same {
            return verdict(state);
        }
        // The count never exceeds the limit, which fits.
        let count = (state >> COUNT) + 1;
        if count >= limit {
            other
        } else {
            verdict(state) | (count << COUNT)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meltemi_config::Probe;

    use super::*;

    fn health(unhealthy: u32, healthy: u32) -> Health {
        Health::new(&HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unhealthy,
            healthy,
            session: Default::default(),
        })
    }

    #[test]
    fn the_first_probe_decides() {
        let good = health(3, 2);
        assert!(good.is_healthy() && !good.is_known());
        assert_eq!(good.probed(true), None, "it counted as healthy already");
        assert!(good.is_healthy() && good.is_known());
        let bad = health(3, 2);
        assert_eq!(bad.probed(false), Some(false));
        assert!(!bad.is_healthy());
    }

    #[test]
    fn later_it_takes_several_in_a_row() {
        let health = health(3, 2);
        let results = [
            (true, None),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
            (true, None),
        ];
        for (at, (ok, change)) in results.into_iter().enumerate() {
            assert_eq!(health.probed(ok), change, "probe {at}");
        }
    }

    #[test]
    fn thresholds_of_zero_are_one() {
        let health = health(0, 0);
        let changes = [true, false, true].map(|ok| health.probed(ok));
        assert_eq!(changes, [None, Some(false), Some(true)]);
    }
}
