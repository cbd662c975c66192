//! The language: the attributes for routing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scalar::{Texts, Values};

/// An attribute. Exactly one of `field`, `section`, `entry` gives its position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Attribute {
    /// Its name in configuration, in lower case.
    pub name: String,
    /// A description in one line, for the reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The attribute is this field. A number is written in decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Words for values of the field. Values without a word are used unchanged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// The attribute is this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The attribute is the entry with this name in the open metadata. With several names, the
    /// first one that exists.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub entry: Texts,
    /// The position where the server reads it, if it ignores the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The messages that have it. Default: both.
    #[serde(default)]
    pub on: On,
    /// The depth of inspection at which the codec reads it. Default: route.
    #[serde(default)]
    pub interest: InterestName,
}

/// The position of an attribute in the content: a text field of the Hessian 2 object at its front.
/// Authorization reads it there. If the content and the entry differ, the attribute is
/// undetermined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Content {
    /// The section that contains the object.
    pub section: String,
    /// The class of the object.
    pub class: String,
    /// The section that names the class. If it names another class, the server uses the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_section: Option<String>,
    /// The field of the object.
    pub field: String,
    /// The content is Hessian 2 if these fields have these values. Otherwise the attribute is
    /// undetermined.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
    /// The server uses the entry if these fields have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entry_when: BTreeMap<String, Values>,
}

/// The messages that have an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum On {
    /// Requests and responses.
    #[default]
    Both,
    /// Requests.
    Requests,
    /// Responses.
    Responses,
}

/// The depth of inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InterestName {
    /// Always.
    #[default]
    Route,
    /// If a rule needs headers.
    Headers,
    /// If a rule needs bodies.
    Body,
}

/// Metadata whose names come from the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Open {
    /// The prefix of the names in configuration: `header.`.
    pub prefix: String,
    /// A description in one line, for the reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The section with the entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// In delimited messages: the first word of those with the form `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_word: Option<u32>,
    /// The messages on which entries can be set, added and removed. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<On>,
    /// The depth of inspection at which the codec reads it. Default: route.
    #[serde(default)]
    pub interest: InterestName,
}
