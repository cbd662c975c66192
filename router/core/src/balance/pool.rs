//! Draws endpoints at random, in proportion to their weights.

/// Endpoints with their weights.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    weights: Box<[u32]>,
    shares: Shares,
}

#[derive(Clone, Debug)]
enum Shares {
    /// All weights are the same positive number.
    Equal,
    /// For each endpoint, the sum of the weights up to and including its own.
    Sums(Box<[u64]>),
}

/// How many draws may hit an unusable endpoint before all endpoints are tested. Drawing again is
/// cheap while most endpoints are usable, and keeps the proportions among them.
const TRIES: usize = 4;

impl Pool {
    pub(super) fn new(weights: &[u32]) -> Self {
        let first = weights.first().copied().unwrap_or(0);
        let shares = if first > 0 && weights.iter().all(|&weight| weight == first) {
            Shares::Equal
        } else {
            let sums = weights.iter().scan(0, |sum, &weight| {
                *sum += u64::from(weight);
                Some(*sum)
            });
            Shares::Sums(sums.collect())
        };
        Self {
            weights: weights.into(),
            shares,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.weights.len()
    }

    /// Returns the weight of an endpoint, 0 if there is no such endpoint.
    pub(super) fn weight(&self, at: usize) -> u32 {
        self.weights.get(at).copied().unwrap_or(0)
    }

    /// Draws a usable endpoint by weight. `None` only if no endpoint of positive weight is usable.
    pub(super) fn draw(
        &self,
        random: &mut dyn FnMut() -> u64,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        for _ in 0..TRIES {
            let at = self.draw_any(random())?;
            if usable(at) {
                return Some(at);
            }
        }
        self.draw_among_all(random(), usable)
    }

    /// Draws an endpoint of positive weight, usable or not.
    fn draw_any(&self, random: u64) -> Option<usize> {
        match &self.shares {
            Shares::Equal => Some(below(random, self.len() as u64) as usize),
            Shares::Sums(sums) => {
                let sum = sums.last().copied().filter(|&sum| sum > 0)?;
                let point = below(random, sum);
                Some(sums.partition_point(|&sum| sum <= point))
            }
        }
    }

    /// The same draw, but tests every endpoint first.
    fn draw_among_all(&self, random: u64, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let candidates = || {
            let weighted = self.weights.iter().copied().enumerate();
            weighted.filter(|&(at, weight)| weight > 0 && usable(at))
        };
        let sum: u64 = candidates().map(|(_, weight)| u64::from(weight)).sum();
        let mut point = below(random, sum);
        let mut last = None;
        for (at, weight) in candidates() {
            last = Some(at);
            match point.checked_sub(u64::from(weight)) {
                Some(rest) => point = rest,
                None => break,
            }
        }
        last
    }
}

/// Scales a random number to `0..limit`, as evenly as 64 bits allow. Returns 0 if `limit` is 0.
pub(crate) fn below(random: u64, limit: u64) -> u64 {
    // The high half of a product is less than either factor.
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}
