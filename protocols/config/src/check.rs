//! Checks the rules of a route or listener: attributes exist in the protocol and in the direction
//! of use, and numbers are valid. [`Config::new`](crate::Config::new) checks the rest, which needs
//! the whole configuration (clusters, unique names).

use meltemi_frame::Spec;

use crate::{
    AttributeMatch, Change, DescriptorValue, FaultRule, GlobalLimit, LocalLimit, LocalLimits,
    Mutation, Origin, Problem, Retry,
};

/// The name of the client's address among the attributes of rate limits.
const SOURCE_IP: &str = "source.ip";

/// The messages that must have an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Requests,
    Responses,
}

/// Checks rules against a protocol, and collects all problems.
pub(crate) struct Check<'c> {
    pub(crate) spec: &'c Spec,
    pub(crate) problems: &'c mut Vec<Problem>,
}

impl Check<'_> {
    pub(crate) fn tests(&mut self, tests: &[AttributeMatch], on: On, origin: &Origin, field: &str) {
        for test in tests {
            self.attribute(&test.name, on, origin, field);
        }
    }

    fn attribute(&mut self, name: &str, on: On, origin: &Origin, field: &str) {
        let spec = self.spec;
        let problem = Problem::error(origin, field, name);
        if spec.lookup(name).is_none() {
            self.problems.push(
                problem
                    .says(format!("{} has no such attribute", spec.name))
                    .remedy(format!("it has {}", spec.known_names())),
            );
            return;
        }
        let Some(key) = spec.key(name) else {
            return;
        };
        match on {
            On::Requests if !key.request => self.problems.push(
                problem.says("only responses have this attribute, and this rule is for requests"),
            ),
            On::Responses if !key.response => self.problems.push(
                problem.says("only requests have this attribute, and this rule is for responses"),
            ),
            On::Requests | On::Responses => {}
        }
    }

    fn attribute_or_source(&mut self, name: &str, origin: &Origin, field: &str) {
        if name != SOURCE_IP {
            self.attribute(name, On::Requests, origin, field);
        }
    }

    pub(crate) fn retry(&mut self, retry: &Retry, origin: &Origin) {
        self.tests(&retry.statuses, On::Responses, origin, "retries.statuses");
        if retry.per_try_timeout.is_some_and(|time| time.is_zero()) {
            self.problems.push(
                Problem::error(origin, "retries.perTryTimeout", "0s")
                    .says("must be more than zero, or no attempt can finish in time"),
            );
        }
        if retry.longest_backoff < retry.backoff {
            self.problems.push(
                Problem::error(
                    origin,
                    "retries.backoff.max",
                    &format!("{:?}", retry.longest_backoff),
                )
                .says(format!(
                    "is shorter than the first pause, {:?}",
                    retry.backoff
                )),
            );
        }
    }

    pub(crate) fn fault(&mut self, fault: &FaultRule) {
        self.tests(
            &fault.matches,
            On::Requests,
            &fault.origin,
            "faults.match.attributes",
        );
        if fault.delay.is_none() && fault.abort.is_none() {
            self.problems.push(
                Problem::error(&fault.origin, "faults", "").says("neither delays nor aborts"),
            );
        }
    }

    pub(crate) fn mutation(&mut self, mutation: &Mutation, origin: &Origin) {
        self.changes(&mutation.request, On::Requests, origin, "requestMutation");
        self.changes(
            &mutation.response,
            On::Responses,
            origin,
            "responseMutation",
        );
    }

    fn changes(&mut self, changes: &[Change], on: On, origin: &Origin, field: &str) {
        for change in changes {
            if !self.spec.editable(change.name(), on == On::Responses) {
                self.problems.push(
                    Problem::error(origin, field, change.name())
                        .says(format!("{} cannot carry this change", self.spec.name))
                        .remedy(self.spec.editable_names(on == On::Responses)),
                );
            }
            let needed = change.value().into_iter().flat_map(|it| it.attributes());
            for name in needed {
                self.attribute(name, on, origin, field);
            }
        }
    }

    pub(crate) fn local(&mut self, limits: &LocalLimits) {
        for rule in &limits.rules {
            self.tests(
                &rule.matches,
                On::Requests,
                &rule.origin,
                "localRateLimit.match",
            );
            for name in &rule.per {
                self.attribute_or_source(name, &rule.origin, "localRateLimit.per");
            }
            self.numbers(rule);
        }
    }

    fn numbers(&mut self, rule: &LocalLimit) {
        let bucket = &rule.bucket;
        for (field, zero) in [
            ("tokenBucket.maxTokens", bucket.size == 0),
            ("tokenBucket.tokensPerFill", bucket.fill == 0),
            ("tokenBucket.fillInterval", bucket.interval.is_zero()),
            ("values", rule.values == 0 && !rule.per.is_empty()),
        ] {
            if zero {
                self.problems.push(
                    Problem::error(&rule.origin, &format!("localRateLimit.{field}"), "0")
                        .says("must be more than zero"),
                );
            }
        }
    }

    pub(crate) fn global(&mut self, limit: &GlobalLimit) {
        self.tests(
            &limit.matches,
            On::Requests,
            &limit.origin,
            "globalRateLimit.match",
        );
        let field = "globalRateLimit.descriptors";
        if limit.descriptors.iter().all(|one| one.entries.is_empty()) {
            self.problems.push(
                Problem::error(&limit.origin, field, "")
                    .says("has no entries, so nothing is sent to the service"),
            );
        }
        let entries = limit.descriptors.iter().flat_map(|one| &one.entries);
        for entry in entries {
            if let DescriptorValue::Attribute(name) = &entry.value {
                self.attribute_or_source(name, &limit.origin, field);
            }
        }
        if limit.timeout.is_zero() {
            self.problems.push(
                Problem::error(&limit.origin, "globalRateLimit.requestTimeout", "0s")
                    .says("must be more than zero, or no response can arrive in time"),
            );
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
