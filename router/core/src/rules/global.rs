//! Global limits, which an external service decides: builds the descriptors for a request. It makes
//! no call.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_config::{Config, DescriptorEntry, DescriptorValue, GlobalLimit};
use meltemi_frame::{Interest, Message, Spec};

use super::key::Key;
use crate::matching::Tests;

/// A compiled global limit.
#[derive(Clone, Debug)]
pub struct GlobalLimiter {
    /// The name for metrics, logs and dumps.
    pub name: Arc<str>,
    /// The domain that is sent to the service.
    pub domain: Arc<str>,
    /// The cluster of the service: a position in [`Config::clusters`], which a checked
    /// configuration always has.
    pub cluster: usize,
    /// The timeout of the call.
    pub timeout: Duration,
    /// `true` if the request is denied when the service does not respond; else it passes.
    pub deny_on_failure: bool,
    tests: Tests,
    descriptors: Box<[Box<[Entry]>]>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Of(Key),
}

impl GlobalLimiter {
    /// Compiles a limit for a protocol. Also returns the decode depth that it needs.
    pub(crate) fn compile(limit: &GlobalLimit, spec: &Spec, config: &Config) -> (Self, Interest) {
        let mut interest = Interest::Route;
        let tests = Tests::compile(&limit.matches, spec, &mut interest);
        let mut entry = |entry: &DescriptorEntry| Entry {
            key: entry.key.clone(),
            value: match &entry.value {
                DescriptorValue::Text(text) => Value::Text(text.clone()),
                DescriptorValue::Attribute(name) => {
                    Value::Of(Key::compile(name, spec, &mut interest))
                }
            },
        };
        let descriptors = limit.descriptors.iter();
        let descriptors = descriptors.map(|one| one.entries.iter().map(&mut entry).collect());
        let compiled = Self {
            descriptors: descriptors.collect(),
            tests,
            name: limit.name.as_str().into(),
            domain: limit.domain.as_str().into(),
            cluster: config.cluster_index(&limit.cluster).unwrap_or(usize::MAX),
            timeout: limit.timeout,
            deny_on_failure: limit.deny_on_failure,
        };
        (compiled, interest)
    }

    /// Returns the descriptors of a request from `source`, as lists of keys and values. `None` if
    /// the service is not called: the limit does not apply to the request, or no descriptor has all
    /// its attributes. Of an attribute with several values the first one applies. Bytes that are
    /// not UTF-8 are replaced.
    pub fn descriptors(
        &self,
        message: &Message<'_>,
        source: IpAddr,
    ) -> Option<Vec<Vec<(String, String)>>> {
        if !self.tests.may_pass(message) {
            return None;
        }
        let entry = |entry: &Entry| {
            let value = match &entry.value {
                Value::Text(text) => text.clone(),
                Value::Of(key) => key.text(message, source)?,
            };
            Some((entry.key.clone(), value))
        };
        let descriptors = self.descriptors.iter().filter(|one| !one.is_empty());
        let made: Vec<Vec<_>> = descriptors
            .filter_map(|one| one.iter().map(entry).collect())
            .collect();
        (!made.is_empty()).then_some(made)
    }
}

#[cfg(test)]
mod tests {
    use meltemi_config::{Descriptor, Origin};

    use super::*;
    use crate::fixture::{config, exact, message, spec};

    fn limit(descriptors: &[&[(&str, &str)]]) -> GlobalLimit {
        let entry = |&(key, value): &(&str, &str)| DescriptorEntry {
            key: key.to_owned(),
            value: match value.strip_prefix('=') {
                Some(text) => DescriptorValue::Text(text.to_owned()),
                None => DescriptorValue::Attribute(value.to_owned()),
            },
        };
        GlobalLimit {
            name: "limit".to_owned(),
            matches: vec![exact("service", "shop")],
            domain: "demo".to_owned(),
            descriptors: descriptors
                .iter()
                .map(|entries| Descriptor {
                    entries: entries.iter().map(entry).collect(),
                })
                .collect(),
            cluster: "b".to_owned(),
            timeout: Duration::from_millis(20),
            deny_on_failure: true,
            origin: Origin::default(),
        }
    }

    fn told(
        descriptors: &[&[(&str, &str)]],
        attributes: &[(&str, &str)],
    ) -> Option<Vec<Vec<(String, String)>>> {
        let (limiter, _) = GlobalLimiter::compile(&limit(descriptors), &spec(), &config(vec![]));
        limiter.descriptors(&message(attributes), "::ffff:10.0.0.1".parse().unwrap())
    }

    #[test]
    fn descriptors_are_made_of_text_attributes_and_the_source() {
        let descriptors: &[&[(&str, &str)]] = &[
            &[("m", "method"), ("k", "=fixed"), ("ip", "source.ip")],
            &[("tenant", "header.tenant"), ("k", "=fixed")],
        ];
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let first = vec![pair("m", "buy"), pair("k", "fixed"), pair("ip", "10.0.0.1")];
        assert_eq!(
            told(descriptors, &[("service", "shop"), ("method", "buy")]),
            Some(vec![first])
        );
        // A descriptor with an absent attribute is left out; if none is left, the service is not called.
        assert_eq!(told(descriptors, &[("service", "shop")]), None);
        assert_eq!(told(&[&[]], &[("service", "shop")]), None);
        let both = [("service", "shop"), ("method", "a"), ("header.tenant", "t")];
        assert_eq!(told(descriptors, &both).map(|made| made.len()), Some(2));
        // Not for this request.
        assert_eq!(told(descriptors, &[("method", "buy")]), None);
    }

    #[test]
    fn a_limit_knows_its_service_and_its_depth() {
        let plain = limit(&[&[("t", "header.tenant")]]);
        let (limiter, interest) = GlobalLimiter::compile(&plain, &spec(), &config(vec![]));
        assert_eq!((limiter.cluster, interest), (1, Interest::Headers));
        assert!(limiter.deny_on_failure && limiter.timeout == plain.timeout);
        assert_eq!((&*limiter.name, &*limiter.domain), ("limit", "demo"));
    }
}
