//! Smooth weighted round robin: the turns of a heavy endpoint are spread among those of the others.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::pool::below;

/// Endpoints, and the next turn of each.
#[derive(Clone, Debug)]
pub(super) struct RoundRobin {
    turns: Turns,
    /// `true` until the first pick, which chooses a random start. Without it the first request of
    /// every worker of every proxy would go to the same endpoint.
    fresh: bool,
}

#[derive(Clone, Debug)]
enum Turns {
    /// All weights are equal. Endpoints are `0..count`; `next` is the next one.
    Equal { count: usize, next: usize },
    Weighted {
        queue: BinaryHeap<Reverse<Turn>>,
        /// Endpoints whose turn came while they were not usable. Empty between picks.
        passed: Vec<Turn>,
    },
}

/// The next turn of one endpoint. Turn `n` (from 0) of weight `w` is in the middle of its time
/// slice, at `(2n + 1) / 2w`. So an endpoint has exactly `w` turns in every unit of time, evenly
/// spread.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: u64,
    weight: u32,
    at: usize,
    /// Orders turns at the same time.
    rank: usize,
}

impl RoundRobin {
    pub(super) fn new(weights: &[u32]) -> Self {
        let first = weights.first().copied().unwrap_or(0);
        let turns = if first > 0 && weights.iter().all(|&weight| weight == first) {
            Turns::Equal {
                count: weights.len(),
                next: 0,
            }
        } else {
            let first_turn = |(at, &weight): (usize, &u32)| Turn {
                number: 0,
                weight,
                at,
                rank: at,
            };
            let turns = weights.iter().enumerate().map(first_turn);
            Turns::Weighted {
                queue: turns.filter(|turn| turn.weight > 0).map(Reverse).collect(),
                passed: Vec::new(),
            }
        };
        Self { turns, fresh: true }
    }

    #[inline]
    pub(super) fn pick(
        &mut self,
        random: &mut dyn FnMut() -> u64,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        if std::mem::take(&mut self.fresh) {
            self.turns.start(random());
        }
        match &mut self.turns {
            Turns::Equal { count, next } => {
                let at = (*next..*count).chain(0..*next).find(|&at| usable(at))?;
                *next = if at + 1 < *count { at + 1 } else { 0 };
                Some(at)
            }
            Turns::Weighted { queue, passed } => {
                let chosen = loop {
                    match queue.pop() {
                        Some(Reverse(turn)) if usable(turn.at) => break Some(turn),
                        Some(Reverse(turn)) => passed.push(turn),
                        None => break None,
                    }
                };
                // An endpoint that was not usable does not catch up later.
                queue.extend(
                    passed
                        .drain(..)
                        .map(|turn| Reverse(chosen.map_or(turn, |chosen| turn.after(chosen)))),
                );
                let chosen = chosen?;
                queue.push(Reverse(Turn {
                    number: chosen.number + 1,
                    ..chosen
                }));
                Some(chosen.at)
            }
        }
    }
}

impl Turns {
    fn start(&mut self, random: u64) {
        match self {
            Self::Equal { count, next } => *next = below(random, *count as u64) as usize,
            Self::Weighted { queue, .. } => {
                let mut turns = std::mem::take(queue).into_vec();
                let count = turns.iter().map(|turn| turn.0.at + 1).max().unwrap_or(0);
                let shift = below(random, count as u64) as usize;
                for Reverse(turn) in &mut turns {
                    let rank = turn.at + shift;
                    turn.rank = if rank < count { rank } else { rank - count };
                }
                *queue = turns.into();
            }
        }
    }
}

impl Turn {
    /// Returns this endpoint's first turn that is later than `other`'s.
    fn after(self, other: Self) -> Self {
        // The least n with (2n + 1) / w > (2m + 1) / v is floor(((2m + 1) * w / v - 1) / 2) + 1.
        let reached = other.time() * u128::from(self.weight) / u128::from(other.weight.max(1));
        let number = u64::try_from(reached.div_ceil(2)).unwrap_or(u64::MAX);
        Self {
            number: number.max(self.number),
            ..self
        }
    }

    /// Returns the time of the turn, times twice the weight.
    fn time(self) -> u128 {
        u128::from(self.number) * 2 + 1
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // Fractions compare exactly when cross-multiplied: at most 65 by 32 bits.
        let mine = self.time() * u128::from(other.weight);
        let theirs = other.time() * u128::from(self.weight);
        mine.cmp(&theirs).then(self.rank.cmp(&other.rank))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_after_another_is_the_first_later_one() {
        for (weight, other_weight) in [(1, 1), (3, 7), (7, 3), (5, 1), (1, 5), (4, 6)] {
            for number in 0..50 {
                let turn = |number, weight| Turn {
                    number,
                    weight,
                    at: 0,
                    rank: 0,
                };
                let other = turn(number, other_weight);
                let after = turn(0, weight).after(other);
                assert!(after > other);
                assert!(after.number == 0 || turn(after.number - 1, weight) <= other);
            }
        }
    }
}
