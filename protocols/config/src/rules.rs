//! What a route does to its requests besides sending them somewhere: retries, faults, mirrors, and
//! changes. Plain data; how each is carried out is the router's affair.

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

    /// This many millionths; more than a million are all.
    pub const fn millionths(millionths: u32) -> Self {
        if millionths > Self::ALL.0 {
            Self::ALL
        } else {
            Self(millionths)
        }
    }

    /// A percentage, to the fourth decimal; below zero is none, above a hundred is all.
    pub fn percent(percent: f64) -> Self {
        // A float that is out of range becomes the nearest bound, and one that is no number zero.
        Self::millionths((percent * 10_000.0).round() as u32)
    }

    /// In millionths.
    pub const fn as_millionths(self) -> u32 {
        self.0
    }
}

/// What is done about a request that failed.
///
/// A request of which no byte was sent goes elsewhere until its time is out, but no longer than the connect
/// timeout of its cluster after its first failure; with no `attempts` it does not. One that was
/// sent is tried again, up to `attempts` times, only if its failure is among `on` or `statuses`, and if the codec says that
/// twice does no harm ([`Safety`](meltemi_frame::Safety)), or `resend` says so. A one-way request, one that ties its
/// connection, and one that goes out in pieces are never sent twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts after the first. Default 2, as in Istio; 0: none.
    pub attempts: u32,
    /// How long one attempt may take; `None`: as long as the request.
    pub per_try_timeout: Option<Duration>,
    /// Failures after which a request that was sent is sent again.
    pub on: Vec<Fault>,
    /// Tests of attributes of a failed response; one that passes counts as a failure among `on`.
    pub statuses: Vec<AttributeMatch>,
    /// The route knows that its requests can be sent twice, whatever the codec knows.
    pub resend: bool,
    /// The pause before the first retry; it doubles with each, and a random half to whole of it is
    /// waited. Default 25 ms, as in Istio; zero: none.
    pub backoff: Duration,
    /// The longest pause. Default ten times `backoff`.
    pub longest_backoff: Duration,
    /// Endpoints that failed are passed over while there are others. Default true.
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

/// A fault that is injected on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// Which of the route's requests; all must pass; none: all.
    pub matches: Vec<AttributeMatch>,
    /// They wait before they are sent.
    pub delay: Option<(Duration, Share)>,
    /// They are answered with a failure and not sent.
    pub abort: Option<Abort>,
    /// Where it was written.
    pub origin: Origin,
}

/// The failure that a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// What the answer says.
    pub reason: Reason,
    /// The same for a person.
    pub text: String,
    /// How many.
    pub share: Share,
}

/// A cluster that gets a copy of requests. Its answers reach nobody, and whatever becomes of the copy, the
/// caller never waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The cluster's name.
    pub cluster: String,
    /// How many requests.
    pub share: Share,
    /// Requests that change nothing are left out (Aeraki's `excludeReadCommands`).
    pub writes_only: bool,
    /// Its answers are compared with those that the callers get, and the differences counted.
    pub compare: bool,
    /// Where it was written.
    pub origin: Origin,
}

/// A change to an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The attribute has this value and no other.
    Set(String, Template),
    /// The message gains this value.
    Add(String, Template),
    /// The attribute is gone.
    Remove(String),
}

impl Change {
    /// The attribute.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Add(name, _) | Self::Remove(name) => name,
        }
    }

    /// The value, if there is one.
    pub const fn value(&self) -> Option<&Template> {
        match self {
            Self::Set(_, value) | Self::Add(_, value) => Some(value),
            Self::Remove(_) => None,
        }
    }
}
