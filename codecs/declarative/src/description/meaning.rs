//! The language: what messages mean. Kinds, timeouts, statuses, sharing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::From;
use crate::scalar::{Scalar, Values};

/// What a message is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KindRule {
    /// What it is.
    pub kind: KindName,
    /// The rule is for messages of this side only. Default: of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// These fields have these values. It is for the variants that have all of these fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
    /// What a retry may assume. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<SafetyName>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KindName {
    /// A request that is answered.
    Request,
    /// A request that is never answered.
    OneWay,
    /// The answer to a request.
    Response,
    /// What a server sends unasked.
    Push,
    /// A heartbeat that asks for an answer.
    Ping,
    /// The answer to a heartbeat.
    Pong,
    /// The peer takes no more requests.
    GoAway,
}

/// What a retry may assume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SafetyName {
    /// It changes nothing.
    Read,
    /// Twice is the same as once.
    Idempotent,
}

/// How requests share an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SharingName {
    /// One at a time.
    Exclusive,
    /// Many, answered in order.
    Pipelined,
    /// Many, told apart by id.
    Multiplexed,
}

/// In which order servers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplyOrder {
    /// As they come.
    Any,
    /// In that of the requests.
    Requests,
}

/// How long the caller waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeout {
    /// The field. Zero and below: the caller does not say.
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
    /// Thousandths.
    #[default]
    Milliseconds,
    /// Millionths.
    Microseconds,
}

/// How a response went.
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
    /// What the field says when the mesh itself fails a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Reasons>,
}

/// The value of the status field for each reason to fail a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reasons {
    /// The request cannot be understood or carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_request: Option<Scalar>,
    /// Nobody serves what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_found: Option<Scalar>,
    /// Somebody serves it, but cannot be reached now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Scalar>,
    /// The answer did not come in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Scalar>,
    /// Too much was asked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overloaded: Option<Scalar>,
    /// The caller may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<Scalar>,
    /// Something else, and every reason that is not given.
    pub internal: Scalar,
}
