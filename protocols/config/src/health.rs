//! Which endpoints of a cluster are fit for requests: probes, outliers, warm-up, localities.

use std::time::Duration;

use meltemi_frame::Session;

use crate::{Locality, Share};

/// Endpoints are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// How often. Default 10 s.
    pub interval: Duration,
    /// How long an answer may take. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row until an endpoint counts as unhealthy. Default 3.
    pub unhealthy: u32,
    /// Successes in a row until it counts as healthy again. Default 2; one is enough for an endpoint
    /// that has never been probed.
    pub healthy: u32,
    /// What a probe's connection is, behind the cluster's login: the dialect that the endpoints speak,
    /// where the protocol has several. Default the plain one.
    pub session: Session,
}

/// What an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether it accepts connections.
    Tcp,
    /// The protocol's own heartbeat (Dubbo's heartbeat, `PING`, a declared `ping`).
    Heartbeat,
    /// A call of this operation without arguments, by the protocol's own client side. Any answer of the
    /// service counts, an exception of its own too; that there is no such operation does not.
    Call(String),
}

/// Endpoints that fail are left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Failures in a row, of whatever kind; 0: not looked at. Default 5.
    pub consecutive: u32,
    /// Failures to reach the endpoint or to get an answer in time, in a row; 0: not looked at. Default 0.
    pub consecutive_gateway: u32,
    /// How often success rates are compared, and ejected endpoints let in again. Default 10 s.
    pub interval: Duration,
    /// How long an endpoint is ejected the first time; the n-th time in a row, n times that. Default 30 s.
    pub ejection: Duration,
    /// The longest ejection. Default 300 s.
    pub longest: Duration,
    /// The largest part of the endpoints that may be ejected; one may always be. Default 10 %.
    pub most: Share,
    /// Endpoints whose success rate is far below that of the others are ejected.
    pub success_rate: Option<SuccessRate>,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive: 5,
            consecutive_gateway: 0,
            interval: Duration::from_secs(10),
            ejection: Duration::from_secs(30),
            longest: Duration::from_secs(300),
            most: Share::millionths(100_000),
            success_rate: None,
        }
    }
}

/// When a success rate is far below that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// Endpoints that must have had enough requests in an interval. Default 5.
    pub hosts: u32,
    /// Requests that an endpoint must have had. Default 100.
    pub requests: u32,
    /// How many thousandths of a standard deviation below the mean. Default 1900.
    pub deviation: u32,
}

/// A new endpoint, or one that is let in again, gets its full share only after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// How long.
    pub duration: Duration,
    /// The share that it starts with. Default 10 %.
    pub minimum: Share,
    /// The exponent's reciprocal: 1 is linear, more starts faster. In thousandths. Default 1000.
    pub aggression: u32,
}

/// How localities share requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalityShares {
    /// Relative shares of localities; a locality that is not listed gets none. Empty: endpoints share
    /// requests whatever their locality.
    pub shares: Vec<(Locality, u32)>,
}

/// How many requests may be under retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Of the requests in flight. Default 20 %.
    pub share: Share,
    /// However few are in flight. Default 3.
    pub least: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            share: Share::millionths(200_000),
            least: 3,
        }
    }
}
