//! Which endpoint of a cluster takes a request. It knows endpoints by position, weight, key, priority
//! and locality; how fit they are, and how busy, is asked at every pick.

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

/// Picks endpoints of one cluster; one per worker.
///
/// It decides in layers:
///
/// 1. **Priority.** A priority takes as much as its fit endpoints can carry, `min(100 %, 140 % × fit /
///    all)`, and the next one what is left; if all of them together cannot carry everything, they
///    share it in these proportions (as in Envoy).
/// 2. **Panic.** If they cannot, a priority of which less than [`Cluster::panic`] is fit uses all its
///    endpoints, whatever is known of them; if that holds for every priority, each takes as much as it
///    has endpoints.
/// 3. **Locality**, if the cluster has shares for them: each gets its share times `min(1, 1.4 × fit / all)`.
///    An endpoint whose locality has no share is never picked. A share holds for the localities
///    that it names most closely: an empty field of it matches any.
/// 4. **Method**, among the endpoints of that priority and locality.
///
/// Requests with a hash choose their layers by it, too, so that they stay where they are: when
/// endpoints become unfit, only requests of the part that shrinks move.
///
/// Tables of the hashing balancers are shared between clones: build one, and clone it for each
/// worker.
#[derive(Clone, Debug)]
pub struct Balancer {
    shape: Shape,
    warming: Option<Warming>,
}

#[derive(Clone, Debug)]
enum Shape {
    /// One priority, no shares of localities, no panic: nothing has to be counted.
    Flat(HostGroup),
    Layered(Box<Layers>),
}

/// An endpoint, for [`Balancer::new`].
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its share, relative to the others of its priority and locality. Zero: it is never picked.
    pub weight: u32,
    /// What hashing balancers know it by, wherever it stands in the list:
    /// [`stable_hash`](crate::stable_hash) of its address; the others ignore it.
    pub key: u64,
    /// The lowest is used first.
    pub priority: u32,
    /// Where it stands.
    pub locality: &'a Locality,
}

/// What a balancer asks about endpoints, by their positions.
pub trait Endpoints {
    /// Whether it may be used now.
    fn fitness(&self, at: usize) -> HealthStatus;

    /// Its requests in flight.
    fn load(&self, at: usize) -> u32;

    /// When it joined or became fit again, in microseconds. Only asked if the cluster has a warm-up.
    fn since_us(&self, at: usize) -> u64 {
        let _ = at;
        0
    }
}

/// A request that needs an endpoint.
#[derive(Clone, Copy, Default)]
pub struct PickRequest<'a> {
    /// [`CompiledRoute::hash`](crate::CompiledRoute::hash). Hashing balancers pick at random without
    /// one, and walk on from an endpoint that cannot be used to the next in their table; the others
    /// ignore it.
    pub hash: Option<u64>,
    /// The time, on the clock of [`Endpoints::since_us`].
    pub now_us: u64,
    /// Any number that changes when an endpoint becomes fit or unfit, such as
    /// [`ClusterHealth::epoch`](crate::ClusterHealth::epoch). Fit endpoints are counted when it changes, and after 100 ms
    /// at the latest.
    pub epoch: u64,
    /// Endpoints that a retry has tried already; `None`: it is the first attempt.
    pub tried: Option<&'a dyn Fn(usize) -> bool>,
}

/// The endpoint for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its position.
    pub at: usize,
    /// It is not fit, and used because too few are. Such a request needs no
    /// [`EndpointHealth::admit`](crate::EndpointHealth::admit).
    pub panic: bool,
}

impl Balancer {
    /// A balancer of these endpoints of a cluster, which need not be those of its definition (a name
    /// may have many addresses).
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

    /// Picks an endpoint. `random()`: any number, evenly.
    ///
    /// In this order of preference, each by the layers and the method:
    ///
    /// 1. one that is fit and was not tried, of another priority or locality if need be;
    /// 2. one that is fit and was tried;
    /// 3. one that could not be reached lately and was not tried, as it may be back;
    /// 4. one that could not be reached lately.
    ///
    /// Endpoints that failed their probes or are ejected are used in panic only. So `None` means: no
    /// endpoint has a share, or all that have one are known to be unfit.
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
        // Nearly always this is all.
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
    /// Gives each endpoint so many thousandths of its weight. Tells whether any has less than all.
    fn reweigh(&mut self, random: &mut dyn FnMut() -> u64, portion: &dyn Fn(usize) -> u32) -> bool {
        match self {
            Self::Flat(group) => group.reweigh(random, portion),
            Self::Layered(layers) => layers.reweigh(random, portion),
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
