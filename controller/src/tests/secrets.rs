//! Secrets are hidden, wherever they are written and however they are mistyped.

use serde_json::Value;

use super::common::load_text;
use super::generate::{Choices, SECRET, document};
use crate::dump::Resource;
use crate::reference::KINDS;
use crate::schema::{Field, Shape, hold_secret};
use crate::yaml::{Document, parse};
use crate::{Outcome, secrecy};

fn shows(outcome: &Outcome) -> Option<String> {
    let problems = outcome.problems.iter().map(ToString::to_string);
    let dumped = outcome.resources.iter().map(|one| one.text.clone());
    problems.chain(dumped).find(|text| text.contains(SECRET))
}

/// Breaks something between the root and a secret: a name, or the shape of a value.
fn spoil(value: &mut Value, choices: &mut Choices) {
    if !value.to_string().contains(SECRET) {
        return;
    }
    match value {
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            let on_path = |name: &&String| fields[*name].to_string().contains(SECRET);
            let Some(name) = names.iter().find(on_path).cloned() else {
                return;
            };
            match choices.below(8) {
                0 => {
                    let inner = fields.remove(&name).unwrap();
                    fields.insert(format!("{name}x"), inner);
                }
                1 => _ = fields.insert(name, SECRET.into()),
                2 => _ = fields.insert(name, serde_json::json!([SECRET, {"a": SECRET}])),
                3 => _ = fields.insert(name, serde_json::json!({"a": {"b": SECRET}})),
                _ => spoil(&mut fields[&name], choices),
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, choices)),
        _ => {}
    }
}

#[test]
fn every_secret_of_every_kind_is_hidden() {
    let mut seen = 0;
    for kind in KINDS.iter().filter(|kind| hold_secret(kind.fields)) {
        for seed in 0..200 {
            let mut choices = Choices::new(seed);
            let mut made = document(kind, &mut choices);
            if seed % 2 == 1 {
                spoil(&mut made["spec"], &mut choices);
                for part in ["data", "stringData"] {
                    if made.get(part).is_some() {
                        spoil(&mut made[part], &mut choices);
                    }
                }
            }
            let text = made.to_string();
            seen += usize::from(text.contains(SECRET));
            let shown = shows(&load_text(&text));
            assert_eq!(shown, None, "{text}");
        }
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn a_field_that_is_declared_secret_needs_nothing_else() {
    static TEXT: Shape = Shape::Text;
    static INNER: Shape = Shape::List(&Shape::Object(&[
        Field::new("token", &TEXT, "A token.").secret(),
        Field::new("user", &TEXT, "A user."),
    ]));
    let fields = [Field::new("logins", &INNER, "Logins.")];
    let text = format!("logins:\n- token: {SECRET}\n  user: ada\n- tokn: {SECRET}\n- {SECRET}\n");
    let (mut nodes, _) = parse(&text);
    let mut root = nodes.remove(0);
    secrecy::mark(&mut root, &fields);
    let document = Document {
        file: "t.yaml".into(),
        group: "x".to_owned(),
        version: "v1".to_owned(),
        kind: "K".to_owned(),
        namespace: "default".to_owned(),
        name: "n".to_owned(),
        object: "K default/n".into(),
        root,
    };
    let dumped = Resource::new(&document).text;
    assert!(
        !dumped.contains(SECRET) && dumped.contains("ada"),
        "{dumped}"
    );
    let logins = document.cursor().at("logins").items();
    for at in [
        logins[0].at("token"),
        logins[1].at("tokn"),
        logins[2].clone(),
    ] {
        let problem = at.error("is wrong").to_string();
        assert!(!problem.contains(SECRET), "{problem}");
    }
    let shown = logins[0].at("user").error("is wrong").to_string();
    assert!(shown.contains("ada"), "{shown}");
}
