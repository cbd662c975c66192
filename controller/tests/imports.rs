//! Imports run one way: a module uses what stands before it in the list of its folder, and nothing behind it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders below `src`, and their modules: each may use those before it.
const ORDER: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "schema",
            "near",
            "yaml",
            "source",
            "builtins",
            "check",
            "secrecy",
            "reference",
            "documents",
            "dump",
            "shadow",
            "kinds",
            "translate",
            "load",
            "watch",
            "lib",
        ],
    ),
    (
        "yaml",
        &["node", "scalar", "parse", "write", "record", "cursor"],
    ),
    (
        "reference",
        &[
            "common",
            "fitness",
            "rules",
            "istio",
            "destination_rule",
            "virtual_service",
            "aeraki",
            "own",
            "security",
            "table",
            "page",
        ],
    ),
    (
        "kinds",
        &[
            "timeout",
            "service",
            "gateway",
            "credentials",
            "route_match",
            "destination",
            "fitness",
            "locality",
            "rule",
            "fault",
            "mirror",
            "retry",
            "limit",
            "policy",
            "router",
            "redis",
            "virtual_service",
            "protocol",
            "secret",
            "authorization",
        ],
    ),
    (
        "translate",
        &[
            "attributes",
            "protocols",
            "directory",
            "credentials",
            "authorization",
            "policy",
            "localities",
            "port",
            "overrides",
            "clusters",
            "faults",
            "retry",
            "limits",
            "common",
            "routes",
            "attach",
            "idle",
            "listeners",
        ],
    ),
];

/// The files of a folder, and below it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The text without comments and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first names of what stands behind `prefix`, wherever it stands.
fn names<'t>(text: &'t str, prefix: &str) -> Vec<&'t str> {
    let mut all = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let first = |text: &'t str| {
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
            &text[..end.unwrap_or(text.len())]
        };
        let Some(list) = rest.strip_prefix('{') else {
            all.push(first(rest));
            continue;
        };
        let mut depth = 0_usize;
        let mut start = true;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    all.push(first(&list[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    all
}

/// The module of a folder that a path of modules leads into; `None`: it does not.
fn inside<'p>(path: &'p [String], folder: &str) -> Option<&'p str> {
    let folder: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let fits = path.len() > folder.len() && folder.iter().zip(path).all(|(a, b)| a == b);
    fits.then(|| path[folder.len()].as_str())
}

#[test]
fn no_import_runs_upward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    let mut wrong = BTreeSet::new();
    for file in found {
        let path: Vec<String> = file
            .strip_prefix(&root)
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if path.iter().any(|part| part == "tests") {
            continue;
        }
        let text = code(&std::fs::read_to_string(&file).unwrap());
        for (folder, order) in ORDER {
            let place = |name: &str| order.iter().position(|one| *one == name);
            let Some(own) = inside(&path, folder) else {
                continue;
            };
            let Some(at) = place(own) else {
                panic!("src/{folder}: {own} is not in the list");
            };
            // From `crate` down to the folder, and from the file up to it.
            let depth = folder.split('/').filter(|part| !part.is_empty()).count();
            let absolute = match *folder {
                "" => "crate::".to_owned(),
                folder => format!("crate::{}::", folder.replace('/', "::")),
            };
            let relative = "super::".repeat(path.len() - depth);
            let mut used = names(&text, &absolute);
            used.extend(names(&text, &relative));
            for name in used {
                match place(name) {
                    Some(other) if other <= at => {}
                    None if name == "super" || name.is_empty() => {}
                    // What the folder's own file has is behind all of its modules.
                    _ => _ = wrong.insert(format!("{} uses {name}", path.join("/"))),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that run upward: {wrong:#?}");
}
