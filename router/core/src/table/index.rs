//! Finds the first route that matches without testing all of them. It only ever narrows down which
//! routes are tested: a route that matches is always among the candidates, and a candidate is
//! always tested.
//!
//! Routes that demand certain values of the same attributes form a group, which is a hash table from
//! those values to routes. A message is looked up in each group (there are few); the rest is scanned.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use meltemi_frame::{KeyId, Lookup, Message};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::CompiledRoute;

/// With fewer different values than this, scanning is as cheap as hashing.
const WORTH_A_GROUP: usize = 8;

/// Groups by all attributes that routes demand certain values of. What is left when there are so many
/// is grouped by single attributes.
const GROUPS: usize = 8;

/// Bounds what a lookup costs, however many sets of attributes the routes use.
const MOST_GROUPS: usize = 12;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    groups: Box<[RouteGroup]>,
    /// Routes that are in no group, ascending.
    rest: Box<[u32]>,
}

/// Routes that demand certain values of the same attributes.
#[derive(Clone, Debug)]
struct RouteGroup {
    slots: Box<[KeyId]>,
    /// At most one attribute may have several values: each of them is looked up.
    open: Option<Lookup>,
    /// Longer values than this are demanded by no route of the group.
    longest: usize,
    /// Where in `routes` those with this hash of their values are. Collisions are harmless: every
    /// candidate is tested.
    buckets: HashMap<u64, Range<u32>, BuildHasherDefault<Hashed>>,
    routes: Box<[u32]>,
    /// The first of all its routes.
    first: u32,
}

impl Index {
    /// The first route that passes, if every route for which `passes` says yes matches `message`.
    pub(super) fn first(
        &self,
        message: &Message<'_>,
        passes: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if let ([], [only]) = (&*self.groups, &*self.rest) {
            let only = *only as usize;
            return passes(only).then_some(only);
        }
        let mut best = u32::MAX;
        for group in &self.groups {
            if group.first < best {
                group.improve(&mut best, message, &passes);
            }
        }
        improve(&mut best, &self.rest, &passes);
        (best != u32::MAX).then_some(best as usize)
    }
}

/// Sets `best` to the first of `routes`, which ascend, that passes and is before it. Returns how many
/// were tested.
fn improve(best: &mut u32, routes: &[u32], passes: &impl Fn(usize) -> bool) -> usize {
    let mut tested = 0;
    for &route in routes {
        if route >= *best {
            break;
        }
        tested += 1;
        if passes(route as usize) {
            *best = route;
            break;
        }
    }
    tested
}

impl RouteGroup {
    /// Sets `best` to the first route of the group that passes and is before it.
    fn improve(&self, best: &mut u32, message: &Message<'_>, passes: &impl Fn(usize) -> bool) {
        let mut hash = 0;
        for &slot in &self.slots {
            match message.attributes.slot(slot, message.wire()) {
                Some(value) if value.len() <= self.longest => hash = mix(hash, value),
                _ => return,
            }
        }
        let Some(open) = &self.open else {
            improve(best, self.bucket(hash), passes);
            return;
        };
        let mut tested = 0;
        message.attributes.any(open, message.wire(), &mut |value| {
            if value.len() <= self.longest {
                tested += improve(best, self.bucket(mix(hash, value)), passes);
            }
            if tested <= self.routes.len() {
                return false;
            }
            // The message repeats values, so that the same routes are tested again and again: then
            // it is cheaper to test all of them once.
            for route in &self.routes {
                improve(best, std::slice::from_ref(route), passes);
            }
            true
        });
    }

    fn bucket(&self, hash: u64) -> &[u32] {
        self.buckets
            .get(&hash)
            .and_then(|range| self.routes.get(range.start as usize..range.end as usize))
            .unwrap_or_default()
    }
}

/// The hash of several values, one after the other.
fn mix(hash: u64, value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, hash)
}

/// The key is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, bytes);
    }
}

/// A route while the index is built: what it demands, by attribute (as positions in a list of all
/// attributes). All of them have at most one value, except for the last, which may have several.
struct Demand<'r> {
    route: u32,
    values: BTreeMap<usize, &'r str>,
}

/// Attributes, ascending.
type Set = Vec<usize>;

impl<'r> Demand<'r> {
    fn of(route: u32, compiled: &'r CompiledRoute, attributes: &HashMap<&Lookup, usize>) -> Self {
        let mut values = BTreeMap::new();
        let mut open: Option<(usize, &str)> = None;
        for (lookup, value) in compiled.exact_tests() {
            let Some(&at) = attributes.get(lookup) else {
                continue;
            };
            match lookup {
                // Of two values that are demanded of one attribute either will do.
                Lookup::Slot(_) => _ = values.entry(at).or_insert(value),
                // Of the attributes that may have several values, the most telling one is kept.
                Lookup::Open(_) if open.is_some_and(|(kept, _)| kept <= at) => {}
                Lookup::Open(_) => open = Some((at, value)),
            }
        }
        values.extend(open);
        Self { route, values }
    }

    fn values_of(&self, set: &[usize]) -> Option<Vec<&str>> {
        set.iter()
            .map(|attribute| self.values.get(attribute).copied())
            .collect()
    }
}

impl Index {
    pub(super) fn new(routes: &[CompiledRoute]) -> Self {
        let attributes = attributes(routes);
        let positions = attributes.iter().copied().zip(0..).collect();
        let mut left: Vec<Demand<'_>> = (0..)
            .zip(routes)
            .map(|(route, compiled)| Demand::of(route, compiled, &positions))
            .collect();
        let mut groups = Vec::new();
        while groups.len() < MOST_GROUPS {
            let whole = largest_set(&left).filter(|_| groups.len() < GROUPS);
            let (set, members): (Set, Vec<Demand<'_>>) = if let Some(set) = whole {
                let members = left
                    .extract_if(.., |demand| demand.values.keys().eq(&set))
                    .collect();
                (set, members)
            } else if let Some(attribute) = most_telling_attribute(&left) {
                let members = left
                    .extract_if(.., |demand| demand.values.contains_key(&attribute))
                    .collect();
                (vec![attribute], members)
            } else {
                break;
            };
            groups.push(RouteGroup::new(&set, &members, &attributes));
        }
        groups.sort_by_key(|group| group.first);
        Self {
            groups: groups.into(),
            rest: left.iter().map(|demand| demand.route).collect(),
        }
    }
}

/// Every attribute of which some route demands a certain value: first those that have one value at
/// most, then those that may have several, each ordered by how many different values are demanded.
fn attributes(routes: &[CompiledRoute]) -> Vec<&Lookup> {
    let mut values: HashMap<&Lookup, BTreeSet<&str>> = HashMap::new();
    for (lookup, value) in routes.iter().flat_map(CompiledRoute::exact_tests) {
        values.entry(lookup).or_default().insert(value);
    }
    let mut attributes: Vec<&Lookup> = values.keys().copied().collect();
    attributes.sort_by_cached_key(|lookup| {
        let different = values.get(lookup).map_or(0, BTreeSet::len);
        let (open, slot, name) = match lookup {
            Lookup::Slot(key) => (false, key.0, ""),
            Lookup::Open(name) => (true, 0, &**name),
        };
        // The last two only make the order the same in every run.
        (open, Reverse(different), slot, name)
    });
    attributes
}

/// Of the sets of attributes that routes demand values of, the one with most different values.
fn largest_set(left: &[Demand<'_>]) -> Option<Set> {
    let mut sets: BTreeMap<Set, BTreeSet<Vec<&str>>> = BTreeMap::new();
    for demand in left.iter().filter(|demand| !demand.values.is_empty()) {
        let values = demand.values.values().copied().collect();
        sets.entry(demand.values.keys().copied().collect())
            .or_default()
            .insert(values);
    }
    most_values(sets)
}

/// The attribute of which most different values are demanded.
fn most_telling_attribute(left: &[Demand<'_>]) -> Option<usize> {
    let mut attributes: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (&attribute, &value) in left.iter().flat_map(|demand| &demand.values) {
        attributes.entry(attribute).or_default().insert(value);
    }
    most_values(attributes)
}

fn most_values<K, V>(candidates: BTreeMap<K, BTreeSet<V>>) -> Option<K> {
    let worth = |(_, values): &(K, BTreeSet<V>)| values.len() >= WORTH_A_GROUP;
    let best = candidates
        .into_iter()
        .filter(worth)
        .max_by_key(|(_, values)| values.len())?;
    Some(best.0)
}

impl RouteGroup {
    fn new(set: &[usize], members: &[Demand<'_>], attributes: &[&Lookup]) -> Self {
        let mut slots = Vec::new();
        let mut open = None;
        for lookup in set.iter().filter_map(|&at| attributes.get(at)) {
            match lookup {
                Lookup::Slot(key) => slots.push(*key),
                // The last of the set, if there is one.
                Lookup::Open(_) => open = Some((*lookup).clone()),
            }
        }
        let mut longest = 0;
        let mut by_hash: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for member in members {
            let values = member.values_of(set).unwrap_or_default();
            longest = values
                .iter()
                .map(|value| value.len())
                .fold(longest, usize::max);
            let hash = values
                .iter()
                .fold(0, |hash, value| mix(hash, value.as_bytes()));
            by_hash.entry(hash).or_default().push(member.route);
        }
        let mut buckets =
            HashMap::with_capacity_and_hasher(by_hash.len(), BuildHasherDefault::default());
        let mut routes: Vec<u32> = Vec::with_capacity(members.len());
        for (hash, bucket) in by_hash {
            let start = routes.len() as u32;
            routes.extend(bucket);
            buckets.insert(hash, start..routes.len() as u32);
        }
        Self {
            slots: slots.into(),
            open,
            longest,
            buckets,
            first: routes.iter().copied().min().unwrap_or(u32::MAX),
            routes: routes.into(),
        }
    }
}
