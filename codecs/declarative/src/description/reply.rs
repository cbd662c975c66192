//! The language: what the mesh itself says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scalar::{Scalar, Texts};

/// What the mesh itself has to say. Of several templates the first that serves the variant is taken.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Replies {
    /// To a client: its request failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<Template>,
    /// To a server: are you there?
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ping: Vec<Template>,
    /// To either: I am here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pong: Vec<Template>,
    /// To a client: send no more requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub go_away: Vec<Template>,
}

/// A message that the mesh makes. Magic, lengths, id, checksum and status fill themselves; fields that
/// are not mentioned are zero, sections that are not mentioned are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Template {
    /// The variants of the messages that it answers (or, for what is said unasked, that the connection
    /// speaks). Default: every one.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub to: Texts,
    /// Its own variant.
    pub variant: String,
    /// Fields with fixed values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Scalar>,
    /// Fields that are copied from the message that is answered: own field, its field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copy: BTreeMap<String, String>,
    /// The section (or the field of a delimited message) that says in words what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
