//! The language: the meaning of messages. Kinds, timeouts, statuses, sharing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::From;
use crate::scalar::{Scalar, Values};

/// A rule for the kind of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KindRule {
    /// The kind.
    pub kind: KindName,
    /// The rule applies to messages of this side only. Default: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// These fields have these values. The rule applies to the variants that have all of these
    /// fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
    /// The retry safety. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<SafetyName>,
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KindName {
    /// A request that gets a reply.
    Request,
    /// A request that never gets a reply.
    OneWay,
    /// The reply to a request.
    Response,
    /// An unsolicited message of a server.
    Push,
    /// A heartbeat that requests a reply.
    Ping,
    /// The reply to a heartbeat.
    Pong,
    /// The sender accepts no more requests.
    GoAway,
}

/// The retry safety of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SafetyName {
    /// The request changes no data.
    Read,
    /// A repeated request has the same effect as one.
    Idempotent,
}

/// How requests share an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SharingName {
    /// One at a time.
    Exclusive,
    /// Many, with replies in order.
    Pipelined,
    /// Many, matched by id.
    Multiplexed,
}

/// The order of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplyOrder {
    /// Any order.
    Any,
    /// The order of the requests.
    Requests,
}

/// The caller's timeout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeout {
    /// The field. Zero or less: no timeout.
    pub field: String,
    /// Its unit. Default: milliseconds.
    #[serde(default)]
    pub unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    #[default]
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// The result of a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StatusTable {
    /// The field.
    pub field: String,
    /// Its values for success.
    pub ok: Values,
    /// Its values by fault (`timeout`, `application`…).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, Values>,
    /// The fault of every other value. Default: `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// The value of the field when the proxy itself fails a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Reasons>,
}

/// The value of the status field for each failure reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reasons {
    /// The request is invalid or cannot be forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_request: Option<Scalar>,
    /// No server provides the service or method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_found: Option<Scalar>,
    /// A server provides it, but is unreachable now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Scalar>,
    /// The reply did not arrive in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Scalar>,
    /// There are too many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overloaded: Option<Scalar>,
    /// The caller has no permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<Scalar>,
    /// Any other reason, and every reason without a value.
    pub internal: Scalar,
}
