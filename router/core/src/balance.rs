//! Selects the endpoint of a cluster for a request. Endpoints are known by position, weight, key,
//! priority and locality. Their health and load are read at every pick.

mod group;
mod layers;
mod least_request;
mod maglev;
mod paced;
mod pool;
mod ring;
mod round_robin;
mod warming;

use meltemi_config::{Cluster, Locality};

use crate::HealthStatus;
use group::HostGroup;
use layers::Layers;
use warming::Warming;

pub(crate) use pool::below;

/// Picks endpoints of one cluster. Each worker has its own.
///
/// The choice has four layers:
///
/// 1. **Priority.** A priority takes the load that its fit endpoints can carry, `min(100 %, 140 % ×
///    fit / all)`, and the next priority takes the rest. If all priorities together cannot carry
///    the whole load, they share it in these proportions (as in Envoy).
/// 2. **Panic.** In that case, a priority with less than [`Cluster::panic`] of fit endpoints uses
///    all its endpoints, whatever their health. If every priority is in panic, each takes load in
///    proportion to its number of endpoints.
/// 3. **Locality**, if the cluster has locality shares: each locality gets its share times `min(1,
///    1.4 × fit / all)`. An endpoint whose locality has no share is never picked. The most specific
///    matching share applies to a locality; an empty field of a share matches any value.
/// 4. **Method**, among the endpoints of that priority and locality.
///
/// The hash of a request also selects its layers, so that equal requests stay on the same endpoint.
/// When endpoints become unfit, only requests of the part that shrinks move.
///
/// Clones share the tables of hashing balancers: build one balancer, and clone it for each worker.
#[derive(Clone, Debug)]
pub struct Balancer {
    shape: Shape,
    warming: Option<Warming>,
}

#[derive(Clone, Debug)]
enum Shape {
    /// One priority, no locality shares, no panic: nothing has to be counted.
    Flat(HostGroup),
    Layered(Box<Layers>),
}

/// An endpoint, for [`Balancer::new`].
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its weight, relative to the others of its priority and locality. An endpoint of weight 0 is
    /// never picked.
    pub weight: u32,
    /// The identity of the endpoint for hashing balancers, independent of its position:
    /// [`stable_hash`](crate::stable_hash) of its address. Other methods ignore it.
    pub key: u64,
    /// Its priority. The lowest number is used first.
    pub priority: u32,
    /// Its locality.
    pub locality: &'a Locality,
}

/// The current facts about endpoints, by position.
pub trait Endpoints {
    /// Returns the endpoint's current health.
    fn fitness(&self, at: usize) -> HealthStatus;

    /// Returns the endpoint's number of requests in flight.
    fn load(&self, at: usize) -> u32;

    /// Returns when the endpoint joined or became healthy again, in microseconds. Only called if
    /// the cluster has a warm-up.
    fn since_us(&self, at: usize) -> u64 {
        let _ = at;
        0
    }
}

/// A request that needs an endpoint.
#[derive(Clone, Copy, Default)]
pub struct PickRequest<'a> {
    /// The hash from [`CompiledRoute::hash`](crate::CompiledRoute::hash). Without a hash, hashing
    /// balancers pick at random. From an unusable endpoint they go on to the next one in their
    /// table. Other methods ignore the hash.
    pub hash: Option<u64>,
    /// The time in microseconds, on the clock of [`Endpoints::since_us`].
    pub now_us: u64,
    /// Any number that changes when an endpoint becomes fit or unfit, such as
    /// [`ClusterHealth::epoch`](crate::ClusterHealth::epoch). Fit endpoints are counted again when
    /// it changes, and after 100 ms at the latest.
    pub epoch: u64,
    /// Returns `true` for an endpoint that an earlier attempt has tried. `None` if this is the
    /// first attempt.
    pub tried: Option<&'a dyn Fn(usize) -> bool>,
}

/// The endpoint for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its position.
    pub at: usize,
    /// `true` if the endpoint is not fit, and is used because too few are. Such a request needs no
    /// [`EndpointHealth::admit`](crate::EndpointHealth::admit).
    pub panic: bool,
}

impl Balancer {
    /// Creates a balancer for these endpoints of a cluster. They can differ from the cluster's
    /// definition (a name may have many addresses).
    pub fn new(cluster: &Cluster, members: &[Host<'_>]) -> Self {
        let layers = Layers::new(cluster, members);
        Self {
            shape: layers.map_or_else(
                || Shape::Flat(HostGroup::whole(cluster, members)),
                |layers| Shape::Layered(Box::new(layers)),
            ),
            warming: cluster.warmup.as_ref().map(Warming::new),
        }
    }

    /// Picks an endpoint. `random()` returns any number, evenly distributed.
    ///
    /// The order of preference, each by the layers and the method:
    ///
    /// 1. a fit endpoint that was not tried, of another priority or locality if necessary;
    /// 2. a fit endpoint that was tried;
    /// 3. an endpoint that could not be reached lately and was not tried, because it may be
    ///    reachable again;
    /// 4. an endpoint that could not be reached lately.
    ///
    /// Endpoints that failed their probes or are ejected are used in panic only. So the result is
    /// `None` if no endpoint has a weight, or if all that have one are known to be unfit.
    pub fn pick<E: Endpoints>(
        &mut self,
        ask: &PickRequest<'_>,
        random: &mut dyn FnMut() -> u64,
        endpoints: &E,
    ) -> Option<Pick> {
        if let Some(warming) = &mut self.warming
            && warming.is_due(ask)
        {
            let age_us = |at| ask.now_us.saturating_sub(endpoints.since_us(at));
            let some = self
                .shape
                .reweigh(random, &|at| warming.portion(age_us(at)));
            warming.applied(ask, some);
        }
        let load = |at| endpoints.load(at);
        let fit = |at| endpoints.fitness(at) == HealthStatus::Healthy;
        // The usual case.
        if let Shape::Flat(group) = &mut self.shape
            && ask.tried.is_none()
            && let Some(at) = group.pick(ask.hash, random, &load, &fit)
        {
            return Some(Pick { at, panic: false });
        }
        self.by_preference(ask, random, endpoints)
    }

    #[inline(never)]
    fn by_preference<E: Endpoints>(
        &mut self,
        ask: &PickRequest<'_>,
        random: &mut dyn FnMut() -> u64,
        endpoints: &E,
    ) -> Option<Pick> {
        if let Shape::Layered(layers) = &mut self.shape {
            layers.count(ask, &|at| endpoints.fitness(at));
        }
        let load = |at| endpoints.load(at);
        let fit = |at| endpoints.fitness(at) == HealthStatus::Healthy;
        let doubtful = |at| endpoints.fitness(at) == HealthStatus::Degraded;
        let any = |_| true;
        let mut among = |usable: &dyn Fn(usize) -> bool, in_panic: &dyn Fn(usize) -> bool| {
            match &mut self.shape {
                Shape::Flat(group) => {
                    let at = group.pick(ask.hash, random, &load, usable)?;
                    Some(Pick { at, panic: false })
                }
                Shape::Layered(layers) => layers.pick(ask.hash, random, &load, usable, in_panic),
            }
        };
        let choice = match ask.tried {
            None => among(&fit, &any).or_else(|| among(&doubtful, &any)),
            Some(tried) => {
                let untried = |at| !tried(at);
                among(&|at| fit(at) && untried(at), &untried)
                    .or_else(|| among(&fit, &any))
                    .or_else(|| among(&|at| doubtful(at) && untried(at), &untried))
                    .or_else(|| among(&doubtful, &any))
            }
        }?;
        let usable = || {
            matches!(
                endpoints.fitness(choice.at),
                HealthStatus::Healthy | HealthStatus::Degraded
            )
        };
        Some(Pick {
            panic: choice.panic && !usable(),
            ..choice
        })
    }
}

impl Shape {
    /// Sets each endpoint's weight to a number of thousandths of its full weight. Returns `true` if
    /// any has less than 1000.
    fn reweigh(&mut self, random: &mut dyn FnMut() -> u64, portion: &dyn Fn(usize) -> u32) -> bool {
        match self {
            Self::Flat(group) => group.reweigh(random, portion),
            Self::Layered(layers) => layers.reweigh(random, portion),
        }
    }
}

/// Returns the endpoints of positive weight as key, weight and position, in an order that does not
/// depend on the order of the list. So proxies that learned the endpoints in different orders
/// agree.
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

/// Returns the first usable owner from `start` on, around the table. First checks whether any
/// endpoint is usable. The walk then takes about as many steps as there are unusable endpoints for
/// each usable one.
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
    // A table smaller than the number of endpoints does not contain all of them.
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
