//! Rate limits: the number of requests that may pass, by key, decided locally or by a service.

use std::time::Duration;

use crate::{AttributeMatch, Origin};

/// A token bucket. It holds up to `size` tokens, and gains `fill` tokens in every `interval`,
/// evenly spread to the microsecond. A request takes one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The maximum and initial number of tokens.
    pub size: u32,
    /// The number of tokens gained in every interval.
    pub fill: u32,
    /// The interval. Must not be zero.
    pub interval: Duration,
}

/// Local limits. The first rule that matches a request decides; without a match the request passes.
/// The limits apply to the whole process, for any number of workers. A rule keeps its state as long
/// as each new configuration has limits of this name with the same rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLimits {
    /// The name for metrics, logs and dumps. Unique in a configuration.
    pub name: String,
    /// The rules, in the order in which they are tested.
    pub rules: Vec<LocalLimit>,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// One rule of [`LocalLimits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLimit {
    /// The requests to which it applies: all tests must pass. If empty, all requests.
    pub matches: Vec<AttributeMatch>,
    /// The attributes whose combinations of values have separate buckets (`source.ip` is the
    /// client's address). If empty, there is one bucket.
    pub per: Vec<String>,
    /// The maximum number of combinations of values with separate buckets at one time. Further ones
    /// share one bucket. Default 1024.
    pub values: usize,
    /// The bucket.
    pub bucket: Bucket,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// A limit that an external service decides: Envoy's `RateLimitService` v3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalLimit {
    /// The name for metrics, logs and dumps.
    pub name: String,
    /// The requests to which it applies: all tests must pass. If empty, all requests.
    pub matches: Vec<AttributeMatch>,
    /// The domain that is sent to the service.
    pub domain: String,
    /// The descriptors that are sent to the service. A descriptor with an absent attribute is left
    /// out; if none is left, the service is not called.
    pub descriptors: Vec<Descriptor>,
    /// The cluster of the service. Its endpoints must speak gRPC.
    pub cluster: String,
    /// The timeout of the call.
    pub timeout: Duration,
    /// `true` if the request is denied when the service does not respond; else it passes.
    pub deny_on_failure: bool,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// A descriptor: a list of entries that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its entries, in order.
    pub entries: Vec<DescriptorEntry>,
}

/// One entry of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: DescriptorValue,
}

/// The value of a descriptor's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DescriptorValue {
    /// A constant text.
    Text(String),
    /// The first value of an attribute; `source.ip` is the client's address.
    Attribute(String),
}
