//! Writes nodes as YAML documents: block style, fields sorted by name, quotes only where a plain
//! word would have another meaning.

use std::fmt::Write as _;

use super::node::{Entry, Node, Value};
use super::scalar::json_scalar;

/// Appends the node as one document.
pub(crate) fn write_document(node: &Node, out: &mut String) {
    out.push_str("---\n");
    if is_full(node) {
        block(node, 0, out);
    } else {
        out.push_str(&inline(node));
        out.push('\n');
    }
}

/// Writes a container, with every line indented.
fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Map(fields) => {
            let mut by_name: Vec<&Entry> = fields.iter().collect();
            by_name.sort_by_key(|entry| &entry.key);
            for entry in by_name {
                let _ = write!(out, "{:indent$}{}:", "", word(&entry.key));
                after(&entry.node, indent + 2, out);
            }
        }
        Value::List(items) => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                if is_full(item) {
                    let mut inner = String::new();
                    block(item, indent + 2, &mut inner);
                    // The first line follows the dash.
                    out.push(' ');
                    out.push_str(inner.trim_start_matches(' '));
                } else {
                    after(item, indent, out);
                }
            }
        }
        Value::Scalar(..) => {}
    }
}

fn after(node: &Node, indent: usize, out: &mut String) {
    if is_full(node) {
        out.push('\n');
        block(node, indent, out);
    } else {
        let _ = writeln!(out, " {}", inline(node));
    }
}

fn is_full(node: &Node) -> bool {
    match &node.value {
        Value::Map(fields) => !fields.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Scalar(..) => false,
    }
}

/// Writes a scalar or an empty container.
fn inline(node: &Node) -> String {
    match &node.value {
        Value::Map(_) => "{}".to_owned(),
        Value::List(_) => "[]".to_owned(),
        Value::Scalar(text, plain) => match json_scalar(text, *plain) {
            serde_json::Value::String(text) => word(&text),
            // JSON's scalars are valid in YAML.
            other => other.to_string(),
        },
    }
}

/// Writes text, with quotes unless it can only be text.
fn word(text: &str) -> String {
    let safe = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./|".contains(c))
        && json_scalar(text, true).is_string()
        // YAML 1.1 readers take these words for booleans.
        && !["y", "n", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if safe {
        text.to_owned()
    } else {
        // A JSON string is a YAML double-quoted scalar (YAML 1.2.2, section 7.3.1).
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let value = json!({
            "a": {"b": [1, "1", true, "yes", null, [], {}, [[1], {"x": "y: z"}]]},
            "list": [{"k": "v", "l": ["", "~", "a\nb", "#"]}, {"m": {"n": 1.5}}],
            "9": "0x1f", "outbound|1||h": "x",
        });
        // JSON is YAML.
        let (nodes, _) = super::super::parse(&value.to_string());
        let mut text = String::new();
        write_document(&nodes[0], &mut text);
        let (documents, faults) = super::super::parse(&text);
        assert!(faults.is_empty(), "{faults:?}\n{text}");
        let document = super::super::Document {
            file: "".into(),
            group: String::new(),
            version: String::new(),
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            object: "".into(),
            root: documents.into_iter().next().unwrap(),
        };
        assert_eq!(document.cursor().json(), value, "{text}");
    }
}
