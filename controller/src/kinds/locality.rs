//! Reads `localityLbSetting` of a DestinationRule: which localities share requests, and which
//! replace others on failure.

use std::collections::BTreeSet;

use meltemi_config::{Locality, Problem};

use crate::yaml::Cursor;

/// A `localityLbSetting`.
#[derive(Clone, Debug)]
pub(crate) struct Localities<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) enabled: bool,
    pub(crate) distribute: Vec<Distribution<'a>>,
    /// Pairs of regions: from, to.
    pub(crate) failover: Vec<(String, String)>,
    /// Labels, the most important first, and their required values; `None` means the proxy's own
    /// value.
    pub(crate) priority: Vec<(String, Option<String>)>,
}

/// The split of the requests of one locality.
#[derive(Clone, Debug)]
pub(crate) struct Distribution<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) from: Pattern,
    pub(crate) to: Vec<(Pattern, u32)>,
}

/// `region/zone/subzone`. The last part may be `*` or missing, which matches any.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Vec<String>);

impl Pattern {
    fn read(text: &str, at: &Cursor<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        let star = text.find('*').is_some_and(|at| at + 1 < text.len());
        if parts.len() > 3 || parts.iter().any(String::is_empty) || star {
            problems.push(at.error(format!("`{text}` is not a locality")).remedy(
                "write region, region/zone or region/zone/subzone; the last part may be *",
            ));
        }
        if parts.last().is_some_and(|last| last == "*") {
            parts.pop();
        }
        Self(parts)
    }

    /// Returns `true` if the pattern matches the locality.
    pub(crate) fn matches(&self, locality: &Locality) -> bool {
        let places = [&locality.region, &locality.zone, &locality.subzone];
        self.0.iter().zip(places).all(|(part, place)| part == place)
    }

    /// Returns `true` if a locality exists that both patterns match.
    fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

impl<'a> Localities<'a> {
    pub(super) fn read(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Self> {
        if !here.exists() {
            return None;
        }
        let failover = here.at("failover");
        let priority = here.at("failoverPriority");
        let all = Self {
            enabled: here.at("enabled").flag() != Some(false),
            distribute: distribute(&here.at("distribute"), problems),
            failover: regions(&failover, problems),
            priority: priority
                .texts()
                .into_iter()
                .map(|text| match text.split_once('=') {
                    Some((label, value)) => (label.to_owned(), Some(value.to_owned())),
                    None => (text.to_owned(), None),
                })
                .collect(),
            at: here.clone(),
        };
        let rest = [
            (&failover, !all.failover.is_empty()),
            (&priority, !all.priority.is_empty()),
        ];
        if let Some((at, _)) = rest.iter().find(|(_, given)| *given)
            && !all.distribute.is_empty()
        {
            problems.push(at.error("distribute is given, too").remedy(
                "give one of them: distribute splits requests, failover replaces unfit localities",
            ));
        }
        let topology = |(label, _): &&(String, Option<String>)| TOPOLOGY.contains(&label.as_str());
        if let Some((label, _)) = all.priority.iter().find(topology)
            && !all.failover.is_empty()
        {
            problems.push(
                priority
                    .error(format!("failover is given, too, and overlaps with {label}"))
                    .remedy("give one of them"),
            );
        }
        Some(all)
    }
}

/// Kubernetes labels of the region, the zone and the sub-zone.
pub(crate) const TOPOLOGY: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

fn distribute<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<Distribution<'a>> {
    let mut all: Vec<Distribution<'a>> = Vec::new();
    for item in here.items() {
        let from = item.at("from");
        let pattern = Pattern::read(from.text().unwrap_or(""), &from, problems);
        if all.iter().any(|other| other.from.overlaps(&pattern)) {
            problems.push(
                from.error("another entry is for the same locality")
                    .remedy("the localities of from must not overlap"),
            );
        }
        let to = item.at("to");
        let mut targets: Vec<(Pattern, u32)> = Vec::new();
        for (text, at) in to.entries() {
            let target = Pattern::read(text, &at, problems);
            if targets.iter().any(|(other, _)| other.overlaps(&target)) {
                problems.push(
                    at.error("another share is for the same locality")
                        .remedy("the localities of to must not overlap"),
                );
            }
            targets.push((target, at.number().unwrap_or(0)));
        }
        let sum: u64 = targets.iter().map(|(_, share)| u64::from(*share)).sum();
        // A share outside 1 to 100 has already been reported.
        let told = targets.iter().any(|(_, share)| !(1..=100).contains(share));
        if sum != 100 && !told {
            problems.push(
                to.error(format!("the shares sum to {sum}"))
                    .remedy("they must sum to 100"),
            );
        }
        all.push(Distribution {
            at: item,
            from: pattern,
            to: targets,
        });
    }
    all
}

fn regions(here: &Cursor<'_>, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for item in here.items() {
        let (from, to) = (item.at("from"), item.at("to"));
        let region = |at: &Cursor<'_>, problems: &mut Vec<Problem>| {
            let text = at.text().unwrap_or("").to_owned();
            if text.contains(['/', '*']) {
                problems.push(
                    at.error("is not a region")
                        .remedy("failover is from region to region, without zones and `*`"),
                );
            }
            text
        };
        let pair = (region(&from, problems), region(&to, problems));
        if pair.0 == pair.1 {
            problems.push(
                to.error("is the region that fails")
                    .remedy("name another one"),
            );
        }
        if !seen.insert(pair.0.clone()) {
            problems.push(from.error("another entry is for the same region"));
        }
        all.push(pair);
    }
    all
}
