//! What plain scalars mean: YAML 1.2's core schema (section 10.3), and Go's durations, which Istio
//! and Aeraki write.

use std::time::Duration;

use super::node::{Node, Value};

/// Whether the node stands for nothing, which Kubernetes treats as a field that is not there.
pub(crate) fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(text, true)
        if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
}

/// A flag.
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

/// A scalar as JSON has it.
pub(crate) fn json_scalar(text: &str, plain: bool) -> serde_json::Value {
    let node = Node {
        line: 0,
        value: Value::Scalar(text.to_owned(), plain),
    };
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

/// A duration as Go writes them: `1.5s`, `100ms`, `1h30m`, `0`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(letters)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, millis) in [
            ("1.5s", 1500),
            ("100ms", 100),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "1x",
            "-1s",
            "1.2.3s",
            "1s2",
            "9999999999999999999999h",
            "٣s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

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
