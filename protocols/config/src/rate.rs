//! Rate limits: how many requests may pass, by what, and who is asked.

use std::time::Duration;

use crate::{AttributeMatch, Origin};

/// A token bucket: it holds up to `size` tokens, and gains `fill` in every `interval`, evenly spread
/// to the microsecond. A request takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The most tokens, and how many there are at first.
    pub size: u32,
    /// Tokens gained in every interval.
    pub fill: u32,
    /// The interval; not zero.
    pub interval: Duration,
}

/// Local limits: of the rules the first that matches a request decides; if none does, it passes. They
/// hold for the whole process, whatever its number of workers, and keep their state as long as a
/// configuration has limits of this name and the rule stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLimits {
    /// Its name in metrics, logs and dumps; unique in a configuration.
    pub name: String,
    /// In the order in which they are tried.
    pub rules: Vec<LocalLimit>,
    /// Where it was written.
    pub origin: Origin,
}

/// One rule of [`LocalLimits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLimit {
    /// Which requests; all must pass; none: all.
    pub matches: Vec<AttributeMatch>,
    /// A bucket for each combination of the values of these attributes (`source.ip` is the client's
    /// address); none: one bucket.
    pub per: Vec<String>,
    /// Combinations of values that have a bucket of their own at one time; further ones share
    /// one. Default 1024.
    pub values: usize,
    /// The bucket.
    pub bucket: Bucket,
    /// Where it was written.
    pub origin: Origin,
}

/// A limit that a service decides: Envoy's `RateLimitService` v3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalLimit {
    /// Its name in metrics, logs and dumps.
    pub name: String,
    /// Which requests are asked about; all must pass; none: all.
    pub matches: Vec<AttributeMatch>,
    /// The domain that the service knows.
    pub domain: String,
    /// What is told of a request. A descriptor of which an attribute is absent is left out; with
    /// none left, nothing is asked.
    pub descriptors: Vec<Descriptor>,
    /// The cluster of the service; its endpoints speak gRPC.
    pub cluster: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Without an answer the request is refused; else it passes.
    pub deny_on_failure: bool,
    /// Where it was written.
    pub origin: Origin,
}

/// A descriptor: entries that count together.
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
    /// Always this.
    Text(String),
    /// The first value of an attribute; `source.ip` is the client's address.
    Attribute(String),
}
