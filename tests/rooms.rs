//! Imports run one way: from what knows more to what knows less, between crates and between the folders of
//! the data path. A stranger can then read a folder without those above it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates, and the crates of this workspace that each may depend on. Tests may depend on more.
const CRATES: &[(&str, &[&str])] = &[
    ("protocols/frame", &[]),
    ("protocols/config", &["meltemi-frame"]),
    ("protocols/testkit", &["meltemi-frame"]),
    ("codecs/*", &["meltemi-frame"]),
    ("router/core", &["meltemi-frame", "meltemi-config"]),
    (
        "router/proxy",
        &["meltemi-frame", "meltemi-config", "meltemi-router-core"],
    ),
    ("controller", &["meltemi-frame", "meltemi-config"]),
];

/// The rooms of the data path from the bottom up. Rooms of one floor may import each other: a client, an
/// upstream connection, a cluster and a call hold each other, and that is the heart of a proxy.
const PROXY: &[&[&str]] = &[
    &["transport"],
    &["telemetry"],
    &["health", "ratelimit"],
    &["context"],
    &["call", "downstream", "upstream", "cluster", "config"],
    &["dispatch"],
    &["tasks"],
    &["worker"],
    &["proxy"],
    &["admin"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The rooms that a text imports: what follows `crate::`, outside comments.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    let mut found = BTreeSet::new();
    for line in code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        assert!(!line.contains("crate::{"), "name one room a line: {line}");
        for rest in line.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            found.insert(rest[..end.unwrap_or(rest.len())].to_owned());
        }
    }
    found
}

/// What is wrong with the imports of one room.
fn faults(floors: &[&[&str]], room: &str, imports: &BTreeSet<String>) -> Vec<String> {
    let floor = |room: &str| floors.iter().position(|rooms| rooms.contains(&room));
    let Some(own) = floor(room) else {
        return vec![format!("the room {room} stands on no floor")];
    };
    let above = imports
        .iter()
        .filter(|other| floor(other).is_none_or(|floor| floor > own));
    above
        .map(|other| format!("{room} imports {other}, which is above it or on no floor"))
        .collect()
}

#[test]
fn rooms_of_the_data_path_import_only_what_is_below_them() {
    let source = root().join("router/proxy/src");
    let mut wrong = Vec::new();
    let mut rooms = BTreeSet::new();
    for path in sources(&source) {
        let inside = path
            .strip_prefix(&source)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let room = inside.split(['/', '.']).next().unwrap().to_owned();
        if room == "lib" || room == "grpc_testing" || inside.ends_with("/tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let found = faults(PROXY, &room, &imports(&text));
        wrong.extend(found.into_iter().map(|what| format!("{inside}: {what}")));
        rooms.insert(room);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rooms.len(), PROXY.concat().len(), "rooms without a file");
}

#[test]
fn crates_depend_only_on_what_is_below_them() {
    for (place, allowed) in CRATES {
        let folders = match place.strip_suffix("/*") {
            Some(parent) => fs::read_dir(root().join(parent))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.join("Cargo.toml").exists())
                .collect(),
            None => vec![root().join(place)],
        };
        assert!(!folders.is_empty(), "{place}");
        for folder in folders {
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let own = manifest
                .split("\n[dependencies]\n")
                .nth(1)
                .unwrap_or_default();
            let own = own.split("\n[").next().unwrap_or_default().lines();
            let own = own.filter_map(|line| line.split(['.', ' ', '=']).next());
            for name in own.filter(|name| name.starts_with("meltemi-")) {
                let folder = folder.display();
                assert!(allowed.contains(&name), "{folder} depends on {name}");
            }
        }
    }
}

#[test]
fn an_import_from_below_is_found() {
    let text = "use crate::worker::Worker;\n// crate::admin\n\n#[cfg(test)]\nmod tests {\n use crate::proxy;";
    let found = imports(text);
    assert_eq!(Vec::from_iter(&found), ["worker"]);
    assert_eq!(faults(PROXY, "call", &found).len(), 1);
    assert_eq!(faults(PROXY, "worker", &found), Vec::<String>::new());
    assert_eq!(faults(PROXY, "attic", &found).len(), 1);
}
