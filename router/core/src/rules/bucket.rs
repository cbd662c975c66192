//! One token bucket. Its whole state is one number, the time at which it is full again. So all
//! threads share it without a lock, and no token is lost or duplicated between them.
//!
//! The time is counted in units that divide both a microsecond and the time for one token. So
//! nothing is ever rounded.

use std::sync::atomic::{AtomicU64, Ordering};

use meltemi_config::Bucket as Plain;

/// The maximum number of units in a microsecond. With this number a bucket works for thirteen
/// years.
const FINEST: u64 = 1 << 15;

/// The maximum number of units to fill a whole bucket.
const LARGEST: u64 = 1 << 62;

/// The rate at which a bucket fills.
///
/// The rate is exact if the time for one token is a fraction of a microsecond whose denominator, in
/// lowest terms, is at most 32768. This holds for up to 32768 tokens in any interval, and for round
/// numbers beyond (a million per second is one per microsecond). Otherwise the nearest such
/// fraction is used. It is off by at most 2^-16 µs: less than one token per second at 250,000 per
/// second. More than 32768 tokens per microsecond count as 32768. A bucket that takes more than
/// four years to fill is less exact. One that takes more than 146,000 years is reduced to the size
/// that fills in that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Units per microsecond.
    scale: u64,
    /// Units to refill one token.
    token: u64,
    /// Units to refill the whole bucket.
    whole: u64,
}

impl Rate {
    pub(super) fn new(bucket: &Plain) -> Self {
        let size = u64::from(bucket.size);
        if bucket.fill == 0 {
            // The rate is unlimited: time does not count.
            return Self {
                scale: 0,
                token: 1,
                whole: size,
            };
        }
        let nanos = bucket.interval.as_nanos().clamp(1, LARGEST.into());
        let per = u128::from(bucket.fill) * 1000;
        // The whole bucket must not take too many units.
        let finest = u128::from(LARGEST) * per / (nanos * u128::from(size.max(1)));
        let finest = finest.clamp(1, FINEST.into());
        let (token, scale) = nearest(nanos, per, finest);
        let token = u64::try_from(token.max(1)).unwrap_or(LARGEST).min(LARGEST);
        Self {
            scale: u64::try_from(scale).unwrap_or(FINEST),
            token,
            whole: size.saturating_mul(token).min(LARGEST),
        }
    }

    /// Converts microseconds to units. All threads must use the same clock.
    pub(super) const fn units(&self, now_us: u64) -> u64 {
        now_us.saturating_mul(self.scale)
    }

    /// Takes a token from a bucket that is full at `full`, and returns the new time at which it is
    /// full. `None` if there is no token. An untouched bucket is full at 0.
    pub(super) fn take(&self, full: u64, now: u64) -> Option<u64> {
        let next = full.max(now).checked_add(self.token)?;
        (next - now <= self.whole).then_some(next)
    }
}

/// Returns the fraction nearest to `numerator / denominator` whose denominator is at most `most`,
/// by continued fractions. No argument may be zero.
fn nearest(numerator: u128, denominator: u128, most: u128) -> (u128, u128) {
    let (mut rest, mut divisor) = (numerator, denominator);
    let (mut before, mut last) = ((0, 1), (1, 0));
    while divisor != 0 {
        let part = rest / divisor;
        let bottom = before.1 + part * last.1;
        if bottom > most {
            // A fraction between the last two convergents.
            let part = (most - before.1) / last.1;
            let between = (before.0 + part * last.0, before.1 + part * last.1);
            let error = |fraction: (u128, u128), other: (u128, u128)| {
                let off = (fraction.0 * denominator).abs_diff(numerator * fraction.1);
                off * other.1
            };
            let closer = error(between, last) < error(last, between);
            return if closer { between } else { last };
        }
        (before, last) = (last, (before.0 + part * last.0, bottom));
        (rest, divisor) = (divisor, rest % divisor);
    }
    last
}

/// A bucket that all threads share.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes a token. Returns `false` if there is none. `now` is in units of `rate`, which must
    /// always be the same.
    pub(super) fn take(&self, rate: &Rate, now: u64) -> bool {
        let take = |full| rate.take(full, now);
        // No other data is published with this value.
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn plain(size: u32, fill: u32, interval_us: u64) -> Plain {
        Plain {
            size,
            fill,
            interval: Duration::from_micros(interval_us),
        }
    }

    /// A reference bucket for the tests: tokens times the interval, in integers of any size.
    struct Model {
        plain: Plain,
        level: u128,
        now: u64,
    }

    impl Model {
        fn new(plain: Plain) -> Self {
            let level = u128::from(plain.size) * plain.interval.as_micros();
            Self {
                plain,
                level,
                now: 0,
            }
        }

        fn take(&mut self, now: u64) -> bool {
            let interval = self.plain.interval.as_micros();
            let gained = u128::from(now - self.now) * u128::from(self.plain.fill);
            let most = u128::from(self.plain.size) * interval;
            self.level = (self.level + gained).min(most);
            self.now = now;
            match self.level.checked_sub(interval) {
                Some(rest) => {
                    self.level = rest;
                    true
                }
                None => false,
            }
        }
    }

    /// Takes all available tokens at each of these times.
    fn drain(plain: Plain, moments: impl Iterator<Item = u64>) -> u64 {
        let (rate, bucket) = (Rate::new(&plain), Bucket::default());
        let mut taken = 0;
        for now in moments {
            while bucket.take(&rate, rate.units(now)) {
                taken += 1;
            }
        }
        taken
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_bucket_agrees_with_its_model(
            size in 0..50u32,
            fill in 0..=32768u32,
            interval_ms in prop_oneof![1..100u64, 1..604_800_000u64],
            steps in prop::collection::vec((0..2000u64, 1..5usize), 1..60),
            start in 0..1u64 << 40,
        ) {
            let plain = plain(size, fill, interval_ms * 1000);
            let (rate, bucket) = (Rate::new(&plain), Bucket::default());
            let mut model = Model::new(plain);
            let mut now = start;
            // Steps in thousandths of the time that a token takes, so that every boundary is met.
            let step = (interval_ms * 1000 / u64::from(fill.max(1)) / 1000).max(1);
            for (steps, takes) in steps {
                now += steps * step;
                for _ in 0..takes {
                    let taken = bucket.take(&rate, rate.units(now));
                    prop_assert_eq!(taken, model.take(now));
                }
            }
        }

        /// Whatever the rate, the time for a token is off by at most 2^-16 µs.
        #[test]
        fn any_rate_is_near(
            size in 1..=1_000_000u32,
            fill in prop_oneof![1..=10_000_000u32, 999_900..=1_000_100u32],
            interval_us in prop_oneof![1000..100_000_000u64, Just(1_000_000)],
        ) {
            let rate = Rate::new(&plain(size, fill, interval_us));
            let told = u128::from(rate.token) * u128::from(fill);
            let exact = u128::from(interval_us) * u128::from(rate.scale);
            let most = u128::from(rate.scale) * u128::from(fill);
            prop_assert!(told.abs_diff(exact) << 16 <= most, "{rate:?}");
            if fill <= 32_768 {
                prop_assert_eq!(told, exact);
            }
        }

        #[test]
        fn the_nearest_fraction_is_nearer_than_any(
            numerator in 1..10_000u128,
            denominator in 1..10_000u128,
            most in 1..100u128,
        ) {
            let off = |top: u128, bottom: u128| {
                let off = (top * denominator).abs_diff(numerator * bottom);
                off as f64 / (bottom * denominator) as f64
            };
            let (top, bottom) = nearest(numerator, denominator, most);
            prop_assert!(bottom <= most);
            for other in 1..=most {
                let down = numerator * other / denominator;
                prop_assert!(off(top, bottom) <= off(down, other) + 1e-12);
                prop_assert!(off(top, bottom) <= off(down + 1, other) + 1e-12);
            }
        }
    }

    #[test]
    fn a_full_bucket_of_n_per_interval_lets_n_through_in_every_further_one() {
        for (fill, interval_us) in [
            (1, 1000),
            (3, 1000),
            (7, 1_000_000),
            (9973, 1_000_000),
            (100_003, 1_000_000),
            (1000, 86_400_000_000),
            (5, 604_800_000_000),
        ] {
            let bucket = plain(fill, fill, interval_us);
            let mut before = u64::from(fill);
            assert_eq!(drain(bucket, 0..1), before);
            for intervals in 1..4 {
                // A request arrives in every microsecond that brings a token.
                let tokens = u64::from(fill) * intervals;
                let moments = (0..=tokens).map(|n| (n * interval_us).div_ceil(fill.into()));
                let taken = drain(bucket, moments);
                assert_eq!(taken - before, u64::from(fill), "{fill} in {interval_us}");
                before = taken;
            }
        }
    }

    #[test]
    fn the_first_token_comes_back_after_its_whole_time() {
        let rate = Rate::new(&plain(1, 1, 1_000_000));
        let bucket = Bucket::default();
        let take = |now| bucket.take(&rate, rate.units(now));
        assert!(take(999_999) && !take(1_000_000) && !take(1_999_998));
        assert!(take(1_999_999) && !take(2_999_998));
    }

    #[test]
    fn the_largest_and_smallest_buckets_count_too() {
        assert_eq!(drain(plain(0, 5, 1000), 0..10_000), 0);
        // No refill at all.
        assert_eq!(drain(plain(3, 0, 1000), (0..10).map(|n| n << 50)), 3);
        // A month for one token, and the largest bucket.
        let rate = Rate::new(&plain(u32::MAX, 1, 2_592_000_000_000));
        let month = rate.units(2_592_000_000_000);
        assert_eq!(rate.take(rate.whole, month), Some(rate.whole + rate.token));
        assert_eq!(rate.take(rate.whole, month - 1), None);
        // The largest fill in every millisecond, after ten years.
        let rate = Rate::new(&plain(u32::MAX, u32::MAX, 1000));
        let late = rate.units(10 * 365 * 86_400_000_000);
        assert!(rate.take(0, late).is_some() && late < u64::MAX - LARGEST);
    }

    #[test]
    fn threads_take_exactly_what_there_is() {
        let plain = plain(100, 9973, 1_000_000);
        let (rate, bucket) = (Rate::new(&plain), Bucket::default());
        let (clock, taken) = (AtomicU64::new(0), AtomicU64::new(0));
        const END: u64 = 50_000_000;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < END {
                        // Threads read the clock at different times, as real ones do.
                        last = clock.fetch_add(37, Ordering::Relaxed).min(END);
                        while bucket.take(&rate, rate.units(last)) {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        // Between two clock reads some thread takes all tokens, so the bucket never overflows.
        assert_eq!(taken.into_inner(), 100 + END * 9973 / 1_000_000);
    }
}
