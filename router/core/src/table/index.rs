//! Finds the first matching route without testing all routes. The index only selects candidates:
//! every matching route is a candidate, and every candidate is tested.
//!
//! Routes that require exact values of the same attributes form a group: a hash table from those
//! values to routes. A message is looked up in each group (there are few); all other routes are
//! scanned.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use meltemi_frame::{KeyId, Lookup, Message};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::CompiledRoute;

/// The minimum number of different values of a group. With fewer, a scan is as cheap as a hash
/// lookup.
const WORTH_A_GROUP: usize = 8;

/// The maximum number of groups by sets of attributes. The remaining routes are grouped by single
/// attributes.
const GROUPS: usize = 8;

/// The maximum number of groups, which bounds the cost of a lookup.
const MOST_GROUPS: usize = 12;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    groups: Box<[RouteGroup]>,
    /// Routes that are in no group, ascending.
    rest: Box<[u32]>,
}

/// Routes that require exact values of the same attributes.
#[derive(Clone, Debug)]
struct RouteGroup {
    slots: Box<[KeyId]>,
    /// The attribute that may have several values, at most one. Each of its values is looked up.
    open: Option<Lookup>,
    /// The length in bytes of the longest required value. Longer values are not looked up.
    longest: usize,
    /// The range in `routes` for each hash of values. Collisions are harmless: every candidate is
    /// tested.
    buckets: HashMap<u64, Range<u32>, BuildHasherDefault<Hashed>>,
    routes: Box<[u32]>,
    /// The first route of the group.
    first: u32,
}

impl Index {
    /// Returns the first route that passes. `passes` must return `true` only for routes that match
    /// `message`.
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

/// Sets `best` to the first passing route of `routes` (ascending) that is before it. Returns the
/// number of routes that were tested.
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
    /// Sets `best` to the first passing route of the group that is before it.
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
            // The message repeats values, so the same routes are tested again and again. Testing
            // all of them once is cheaper.
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

/// Mixes a value into the hash of the values before it.
fn mix(hash: u64, value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, hash)
}

/// A hasher for keys that are hashes already.
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

/// The exact values that a route requires, by attribute (a position in a list of all attributes).
/// All attributes have at most one value, except the last one, which may have several.
struct Demand<'r> {
    route: u32,
    values: BTreeMap<usize, &'r str>,
}

/// Positions of attributes, ascending.
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
                // If a route requires two values of one attribute, either can be used.
                Lookup::Slot(_) => _ = values.entry(at).or_insert(value),
                // Of the attributes that may have several values, keeps the most selective one.
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

/// Returns all attributes for which a route requires an exact value. Attributes with at most one
/// value come first. Each part is ordered by the number of different required values.
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
        // The last two only make the order reproducible.
        (open, Reverse(different), slot, name)
    });
    attributes
}

/// Returns the set of attributes with the most different required values.
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

/// Returns the attribute with the most different required values.
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
                // The last attribute of the set, if present.
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
