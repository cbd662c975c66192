//! The language: what can be routed on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scalar::{Texts, Values};

/// A piece of metadata. One of `field`, `section`, `entry` tells where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Attribute {
    /// Its name in configuration: lower case.
    pub name: String,
    /// What it is, in one line, for the reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// It is this field; a number is written in decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Words for values of the field; values without a word are written as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// It is this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// It is the entry of this name among the open metadata; of several names, the first that is there.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub entry: Texts,
    /// Where the server looks, if it does not believe the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Where it is found. Default: on both.
    #[serde(default)]
    pub on: On,
    /// How deep the codec looks for it. Default: route.
    #[serde(default)]
    pub interest: InterestName,
}

/// The place of an attribute in the content: a text field of the Hessian 2 object at its front. Authorization
/// looks there. If the content says something else than the entry, the attribute is undetermined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Content {
    /// The section that holds the object.
    pub section: String,
    /// The class of the object.
    pub class: String,
    /// The section that names the class. Where it names another class, the server takes the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_section: Option<String>,
    /// The field of the object.
    pub field: String,
    /// The content is in Hessian 2 where these fields have these values. Elsewhere the attribute is
    /// undetermined.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
    /// The server takes the entry where these fields have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entry_when: BTreeMap<String, Values>,
}

/// On which messages an attribute is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum On {
    /// On requests and responses.
    #[default]
    Both,
    /// On requests.
    Requests,
    /// On responses.
    Responses,
}

/// How deep the codec looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InterestName {
    /// Always.
    #[default]
    Route,
    /// When a rule asks for headers.
    Headers,
    /// When a rule asks for bodies.
    Body,
}

/// Metadata whose names come from the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Open {
    /// What stands before the names in configuration: `header.`.
    pub prefix: String,
    /// What it is, in one line, for the reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The section with the entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// In delimited messages: the words from this one on that have the form `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_word: Option<u32>,
    /// On which messages entries can be set, added and removed. Default: on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<On>,
    /// How deep the codec looks for it. Default: route.
    #[serde(default)]
    pub interest: InterestName,
}
