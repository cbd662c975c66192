//! The effects of a route on a request besides the choice of a cluster: for people.

use std::fmt;
use std::time::Duration;

use meltemi_config::{Change, Config, FaultRule, Route, Share};
use meltemi_frame::{Message, Reason};

use super::AccessGiven;
use crate::{CompiledRoute, MirrorTarget, Peer};

/// The effects of a route on a request besides the choice of a cluster.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Plan {
    /// The timeout. `None` if there is none.
    pub timeout: Option<String>,
    /// `true` if the request may carry a shorter timeout.
    pub caller_timeout: bool,
    /// The retry rule.
    pub retry: RetryPlan,
    /// The faults that can be injected.
    pub faults: Vec<FaultShare>,
    /// The clusters that can get a copy.
    pub mirrors: Vec<MirrorShare>,
    /// The changes to the request.
    pub request_changes: Vec<String>,
    /// The changes to its response.
    pub response_changes: Vec<String>,
}

/// The retry rule of a route, for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RetryPlan {
    /// The maximum number of retries.
    pub attempts: u32,
    /// The timeout of one attempt. `None` if only the timeout of the request applies.
    pub per_try_timeout: Option<String>,
    /// `true` if this request can be retried after it was sent.
    pub resends: bool,
    /// The failures and the tests of responses that cause a retry.
    pub on: Vec<String>,
    /// The first and the longest pause between attempts.
    pub pause: [String; 2],
    /// `true` if retries avoid endpoints that failed.
    pub elsewhere: bool,
}

/// A fault that can be injected.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FaultShare {
    /// The delay. `None` if there is none.
    pub delay: Option<String>,
    /// The percentage of requests that are delayed.
    pub delay_percent: f64,
    /// The error response. `None` if there is none.
    pub abort: Option<String>,
    /// The percentage of requests that get the error response.
    pub abort_percent: f64,
}

/// A cluster that can get a copy of a request.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MirrorShare {
    /// The cluster.
    pub cluster: String,
    /// The percentage of requests that are copied.
    pub percent: f64,
    /// `true` if responses to the copies are compared.
    pub compare: bool,
    /// The decision of the cluster's policies on the copy. `None` if it has none, or the same ones
    /// as the route.
    pub access: Option<AccessGiven>,
}

impl Plan {
    /// Returns the effects of `route` on a message. `route` must be compiled from `plain` and
    /// `config`.
    pub(super) fn new(
        route: &CompiledRoute,
        plain: &Route,
        config: &Config,
        message: &Message<'_>,
        peer: &Peer,
    ) -> Self {
        let extras = route.rules.extras();
        let faults = extras.and_then(|extras| extras.faults.as_ref());
        let faults = faults.iter().flat_map(|faults| faults.matching(message));
        let faults = faults.filter_map(|at| plain.faults.get(at));
        let mirrors = extras.and_then(|extras| extras.mirrors.as_ref());
        let mirrors = mirrors
            .iter()
            .flat_map(|mirrors| mirrors.taking(&message.head));
        let mirror = |target: &MirrorTarget| {
            Some(MirrorShare {
                cluster: config.clusters().get(target.cluster)?.name.clone(),
                percent: percent(target.share),
                compare: target.compare,
                access: super::access(route, target.cluster, message, peer),
            })
        };
        let changes = |changes: &[Change]| changes.iter().map(written).collect();
        Self {
            timeout: route.timeout.map(shown),
            caller_timeout: plain.caller_timeout,
            retry: RetryPlan::new(route, plain, message),
            faults: faults.map(FaultShare::new).collect(),
            mirrors: mirrors.filter_map(mirror).collect(),
            request_changes: changes(&plain.mutation.request),
            response_changes: changes(&plain.mutation.response),
        }
    }
}

impl RetryPlan {
    fn new(route: &CompiledRoute, plain: &Route, message: &Message<'_>) -> Self {
        let (rule, plain) = (&route.rules.retry, &plain.retry);
        let faults = plain.on.iter().map(|fault| fault.name().to_owned());
        let statuses = plain.statuses.iter().map(|test| {
            let not = if test.negate { "not: " } else { "" };
            format!("`{}` {not}{}", test.name, test.matcher)
        });
        Self {
            attempts: rule.attempts(),
            per_try_timeout: rule.per_try_timeout().map(shown),
            resends: rule.keeps(&message.head),
            on: faults.chain(statuses).collect(),
            pause: [plain.backoff, plain.longest_backoff.max(plain.backoff)].map(shown),
            elsewhere: rule.elsewhere(),
        }
    }
}

impl FaultShare {
    fn new(plain: &FaultRule) -> Self {
        let abort = plain.abort.as_ref();
        Self {
            delay: plain.delay.map(|(delay, _)| shown(delay)),
            delay_percent: plain.delay.map_or(0.0, |(_, share)| percent(share)),
            abort: abort.map(|abort| format!("{}: {}", reason_name(abort.reason), abort.text)),
            abort_percent: abort.map_or(0.0, |abort| percent(abort.share)),
        }
    }
}

fn shown(duration: Duration) -> String {
    format!("{duration:?}")
}

pub(super) fn percent(share: Share) -> f64 {
    f64::from(share.as_millionths()) / 10_000.0
}

const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::BadRequest => "bad request",
        Reason::NotFound => "not found",
        Reason::Unavailable => "unavailable",
        Reason::Timeout => "timeout",
        Reason::Overloaded => "overloaded",
        Reason::Denied => "denied",
        Reason::Internal => "internal",
    }
}

fn written(change: &Change) -> String {
    match change {
        Change::Set(name, value) => format!("sets {name} to `{value}`"),
        Change::Add(name, value) => format!("adds {name} `{value}`"),
        Change::Remove(name) => format!("removes {name}"),
    }
}

impl fmt::Display for RetryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts == 0 {
            return f.write_str("retry never");
        }
        write!(f, "retry up to {} times", self.attempts)?;
        if self.elsewhere {
            f.write_str(", elsewhere")?;
        }
        let [first, longest] = &self.pause;
        write!(f, ", after {first} up to {longest}")?;
        if let Some(timeout) = &self.per_try_timeout {
            write!(f, ", {timeout} for each try")?;
        }
        if self.on.is_empty() {
            return f.write_str("; not once sent");
        }
        write!(f, "; once sent, on {}", self.on.join(", "))?;
        if !self.resends {
            f.write_str(", if twice is known to do no harm, which it is not of this one")?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fault")?;
        if let Some(delay) = &self.delay {
            write!(f, " delays {}% by {delay}", self.delay_percent)?;
        }
        if let Some(abort) = &self.abort {
            let and = if self.delay.is_some() { "," } else { "" };
            write!(f, "{and} answers {}% with {abort}", self.abort_percent)?;
        }
        Ok(())
    }
}

impl fmt::Display for MirrorShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mirror {}% to {}", self.percent, self.cluster)?;
        if self.compare {
            f.write_str(", compared")?;
        }
        if let Some(access) = &self.access {
            write!(f, ": {access}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Writes the route's timeout and its retry rule.
    pub(super) fn show_route(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.timeout, self.caller_timeout) {
            (Some(timeout), false) => writeln!(f, "timeout {timeout}")?,
            (Some(timeout), true) => writeln!(f, "timeout {timeout}, or the caller's if shorter")?,
            (None, true) => writeln!(f, "timeout of the caller")?,
            (None, false) => {}
        }
        writeln!(f, "{}", self.retry)
    }

    pub(super) fn show_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults.iter().try_for_each(|one| writeln!(f, "{one}"))
    }

    pub(super) fn show_changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut requests = self.request_changes.iter();
        requests.try_for_each(|one| writeln!(f, "request {one}"))?;
        let mut responses = self.response_changes.iter();
        responses.try_for_each(|one| writeln!(f, "response {one}"))
    }

    pub(super) fn show_mirrors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mirrors.iter().try_for_each(|one| writeln!(f, "{one}"))
    }
}
