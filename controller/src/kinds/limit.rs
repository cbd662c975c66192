//! Reads rate limits of routers, routes and listeners, Aeraki's and ours. Reading needs no
//! protocol; `translate` checks the names of attributes against each protocol that the limits are
//! for.

use std::sync::Arc;
use std::time::Duration;

use meltemi_config::{
    Bucket, Descriptor, DescriptorEntry, DescriptorValue, LocalLimit, LocalLimits, Problem,
};

use super::route_match::{Test, matching};
use crate::yaml::Cursor;

/// Default time that a rate-limit service has to reply.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(100);
/// Default number of buckets that one rule may have at one time.
const VALUES: usize = 1024;

/// A `localRateLimit`.
#[derive(Clone, Debug)]
pub(crate) struct LocalRate<'a> {
    /// All users of this value share its buckets.
    pub(crate) limits: Arc<LocalLimits>,
    /// The place of each rule's bucket.
    pub(crate) buckets: Vec<Cursor<'a>>,
    pub(crate) names: Names<'a>,
}

/// The attributes that a limit reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names<'a> {
    pub(crate) tests: Vec<Test<'a>>,
    /// Attributes whose values are counted, or `source.ip`.
    pub(crate) values: Vec<(String, Cursor<'a>)>,
}

/// A `globalRateLimit`.
#[derive(Clone, Debug)]
pub(crate) struct GlobalRate<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) name: String,
    pub(crate) domain: String,
    /// The cluster of the service, or its host and port.
    pub(crate) service: Cursor<'a>,
    pub(crate) timeout: Duration,
    pub(crate) deny: bool,
    pub(crate) descriptors: Vec<Descriptor>,
    pub(crate) names: Names<'a>,
}

/// Reads a `localRateLimit`; `name` is its name in metrics.
pub(super) fn local<'a>(
    here: &Cursor<'a>,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<LocalRate<'a>> {
    if !here.exists() {
        return None;
    }
    let mut names = Names::default();
    let conditions = here.at("conditions").items();
    let mut places: Vec<(Cursor<'a>, Vec<Test<'a>>)> = conditions
        .into_iter()
        .map(|at| {
            let tests = matching(&at.at("match"), problems);
            (at, tests)
        })
        .collect();
    // After the conditions: this bucket does not count the requests that they match.
    if here.at("tokenBucket").exists() {
        places.push((here.clone(), Vec::new()));
    }
    if places.is_empty() {
        problems.push(
            here.error("limits nothing")
                .remedy("give a tokenBucket, or conditions that have one"),
        );
    }
    let (mut rules, mut buckets) = (Vec::new(), Vec::new());
    for (at, tests) in places {
        if let Some(own) = rule(&at, tests, &mut names, problems) {
            rules.push(own);
            buckets.push(at.at("tokenBucket"));
        }
    }
    let limits = LocalLimits {
        name: name.to_owned(),
        rules,
        origin: here.origin(),
    };
    Some(LocalRate {
        limits: Arc::new(limits),
        buckets,
        names,
    })
}

/// Reads a bucket. `None` if it is incomplete, which has already been reported.
fn rule<'a>(
    here: &Cursor<'a>,
    own: Vec<Test<'a>>,
    names: &mut Names<'a>,
    problems: &mut Vec<Problem>,
) -> Option<LocalLimit> {
    let per = here.at("per").items();
    let values = here.at("values");
    if values.exists() && per.is_empty() {
        problems.push(
            values
                .warning("means nothing without `per`: there is one bucket")
                .remedy("name attributes under per, or leave it out"),
        );
    }
    names.values.extend(
        per.iter()
            .filter_map(|at| Some((at.text()?.to_owned(), at.clone()))),
    );
    let bucket = here.at("tokenBucket");
    let rule = LocalLimit {
        matches: own.iter().map(Test::exactly).collect(),
        per: per
            .iter()
            .filter_map(Cursor::text)
            .map(str::to_owned)
            .collect(),
        values: values.number().unwrap_or(VALUES),
        bucket: Bucket {
            size: bucket.at("maxTokens").number()?,
            fill: bucket.at("tokensPerFill").number().unwrap_or(1),
            interval: bucket.at("fillInterval").duration()?,
        },
        origin: here.origin(),
    };
    names.tests.extend(own);
    Some(rule)
}

/// Reads a `globalRateLimit`; `name` is its name in metrics.
pub(super) fn global<'a>(
    here: &Cursor<'a>,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<GlobalRate<'a>> {
    if !here.exists() {
        return None;
    }
    let mut names = Names {
        tests: matching(&here.at("match"), problems),
        values: Vec::new(),
    };
    let domain = here.at("domain");
    if domain.text() == Some("") {
        problems.push(
            domain
                .error("is empty")
                .remedy("name the domain that the service knows"),
        );
    }
    let written = here.at("descriptors");
    let mut descriptors = Vec::new();
    for item in written.items() {
        let mut parts = item.items();
        if item.at("property").exists() {
            parts.push(item.clone());
        }
        let entries: Vec<DescriptorEntry> = parts
            .iter()
            .filter_map(|part| entry(part, &mut names, problems))
            .collect();
        if entries.is_empty() && item.items().is_empty() && item.entries().is_empty() {
            problems.push(
                item.error("has no entry")
                    .remedy("give at least one key with an attribute or a value"),
            );
        }
        descriptors.push(Descriptor { entries });
    }
    if written.exists() && written.items().is_empty() {
        problems.push(
            written
                .error("is empty, so nothing is told to the service")
                .remedy("give at least one descriptor"),
        );
    }
    Some(GlobalRate {
        name: name.to_owned(),
        domain: domain.text().unwrap_or("").to_owned(),
        service: here.at("rateLimitService"),
        timeout: here
            .at("requestTimeout")
            .duration()
            .unwrap_or(REQUEST_TIMEOUT),
        deny: here.at("denyOnFail").flag() == Some(true),
        descriptors,
        names,
        at: here.clone(),
    })
}

/// Reads an entry, ours or Aeraki's.
fn entry<'a>(
    here: &Cursor<'a>,
    names: &mut Names<'a>,
    problems: &mut Vec<Problem>,
) -> Option<DescriptorEntry> {
    let (property, attribute, value) =
        (here.at("property"), here.at("attribute"), here.at("value"));
    let key = here.at("descriptorKey").text().or(here.at("key").text())?;
    let attribute = if property.exists() {
        property
    } else {
        attribute
    };
    let value = match (attribute.text(), value.text()) {
        (Some(name), None) => {
            names.values.push((name.to_owned(), attribute.clone()));
            DescriptorValue::Attribute(name.to_owned())
        }
        (None, Some(text)) => DescriptorValue::Text(text.to_owned()),
        (Some(_), Some(_)) => {
            problems.push(
                here.error("has attribute and value at once")
                    .remedy("give one of them"),
            );
            return None;
        }
        (None, None) => {
            problems.push(
                here.error("has no value")
                    .remedy("give an attribute or a constant value"),
            );
            return None;
        }
    };
    Some(DescriptorEntry {
        key: key.to_owned(),
        value,
    })
}
