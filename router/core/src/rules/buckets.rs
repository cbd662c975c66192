//! A bounded number of token buckets, by value. A full bucket equals a missing one, so a new value
//! can take the place of a full bucket when there are too many.
//!
//! The buckets are divided into shards, so that threads seldom contend. A shard is locked for about
//! ten nanoseconds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::{Bucket, Rate};

/// The number of buckets per shard, up to [`SHARDS`] shards.
const PER_SHARD: usize = 128;
const SHARDS: usize = 32;

/// How many places are searched for a full bucket. A new value costs at most twice this number.
const LOOKED: usize = 32;

/// The minimum number of places in a shard that is not empty.
const PLACES: usize = 8;

#[derive(Debug)]
pub(super) struct Buckets {
    shards: Box<[Mutex<Shard>]>,
    used: AtomicUsize,
    most: usize,
    /// The bucket that all values without their own bucket share.
    shared: Bucket,
}

/// An open-addressed table with linear probing. The capacity is a power of two, and at most three
/// quarters of it are used.
#[derive(Debug, Default)]
struct Shard {
    places: Vec<Place>,
    used: usize,
    /// Where the next search for a full bucket starts.
    hand: usize,
}

/// A bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The hash of the value. 0 if the place is empty.
    hash: u64,
    /// When the bucket is full, in units.
    full: u64,
}

impl Buckets {
    /// Creates a table of at most `most` buckets, besides the shared one.
    pub(super) fn new(most: usize) -> Self {
        let shards = (most / PER_SHARD).clamp(1, SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            used: AtomicUsize::new(0),
            most,
            shared: Bucket::default(),
        }
    }

    /// Takes a token from the bucket of a value. Returns `false` if there is none.
    pub(super) fn take(&self, hash: u64, rate: &Rate, now: u64) -> bool {
        let hash = hash.max(1);
        // The high bits select the shard; the low bits select the place in it.
        let at = ((u128::from(hash) * self.shards.len() as u128) >> 64) as usize;
        let Some(shard) = self.shards.get(at) else {
            return self.shared.take(rate, now);
        };
        let mut shard = lock(shard);
        if let Some(place) = shard.find(hash) {
            return match rate.take(place.full, now) {
                Some(full) => {
                    place.full = full;
                    true
                }
                None => false,
            };
        }
        // A new bucket is full. If even that has no token, the bucket need not be kept.
        let Some(full) = rate.take(0, now) else {
            return false;
        };
        if !self.make_room(&mut shard, at, hash, now) {
            return self.shared.take(rate, now);
        }
        shard.insert(Place { hash, full });
        true
    }

    /// Reserves room for one more bucket. Returns `false` if there is none.
    fn make_room(&self, shard: &mut Shard, at: usize, hash: u64, now: u64) -> bool {
        let more = |used| (used < self.most).then_some(used + 1);
        let counted = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if counted.is_ok() || shard.remove_full(now) {
            return true;
        }
        // Tries any other shard. Does not wait for its lock, because its holder may wait for this
        // shard.
        let others = self.shards.len() - 1;
        let Some(any) = ((hash ^ now) as usize).checked_rem(others) else {
            return false;
        };
        let other = self.shards.get((at + 1 + any) % self.shards.len());
        let other = other.and_then(|other| other.try_lock().ok());
        other.is_some_and(|mut other| other.remove_full(now))
    }

    #[cfg(test)]
    fn places(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).places.len())
            .sum()
    }
}

/// A panic cannot leave a shard in a bad state: every change is one store.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.places.len().wrapping_sub(1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & self.places.len().wrapping_sub(1)
    }

    fn place(&self, at: usize) -> Place {
        self.places.get(at).copied().unwrap_or_default()
    }

    fn put(&mut self, at: usize, place: Place) {
        if let Some(found) = self.places.get_mut(at) {
            *found = place;
        }
    }

    /// Returns the place of this hash, or the first free place for it.
    fn probe(&self, hash: u64) -> usize {
        let mut at = self.home(hash);
        loop {
            let found = self.place(at).hash;
            // Terminates: a quarter of the places is free.
            if found == hash || found == 0 {
                return at;
            }
            at = self.next(at);
        }
    }

    fn find(&mut self, hash: u64) -> Option<&mut Place> {
        let at = self.probe(hash);
        let place = self.places.get_mut(at)?;
        (place.hash == hash).then_some(place)
    }

    /// Inserts a bucket whose hash is not in the table.
    fn insert(&mut self, place: Place) {
        if (self.used + 1) * 4 > self.places.len() * 3 {
            let more = (self.places.len() * 2).max(PLACES);
            let old = std::mem::replace(&mut self.places, vec![Place::default(); more]);
            for place in old.into_iter().filter(|place| place.hash != 0) {
                self.put(self.probe(place.hash), place);
            }
        }
        self.put(self.probe(place.hash), place);
        self.used += 1;
    }

    /// Removes a full bucket, if there is one among the next places. Returns `true` if it did.
    fn remove_full(&mut self, now: u64) -> bool {
        for _ in 0..LOOKED.min(self.places.len()) {
            self.hand = self.next(self.hand);
            let place = self.place(self.hand);
            if place.hash != 0 && place.full <= now {
                self.remove(self.hand);
                return true;
            }
        }
        false
    }

    /// Empties a place, and moves later entries up that a probe would no longer find.
    fn remove(&mut self, at: usize) {
        let distance = |shard: &Self, from: usize, to: usize| {
            to.wrapping_sub(from) & shard.places.len().wrapping_sub(1)
        };
        let (mut hole, mut at) = (at, self.next(at));
        loop {
            let place = self.place(at);
            if place.hash == 0 {
                break;
            }
            let home = self.home(place.hash);
            if distance(self, home, at) >= distance(self, hole, at) {
                self.put(hole, place);
                hole = at;
            }
            at = self.next(at);
        }
        self.put(hole, Place::default());
        self.used -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use meltemi_config::Bucket as Plain;
    use proptest::prelude::*;

    use super::*;

    fn rate(size: u32, fill: u32) -> Rate {
        Rate::new(&Plain {
            size,
            fill,
            interval: Duration::from_micros(1000),
        })
    }

    /// Spreads small numbers as the hash function does.
    fn spread(value: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&value.to_le_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// If there is room for all, every value has its own bucket, even if hashes collide.
        #[test]
        fn every_value_has_its_bucket(
            most in prop::sample::select(vec![1000usize, 5000]),
            takes in prop::collection::vec((0..300u64, 0..400u64), 1..2000),
        ) {
            let rate = rate(2, 1);
            let buckets = Buckets::new(most);
            let mut model: HashMap<u64, u64> = HashMap::new();
            let mut now = 0;
            for (value, later) in takes {
                now += later;
                let full = model.entry(value).or_default();
                let expected = rate.take(*full, now);
                *full = expected.unwrap_or(*full);
                prop_assert_eq!(buckets.take(spread(value), &rate, now), expected.is_some());
            }
        }

        /// A table holds exactly the buckets that were inserted and not removed, in any order.
        #[test]
        fn a_shard_is_a_map(steps in prop::collection::vec((1..40u64, any::<bool>()), 1..300)) {
            let mut shard = Shard::default();
            let mut model = HashSet::new();
            for (value, removes) in steps {
                // Few homes, so that they collide.
                let hash = value << 1 | (value % 3) << 20;
                let found = shard.find(hash).is_some();
                prop_assert_eq!(found, model.contains(&hash));
                if removes && found {
                    shard.remove(shard.probe(hash));
                    model.remove(&hash);
                } else if !found {
                    shard.insert(Place { hash, full: 0 });
                    model.insert(hash);
                }
                prop_assert_eq!(shard.used, model.len());
            }
            for &hash in &model {
                prop_assert!(shard.find(hash).is_some());
            }
        }
    }

    #[test]
    fn past_the_bound_values_share_a_bucket_until_one_is_full() {
        let rate = rate(2, 1);
        let buckets = Buckets::new(2);
        let take = |value, now| buckets.take(spread(value), &rate, now);
        assert!(take(1, 0) && take(2, 0) && take(2, 0));
        // Both are in use: the third and the fourth share.
        assert!(take(3, 0) && take(4, 0) && !take(3, 0) && !take(4, 0));
        assert!(take(1, 0) && !take(1, 0) && !take(2, 0));
        // After two tokens' time all are full: a new value gets a place of its own.
        assert!(take(5, 2000) && take(5, 2000) && !take(5, 2000));
        assert!(take(6, 2000) && take(6, 2000) && !take(6, 2000));
        assert!(take(7, 2000) && take(7, 2000) && !take(7, 2000));
        // The old value lost its place, but its bucket was full.
        assert!(!take(5, 2000) && !take(6, 2000));
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let rate = rate(5, 1);
        for most in [0, 1, 100, 3000] {
            let buckets = Buckets::new(most);
            for value in 0..100_000 {
                buckets.take(spread(value), &rate, value / 100);
            }
            assert!(buckets.used.load(Ordering::Relaxed) <= most);
            assert!(buckets.places() <= most * 4 + SHARDS * PLACES);
        }
    }

    #[test]
    fn a_new_value_finds_a_place_in_other_shards() {
        let rate = rate(1, 1);
        let buckets = Buckets::new(PER_SHARD * 4);
        let most = (PER_SHARD * 4) as u64;
        assert!((0..most).all(|value| buckets.take(spread(value), &rate, 0)));
        // All are full again. Every new value is served, though the shared bucket has one token only.
        let served = (most..most * 3 / 2).filter(|&value| buckets.take(spread(value), &rate, 1000));
        assert!(served.count() as u64 > most / 2 * 9 / 10);
    }

    #[test]
    fn threads_take_exactly_what_each_value_has() {
        let rate = rate(10, 1);
        let buckets = Buckets::new(256);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000u64 {
                        if buckets.take(spread(round % 200), &rate, 0) {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 200 * 10);
    }
}
