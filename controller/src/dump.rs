//! What is loaded, in the format of the configuration, without secrets.

use meltemi_config::Origin;
use serde_json::{Value, json};

use crate::yaml::{Document, write_document};

/// A document that counts.
#[derive(Clone, Debug)]
pub struct Resource {
    /// `group/version`, as written.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; `default` if none is written.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// All of it, with passwords and the values of Secrets replaced by `<redacted>`.
    pub value: Value,
}

const REDACTED: &str = "<redacted>";
/// Where `kubectl apply` keeps a copy of the whole document, secrets and all.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Resource {
    pub(crate) fn new(document: &Document) -> Self {
        let mut value = document.cursor().json();
        if let Some(annotations) = value
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(LAST_APPLIED);
        }
        if document.kind == "Secret" {
            for part in ["/data", "/stringData"] {
                if let Some(values) = value.pointer_mut(part).and_then(Value::as_object_mut) {
                    values
                        .values_mut()
                        .for_each(|value| *value = REDACTED.into());
                }
            }
        }
        if let Some(spec) = value.get_mut("spec") {
            redact(spec);
        }
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), json!(document.namespace));
        }
        let version = &document.version;
        Self {
            api_version: match document.group.as_str() {
                "" => version.clone(),
                group => format!("{group}/{version}"),
            },
            kind: document.kind.clone(),
            namespace: document.namespace.clone(),
            name: document.name.clone(),
            origin: document.origin(),
            value,
        }
    }
}

/// Replaces every `password`.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "password" && value.is_string() | value.is_number() {
                    *value = REDACTED.into();
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// The resources as YAML documents that load again (but for their secrets), in the order in which
/// they were read.
pub fn dump(resources: &[Resource]) -> String {
    let mut text = String::new();
    for resource in resources {
        write_document(&resource.value, &mut text);
    }
    text
}
