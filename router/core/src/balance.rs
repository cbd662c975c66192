//! Which endpoint of a cluster takes a request. It knows endpoints by position, weight and key only;
//! which of them may be used, and how busy they are, is asked at every pick.

mod least_request;
mod maglev;
mod pool;
mod ring;
mod round_robin;

use meltemi_config::Balancing;

use maglev::Maglev;
use pool::Pool;
use ring::Ring;
use round_robin::RoundRobin;

pub(crate) use pool::below;

/// Picks endpoints of one cluster; one per worker.
///
/// Tables of the hashing balancers are shared between clones: build one, and clone it for each
/// worker.
#[derive(Clone, Debug)]
pub struct Balancer {
    pool: Pool,
    method: Method,
}

#[derive(Clone, Debug)]
enum Method {
    RoundRobin(RoundRobin),
    LeastRequest,
    Random,
    Ring(Ring),
    Maglev(Maglev),
}

impl Balancer {
    /// A balancer of as many endpoints as there are `weights`. An endpoint of weight 0 is never
    /// picked. `keys` are what hashing balancers know the endpoints by, whatever their order:
    /// [`stable_hash`](crate::stable_hash) of each one's address; the others ignore them.
    pub fn new(balancing: &Balancing, weights: &[u32], keys: &[u64]) -> Self {
        let method = match *balancing {
            Balancing::RoundRobin => Method::RoundRobin(RoundRobin::new(weights)),
            Balancing::LeastRequest => Method::LeastRequest,
            Balancing::Random => Method::Random,
            Balancing::RingHash {
                minimum_ring_size, ..
            } => Method::Ring(Ring::new(minimum_ring_size, weights, keys)),
            Balancing::Maglev { table_size, .. } => {
                Method::Maglev(Maglev::new(table_size, weights, keys))
            }
        };
        Self {
            pool: Pool::new(weights),
            method,
        }
    }

    /// Picks an endpoint. `usable(i)`: it may be used now; `load(i)`: its requests in flight;
    /// `random()`: any number, evenly. `hash` is [`CompiledRoute::hash`](crate::CompiledRoute::hash):
    /// hashing balancers pick at random without one, and walk on from an endpoint that is not usable
    /// to the next in their table; the others ignore it.
    ///
    /// `None` only if no endpoint of positive weight is usable.
    pub fn pick(
        &mut self,
        hash: Option<u64>,
        random: &mut dyn FnMut() -> u64,
        load: &dyn Fn(usize) -> u32,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        match (&mut self.method, hash) {
            (Method::RoundRobin(turns), _) => turns.pick(random, usable),
            (Method::LeastRequest, _) => least_request::pick(&self.pool, random, load, usable),
            (Method::Ring(ring), Some(hash)) => ring.pick(hash, usable),
            (Method::Maglev(table), Some(hash)) => table.pick(hash, usable),
            (Method::Random | Method::Ring(_) | Method::Maglev(_), _) => {
                self.pool.draw(random, usable)
            }
        }
    }
}

/// Positions of endpoints with a share, in an order that does not depend on how they are listed, so
/// that proxies which learned of them in another order agree. With each, its key and weight.
fn by_key(weights: &[u32], keys: &[u64]) -> Vec<(u64, u32, u32)> {
    let mut endpoints: Vec<(u64, u32, u32)> = (0..)
        .zip(weights)
        .filter(|&(_, &weight)| weight > 0)
        .map(|(at, &weight)| {
            let key = keys.get(at as usize).copied().unwrap_or(u64::from(at));
            (key, at, weight)
        })
        .collect();
    endpoints.sort_unstable();
    endpoints
}

/// The first usable owner from `start` on, around the table. The endpoints are asked first whether
/// any of them is usable: then the table is walked in about as many steps as there are unusable endpoints
/// for each usable one.
fn walk(
    owners: &[u32],
    start: usize,
    endpoints: &[u32],
    usable: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    let usable = |owner: &&u32| usable(**owner as usize);
    let (before, after) = owners.split_at_checked(start).unwrap_or((owners, &[]));
    let mut walk = after.iter().chain(before);
    let first = walk.next()?;
    if usable(&first) {
        return Some(*first as usize);
    }
    if !endpoints.iter().any(|endpoint| usable(&endpoint)) {
        return None;
    }
    // A table smaller than the number of endpoints does not name them all.
    let next = walk
        .find(&usable)
        .or_else(|| endpoints.iter().find(&usable))?;
    Some(*next as usize)
}

const fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
