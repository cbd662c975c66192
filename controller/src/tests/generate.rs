//! Generates documents from the table of a kind: always the same ones for the same seed.

use serde_json::{Map, Value, json};

use crate::reference;
use crate::schema::{Field, Kind, Shape};

/// The value of every secret field.
pub(super) const SECRET: &str = "hunter2-canary";

/// Makes reproducible choices from a seed.
pub(super) struct Choices(u64);

impl Choices {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 20) % count.max(1) as u64).unwrap()
    }
}

/// Generates a document of the kind. Most documents have the optional fields.
pub(super) fn document(kind: &Kind, choices: &mut Choices) -> Value {
    let fields: Vec<Field> = reference::fields(kind)
        .into_iter()
        .filter(|field| field.name != "status")
        .collect();
    let mut made = object(&fields, choices);
    let version = kind.versions[choices.below(kind.versions.len())];
    made["apiVersion"] = match kind.group {
        "" => version.into(),
        group => format!("{group}/{version}").into(),
    };
    made["kind"] = kind.name.into();
    made["metadata"]["name"] = "one".into();
    made["metadata"]["namespace"] = "default".into();
    made
}

fn object(fields: &[Field], choices: &mut Choices) -> Value {
    let mut made = Map::new();
    // Includes few of the optional fields, or most of them.
    let few = choices.below(3) == 0;
    for field in fields {
        if field.required || (choices.below(6) == 0) == few {
            made.insert(field.name.to_owned(), value(field, choices));
        }
    }
    Value::Object(made)
}

fn value(field: &Field, choices: &mut Choices) -> Value {
    if field.secret {
        return hidden(field.shape);
    }
    of_shape(field.name, field.shape, choices)
}

fn hidden(shape: &Shape) -> Value {
    match shape {
        Shape::Map(_) => json!({"password": SECRET}),
        _ => SECRET.into(),
    }
}

fn of_shape(name: &str, shape: &Shape, choices: &mut Choices) -> Value {
    match shape {
        Shape::Text => text(name, choices).into(),
        Shape::Choice(words) => words[choices.below(words.len())].into(),
        Shape::Number { min, max } => number(name, *min, *max, choices).into(),
        Shape::Percent => 50.into(),
        Shape::Factor => 1.5.into(),
        Shape::Flag => (choices.below(2) == 0).into(),
        Shape::Duration | Shape::DurationOrZero => "2s".into(),
        Shape::Pattern => "a.*".into(),
        Shape::Any => json!({"fields": [{"size": 1}]}),
        Shape::Object(fields) => object(fields, choices),
        Shape::OneOf { fields, .. } => {
            let field = &fields[choices.below(fields.len())];
            json!({ field.name: value(field, choices) })
        }
        Shape::List(item) => list(name, item, choices),
        Shape::Map(inner) => {
            let key = ["method", "x"][choices.below(2)];
            json!({ key: of_shape(key, inner, choices) })
        }
        Shape::ChoiceOr(words, other) => match choices.below(2) {
            0 => words[choices.below(words.len())].into(),
            _ => of_shape(name, other, choices),
        },
        Shape::ListOr(item, fields) => match choices.below(2) {
            0 => list(name, item, choices),
            _ => object(fields, choices),
        },
        Shape::TextOr(fields) => match choices.below(2) {
            0 => text(name, choices).into(),
            _ => object(fields, choices),
        },
    }
}

fn list(name: &str, item: &Shape, choices: &mut Choices) -> Value {
    let count = 1 + choices.below(3);
    (0..count).map(|_| of_shape(name, item, choices)).collect()
}

/// Returns a number that many documents share, so that they refer to each other.
fn number(name: &str, min: i64, max: i64, choices: &mut Choices) -> i64 {
    let wanted = match name {
        "number" | "port" => 9000,
        _ => i64::try_from(choices.below(5)).unwrap(),
    };
    wanted.clamp(min, max)
}

/// Returns a text that is typical for this field, so that documents refer to each other.
fn text(name: &str, choices: &mut Choices) -> String {
    let some: &[&str] = match name {
        "host" | "hosts" => &["shop.test"],
        "gateway" | "gateways" => &["default/one"],
        "protocol" => &["TCP", "redis", "thrift"],
        "name" => &["one", "tcp-redis-one", "tcp-thrift-one", "tcp-dubbo-one"],
        "address" => &["127.0.0.1"],
        "bind" => &["127.0.0.1"],
        "codec" => &["thrift"],
        "subset" | "version" => &["v1"],
        "rateLimitService" => &["outbound|9000||shop.test"],
        "retryOn" => &["reset", "5xx", "429"],
        "key" => &["source.ip", "attributes[x]", "request.headers[x]", "method"],
        "ipBlocks" | "notIpBlocks" | "remoteIpBlocks" | "notRemoteIpBlocks" => &["127.0.0.1"],
        "ports" | "notPorts" => &["9000"],
        "serviceAccounts" | "notServiceAccounts" => &["default/one"],
        _ => &["method", "x"],
    };
    some[choices.below(some.len())].to_owned()
}
