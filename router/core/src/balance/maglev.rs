//! Consistent hashing in a table (Eisenbud et al., "Maglev", NSDI 2016, section 3.4): nearly even
//! shares, one memory access per pick, and few keys that move.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use super::{by_key, greatest_common_divisor};

/// The endpoint of each slot.
#[derive(Clone, Debug)]
pub(super) struct Maglev {
    table: Arc<[u32]>,
    endpoints: Arc<[u32]>,
}

/// The maximum number of slots (20 MiB). The configuration allows no more.
const MOST_SLOTS: usize = 5_000_011;

/// The state of one endpoint while the table is filled.
struct Filling {
    at: u32,
    weight: u64,
    /// The credit that it has collected for its next slot.
    credit: u64,
    /// The next slot in its permutation, and the distance to the one after.
    next: usize,
    skip: usize,
}

impl Maglev {
    /// Fills the table. In turn, each endpoint takes the first free slot of its own permutation. An
    /// endpoint of half the greatest weight has a turn every other round.
    pub(super) fn new(table_size: usize, weights: &[u32], keys: &[u64]) -> Self {
        let size = table_size.clamp(1, MOST_SLOTS);
        let order = by_key(weights, keys);
        let endpoints: Arc<[u32]> = order.iter().map(|endpoint| endpoint.1).collect();
        let heaviest = u64::from(order.iter().map(|endpoint| endpoint.2).max().unwrap_or(0));
        let mut filling: Vec<Filling> = order
            .iter()
            .map(|&(key, at, weight)| {
                let bytes = key.to_le_bytes();
                Filling {
                    at,
                    weight: u64::from(weight),
                    credit: 0,
                    next: reduce(xxh64(&bytes, 0), size),
                    skip: coprime_skip(xxh64(&bytes, 1), size),
                }
            })
            .collect();
        let mut table: Vec<Option<u32>> = vec![None; size];
        let mut free = if filling.is_empty() { 0 } else { size };
        while free > 0 {
            for endpoint in &mut filling {
                endpoint.credit += endpoint.weight;
                if endpoint.credit < heaviest {
                    continue;
                }
                endpoint.credit -= heaviest;
                endpoint.take(&mut table);
                free -= 1;
                if free == 0 {
                    break;
                }
            }
        }
        Self {
            table: table.into_iter().flatten().collect(),
            endpoints,
        }
    }

    pub(super) fn pick(&self, hash: u64, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let start = reduce(hash, self.table.len().max(1));
        super::walk(&self.table, start, &self.endpoints, usable)
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &[u32] {
        &self.table
    }
}

impl Filling {
    /// Takes the next free slot of the permutation. The caller makes sure that there is one.
    fn take(&mut self, table: &mut [Option<u32>]) {
        for _ in 0..table.len() {
            let slot = self.next;
            self.next += self.skip;
            if self.next >= table.len() {
                self.next -= table.len();
            }
            if let Some(free @ None) = table.get_mut(slot) {
                *free = Some(self.at);
                return;
            }
        }
    }
}

fn reduce(hash: u64, size: usize) -> usize {
    // Less than `size`, so it fits.
    (hash % size as u64) as usize
}

/// Returns a step that visits every slot. For a prime size, which every checked configuration has,
/// this is any number from 1 up. For another size it is the next number coprime to the size.
fn coprime_skip(hash: u64, size: usize) -> usize {
    if size < 3 {
        return size - 1;
    }
    let first = reduce(hash, size - 1) + 1;
    (first..size)
        .find(|&skip| greatest_common_divisor(skip as u64, size as u64) == 1)
        .unwrap_or(1)
}
