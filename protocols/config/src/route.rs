//! A route: which requests, to which clusters, how.

use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::Spec;

use crate::{
    AttributeMatch, Authorization, Change, FaultRule, GlobalLimit, LocalLimits, Mirror, Origin,
    Problem, Retry,
};

/// Which requests go where.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in metrics, logs and dumps.
    pub name: String,
    /// All must pass; none: every request.
    pub matches: Vec<AttributeMatch>,
    /// Where matching requests go: at least one, with a positive sum of weights.
    pub clusters: Vec<WeightedCluster>,
    /// How long a request may take from its last byte in to its last byte out; `None`: for ever.
    pub timeout: Option<Duration>,
    /// What is done about requests that failed.
    pub retry: Retry,
    /// Faults that are injected: each is drawn by itself, in this order.
    pub faults: Vec<FaultRule>,
    /// Clusters that get copies.
    pub mirrors: Vec<Mirror>,
    /// What changes on the way.
    pub mutation: Mutation,
    /// Who may take the route; asked after those of the listener.
    pub authorization: Option<Arc<Authorization>>,
    /// Local limits; all must let a request pass. Several routes may share one.
    pub local_limits: Vec<Arc<LocalLimits>>,
    /// Limits that a service decides; all must let a request pass.
    pub global_limits: Vec<Arc<GlobalLimit>>,
    /// Where it was written.
    pub origin: Origin,
}

/// A share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// The cluster's name.
    pub cluster: String,
    /// Its share, relative to the sum of the route's weights.
    pub weight: u32,
}

/// Changes to attributes on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutation {
    /// Made to requests, in order.
    pub request: Vec<Change>,
    /// Made to responses, in order. Their attributes are those of the response.
    pub response: Vec<Change>,
}

impl Mutation {
    /// Whether nothing changes.
    pub const fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

impl Route {
    /// A route of every request to these clusters, with every default.
    pub fn new(name: impl Into<String>, clusters: Vec<WeightedCluster>) -> Self {
        Self {
            name: name.into(),
            matches: Vec::new(),
            clusters,
            timeout: None,
            retry: Retry::default(),
            faults: Vec::new(),
            mirrors: Vec::new(),
            mutation: Mutation::default(),
            authorization: None,
            local_limits: Vec::new(),
            global_limits: Vec::new(),
            origin: Origin::default(),
        }
    }

    pub(crate) fn check(&self, spec: &Spec, problems: &mut Vec<Problem>) {
        let sum: u64 = self
            .clusters
            .iter()
            .map(|target| u64::from(target.weight))
            .sum();
        if sum == 0 {
            problems.push(
                Problem::error(&self.origin, "route", &self.name)
                    .says("the weights of its destinations sum to zero, so no request can go anywhere")
                    .remedy("give at least one destination a positive weight"),
            );
        }
        for test in &self.matches {
            match spec.lookup(&test.name) {
                None => problems.push(
                    Problem::error(&self.origin, "match.attributes", &test.name)
                        .says(format!("{} has no such attribute", spec.name))
                        .remedy(format!("it has {}", spec.known_names())),
                ),
                Some(_) if spec.key(&test.name).is_some_and(|key| !key.request) => problems.push(
                    Problem::error(&self.origin, "match.attributes", &test.name).says(
                        "this attribute is found on responses only, and routes are for requests",
                    ),
                ),
                Some(_) => {}
            }
        }
        for (edits, response, field) in [
            (&self.mutation.request, false, "requestMutation"),
            (&self.mutation.response, true, "responseMutation"),
        ] {
            for edit in edits {
                if !spec.editable(edit.name(), response) {
                    problems.push(
                        Problem::error(&self.origin, field, edit.name())
                            .says(format!("{} cannot carry this change", spec.name))
                            .remedy(editable_names(spec, response)),
                    );
                }
            }
        }
    }
}

fn editable_names(spec: &Spec, response: bool) -> String {
    let mut names: Vec<String> = spec
        .keys
        .iter()
        .filter(|key| spec.editable(&key.name, response))
        .map(|key| key.name.to_string())
        .collect();
    let open = spec.open.iter().filter(|open| {
        if response {
            open.edit_responses
        } else {
            open.edit_requests
        }
    });
    names.extend(open.map(|open| format!("{}<name>", open.prefix)));
    if names.is_empty() {
        return "nothing in it can be changed".to_owned();
    }
    format!("it can change {}", names.join(", "))
}
