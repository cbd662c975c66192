//! The memory of the process for bytes that wait: how much there may be, how much there is, and how much
//! of it one connection may hold. Who is stopped or cut off is decided elsewhere (`worker/relief`).

mod machine;
mod relief;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use machine::{MemoryBound, default_bound};
pub(crate) use relief::Relief;

/// A connection reports what it holds when it has changed by this many bytes, and whenever the sweep comes
/// by. Small messages report nothing on their own.
const STEP: usize = 64 << 10;

/// A connection may always hold this much.
pub(crate) const LEAST: usize = 64 << 10;

/// A connection may hold one part in so many of what is left, once memory is short.
const PARTS: usize = 8;

/// The bytes that wait in the process, and their bound.
///
/// Once half of the bound is in use, one connection may hold only a fraction of what is left. So those
/// that hold most are stopped first, without anybody having to compare them, and the sum of what the others
/// may hold stays below the bound however many they are.
#[derive(Debug)]
pub(crate) struct Memory {
    bound: usize,
    /// What one connection may hold now. Read often, and written only while memory is short.
    allowance: Line<AtomicUsize>,
    total: Line<AtomicUsize>,
    /// How much the connection holds that holds most, by worker. 0: nothing of interest.
    largest: Box<[AtomicUsize]>,
}

/// A cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line<T>(T);

/// How short memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shortage {
    /// There is enough, or those that hold most are stopped and that suffices.
    None,
    /// More than seven eighths of the bound is in use: whoever holds most is cut off if this lasts.
    Tight,
    /// The bound is reached: whoever holds most is cut off at once.
    Over,
}

impl Memory {
    /// `workers`: how many there are.
    pub(crate) fn new(bound: usize, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            bound,
            allowance: Line(AtomicUsize::new(usize::MAX)),
            total: Line::default(),
            largest: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    /// The most that may wait, in bytes.
    pub(crate) const fn bound(&self) -> usize {
        self.bound
    }

    /// How many bytes wait, as far as was reported.
    pub(crate) fn total(&self) -> usize {
        self.total.0.load(Ordering::Relaxed)
    }

    /// How many bytes one connection may hold before it is stopped.
    #[inline]
    pub(crate) fn allowance(&self) -> usize {
        self.allowance.0.load(Ordering::Relaxed)
    }

    pub(crate) fn shortage(&self) -> Shortage {
        let total = self.total();
        if total > self.bound {
            Shortage::Over
        } else if total > self.tight() {
            Shortage::Tight
        } else {
            Shortage::None
        }
    }

    /// How many bytes have to go until memory is not short any more.
    pub(crate) fn excess(&self) -> usize {
        self.total().saturating_sub(self.tight())
    }

    const fn tight(&self) -> usize {
        self.bound - self.bound / 8
    }

    /// What one connection may hold when so much waits.
    fn share_of(&self, total: usize) -> usize {
        if total <= self.bound / 2 {
            return usize::MAX;
        }
        (self.bound.saturating_sub(total) / PARTS).max(LEAST)
    }

    /// The total changes; wraps where it falls.
    fn change(&self, more: usize) {
        self.total.0.fetch_add(more, Ordering::Relaxed);
        self.refresh();
    }

    /// Computes the allowance from the total. Called by the sweep too, as two workers that do so at the
    /// same time may leave what the first of them found.
    pub(crate) fn refresh(&self) {
        let allowance = self.share_of(self.total());
        if self.allowance() != allowance {
            self.allowance.0.store(allowance, Ordering::Relaxed);
        }
    }

    /// A worker reports how much the connection of it holds that holds most. Returns whether no other
    /// worker has one that holds more.
    pub(crate) fn is_largest(&self, worker: usize, bytes: usize) -> bool {
        if let Some(own) = self.largest.get(worker) {
            own.store(bytes, Ordering::Relaxed);
        }
        let mut others = self.largest.iter().enumerate();
        others.all(|(at, other)| at == worker || other.load(Ordering::Relaxed) <= bytes)
    }
}

/// What one connection has reported of what it holds. Its owner reports 0 before it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share(Cell<usize>);

impl Share {
    /// Reports `bytes` if they differ much from what was reported last. Returns by how much the reported
    /// number has grown; wraps where it fell.
    #[inline]
    pub(crate) fn report_roughly(&self, memory: &Memory, bytes: usize) -> usize {
        if bytes.abs_diff(self.0.get()) < STEP {
            return 0;
        }
        self.report(memory, bytes)
    }

    /// Reports `bytes`. Returns by how much the reported number has grown; wraps where it fell.
    pub(crate) fn report(&self, memory: &Memory, bytes: usize) -> usize {
        let more = bytes.wrapping_sub(self.0.replace(bytes));
        if more != 0 {
            memory.change(more);
        }
        more
    }

    #[cfg(test)]
    const fn reported(&self) -> usize {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn whoever_holds_most_is_stopped_first_and_the_others_when_less_is_left() {
        let memory = Memory::new(256 * MIB, 1);
        let (large, small) = (Share::default(), Share::default());
        large.report(&memory, 120 * MIB);
        small.report(&memory, 5 * MIB);
        assert_eq!(memory.allowance(), usize::MAX);
        large.report(&memory, 160 * MIB);
        let allowance = memory.allowance();
        assert!(allowance < large.reported() && allowance > small.reported());
        large.report(&memory, 250 * MIB);
        assert!(memory.allowance() < small.reported());
        assert_eq!(memory.shortage(), Shortage::Tight);
        small.report(&memory, 20 * MIB);
        assert_eq!(memory.shortage(), Shortage::Over);
        assert_eq!(memory.allowance(), LEAST);
        large.report(&memory, 0);
        assert_eq!(memory.allowance(), usize::MAX);
        assert_eq!(memory.total(), 20 * MIB);
    }

    #[test]
    fn connections_that_obey_stay_below_the_bound_however_many_they_are() {
        for count in [1, 10, 1000] {
            let memory = Memory::new(256 * MIB, 1);
            let shares: Vec<_> = (0..count).map(|_| Share::default()).collect();
            for _ in 0..300 * MIB / STEP {
                let mut grew = false;
                for share in &shares {
                    if share.reported() < memory.allowance() {
                        share.report(&memory, share.reported() + STEP);
                        grew = true;
                    }
                }
                if !grew {
                    break;
                }
            }
            assert!(memory.total() <= memory.bound(), "{count} connections");
        }
    }

    #[test]
    fn small_changes_are_not_reported() {
        let memory = Memory::new(256 * MIB, 1);
        let share = Share::default();
        assert_eq!(share.report_roughly(&memory, 1000), 0);
        assert_eq!(memory.total(), 0);
        assert_eq!(share.report_roughly(&memory, STEP), STEP);
        assert_eq!(share.report_roughly(&memory, 0), STEP.wrapping_neg());
        assert_eq!(memory.total(), 0);
    }

    #[test]
    fn one_worker_has_the_largest() {
        let memory = Memory::new(256 * MIB, 2);
        assert!(memory.is_largest(0, 5));
        assert!(!memory.is_largest(1, 4));
        assert!(memory.is_largest(1, 6));
        assert!(!memory.is_largest(0, 5));
    }
}
