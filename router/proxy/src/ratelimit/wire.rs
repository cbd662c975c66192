//! The messages of Envoy's rate limit service, as far as they are used:
//! `envoy/service/ratelimit/v3/rls.proto` and
//! `envoy/extensions/common/ratelimit/v3/ratelimit.proto`. They are written by hand, because the
//! crates that contain them also contain hundreds of other Envoy messages.

use super::Question;

/// The path of `envoy.service.ratelimit.v3.RateLimitService.ShouldRateLimit`.
pub(super) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// `RateLimitResponse.Code.OK`.
pub(super) const OK: i32 = 1;
/// `RateLimitResponse.Code.OVER_LIMIT`.
pub(super) const OVER_LIMIT: i32 = 2;

/// `envoy.service.ratelimit.v3.RateLimitRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RateLimitRequest {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) descriptors: Vec<RateLimitDescriptor>,
    #[prost(uint32, tag = "3")]
    pub(super) hits_addend: u32,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RateLimitDescriptor {
    #[prost(message, repeated, tag = "1")]
    pub(super) entries: Vec<Entry>,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    pub(super) overall_code: i32,
}

impl RateLimitRequest {
    pub(super) fn of(question: &Question) -> Self {
        let entry = |(key, value): &(String, String)| Entry {
            key: key.clone(),
            value: value.clone(),
        };
        let descriptors = question.descriptors.iter();
        Self {
            domain: question.domain.clone(),
            descriptors: descriptors
                .map(|entries| RateLimitDescriptor {
                    entries: entries.iter().map(entry).collect(),
                })
                .collect(),
            hits_addend: 1,
        }
    }
}
