//! The table of kinds and the readers agree: every declared field is read, and every field that is
//! read is declared.

use std::collections::BTreeSet;

use super::common::builtins;
use super::generate::{Choices, document};
use crate::documents;
use crate::kinds::Resources;
use crate::reference::{KINDS, fields};
use crate::schema::{Effect, Field, Kind, Reader, Shape};
use crate::source::Text;
use crate::translate::translate;
use crate::yaml::record::{Read, reads};

/// A step of a path through the table.
enum Place<'f> {
    Fields(Vec<&'f Field>),
    Map(&'f Shape),
    Any,
    Leaf,
}

fn inside(shape: &Shape) -> Place<'_> {
    match shape {
        Shape::Object(fields) | Shape::OneOf { fields, .. } | Shape::TextOr(fields) => {
            Place::Fields(fields.iter().collect())
        }
        Shape::ListOr(item, fields) => match inside(item) {
            Place::Fields(more) => Place::Fields(fields.iter().chain(more).collect()),
            _ => Place::Fields(fields.iter().collect()),
        },
        Shape::List(inner) | Shape::ChoiceOr(_, inner) => inside(inner),
        Shape::Map(inner) => Place::Map(inner),
        Shape::Any => Place::Any,
        _ => Place::Leaf,
    }
}

/// Returns the table's path for a field that was read. `None` if the table does not have it.
fn declared(kind: &Kind, path: &str) -> Option<String> {
    let all = fields(kind);
    let mut place = Place::Fields(all.iter().collect());
    let mut known = String::new();
    // Here, the names in maps contain no dots.
    for step in path.split('.') {
        let name = step.split('[').next().unwrap();
        let place_is_map = matches!(place, Place::Map(_));
        let shape = match place {
            Place::Fields(fields) => {
                let field = fields.into_iter().find(|field| field.name == name)?;
                known = format!("{known}.{name}");
                field.shape
            }
            Place::Map(inner) => {
                known.push_str(".<name>");
                inner
            }
            Place::Any => return Some(known),
            Place::Leaf => return None,
        };
        place = match (inside(shape), place_is_map) {
            // The name itself may contain dots.
            (Place::Leaf, true) => return Some(known),
            (next, _) => next,
        };
    }
    Some(known)
}

/// Collects the paths of all fields that have an effect.
fn enforced<'f>(fields: impl IntoIterator<Item = &'f Field>, above: &str, all: &mut Vec<String>) {
    for field in fields {
        if field.effect != Effect::Enforced {
            continue;
        }
        let path = format!("{above}.{}", field.name);
        all.push(path.clone());
        below(field.shape, &path, all);
    }
}

fn below(shape: &Shape, path: &str, all: &mut Vec<String>) {
    match inside(shape) {
        Place::Fields(fields) => enforced(fields, path, all),
        Place::Map(inner) => below(inner, &format!("{path}.<name>"), all),
        Place::Any | Place::Leaf => {}
    }
}

/// Returns the name of a field together with the name of its object, and of the map that holds the
/// object.
fn held(path: &str) -> [(String, String); 2] {
    let names = path.split('.').map(|step| step.split('[').next().unwrap());
    let names: Vec<&str> = names
        .filter(|name| !name.is_empty() && *name != "<name>")
        .collect();
    let at = |back: usize| names.len().checked_sub(back).map_or("", |at| names[at]);
    [2, 3].map(|back| (at(back).to_owned(), at(1).to_owned()))
}

/// Returns the fields that are read while these documents are read and translated.
fn read(text: String) -> BTreeSet<Read> {
    let text = Text {
        name: "mesh.yaml".into(),
        path: None,
        text,
    };
    let mut problems = Vec::new();
    let documents = documents::read(&[text], &mut problems);
    let documents: Vec<_> = documents.iter().collect();
    reads(|| {
        let resources = Resources::read(&documents, &mut problems);
        translate(&resources, &builtins(), &mut problems);
    })
}

#[test]
fn every_declared_field_is_read_and_every_read_field_is_declared() {
    let kinds = || KINDS.iter().filter(|kind| kind.reader != Reader::None);
    let mut read_at = BTreeSet::new();
    for seed in 0..200 {
        let mut choices = Choices::new(seed);
        let documents = kinds().map(|kind| document(kind, &mut choices).to_string());
        let text = documents.collect::<Vec<_>>().join("\n---\n");
        read_at.append(&mut read(text));
    }
    // Kinds share readers: a reader may read a field that only another kind has.
    let mut pairs = BTreeSet::new();
    for kind in kinds() {
        let mut all = Vec::new();
        enforced(&fields(kind), "", &mut all);
        pairs.extend(all.iter().flat_map(|path| held(path)));
    }
    // Only VirtualService has the older names of a mirror's share.
    for name in ["mirrorPercent", "mirror_percent"] {
        pairs.insert(("routes".to_owned(), name.to_owned()));
    }
    // Only our MetaRouter has `not`; one reader reads the tests of both kinds.
    for holder in ["method", "headers", "withoutHeaders"] {
        pairs.insert((holder.to_owned(), "not".to_owned()));
    }
    let mut undeclared = Vec::new();
    let mut known = BTreeSet::new();
    for (group, name, path) in &read_at {
        let kind = crate::reference::kind(group, name).unwrap();
        match declared(kind, path) {
            Some(path) => _ = known.insert((format!("{group} {name}"), path)),
            None if held(path).iter().any(|pair| pairs.contains(pair)) => {}
            None => undeclared.push(format!("{group} {name} {path}")),
        }
    }
    // A shape may occur in many places of a kind, and the documents do not reach all of them: one
    // is enough.
    let read_pairs: BTreeSet<_> = known
        .iter()
        .flat_map(|(kind, path)| held(path).into_iter().map(move |pair| (kind, pair)))
        .collect();
    let mut unread = Vec::new();
    for kind in kinds() {
        let mut all = Vec::new();
        enforced(kind.fields, "", &mut all);
        let id = format!("{} {}", kind.group, kind.name);
        for path in all {
            let [near, _] = held(&path);
            // The reader looks for fields that only HTTP has, but does not read their values.
            let foreign = ["uri", "scheme", "authority", "queryParams"].contains(&&*near.0);
            // All kinds with tests share the shape of a test.
            let of_test = ["not", "attributes", "headers", "withoutHeaders"].contains(&&*near.0);
            let read = read_pairs.contains(&(&id, near.clone()))
                || (of_test && read_pairs.iter().any(|(_, pair)| pair.1 == near.1));
            if !foreign && !read {
                unread.push(format!("{id} {path}"));
            }
        }
    }
    assert!(
        undeclared.is_empty() && unread.is_empty(),
        "read, but not declared: {undeclared:#?}; declared, but not read: {unread:#?}"
    );
}
