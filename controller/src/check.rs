//! Checks a document against the table of its kind: unknown fields, missing fields, values of the
//! wrong shape. This module must not know any particular kind. Readers can rely on these checks.

use meltemi_config::{Problem, WholeRegex};

use crate::near::nearest;
use crate::schema::{Effect, Field, Shape};
use crate::yaml::{Cursor, Value, boolean};

/// The kind or field that does not know an unknown field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'o> {
    pub(crate) name: &'o str,
    /// A hint that the error adds; may be empty.
    pub(crate) more: &'o str,
}

/// Checks the fields of an object.
pub(crate) fn fields(
    here: &Cursor<'_>,
    fields: &[Field],
    owner: Owner<'_>,
    problems: &mut Vec<Problem>,
) {
    for (name, entry) in here.entries() {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            problems.push(unknown(&entry, name, fields, owner));
            continue;
        };
        if field.effect == Effect::Later && !is_idle(&entry) {
            problems.push(
                entry
                    .warning("accepted, not enforced yet")
                    .remedy("nothing comes of this field for now"),
            );
        }
        shape(&entry, field.shape, owner, problems);
    }
    for field in fields.iter().filter(|field| field.required) {
        let missing = here.at(field.name);
        if !missing.exists() {
            problems.push(missing.error("is missing").remedy(field.doc));
        }
    }
}

/// Returns `true` for an empty list or object and for `false`: the value has no effect.
fn is_idle(here: &Cursor<'_>) -> bool {
    match here.node().map(|node| &node.value) {
        Some(Value::List(items)) => items.is_empty(),
        Some(Value::Map(entries)) => entries.is_empty(),
        Some(Value::Scalar(..)) => here.flag() == Some(false),
        None => true,
    }
}

fn unknown(entry: &Cursor<'_>, name: &str, fields: &[Field], owner: Owner<'_>) -> Problem {
    let names = || fields.iter().map(|field| field.name);
    let known = names().collect::<Vec<_>>().join(", ");
    let remedy = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`? Known here: {known}"),
        None => format!("known here: {known}"),
    };
    entry
        .error(format!("{} has no such field", owner.name))
        .remedy(remedy + owner.more)
}

/// Checks the value at `here`.
fn shape(here: &Cursor<'_>, expected: &Shape, owner: Owner<'_>, problems: &mut Vec<Problem>) {
    let Some(node) = here.node() else {
        return;
    };
    let fits = match (expected, &node.value) {
        (Shape::Any, _) | (Shape::Text | Shape::TextOr(_), Value::Scalar(..)) => true,
        (Shape::Choice(words) | Shape::ChoiceOr(words, _), Value::Scalar(text, _)) => {
            if !words.contains(&text.as_str()) {
                let near = nearest(text, words.iter().copied());
                let hint = near.map_or(String::new(), |near| format!("did you mean {near}? "));
                problems.push(
                    here.error("is not a valid value")
                        .remedy(format!("{hint}It can be {}", words.join(", "))),
                );
            }
            true
        }
        (Shape::Number { min, max }, Value::Scalar(..)) => here
            .integer()
            .is_some_and(|number| (*min..=*max).contains(&number)),
        (Shape::Percent, Value::Scalar(text, _)) => text
            .parse::<f64>()
            .is_ok_and(|number| (0.0..=100.0).contains(&number)),
        (Shape::Factor, Value::Scalar(text, _)) => text
            .parse::<f64>()
            .is_ok_and(|number| (0.001..=100.0).contains(&number)),
        (Shape::Flag, Value::Scalar(..)) => boolean(node).is_some(),
        (Shape::Duration, Value::Scalar(..)) => {
            here.duration().is_some_and(|time| time.as_millis() >= 1)
        }
        (Shape::DurationOrZero, Value::Scalar(..)) => here
            .duration()
            .is_some_and(|time| time.is_zero() || time.as_millis() >= 1),
        (Shape::Pattern, Value::Scalar(text, _)) => {
            // In Istio an empty pattern means presence, and is never compiled.
            if let Err(error) = WholeRegex::new(text) {
                problems.push(here.error(one_line(&error.to_string())));
            }
            true
        }
        (Shape::Object(inner) | Shape::TextOr(inner), Value::Map(_)) => {
            fields(here, inner, owner, problems);
            true
        }
        (
            Shape::OneOf {
                fields: inner,
                empty,
            },
            Value::Map(_),
        ) => {
            fields(here, inner, owner, problems);
            one_of(here, inner, *empty, problems);
            true
        }
        (Shape::List(inner) | Shape::ListOr(inner, _), Value::List(_)) => {
            for item in here.items() {
                if item.exists() {
                    shape(&item, inner, owner, problems);
                } else {
                    problems.push(item.error("an item of the list is empty"));
                }
            }
            true
        }
        (Shape::Map(inner), Value::Map(_)) => {
            for (_, value) in here.entries() {
                shape(&value, inner, owner, problems);
            }
            true
        }
        (Shape::ChoiceOr(_, inner), Value::Map(_)) => {
            shape(here, inner, owner, problems);
            true
        }
        (Shape::ListOr(_, inner), Value::Map(_)) => {
            fields(here, inner, owner, problems);
            true
        }
        _ => false,
    };
    if !fits {
        problems.push(here.error(format!("must be {}", article(&expected.describe()))));
    }
}

fn one_of(here: &Cursor<'_>, fields: &[Field], empty: bool, problems: &mut Vec<Problem>) {
    let given: Vec<&str> = here
        .entries()
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| fields.iter().any(|field| field.name == *name))
        .collect();
    let all = || {
        let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
        names.join(", ")
    };
    if given.len() > 1 {
        problems.push(
            here.error(format!("has {} at once", given.join(" and ")))
                .remedy(format!("give one of {}", all())),
        );
    } else if given.is_empty() && !empty && here.entries().is_empty() {
        problems.push(
            here.error("is empty")
                .remedy(format!("give one of {}", all())),
        );
    }
}

fn article(shape: &str) -> String {
    let bare = ["one of", "text", "true", "anything"];
    if bare.iter().any(|word| shape.starts_with(word)) {
        shape.to_owned()
    } else if shape.starts_with('o') {
        format!("an {shape}")
    } else {
        format!("a {shape}")
    }
}

/// Errors of the regex crate span several lines; a problem has one line.
fn one_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or(text).trim();
    let reason = last.strip_prefix("error: ").unwrap_or(last);
    format!("not a regular expression that can be used: {reason}")
}
