//! The effects of a route besides the choice of a cluster: retries, faults, mirrors, and changes.
//! Plain data; the router implements the behaviour.

use std::time::Duration;

use meltemi_frame::{Fault, Reason};

use crate::{AttributeMatch, Origin, Template};

/// A share of requests, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Every request.
    pub const ALL: Self = Self(1_000_000);
    /// No request.
    pub const NONE: Self = Self(0);

    /// Creates a share of this many millionths. More than a million means all.
    pub const fn millionths(millionths: u32) -> Self {
        if millionths > Self::ALL.0 {
            Self::ALL
        } else {
            Self(millionths)
        }
    }

    /// Creates a share from a percentage, to the fourth decimal. Below 0 means none, above 100
    /// means all.
    pub fn percent(percent: f64) -> Self {
        // A float out of range becomes the nearest bound; NaN becomes zero.
        Self::millionths((percent * 10_000.0).round() as u32)
    }

    /// Returns the share in millionths.
    pub const fn as_millionths(self) -> u32 {
        self.0
    }
}

/// The retry rule of a route.
///
/// A request without any bytes sent moves to another endpoint until its timeout, but for no
/// longer than the connect timeout of its cluster after its first failure. With `attempts` of 0 it
/// does not move.
///
/// A request that was sent is retried up to `attempts` times. Its failure must be among `on` or
/// `statuses`, and it must be safe to repeat: the codec reports this
/// ([`Safety`](meltemi_frame::Safety)), or `resend` is set. A one-way request, one that ties its
/// connection, and one that is streamed in pieces are never retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The maximum number of retries. Default 2, as in Istio. 0 means none.
    pub attempts: u32,
    /// The timeout of one attempt. `None` if only the timeout of the request applies.
    pub per_try_timeout: Option<Duration>,
    /// The failures that cause a retry of a request that was sent.
    pub on: Vec<Fault>,
    /// Tests of attributes of a failed response. A response that passes one counts as a failure
    /// among `on`.
    pub statuses: Vec<AttributeMatch>,
    /// `true` if the route's requests are safe to repeat, whatever the codec reports.
    pub resend: bool,
    /// The pause before the first retry. It doubles with each retry, and the actual pause is a
    /// random half to whole of it. Default 25 ms, as in Istio. Zero means no pause.
    pub backoff: Duration,
    /// The longest pause. Default ten times `backoff`.
    pub longest_backoff: Duration,
    /// `true` if retries avoid endpoints that failed, while there are others. Default `true`.
    pub elsewhere: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            on: Vec::new(),
            statuses: Vec::new(),
            resend: false,
            backoff: Duration::from_millis(25),
            longest_backoff: Duration::from_millis(250),
            elsewhere: true,
        }
    }
}

/// A fault to inject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// The requests to which it applies: all tests must pass. If empty, all requests of the route.
    pub matches: Vec<AttributeMatch>,
    /// The delay before a request is sent, and the share of requests to delay.
    pub delay: Option<(Duration, Share)>,
    /// The error response that is sent instead of the request.
    pub abort: Option<Abort>,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// The error response of an injected fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// The reason in the response.
    pub reason: Reason,
    /// The text of the response, for a person.
    pub text: String,
    /// The share of requests that get the response.
    pub share: Share,
}

/// A cluster that gets copies of requests. Responses to the copies are discarded, and the caller
/// never waits for a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The cluster's name.
    pub cluster: String,
    /// The share of requests to copy.
    pub share: Share,
    /// `true` if requests that change nothing are left out (Aeraki's `excludeReadCommands`).
    pub writes_only: bool,
    /// `true` if responses to the copies are compared with the responses to the callers, and the
    /// differences counted.
    pub compare: bool,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// A change to an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replaces all values of the attribute by this value.
    Set(String, Template),
    /// Adds this value to the attribute.
    Add(String, Template),
    /// Removes the attribute.
    Remove(String),
}

impl Change {
    /// Returns the attribute's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Add(name, _) | Self::Remove(name) => name,
        }
    }

    /// Returns the value. `None` for a removal.
    pub const fn value(&self) -> Option<&Template> {
        match self {
            Self::Set(_, value) | Self::Add(_, value) => Some(value),
            Self::Remove(_) => None,
        }
    }
}
