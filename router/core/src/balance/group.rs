//! A group of endpoints that differ only by weight, for one balancing method: a whole cluster, or
//! the endpoints of one priority and locality.

use std::sync::Arc;

use meltemi_config::{Balancing, Cluster};

use super::Host;
use super::least_request;
use super::maglev::Maglev;
use super::paced::Paced;
use super::pool::Pool;
use super::ring::Ring;
use super::round_robin::RoundRobin;
use super::warming::WHOLE;

/// A group of endpoints and its balancing method.
#[derive(Clone, Debug)]
pub(super) struct HostGroup {
    pool: Pool,
    method: Method,
    /// Their positions in the cluster. `None` if the group is the whole cluster.
    places: Option<Arc<[usize]>>,
    /// Their weights without warm-up. `None` if the cluster has no warm-up.
    full: Option<Arc<[u32]>>,
    /// `true` if pool and method use reduced weights.
    warming: bool,
}

#[derive(Clone, Debug)]
enum Method {
    RoundRobin(RoundRobin),
    /// Round robin while an endpoint warms up.
    Paced(Paced),
    LeastRequest,
    Random,
    Ring(Ring),
    Maglev(Maglev),
}

impl Method {
    fn new(balancing: &Balancing, weights: &[u32], keys: &[u64]) -> Self {
        match *balancing {
            Balancing::RoundRobin => Self::RoundRobin(RoundRobin::new(weights)),
            Balancing::LeastRequest => Self::LeastRequest,
            Balancing::Random => Self::Random,
            Balancing::RingHash {
                minimum_ring_size, ..
            } => Self::Ring(Ring::new(minimum_ring_size, weights, keys)),
            Balancing::Maglev { table_size, .. } => {
                Self::Maglev(Maglev::new(table_size, weights, keys))
            }
        }
    }

    // Runs once per request. A call with so many arguments costs as much as the pick.
    #[inline(always)]
    fn pick(
        &mut self,
        pool: &Pool,
        hash: Option<u64>,
        random: &mut dyn FnMut() -> u64,
        load: &dyn Fn(usize) -> u32,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        match (self, hash) {
            (Self::RoundRobin(turns), _) => turns.pick(random, usable),
            (Self::Paced(turns), _) => turns.pick(usable),
            (Self::LeastRequest, _) => least_request::pick(pool, random, load, usable),
            (Self::Ring(ring), Some(hash)) => ring.pick(hash, usable),
            (Self::Maglev(table), Some(hash)) => table.pick(hash, usable),
            (Self::Random | Self::Ring(_) | Self::Maglev(_), _) => pool.draw(random, usable),
        }
    }
}

impl HostGroup {
    /// Creates the group of all endpoints of a cluster.
    pub(super) fn whole(cluster: &Cluster, members: &[Host<'_>]) -> Self {
        Self::of(cluster, members.iter(), None)
    }

    /// Creates the group of the endpoints at these positions.
    pub(super) fn part(cluster: &Cluster, members: &[Host<'_>], places: Vec<usize>) -> Self {
        let here = places.iter().filter_map(|&at| members.get(at));
        Self::of(cluster, here, Some(places.as_slice().into()))
    }

    fn of<'a>(
        cluster: &Cluster,
        members: impl Iterator<Item = &'a Host<'a>>,
        places: Option<Arc<[usize]>>,
    ) -> Self {
        let (weights, keys): (Vec<u32>, Vec<u64>) =
            members.map(|member| (member.weight, member.key)).unzip();
        let method = Method::new(&cluster.balancing, &weights, &keys);
        // A hash table is too expensive to rebuild during a warm-up. Envoy has no warm-up for
        // hashing either.
        let warms =
            cluster.warmup.is_some() && !matches!(method, Method::Ring(_) | Method::Maglev(_));
        Self {
            pool: Pool::new(&weights),
            method,
            places,
            full: warms.then(|| weights.into()),
            warming: false,
        }
    }

    /// Returns a position in the cluster. `None` if no endpoint is usable.
    #[inline(always)]
    pub(super) fn pick(
        &mut self,
        hash: Option<u64>,
        random: &mut dyn FnMut() -> u64,
        load: &dyn Fn(usize) -> u32,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        if self.places.is_none() {
            return self.method.pick(&self.pool, hash, random, load, usable);
        }
        self.pick_place(hash, random, load, usable)
    }

    fn pick_place(
        &mut self,
        hash: Option<u64>,
        random: &mut dyn FnMut() -> u64,
        load: &dyn Fn(usize) -> u32,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let places = self.places.as_ref()?;
        let load = |at| places.get(at).map_or(0, |&place| load(place));
        let usable = |at| places.get(at).is_some_and(|&place| usable(place));
        let at = self.method.pick(&self.pool, hash, random, &load, &usable)?;
        places.get(at).copied()
    }

    /// Returns the number of endpoints for which `counted` returns `true`.
    pub(super) fn count(&self, counted: &dyn Fn(usize) -> bool) -> u64 {
        let places = self.places.iter().flat_map(|places| places.iter());
        places.map(|&place| u64::from(counted(place))).sum()
    }

    /// Sets each endpoint's weight to a number of thousandths of its full weight. Returns `true` if
    /// any has less than 1000.
    pub(super) fn reweigh(
        &mut self,
        random: &mut dyn FnMut() -> u64,
        portion: &dyn Fn(usize) -> u32,
    ) -> bool {
        let Some(full) = self.full.clone() else {
            return false;
        };
        let place = |at: usize| match &self.places {
            None => at,
            Some(places) => places.get(at).copied().unwrap_or(at),
        };
        let portion = |at| portion(place(at)).min(WHOLE);
        let some = full
            .iter()
            .enumerate()
            .any(|(at, &weight)| weight > 0 && portion(at) < WHOLE);
        if some {
            // Weights that would overflow when multiplied by a thousand are scaled down. They are so
            // large that they do not need the lost precision.
            let heaviest = u64::from(full.iter().copied().max().unwrap_or(0));
            let divisor = (heaviest * u64::from(WHOLE))
                .div_ceil(u64::from(u32::MAX))
                .max(1);
            let weights: Vec<u32> = full
                .iter()
                .enumerate()
                .map(|(at, &weight)| {
                    let now = u64::from(weight) * u64::from(portion(at)) / divisor;
                    u32::try_from(now).unwrap_or(u32::MAX).max(weight.min(1))
                })
                .collect();
            self.pool = Pool::new(&weights);
            match &mut self.method {
                Method::RoundRobin(_) => self.method = Method::Paced(Paced::new(&weights, random)),
                Method::Paced(turns) => turns.reweigh(&weights),
                _ => {}
            }
        } else if self.warming {
            self.pool = Pool::new(&full);
            if matches!(self.method, Method::Paced(_)) {
                self.method = Method::RoundRobin(RoundRobin::new(&full));
            }
        }
        self.warming = some;
        some
    }
}
