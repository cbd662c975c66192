//! The language: what an operator writes of a protocol. Plain serde data, no meaning yet.
//!
//! It knows nothing of frames or plans: `compile` gives it its meaning and finds its mistakes.
//! Every field is listed in the crate's README, which a test holds to these types.

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

/// A protocol in words. Made from YAML or JSON, turned into a codec by
/// [`Declarative::new`](crate::Declarative::new).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Description {
    /// The protocol's name: lower-case letters and digits, as in the port name `tcp-<name>-x`.
    pub name: String,
    /// What it is, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The byte order of every field that does not say its own. Default big.
    #[serde(default)]
    pub byte_order: ByteOrder,
    /// Messages end with a delimiter and consist of words. Without it, messages have a header that
    /// tells their length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// The largest message that the protocol allows, in bytes; the router's limit holds as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// The shapes that a message can have; the first that fits its first bytes is taken.
    pub variants: Vec<Variant>,
    /// What a message is for; the first rule that fits is taken.
    pub kinds: Vec<KindRule>,
    /// The field that a response repeats from its request. Without it, replies come in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How requests share an upstream connection. Default: multiplexed with an id, else exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharingName>,
    /// Whether servers answer in any order or in that of the requests. Default: any with an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_order: Option<ReplyOrder>,
    /// The field that tells how long the caller waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// The field that tells how a response went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusTable>,
    /// Routable metadata with names of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Routable metadata whose names come from the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// The attribute that names the operation in metrics and logs. Default: `method`, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The attribute that names the service in metrics and logs. Default: `service`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What the mesh itself has to say.
    #[serde(default)]
    pub replies: Replies,
}
