//! The README's reference lists every field of the language, and none that is not there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

use std::collections::BTreeSet;

use meltemi_declarative::description as language;
use serde::de::DeserializeOwned;
use serde_json::json;

/// What serde says that it knows, when it is given a field that it does not.
fn fields<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!({"no such field": 0}))
        .err()
        .unwrap()
        .to_string();
    let (_, known) = error.split_once("expected").unwrap();
    known
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The names at the front of the list items of a section: those before the colon.
fn listed(readme: &str, section: &str) -> BTreeSet<String> {
    let heading = format!("\n### {section}\n");
    let (_, text) = readme
        .split_once(&heading)
        .unwrap_or_else(|| panic!("no section {section}"));
    let text = text.split("\n#").next().unwrap();
    let items = text.lines().filter_map(|line| line.strip_prefix("- "));
    let names = items
        .filter_map(|item| item.split_once(": "))
        .map(|(names, _)| names);
    names
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_reference_lists_every_field() {
    let readme = include_str!("../README.md");
    let types: [(&str, BTreeSet<String>); 17] = [
        ("Description", fields::<language::Description>()),
        ("Delimiter", fields::<language::Delimiter>()),
        ("Variant", fields::<language::Variant>()),
        ("Pattern", fields::<language::Pattern>()),
        ("Field", fields::<language::Field>()),
        ("Length", fields::<language::Length>()),
        ("Section", fields::<language::Section>()),
        ("Entries", fields::<language::Entries>()),
        ("Trailer", fields::<language::Trailer>()),
        ("KindRule", fields::<language::KindRule>()),
        ("Timeout", fields::<language::Timeout>()),
        ("StatusTable", fields::<language::StatusTable>()),
        ("Reasons", fields::<language::Reasons>()),
        ("Attribute", fields::<language::Attribute>()),
        ("Content", fields::<language::Content>()),
        ("Open", fields::<language::Open>()),
        ("Replies", fields::<language::Replies>()),
    ];
    for (section, known) in types {
        assert_eq!(listed(readme, section), known, "### {section}");
    }
    assert_eq!(
        listed(readme, "Template"),
        fields::<language::Template>(),
        "### Template"
    );
}

/// The example at the top of the README is a description that compiles.
#[test]
fn the_example_compiles() {
    let readme = include_str!("../README.md");
    let example = readme
        .split("  declarative:\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let lines = example
        .lines()
        .map(|line| line.strip_prefix("    ").unwrap_or(line));
    let text = format!("name: ledger\n{}\n", lines.collect::<Vec<_>>().join("\n"));
    meltemi_declarative::Declarative::from_yaml(&text).unwrap();
}

/// A description survives being written down: what is left out stays left out.
#[test]
fn descriptions_are_plain_data() {
    for text in [
        include_str!("../protocols/bolt.yaml"),
        include_str!("../protocols/quill.yaml"),
    ] {
        let description: language::Description = serde_saphyr::from_str(text).unwrap();
        let value = serde_json::to_value(&description).unwrap();
        assert_eq!(
            serde_json::from_value::<language::Description>(value.clone()).unwrap(),
            description
        );
        meltemi_declarative::Declarative::from_json_value(&value).unwrap();
    }
}
