//! The loaded configuration in its own format, without secrets.

use meltemi_config::Origin;

use crate::yaml::{Document, Entry, Node, Value, is_null, write_document};

/// A document in effect.
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
    /// Where the document was written.
    pub origin: Origin,
    /// The whole document as YAML, with every secret value replaced by `<redacted>`.
    pub text: String,
}

const REDACTED: &str = "<redacted>";
/// The annotation in which `kubectl apply` keeps a copy of the whole document, secrets included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Resource {
    pub(crate) fn new(document: &Document) -> Self {
        // A short-lived copy of the tree: the text takes a fraction of its memory.
        let mut root = document.root.clone();
        let metadata = root.field_mut("metadata");
        if let Some(Value::Map(fields)) = metadata.map(|entry| &mut entry.node.value) {
            fields.retain(|entry| entry.key != "namespace");
            fields.push(Entry::text("namespace", &document.namespace));
            let annotations = fields.iter_mut().find(|entry| entry.key == "annotations");
            if let Some(Value::Map(all)) = annotations.map(|entry| &mut entry.node.value) {
                all.retain(|entry| entry.key != LAST_APPLIED);
            }
        }
        redact(&mut root);
        let mut text = String::new();
        write_document(&root, &mut text);
        text.shrink_to_fit();
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
            text,
        }
    }
}

/// Replaces every secret text.
fn redact(node: &mut Node) {
    let hidden = node.secret && !is_null(node);
    match &mut node.value {
        Value::Map(fields) => fields.iter_mut().for_each(|entry| redact(&mut entry.node)),
        Value::List(items) => items.iter_mut().for_each(redact),
        Value::Scalar(text, plain) if hidden => {
            REDACTED.clone_into(text);
            *plain = false;
        }
        Value::Scalar(..) => {}
    }
}

/// Returns the resources as YAML documents that load again (except for their secrets), in the order
/// in which they were read.
pub fn dump(resources: &[Resource]) -> String {
    resources
        .iter()
        .map(|resource| resource.text.as_str())
        .collect()
}
