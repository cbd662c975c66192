//! Counts replies, and compares them with the configuration. This module must not know sockets.

/// The median is computed from this number of the latest latencies.
const LATEST: usize = 1024;

/// The permitted deviation of a share, in standard deviations. Chance alone exceeds it once in a
/// million runs.
const SIGMAS: f64 = 5.0;

/// The replies to one flow of requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Right replies from v1 and v2.
    pub(super) counts: [u64; 2],
    /// Replies that were wrong or missing.
    pub(super) errors: u64,
    /// The last error.
    pub(super) last_error: Option<String>,
    latencies_us: Vec<u32>,
    next: usize,
}

impl Tally {
    /// Counts a right reply from v1 (0) or v2 (1).
    pub(super) fn right(&mut self, version: usize, micros: u128) {
        if let Some(count) = self.counts.get_mut(version) {
            *count += 1;
        }
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        match self.latencies_us.get_mut(self.next) {
            Some(oldest) => *oldest = micros,
            None => self.latencies_us.push(micros),
        }
        self.next = (self.next + 1) % LATEST;
    }

    /// Counts a reply that was wrong or missing.
    pub(super) fn wrong(&mut self, what: String) {
        self.errors += 1;
        self.last_error = Some(what);
    }

    /// Returns the number of right replies.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the share of the replies from v1 (0) or v2 (1).
    pub(super) fn share(&self, version: usize) -> f64 {
        let count = self.counts.get(version).copied().unwrap_or(0);
        count as f64 / self.total().max(1) as f64
    }

    /// Returns the median of the latest latencies, in milliseconds.
    pub(super) fn median_ms(&self) -> Option<f64> {
        let mut latest = self.latencies_us.clone();
        latest.sort_unstable();
        latest
            .get(latest.len() / 2)
            .map(|&micros| f64::from(micros) / 1000.0)
    }

    /// Succeeds if there was no error and the share `part` of the replies came from v2.
    ///
    /// # Errors
    /// Fails with a text that describes the difference.
    pub(super) fn check(&self, part: f64) -> Result<(), String> {
        if self.errors > 0 {
            let last = self.last_error.as_deref().unwrap_or_default();
            return Err(format!("{} wrong, the last: {last}", self.errors));
        }
        if self.total() == 0 {
            return Err("no reply at all".to_owned());
        }
        let total = self.total() as f64;
        let off = (self.share(1) - part).abs() * total;
        // The standard deviation of a binomial distribution. It is zero if all replies come from
        // one version.
        let bound = SIGMAS * (total * part * (1.0 - part)).sqrt();
        // Half a reply for rounding errors.
        if off > bound + 0.5 {
            return Err(format!(
                "{:.1} % from v2, expected {:.0} %",
                self.share(1) * 100.0,
                part * 100.0
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(v1: u64, v2: u64) -> Tally {
        Tally {
            counts: [v1, v2],
            ..Tally::default()
        }
    }

    #[test]
    fn chance_is_allowed_for_and_a_wrong_split_is_not() {
        assert_eq!(tally(800, 200).check(0.2), Ok(()));
        // Five standard deviations of 1000 at 0.2 are 63.
        assert_eq!(tally(740, 260).check(0.2), Ok(()));
        assert!(tally(730, 270).check(0.2).is_err());
        assert!(tally(500, 500).check(0.2).is_err());
    }

    #[test]
    fn where_all_go_one_way_none_may_go_the_other() {
        assert_eq!(tally(0, 1000).check(1.0), Ok(()));
        assert_eq!(tally(1000, 0).check(0.0), Ok(()));
        assert!(tally(1, 999).check(1.0).is_err());
        assert!(tally(999, 1).check(0.0).is_err());
    }

    #[test]
    fn errors_and_silence_are_failures() {
        assert!(tally(0, 0).check(0.5).is_err());
        let mut tally = tally(50, 50);
        tally.wrong("late".to_owned());
        assert_eq!(tally.check(0.5), Err("1 wrong, the last: late".to_owned()));
    }

    #[test]
    fn the_median_is_of_the_latest() {
        let mut tally = Tally::default();
        assert_eq!(tally.median_ms(), None);
        for micros in 0..LATEST as u128 {
            tally.right(0, micros + 1_000_000);
        }
        for _ in 0..LATEST {
            tally.right(1, 2500);
        }
        assert_eq!(tally.median_ms(), Some(2.5));
        assert!((tally.share(1) - 0.5).abs() < 1e-9);
    }
}
