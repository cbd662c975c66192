//! The settings that decide which endpoints of a cluster are fit: probes, outlier detection,
//! warm-up, localities.

use std::time::Duration;

use meltemi_frame::Session;

use crate::{Locality, Share};

/// The health checks of a cluster's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The kind of probe.
    pub probe: Probe,
    /// The interval between two probes. Default 10 s.
    pub interval: Duration,
    /// The timeout of a probe. Default 1 s.
    pub timeout: Duration,
    /// The number of failures in a row that make an endpoint unhealthy. Default 3.
    pub unhealthy: u32,
    /// The number of successes in a row that make it healthy again. Default 2; one is enough for an
    /// endpoint that has never been probed.
    pub healthy: u32,
    /// The session of a probe's connection, after the cluster's login: the dialect of the
    /// endpoints, if the protocol has several. Default the plain session.
    pub session: Session,
}

/// The kind of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Opens a connection.
    Tcp,
    /// Sends the protocol's own heartbeat (Dubbo's heartbeat, `PING`, a declared `ping`).
    Heartbeat,
    /// Calls this operation without arguments, through the protocol's client-side codec. Any
    /// response of the service is a success, even an exception. A response that the operation does
    /// not exist is a failure.
    Call(String),
}

/// Outlier detection: ejects failing endpoints for a limited time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// The number of failures in a row, of any kind, that eject an endpoint. 0 disables it. Default
    /// 5.
    pub consecutive: u32,
    /// The number of gateway failures in a row (no connection, or no response in time) that eject
    /// an endpoint. 0 disables it. Default 0.
    pub consecutive_gateway: u32,
    /// The interval at which success rates are compared, and numbers of ejections in a row fall.
    /// Default 10 s.
    pub interval: Duration,
    /// The duration of the first ejection; the n-th in a row lasts n times as long. Default 30 s.
    pub ejection: Duration,
    /// The maximum duration of an ejection. Default 300 s.
    pub longest: Duration,
    /// The maximum share of ejected endpoints; one may always be ejected. Default 10 %.
    pub most: Share,
    /// Ejects endpoints whose success rate is far below that of the others. `None` disables it.
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

/// The conditions under which a success rate is far below that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// The minimum number of endpoints with enough requests in an interval. Default 5.
    pub hosts: u32,
    /// The minimum number of requests to an endpoint in an interval. Default 100.
    pub requests: u32,
    /// The distance below the mean, in thousandths of a standard deviation. Default 1900.
    pub deviation: u32,
}

/// The warm-up: a new or readmitted endpoint reaches its full share only after some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// The length of the warm-up.
    pub duration: Duration,
    /// The share that it starts with. Default 10 %.
    pub minimum: Share,
    /// The reciprocal of the exponent, in thousandths. 1000 is linear; larger values rise faster.
    /// Default 1000.
    pub aggression: u32,
}

/// The shares of localities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalityShares {
    /// Relative shares of localities. A locality that is not listed gets no requests. If empty,
    /// endpoints share requests in all localities.
    pub shares: Vec<(Locality, u32)>,
}

/// The maximum number of requests in retry, relative to the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// The share of the requests in flight. Default 20 %.
    pub share: Share,
    /// The minimum that is always allowed. Default 3.
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
