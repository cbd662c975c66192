//! Marks secrets in a document by the table of its kind, before any problem quotes it. A value that
//! does not fit the table is hidden if it could be a secret.

use crate::schema::{Field, Shape, hold_secret};
use crate::yaml::{Node, Value};

/// Marks the secrets of an object with these fields. If the object holds secrets, its unknown
/// fields are secret, too: their names may be mistyped.
pub(crate) fn mark(node: &mut Node, fields: &[Field]) {
    if !hold_secret(fields) {
        return;
    }
    let Value::Map(entries) = &mut node.value else {
        return hide(node);
    };
    for entry in entries {
        match fields.iter().find(|field| field.name == entry.key) {
            Some(field) if !field.secret => mark_shape(&mut entry.node, field.shape),
            _ => hide(&mut entry.node),
        }
    }
}

fn mark_shape(node: &mut Node, shape: &Shape) {
    if !shape.holds_secret() {
        return;
    }
    match (shape, &mut node.value) {
        (Shape::List(item) | Shape::ListOr(item, _), Value::List(items)) => {
            for node in items {
                mark_shape(node, item);
            }
        }
        (Shape::Map(inner), Value::Map(entries)) => {
            for entry in entries {
                mark_shape(&mut entry.node, inner);
            }
        }
        (Shape::ChoiceOr(_, inner), Value::Map(_)) => mark_shape(node, inner),
        (Shape::ListOr(_, fields), Value::Map(_)) => mark(node, fields),
        (Shape::Object(fields) | Shape::TextOr(fields) | Shape::OneOf { fields, .. }, _) => {
            mark(node, fields);
        }
        _ => hide(node),
    }
}

/// Marks the node and everything below it.
fn hide(node: &mut Node) {
    node.secret = true;
    match &mut node.value {
        Value::Scalar(..) => {}
        Value::List(items) => items.iter_mut().for_each(hide),
        Value::Map(entries) => {
            for entry in entries {
                hide(&mut entry.node);
            }
        }
    }
}
