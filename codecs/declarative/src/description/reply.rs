//! The language: the proxy's own messages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scalar::{Scalar, Texts};

/// The proxy's own messages. The first template that serves the variant applies.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Replies {
    /// To a client: its request failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<Template>,
    /// To a server: a heartbeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ping: Vec<Template>,
    /// To either side: the reply to a heartbeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pong: Vec<Template>,
    /// To a client: send no more requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub go_away: Vec<Template>,
}

/// A message that the proxy creates. Magic, lengths, id, checksum and status are set automatically.
/// Fields that are not listed are zero, and sections that are not listed are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Template {
    /// The variants of the messages that it replies to (for unsolicited messages: the variants of
    /// the connection). Default: all.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub to: Texts,
    /// Its own variant.
    pub variant: String,
    /// Fields with fixed values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Scalar>,
    /// Fields that are copied from the message to reply to: own field, its field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copy: BTreeMap<String, String>,
    /// The section (or the field of a delimited message) for the error text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
