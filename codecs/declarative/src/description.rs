//! The language: the operator's description of a protocol, as plain serde data.
//!
//! It must not depend on frames or plans: `compile` interprets it and finds its mistakes. The
//! README of the crate lists every field, and a test compares it with these types.

mod meaning;
mod metadata;
mod reply;
mod shape;

use serde::{Deserialize, Serialize};

pub use crate::scalar::{Scalar, Texts, Values};
pub use meaning::{
    KindName, KindRule, Reasons, ReplyOrder, SafetyName, SharingName, StatusTable, Timeout, Unit,
};
pub use metadata::{Attribute, Content, InterestName, On, Open};
pub use reply::{Replies, Template};
pub use shape::{
    ByteOrder, Checksum, Counts, Delimiter, Encoding, Entries, Field, From, Length, Pattern,
    Section, Trailer, Variant,
};

/// The description of a protocol. It comes from YAML or JSON.
/// [`Declarative::new`](crate::Declarative::new) converts it to a codec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Description {
    /// The protocol's name: lower-case letters and digits, as in the port name `tcp-<name>-x`.
    pub name: String,
    /// A description in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The byte order of every field without its own. Default: big.
    #[serde(default)]
    pub byte_order: ByteOrder,
    /// Messages end with a delimiter and consist of words. Without it, messages have a header with
    /// their length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// The maximum length of a message in the protocol, in bytes. The router's limit applies too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// The shapes of messages. The first one that matches the first bytes applies.
    pub variants: Vec<Variant>,
    /// The kinds of messages. The first rule that matches applies.
    pub kinds: Vec<KindRule>,
    /// The field that a response repeats from its request. Without it, replies come in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How requests share an upstream connection. Default: multiplexed with an id, otherwise
    /// exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharingName>,
    /// The order of replies: any order, or the order of the requests. Default: any with an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_order: Option<ReplyOrder>,
    /// The field with the caller's timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// The field with the result of a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusTable>,
    /// Routable metadata with names of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Routable metadata whose names come from the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// The attribute that names the operation in metrics and logs. Default: `method`, otherwise the
    /// first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The attribute that names the service in metrics and logs. Default: `service`, if there is
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The proxy's own messages.
    #[serde(default)]
    pub replies: Replies,
}
