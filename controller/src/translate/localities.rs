//! Applies Istio's localities, seen from the locality of this program: which endpoints replace
//! others on failure, and how requests are split between localities.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_config::{Cluster, Endpoint, Locality, LocalityShares, Problem};

use crate::kinds::{Distribution, Localities, TOPOLOGY};

/// Shares are fractions of this number, so that a split over several localities stays exact.
const WHOLE: u64 = 1_000_000;

/// Sets the priorities of endpoints, or the shares of localities.
pub(super) fn spread(
    cluster: &mut Cluster,
    setting: Option<&Localities<'_>>,
    own: &Locality,
    problems: &mut Vec<Problem>,
) {
    // Failover needs a check that detects unfit endpoints.
    let told = cluster.outlier.is_some() || cluster.health.is_some();
    let Some(setting) = setting else {
        // On by default, as in Istio.
        if told && !own.is_unknown() {
            prioritise(&mut cluster.endpoints, |one| (0, nearness(own, one, &[])));
        }
        return;
    };
    if !setting.enabled {
        return;
    }
    if !setting.distribute.is_empty() {
        let mine = setting.distribute.iter().find(|one| one.from.matches(own));
        match mine {
            Some(mine) => distribute(cluster, mine, problems),
            None if own.is_unknown() => problems.push(unknown(setting, "distribute")),
            None => {}
        }
        return;
    }
    let written = match (setting.priority.is_empty(), setting.failover.is_empty()) {
        (false, _) => Some("failoverPriority"),
        (true, false) => Some("failover"),
        (true, true) => None,
    };
    if let Some(field) = written.filter(|_| !told) {
        problems.push(
            setting
                .at
                .at(field)
                .warning(
                    "without outlierDetection no endpoint is ever unfit, so this has no effect",
                )
                .remedy("add outlierDetection, or a DestinationPolicy with outlier or healthCheck"),
        );
    }
    if !told {
        return;
    }
    let topology = |(label, value): &(String, Option<String>)| {
        value.is_none() && TOPOLOGY.contains(&label.as_str())
    };
    let needed = !setting.failover.is_empty() || setting.priority.iter().any(topology);
    if own.is_unknown() && needed {
        problems.push(unknown(setting, written.unwrap_or("failover")));
    }
    for (label, value) in &setting.priority {
        if value.is_none() && !TOPOLOGY.contains(&label.as_str()) {
            problems.push(
                setting
                    .at
                    .at("failoverPriority")
                    .warning(format!("this program has no label {label}"))
                    .remedy(format!(
                        "write the value that endpoints must have: {label}=<value>"
                    )),
            );
        }
    }
    let by_place = setting.priority.is_empty() && !own.is_unknown() || !setting.failover.is_empty();
    prioritise(&mut cluster.endpoints, |one| {
        let place = match by_place {
            true => nearness(own, one, &setting.failover),
            false => 0,
        };
        (by_labels(own, one, &setting.priority), place)
    });
}

fn unknown(setting: &Localities<'_>, field: &str) -> Problem {
    setting
        .at
        .at(field)
        .warning("the locality of this program is unknown, so no endpoint is near or far")
        .remedy("start it with --locality region/zone/subzone, or set MELTEMI_LOCALITY")
}

/// Sets priorities in the order of the ranks, from zero and without gaps.
fn prioritise(endpoints: &mut [Endpoint], rank: impl Fn(&Endpoint) -> (usize, usize)) {
    let ranks: BTreeSet<(usize, usize)> = endpoints.iter().map(&rank).collect();
    let places: BTreeMap<(usize, usize), u32> = ranks.into_iter().zip(0..).collect();
    for endpoint in endpoints {
        let place = places.get(&rank(endpoint)).copied();
        endpoint.priority = place.unwrap_or(endpoint.priority);
    }
}

/// Returns how far an endpoint is: same sub-zone, zone, or region; then the failover region of this
/// region; then any other.
fn nearness(own: &Locality, endpoint: &Endpoint, failover: &[(String, String)]) -> usize {
    let its = &endpoint.locality;
    let same = [
        own.region == its.region,
        own.zone == its.zone,
        own.subzone == its.subzone,
    ];
    match same {
        [true, true, true] => 0,
        [true, true, false] => 1,
        [true, false, _] => 2,
        [false, ..] => match failover.iter().find(|(from, _)| *from == own.region) {
            Some((_, to)) if *to != its.region => 4,
            _ => 3,
        },
    }
}

/// Returns the number of labels from the first one that differs to the last. Zero if none differs.
fn by_labels(own: &Locality, endpoint: &Endpoint, labels: &[(String, Option<String>)]) -> usize {
    let differs = labels.iter().position(|(label, value)| {
        let wanted = value
            .as_deref()
            .unwrap_or_else(|| place(own, label).unwrap_or(""));
        let its = endpoint.labels.get(label).map(String::as_str);
        its.or_else(|| place(&endpoint.locality, label))
            .unwrap_or("")
            != wanted
    });
    differs.map_or(0, |at| labels.len() - at)
}

/// Returns the part of the locality that a Kubernetes label names.
fn place<'l>(locality: &'l Locality, label: &str) -> Option<&'l str> {
    let places = [&locality.region, &locality.zone, &locality.subzone];
    let mut known = TOPOLOGY.into_iter().zip(places);
    let found = known.find(|(name, _)| *name == label);
    found.map(|(_, place)| place.as_str())
}

/// Sets the shares of localities as written. Localities that share one entry split it by the
/// weights of their endpoints; all others get nothing.
fn distribute(cluster: &mut Cluster, mine: &Distribution<'_>, problems: &mut Vec<Problem>) {
    let target = |locality: &Locality| mine.to.iter().position(|(to, _)| to.matches(locality));
    let all = cluster.endpoints.len();
    cluster
        .endpoints
        .retain(|one| target(&one.locality).is_some());
    if all > 0 && cluster.endpoints.is_empty() {
        problems.push(
            mine.at
                .at("to")
                .warning(format!(
                    "no endpoint of {} stands in any of these localities, so every request to it fails",
                    cluster.name
                ))
                .remedy("give endpoints their locality"),
        );
    }
    let mut weights: BTreeMap<&Locality, u64> = BTreeMap::new();
    for endpoint in &cluster.endpoints {
        let sum = weights.entry(&endpoint.locality).or_default();
        *sum = sum.saturating_add(u64::from(endpoint.weight));
    }
    let mut shares = Vec::new();
    for (at, (_, share)) in mine.to.iter().enumerate() {
        let group: Vec<(&Locality, u64)> = weights
            .iter()
            .filter(|(locality, _)| target(locality) == Some(at))
            .map(|(locality, weight)| (*locality, *weight))
            .collect();
        let sum: u128 = group.iter().map(|(_, weight)| u128::from(*weight)).sum();
        for (locality, weight) in group {
            let part = u128::from(*share) * u128::from(WHOLE / 100) * u128::from(weight);
            let part = part.checked_div(sum).unwrap_or(0);
            shares.push((locality.clone(), u32::try_from(part).unwrap_or(u32::MAX)));
        }
    }
    // Endpoints whose weights are all zero get nothing anyway.
    shares.retain(|(_, share)| *share > 0);
    cluster.localities = LocalityShares { shares };
}
