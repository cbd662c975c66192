//! One compiled route: its tests, its targets, its changes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_config::{AttributeMatch, Config, Matcher, Route};
use meltemi_frame::{Interest, KeyId, Lookup, Message, Spec};

use crate::balance::below;
use crate::explain::FailedTest;
use crate::hash::HashPolicy;
use crate::mutation::Changes;

/// One compiled route.
#[derive(Clone, Debug)]
pub struct CompiledRoute {
    /// Its name in metrics, logs and dumps.
    pub name: Arc<str>,
    /// How long a request may take; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Changes to requests.
    pub request_changes: Changes,
    /// Changes to responses.
    pub response_changes: Changes,
    tests: Box<[Test]>,
    targets: Box<[Target]>,
    /// The sum of the targets' weights.
    sum: u64,
}

#[derive(Clone, Debug)]
struct Test {
    lookup: Lookup,
    rule: AttributeMatch,
}

#[derive(Clone, Debug)]
struct Target {
    cluster: usize,
    weight: u32,
    hash: HashPolicy,
}

impl CompiledRoute {
    /// Compiles a route, and tells how deep `decode` must look into requests to match, hash and change
    /// them, and into responses to change them.
    pub(super) fn compile(
        route: &Route,
        spec: &Spec,
        config: &Config,
    ) -> (Self, Interest, Interest) {
        let mut interest = Interest::Route;
        let test = |rule: &AttributeMatch| {
            // The configuration is checked: an attribute that the protocol does not have does not
            // occur. It would be one that no message has.
            let absent = (Lookup::Slot(KeyId(u8::MAX)), Interest::Route);
            let (lookup, depth) = spec.lookup(&rule.name).unwrap_or(absent);
            interest = interest.max(depth);
            Test {
                lookup,
                rule: rule.clone(),
            }
        };
        let tests = route.matches.iter().map(test).collect();
        let mut targets = Vec::with_capacity(route.clusters.len());
        for target in &route.clusters {
            let Some(cluster) = config.cluster_index(&target.cluster) else {
                continue;
            };
            let Some(found) = config.clusters().get(cluster) else {
                continue;
            };
            let (hash, depth) = HashPolicy::compile(&found.balancing, spec);
            interest = interest.max(depth);
            targets.push(Target {
                cluster,
                weight: target.weight,
                hash,
            });
        }
        let (request_changes, depth) = Changes::compile(&route.mutation.request, spec);
        interest = interest.max(depth);
        let (response_changes, response) = Changes::compile(&route.mutation.response, spec);
        let compiled = Self {
            name: route.name.as_str().into(),
            timeout: route.timeout,
            request_changes,
            response_changes,
            tests,
            sum: targets.iter().map(|target| u64::from(target.weight)).sum(),
            targets: targets.into(),
        };
        (compiled, interest, response)
    }

    /// Whether a message passes every test.
    pub fn matches(&self, message: &Message<'_>) -> bool {
        #[cfg(test)]
        super::tests::TESTED.with(|count| count.set(count.get() + 1));
        self.tests.iter().all(|test| test.passes(message))
    }

    /// The cluster that takes a request, by weight: a position in
    /// [`Config::clusters`]. `random` is any number, evenly distributed: of all numbers, each
    /// cluster gets exactly its share (to within one part in 2^64).
    pub fn choose(&self, random: u64) -> usize {
        let mut point = below(random, self.sum);
        for target in &self.targets {
            match point.checked_sub(u64::from(target.weight)) {
                Some(rest) => point = rest,
                None => return target.cluster,
            }
        }
        // No weights, which a checked configuration does not have: no such cluster.
        usize::MAX
    }

    /// The clusters that requests may go to, by their positions in [`Config::clusters`], with
    /// their weights.
    pub fn targets(&self) -> impl Iterator<Item = (usize, u32)> {
        let pair = |target: &Target| (target.cluster, target.weight);
        self.targets.iter().map(pair)
    }

    /// The hash of a request for the balancer of a cluster, which [`CompiledRoute::choose`] chose.
    /// `None` if the cluster does not hash, or if none of its keys is present.
    ///
    /// The key `source.ip` is the client's address. Of a key with several values the first counts.
    /// A key that is written as `<attribute>{}` follows the rule of Redis hash tags: if the value
    /// has a non-empty part in braces, only that part is hashed, so that related keys stay together.
    pub fn hash(&self, cluster: usize, message: &Message<'_>, source: IpAddr) -> Option<u64> {
        let target = self
            .targets
            .iter()
            .find(|target| target.cluster == cluster)?;
        target.hash.hash(message, source)
    }

    /// The first test that a message fails.
    pub(super) fn first_failure(&self, message: &Message<'_>) -> Option<FailedTest> {
        let test = self.tests.iter().find(|test| !test.passes(message))?;
        Some(FailedTest::new(&test.rule, &test.lookup, message))
    }

    /// The attributes that must have one certain value, for the index.
    pub(super) fn exact_tests(&self) -> impl Iterator<Item = (&Lookup, &str)> {
        self.tests
            .iter()
            .filter_map(|test| match &test.rule.matcher {
                Matcher::Exact(value) if !test.rule.negate => Some((&test.lookup, value.as_str())),
                _ => None,
            })
    }
}

impl Test {
    fn passes(&self, message: &Message<'_>) -> bool {
        let matcher = &self.rule.matcher;
        let passed = match &self.lookup {
            Lookup::Slot(key) => message
                .attributes
                .slot(*key, message.wire())
                .is_some_and(|value| matcher.test(value)),
            Lookup::Open(_) => {
                let mut test = |value: &[u8]| matcher.test(value);
                message
                    .attributes
                    .any(&self.lookup, message.wire(), &mut test)
            }
        };
        passed != self.rule.negate
    }
}
