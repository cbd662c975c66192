//! One compiled route: its tests, its targets, its changes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_config::Route;
use meltemi_frame::{Interest, Lookup, Message};

use crate::balance::below;
use crate::explain::FailedTest;
use crate::hash::HashPolicy;
use crate::matching::Tests;
use crate::mutation::Changes;
use crate::rules::{Rules, Scope};

/// One compiled route.
#[derive(Clone, Debug)]
pub struct CompiledRoute {
    /// The name for metrics, logs and dumps.
    pub name: Arc<str>,
    /// The timeout of a request. `None` if there is none.
    pub timeout: Option<Duration>,
    /// Changes to requests.
    pub request_changes: Changes,
    /// Changes to responses.
    pub response_changes: Changes,
    /// The other rules for its requests.
    pub rules: Rules,
    tests: Tests,
    targets: Box<[Target]>,
    /// The sum of the targets' weights.
    sum: u64,
    /// `true` if a target hashes.
    hashes: bool,
}

#[derive(Clone, Debug)]
struct Target {
    cluster: usize,
    weight: u32,
    hash: HashPolicy,
}

impl CompiledRoute {
    /// Compiles a route. Records in `scope` the decode depth for requests and responses.
    pub(super) fn compile(route: &Route, scope: &mut Scope<'_>) -> Self {
        let (spec, config) = (scope.spec, scope.config);
        // A protocol carries the caller's timeout in metadata, or in something cheaper to decode.
        let mut interest = if route.caller_timeout {
            Interest::Headers
        } else {
            Interest::Route
        };
        let tests = Tests::compile(&route.matches, spec, &mut interest);
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
        scope.request = scope.request.max(interest);
        scope.response = scope.response.max(response);
        Self {
            name: route.name.as_str().into(),
            timeout: route.timeout,
            request_changes,
            response_changes,
            rules: Rules::compile(route, scope),
            tests,
            hashes: targets.iter().any(|target| !target.hash.is_empty()),
            sum: targets.iter().map(|target| u64::from(target.weight)).sum(),
            targets: targets.into(),
        }
    }

    /// Returns `true` if a message passes every test.
    pub fn matches(&self, message: &Message<'_>) -> bool {
        #[cfg(test)]
        super::tests::TESTED.with(|count| count.set(count.get() + 1));
        self.tests.pass(message)
    }

    /// Returns the cluster for a request, chosen by weight, as a position in
    /// [`Config::clusters`](meltemi_config::Config::clusters). `random` is any number, evenly
    /// distributed. Over all numbers, each cluster gets exactly its share (to within one part in
    /// 2^64).
    pub fn choose(&self, random: u64) -> usize {
        let mut point = below(random, self.sum);
        for target in &self.targets {
            match point.checked_sub(u64::from(target.weight)) {
                Some(rest) => point = rest,
                None => return target.cluster,
            }
        }
        // A checked configuration always has weights. Without weights, returns a position that no
        // cluster has.
        usize::MAX
    }

    /// Returns the clusters that requests may go to, as positions in
    /// [`Config::clusters`](meltemi_config::Config::clusters), with their weights.
    pub fn targets(&self) -> impl Iterator<Item = (usize, u32)> {
        let pair = |target: &Target| (target.cluster, target.weight);
        self.targets.iter().map(pair)
    }

    /// Returns the hash of a request for the balancer of `cluster`, which [`CompiledRoute::choose`]
    /// returned. `None` if the cluster does not hash, or if none of its keys is present.
    ///
    /// The key `source.ip` is the client's address. Of a key with several values the first one
    /// applies. A key written as `<attribute>{}` follows the rule of Redis hash tags: if the value
    /// has a non-empty part in braces, only that part is hashed, so that related keys stay
    /// together.
    #[inline]
    pub fn hash(&self, cluster: usize, message: &Message<'_>, source: IpAddr) -> Option<u64> {
        if !self.hashes {
            return None;
        }
        let target = self
            .targets
            .iter()
            .find(|target| target.cluster == cluster)?;
        target.hash.hash(message, source)
    }

    /// Returns the first test that a message fails. `None` if it passes all.
    pub(super) fn first_failure(&self, message: &Message<'_>) -> Option<FailedTest> {
        self.tests.first_failure(message)
    }

    /// Iterates over the attributes that must have one exact value, for the index.
    pub(super) fn exact_tests(&self) -> impl Iterator<Item = (&Lookup, &str)> {
        self.tests.exact()
    }
}
