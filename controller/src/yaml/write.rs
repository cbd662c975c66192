//! JSON values as YAML documents: plain, block style, quoted where a plain word would mean
//! something else.

use std::fmt::Write as _;

use serde_json::Value;

/// Appends the value as one document.
pub(crate) fn write_document(value: &Value, out: &mut String) {
    out.push_str("---\n");
    match value {
        Value::Object(_) | Value::Array(_) => block(value, 0, out),
        scalar => {
            out.push_str(&inline(scalar));
            out.push('\n');
        }
    }
}

/// Writes a container, each line of it indented.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let _ = write!(out, "{:indent$}{}:", "", word(key));
                after(value, indent + 2, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                if is_full(item) {
                    let mut inner = String::new();
                    block(item, indent + 2, &mut inner);
                    // The first line stands behind the dash.
                    out.push(' ');
                    out.push_str(inner.trim_start_matches(' '));
                } else {
                    after(item, indent, out);
                }
            }
        }
        _ => {}
    }
}

fn after(value: &Value, indent: usize, out: &mut String) {
    if is_full(value) {
        out.push('\n');
        block(value, indent, out);
    } else {
        let _ = writeln!(out, " {}", inline(value));
    }
}

fn is_full(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        // JSON's scalars and empty containers are YAML's flow style.
        other => other.to_string(),
    }
}

/// Text, quoted unless it can only be text.
fn word(text: &str) -> String {
    let safe = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./|".contains(c))
        && super::scalar::json_scalar(text, true).is_string()
        // YAML 1.1 readers take these for flags.
        && !["y", "n", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if safe {
        text.to_owned()
    } else {
        // A JSON string is a YAML double-quoted scalar (YAML 1.2.2, section 7.3.1).
        Value::from(text).to_string()
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
        let mut text = String::new();
        write_document(&value, &mut text);
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
