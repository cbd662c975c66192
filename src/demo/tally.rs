//! What was counted, and whether it is what the configuration says. It knows nothing of sockets.

/// How many latencies the median is taken of: the latest.
const LATEST: usize = 1024;

/// How far a share may be off, in standard deviations. Chance alone is further off once in a million runs.
const SIGMAS: f64 = 5.0;

/// Replies counted on one flow of requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Right replies of v1 and v2.
    pub(super) counts: [u64; 2],
    /// Replies that were wrong or did not come.
    pub(super) errors: u64,
    /// What was wrong with the last of them.
    pub(super) last_error: Option<String>,
    latencies_us: Vec<u32>,
    next: usize,
}

impl Tally {
    /// A right reply, of v1 (0) or v2 (1).
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

    /// A reply that was wrong or did not come.
    pub(super) fn wrong(&mut self, what: String) {
        self.errors += 1;
        self.last_error = Some(what);
    }

    /// Right replies.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The part of the replies that came from v1 (0) or v2 (1).
    pub(super) fn share(&self, version: usize) -> f64 {
        let count = self.counts.get(version).copied().unwrap_or(0);
        count as f64 / self.total().max(1) as f64
    }

    /// The median of the latest latencies, in milliseconds.
    pub(super) fn median_ms(&self) -> Option<f64> {
        let mut latest = self.latencies_us.clone();
        latest.sort_unstable();
        latest
            .get(latest.len() / 2)
            .map(|&micros| f64::from(micros) / 1000.0)
    }

    /// Whether all went well and `part` of the replies came from v2; or what did not.
    ///
    /// # Errors
    /// What is wrong.
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
        // The standard deviation of a binomial distribution. It is zero where all go one way.
        let bound = SIGMAS * (total * part * (1.0 - part)).sqrt();
        // Half a reply for what floating point rounds.
        if off > bound + 0.5 {
            return Err(format!(
                "{:.1} % from v2 where {:.0} % were wanted",
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
