//! The meaning of plain scalars: YAML 1.2's core schema (section 10.3).

use super::node::{Node, Value};

/// Returns `true` if the node is null. Kubernetes treats such a field as absent.
pub(crate) fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(text, true)
        if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
}

/// Returns a boolean.
pub(crate) fn boolean(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Scalar(text, true) => match text.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Returns a scalar as JSON.
pub(crate) fn json_scalar(text: &str, plain: bool) -> serde_json::Value {
    let node = Node::new(0, Value::Scalar(text.to_owned(), plain));
    if is_null(&node) {
        return serde_json::Value::Null;
    }
    if let Some(flag) = boolean(&node) {
        return flag.into();
    }
    if plain {
        if let Ok(number) = text.parse::<i64>() {
            return number.into();
        }
        if let Some(hex) = text.strip_prefix("0x")
            && let Ok(number) = i64::from_str_radix(hex, 16)
        {
            return number.into();
        }
        let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        if numeric
            && let Ok(number) = text.parse::<f64>()
            && let Some(number) = serde_json::Number::from_f64(number)
        {
            return number.into();
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_types_and_quoted_ones_are_text() {
        assert_eq!(json_scalar("1", true), serde_json::json!(1));
        assert_eq!(json_scalar("0x1f", true), serde_json::json!(31));
        assert_eq!(json_scalar("1", false), serde_json::json!("1"));
        assert_eq!(json_scalar("1.5", true), serde_json::json!(1.5));
        assert_eq!(json_scalar("true", true), serde_json::json!(true));
        assert_eq!(json_scalar("~", true), serde_json::Value::Null);
        assert_eq!(json_scalar("infinity", true), serde_json::json!("infinity"));
        assert_eq!(json_scalar("v1", true), serde_json::json!("v1"));
    }
}
