//! The memory of the process for buffered bytes: the bound, the current use, and the share of one
//! connection. `worker::relief` decides which connections are closed.

mod machine;
mod relief;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use machine::{MemoryBound, default_bound};
pub(crate) use relief::Relief;

/// A connection reports its memory when it has changed by this many bytes, and at every sweep.
/// Small messages cause no report.
const STEP: usize = 64 << 10;

/// The number of bytes that a connection may always hold.
pub(crate) const LEAST: usize = 64 << 10;

/// When memory is short, one connection may hold one part in this many of the remaining bytes.
const PARTS: usize = 8;

/// The buffered bytes of the process, and their bound.
///
/// When half of the bound is in use, one connection may hold only a fraction of the rest. So the
/// largest connections are stopped first, with no need to compare connections. The sum stays below
/// the bound for any number of connections.
#[derive(Debug)]
pub(crate) struct Memory {
    bound: usize,
    /// The bytes that one connection may hold now. Read often, and written only while memory is
    /// short.
    allowance: Line,
    total: Line,
    /// The bytes of each worker's largest connection. 0 if it is not relevant.
    largest: Box<[AtomicUsize]>,
}

/// Aligned to its own cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicUsize);

/// The degree of a memory shortage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shortage {
    /// There is enough memory, or it is enough to stop the largest connections.
    None,
    /// More than seven eighths of the bound is in use. If this lasts, the largest connection is
    /// closed.
    Tight,
    /// The bound is reached. The largest connection is closed at once.
    Over,
}

impl Memory {
    /// `workers`: the number of workers.
    pub(crate) fn new(bound: usize, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            bound,
            allowance: Line(AtomicUsize::new(usize::MAX)),
            total: Line::default(),
            largest: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    /// Returns the largest allowed number of buffered bytes.
    pub(crate) const fn bound(&self) -> usize {
        self.bound
    }

    /// Returns the number of buffered bytes that connections have reported.
    pub(crate) fn total(&self) -> usize {
        self.total.0.load(Ordering::Relaxed)
    }

    /// Returns how many bytes one connection may hold before it is stopped.
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

    /// Returns how many bytes must be freed to end the shortage.
    pub(crate) fn excess(&self) -> usize {
        self.total().saturating_sub(self.tight())
    }

    const fn tight(&self) -> usize {
        self.bound - self.bound / 8
    }

    /// Returns how many bytes one connection may hold if `total` bytes are buffered.
    fn share_of(&self, total: usize) -> usize {
        if total <= self.bound / 2 {
            return usize::MAX;
        }
        (self.bound.saturating_sub(total) / PARTS).max(LEAST)
    }

    /// Changes the total. A decrease is passed as a wrapped number.
    fn change(&self, more: usize) {
        self.total.0.fetch_add(more, Ordering::Relaxed);
        self.refresh();
    }

    /// Computes the allowance from the total. The sweep calls this too: after two concurrent calls
    /// the older result may have been stored last.
    pub(crate) fn refresh(&self) {
        let allowance = self.share_of(self.total());
        if self.allowance() != allowance {
            self.allowance.0.store(allowance, Ordering::Relaxed);
        }
    }

    /// Sets the size of the worker's largest connection. Returns `true` if no other worker has a
    /// larger one.
    pub(crate) fn is_largest(&self, worker: usize, bytes: usize) -> bool {
        if let Some(own) = self.largest.get(worker) {
            own.store(bytes, Ordering::Relaxed);
        }
        let mut others = self.largest.iter().enumerate();
        others.all(|(at, other)| at == worker || other.load(Ordering::Relaxed) <= bytes)
    }
}

/// The memory that one connection has reported. Its owner must report 0 before dropping it.
#[derive(Debug, Default)]
pub(crate) struct Share(Cell<usize>);

impl Share {
    /// Reports `bytes` if they differ much from the last report. Returns the increase. A decrease
    /// is returned as a wrapped number.
    #[inline]
    pub(crate) fn report_roughly(&self, memory: &Memory, bytes: usize) -> usize {
        if bytes.abs_diff(self.0.get()) < STEP {
            return 0;
        }
        self.report(memory, bytes)
    }

    /// Reports `bytes`. Returns the increase. A decrease is returned as a wrapped number.
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
