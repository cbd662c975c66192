//! Weighted round robin for weights that change continuously. An endpoint waits for the reciprocal
//! of its weight between turns. The time it has already waited is kept when weights change.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pool::below;

/// How long an endpoint of weight 1 waits, in abstract units. The heaviest endpoint waits for 256.
const WAIT: u64 = 1 << 40;

/// Endpoints, and the time of each one's next turn.
#[derive(Clone, Debug)]
pub(super) struct Paced {
    queue: BinaryHeap<Reverse<Turn>>,
    /// Endpoints whose turn came while they were not usable. Empty between picks.
    passed: Vec<Turn>,
    /// The time of the last turn.
    now: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    time: u64,
    at: usize,
    wait: u64,
}

const fn wait(weight: u32) -> u64 {
    // Callers leave out endpoints of weight 0.
    WAIT / if weight == 0 { 1 } else { weight as u64 }
}

impl Paced {
    /// Starts each endpoint at a random point of its first wait, so that workers start at different
    /// endpoints.
    pub(super) fn new(weights: &[u32], random: &mut dyn FnMut() -> u64) -> Self {
        let weighted = weights
            .iter()
            .enumerate()
            .filter(|&(_, &weight)| weight > 0);
        let turns = weighted.map(|(at, &weight)| {
            let wait = wait(weight);
            Reverse(Turn {
                time: below(random(), wait),
                at,
                wait,
            })
        });
        Self {
            queue: turns.collect(),
            passed: Vec::new(),
            now: 0,
        }
    }

    /// Sets new weights. Endpoints of weight 0 stay at 0.
    pub(super) fn reweigh(&mut self, weights: &[u32]) {
        let mut turns = std::mem::take(&mut self.queue).into_vec();
        for Reverse(turn) in &mut turns {
            let other = wait(weights.get(turn.at).copied().unwrap_or(0));
            let rest = u128::from(turn.time.saturating_sub(self.now)) * u128::from(other);
            turn.time = u64::try_from(rest / u128::from(turn.wait)).unwrap_or(other);
            turn.wait = other;
        }
        // Restarts the time at 0, so that it never overflows.
        self.now = 0;
        self.queue = turns.into();
    }

    pub(super) fn pick(&mut self, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let chosen = loop {
            match self.queue.pop() {
                Some(Reverse(turn)) if usable(turn.at) => break Some(turn),
                Some(Reverse(turn)) => self.passed.push(turn),
                None => break None,
            }
        };
        // An endpoint that was not usable does not catch up later.
        let now = chosen.map_or(self.now, |chosen| chosen.time);
        let later = self.passed.drain(..).map(|turn| {
            let missed = now.saturating_sub(turn.time).div_ceil(turn.wait);
            Reverse(Turn {
                time: turn.time.saturating_add(missed.saturating_mul(turn.wait)),
                ..turn
            })
        });
        self.queue.extend(later);
        let chosen = chosen?;
        self.now = chosen.time;
        self.queue.push(Reverse(Turn {
            time: chosen.time.saturating_add(chosen.wait),
            ..chosen
        }));
        Some(chosen.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(turns: &mut Paced, picks: usize, usable: &dyn Fn(usize) -> bool) -> [usize; 3] {
        let mut counts = [0; 3];
        for _ in 0..picks {
            counts[turns.pick(usable).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_in_proportion() {
        let mut turns = Paced::new(&[100, 300, 600], &mut || u64::MAX / 3);
        for (count, share) in shares(&mut turns, 1000, &|_| true)
            .iter()
            .zip([100, 300, 600])
        {
            assert!(count.abs_diff(share) <= 1);
        }
    }

    #[test]
    fn what_an_endpoint_has_waited_counts_with_other_weights() {
        // The endpoint never waits a whole turn at one weight, but still gets its turns.
        let mut turns = Paced::new(&[1000, 10], &mut || u64::MAX / 2);
        let mut second = 0;
        for round in 0..1000_u32 {
            turns.reweigh(&[1000, 10 + round % 2]);
            second += shares(&mut turns, 10, &|_| true)[1];
        }
        assert!(second.abs_diff(10_000 * 21 / 2 / 1000) <= 3, "{second}");
    }

    #[test]
    fn who_was_away_does_not_make_up_for_it() {
        let mut turns = Paced::new(&[100, 100, 200], &mut || 0);
        assert_eq!(shares(&mut turns, 300, &|at| at == 0), [300, 0, 0]);
        let after = shares(&mut turns, 400, &|_| true);
        for (count, share) in after.iter().zip([100, 100, 200]) {
            assert!(count.abs_diff(share) <= 1, "{after:?}");
        }
        assert_eq!(turns.pick(&|_| false), None);
    }
}
