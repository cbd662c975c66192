//! Consistent hashing on a ring (Karger et al.; ketama): a request goes to the owner of the first
//! point at or after its hash.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use super::{by_key, greatest_common_divisor};

/// The points of all endpoints, ordered by hash.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    hashes: Arc<[u64]>,
    /// The endpoint that owns each point.
    owners: Arc<[u32]>,
    endpoints: Arc<[u32]>,
}

/// The maximum number of points (12 MiB), however large the weights and the configured minimum.
const MOST_POINTS: u64 = 1 << 20;

/// The minimum number of points for the average endpoint, however small the configured minimum. The
/// shares of endpoints with n points deviate by about 1/sqrt(n).
const POINTS_PER_ENDPOINT: u64 = 64;

impl Ring {
    /// Builds the ring. An endpoint has as many points as its weight (divided by the greatest
    /// common divisor of all weights) times a power of two that brings the ring to its minimum
    /// size. So the number stays the same when another endpoint comes or goes, unless that halves
    /// or doubles the ring, and only the keys of that endpoint move.
    pub(super) fn new(minimum_size: usize, weights: &[u32], keys: &[u64]) -> Self {
        let endpoints = by_key(weights, keys);
        let common = endpoints
            .iter()
            .fold(0, |common, &(_, _, weight)| {
                greatest_common_divisor(common, weight.into())
            })
            .max(1);
        let sum: u64 = endpoints
            .iter()
            .map(|&(_, _, weight)| u64::from(weight) / common)
            .sum();
        let minimum = u64::try_from(minimum_size)
            .unwrap_or(u64::MAX)
            .max(POINTS_PER_ENDPOINT * endpoints.len() as u64)
            .min(MOST_POINTS / 2);
        let factor = minimum.div_ceil(sum.max(1)).next_power_of_two();
        let count = |weight: u32| {
            let count = u64::from(weight) / common * factor;
            if sum * factor <= MOST_POINTS {
                count
            } else {
                // The weights differ too much: keeps the proportions as far as there is room.
                let scaled = u128::from(count) * u128::from(MOST_POINTS) / u128::from(sum * factor);
                u64::try_from(scaled).unwrap_or(MOST_POINTS).max(1)
            }
        };
        let mut points: Vec<(u64, u64, u32)> = endpoints
            .iter()
            .flat_map(|&(key, at, weight)| {
                let key_bytes = key.to_le_bytes();
                (0..count(weight)).map(move |number| (xxh64(&key_bytes, number), key, at))
            })
            .collect();
        points.sort_unstable();
        Self {
            hashes: points.iter().map(|point| point.0).collect(),
            owners: points.iter().map(|point| point.2).collect(),
            endpoints: endpoints.iter().map(|endpoint| endpoint.1).collect(),
        }
    }

    pub(super) fn pick(&self, hash: u64, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let start = self.hashes.partition_point(|&point| point < hash);
        super::walk(&self.owners, start, &self.endpoints, usable)
    }

    #[cfg(test)]
    pub(super) fn owners(&self) -> &[u32] {
        &self.owners
    }
}
