//! Priorities, panic and localities: selects the group of endpoints for a request. Group loads are
//! computed rarely; each pick only draws from them.

use std::collections::BTreeMap;

use meltemi_config::{Balancing, Cluster, Locality, Share};
use xxhash_rust::xxh64::xxh64;

use super::group::HostGroup;
use super::pool::below;
use super::{Host, Pick, PickRequest};
use crate::HealthStatus;

/// The whole load of a cluster, in millionths. Also 100 % of any other quantity in this module.
const ALL: u64 = Share::ALL.as_millionths() as u64;

/// How much more than its part a fit endpoint is expected to carry, in percent (Envoy's
/// overprovisioning factor).
const OVERPROVISIONING: u64 = 140;

/// Endpoints can become fit without a new epoch, when time passes. They are counted again after
/// this interval, in microseconds.
const RECOUNT_US: u64 = 100_000;

/// How many draws may hit a group without a usable endpoint before all groups are tried.
const TRIES: usize = 4;

/// The groups of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    panic: Share,
    hashes: bool,
    /// The priorities, lowest number first.
    tiers: Vec<Tier>,
    /// The portions, ordered by priority, and within a priority by share.
    portions: Vec<Portion>,
    /// The sum of the loads of all portions. 0 if there are no portions or no endpoint can carry
    /// load.
    sum: u64,
    counted: Option<Counted>,
}

/// When the endpoints were last counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    epoch: u64,
    at_us: u64,
}

/// A priority.
#[derive(Clone, Debug, Default)]
struct Tier {
    all: u64,
    fit: u64,
    panic: bool,
    load: u64,
    /// The sum of what the portions of this priority would get on their own.
    shares: u64,
}

/// The endpoints of one priority and, if the cluster has shares, of one locality.
#[derive(Clone, Debug)]
struct Portion {
    group: HostGroup,
    tier: usize,
    share: u64,
    all: u64,
    fit: u64,
    load: u64,
    /// Identifies the portion to requests with a hash. It is the same in every process.
    key: u64,
}

/// Returns the load that `fit` of `all` endpoints can carry.
fn capacity(fit: u64, all: u64) -> u64 {
    let percent = u128::from(OVERPROVISIONING) * u128::from(fit) * u128::from(ALL);
    let capacity = percent / (100 * u128::from(all.max(1)));
    u64::try_from(capacity).unwrap_or(ALL).min(ALL)
}

/// Returns `load * part / whole`. `part` must be at most `whole`.
fn part_of(load: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(load) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(scaled).unwrap_or(load)
}

impl Layers {
    /// Returns `None` if there is only one group, so that counting is not needed.
    pub(super) fn new(cluster: &Cluster, members: &[Host<'_>]) -> Option<Self> {
        let shares = &cluster.localities.shares;
        let mut places: BTreeMap<(u32, usize), Vec<usize>> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            if member.weight == 0 {
                continue;
            }
            let share = if shares.is_empty() {
                Some(0)
            } else {
                share_of(shares, member.locality)
            };
            if let Some(share) = share {
                places.entry((member.priority, share)).or_default().push(at);
            }
        }
        if shares.is_empty() && places.len() < 2 && cluster.panic == Share::NONE {
            return None;
        }
        let mut tiers: Vec<Tier> = Vec::new();
        let mut portions: Vec<Portion> = Vec::new();
        let mut last = None;
        for ((priority, share), places) in places {
            if last.replace(priority) != Some(priority) {
                tiers.push(Tier::default());
            }
            let (locality, share) = shares
                .get(share)
                .map_or((None, 1), |(locality, share)| (Some(locality), *share));
            let all = places.len() as u64;
            if let Some(tier) = tiers.last_mut() {
                tier.all += all;
            }
            portions.push(Portion {
                group: HostGroup::part(cluster, members, places),
                tier: tiers.len().saturating_sub(1),
                share: u64::from(share),
                all,
                fit: 0,
                load: 0,
                key: key_of(priority, locality),
            });
        }
        Some(Self {
            panic: cluster.panic,
            hashes: matches!(
                cluster.balancing,
                Balancing::RingHash { .. } | Balancing::Maglev { .. }
            ),
            tiers,
            portions,
            sum: 0,
            counted: None,
        })
    }

    /// Computes the load of each group, if it may have changed.
    pub(super) fn count(&mut self, ask: &PickRequest<'_>, fitness: &dyn Fn(usize) -> HealthStatus) {
        let current = self.counted.is_some_and(|counted| {
            counted.epoch == ask.epoch && ask.now_us.abs_diff(counted.at_us) < RECOUNT_US
        });
        if current {
            return;
        }
        self.counted = Some(Counted {
            epoch: ask.epoch,
            at_us: ask.now_us,
        });
        self.count_those(&|at| {
            matches!(fitness(at), HealthStatus::Healthy | HealthStatus::Probation)
        });
        let nobody = self.tiers.iter().all(|tier| tier.fit == 0 && !tier.panic);
        if nobody {
            // Endpoints that may be reachable again share the load as if they were.
            self.count_those(&|at| fitness(at) == HealthStatus::Degraded);
        }
    }

    fn count_those(&mut self, fit: &dyn Fn(usize) -> bool) {
        for tier in &mut self.tiers {
            tier.fit = 0;
        }
        for portion in &mut self.portions {
            portion.fit = portion.group.count(fit);
            if let Some(tier) = self.tiers.get_mut(portion.tier) {
                tier.fit += portion.fit;
            }
        }
        self.load_tiers();
        self.load_portions();
    }

    fn load_tiers(&mut self) {
        let capacities = self.tiers.iter().map(|tier| capacity(tier.fit, tier.all));
        let together = capacities.sum::<u64>().min(ALL);
        let threshold = u64::from(self.panic.as_millionths());
        for tier in &mut self.tiers {
            // No panic as long as all priorities together can carry the whole load.
            tier.panic = together < ALL && part_of(ALL, tier.fit, tier.all) < threshold;
        }
        let all: u64 = self.tiers.iter().map(|tier| tier.all).sum();
        let total_panic = self.tiers.iter().all(|tier| tier.panic);
        let mut rest = ALL;
        for tier in &mut self.tiers {
            let wanted = if total_panic {
                part_of(ALL, tier.all, all)
            } else {
                part_of(ALL, capacity(tier.fit, tier.all), together)
            };
            tier.load = wanted.min(rest);
            rest -= tier.load;
        }
    }

    fn load_portions(&mut self) {
        self.sum = 0;
        for tier in &mut self.tiers {
            tier.shares = 0;
        }
        for portion in &mut self.portions {
            let Some(tier) = self.tiers.get_mut(portion.tier) else {
                continue;
            };
            let carries = if tier.panic {
                ALL
            } else {
                capacity(portion.fit, portion.all)
            };
            // At most 32 by 20 bits; sums still have room.
            portion.load = portion.share * carries;
            tier.shares += portion.load;
        }
        for portion in &mut self.portions {
            let Some(tier) = self.tiers.get(portion.tier) else {
                continue;
            };
            // In millionths of a millionth, so that small shares of small loads are not lost.
            portion.load = part_of(tier.load * ALL, portion.load, tier.shares);
            self.sum += portion.load;
        }
    }

    /// Picks in a group drawn by load. If no endpoint there is usable, picks in another group.
    pub(super) fn pick(
        &mut self,
        hash: Option<u64>,
        random: &mut dyn FnMut() -> u64,
        load: &dyn Fn(usize) -> u32,
        usable: &dyn Fn(usize) -> bool,
        in_panic: &dyn Fn(usize) -> bool,
    ) -> Option<Pick> {
        let hash = hash.filter(|_| self.hashes);
        let tiers = &self.tiers;
        let ask = |portion: &mut Portion, random: &mut dyn FnMut() -> u64| {
            let panic = tiers.get(portion.tier).is_some_and(|tier| tier.panic);
            let usable = if panic { in_panic } else { usable };
            let at = portion.group.pick(hash, random, load, usable)?;
            Some(Pick { at, panic })
        };
        if let [only] = self.portions.as_mut_slice() {
            return ask(only, random);
        }
        for _ in 0..TRIES {
            let drawn = match hash {
                Some(hash) => highest(&mut self.portions, hash),
                None => draw(&mut self.portions, below(random(), self.sum)),
            };
            let Some(drawn) = drawn else { break };
            let choice = ask(drawn, random);
            if choice.is_some() {
                return choice;
            }
            if hash.is_some() {
                break;
            }
        }
        self.portions
            .iter_mut()
            .find_map(|portion| ask(portion, random))
    }

    pub(super) fn reweigh(
        &mut self,
        random: &mut dyn FnMut() -> u64,
        portion: &dyn Fn(usize) -> u32,
    ) -> bool {
        let mut some = false;
        for one in &mut self.portions {
            some |= one.group.reweigh(random, portion);
        }
        some
    }
}

/// Returns the portion that `point` falls into. `point` must be less than the sum of the loads.
fn draw(portions: &mut [Portion], mut point: u64) -> Option<&mut Portion> {
    portions
        .iter_mut()
        .find(|portion| match point.checked_sub(portion.load) {
            Some(rest) => {
                point = rest;
                false
            }
            None => true,
        })
}

/// Returns the portion for a hash, by weighted rendezvous hashing (Schindelhauer and Schomaker,
/// "Weighted distributed hash tables", SPAA 2005): when the load of one portion falls, only
/// requests of that portion move.
fn highest(portions: &mut [Portion], hash: u64) -> Option<&mut Portion> {
    let bytes = hash.to_le_bytes();
    let score = |portion: &Portion| {
        // Evenly distributed between 0 and 1, both excluded.
        let even = ((xxh64(&bytes, portion.key) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
        portion.load as f64 / -even.ln()
    };
    portions
        .iter_mut()
        .filter(|portion| portion.load > 0)
        .max_by(|one, other| score(one).total_cmp(&score(other)))
}

/// Returns the share of an endpoint: the one with the most specific matching locality. An empty
/// field of a share matches any value. Of equally specific shares the first one applies.
fn share_of(shares: &[(Locality, u32)], locality: &Locality) -> Option<usize> {
    let closeness = |share: &Locality| {
        let fields = [
            (&share.region, &locality.region),
            (&share.zone, &locality.zone),
            (&share.subzone, &locality.subzone),
        ];
        let matches = fields
            .iter()
            .all(|(wanted, has)| wanted.is_empty() || wanted == has);
        matches.then(|| fields.iter().filter(|field| !field.0.is_empty()).count())
    };
    let candidates = shares.iter().enumerate().rev();
    let closest = candidates
        .filter_map(|(at, (share, _))| Some((closeness(share)?, at)))
        .max_by_key(|&(closeness, _)| closeness)?
        .1;
    shares
        .get(closest)
        .is_some_and(|&(_, share)| share > 0)
        .then_some(closest)
}

fn key_of(priority: u32, locality: Option<&Locality>) -> u64 {
    let mut key = u64::from(priority);
    if let Some(locality) = locality {
        for field in [&locality.region, &locality.zone, &locality.subzone] {
            key = xxh64(field.as_bytes(), key);
        }
    }
    key
}

#[cfg(test)]
mod tests;
