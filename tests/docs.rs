//! What the pages say is so: links lead somewhere, examples load, named functions are there, and the
//! codec in a page is the codec that is tested.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pages that are written by hand, or at least by other tools.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
    ]
    .iter()
    .map(|name| root.join(name))
    .collect();
    for folder in ["docs", "docs/adr", "docs/reference"] {
        let entries = fs::read_dir(root.join(folder)).expect("a folder");
        let found = entries.map(|entry| entry.expect("an entry").path());
        pages.extend(found.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages
}

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of a page, with the heading that they stand under: `(heading, language, code)`.
fn blocks(page: &str) -> Vec<(String, String, String)> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => {
                let (language, code) = open.take().unwrap_or_default();
                blocks.push((heading.clone(), language, code));
            }
            (None, Some((_, code))) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut heading);
                }
            }
        }
    }
    assert!(open.is_none(), "a code block does not end");
    blocks
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for path in pages() {
        let page = read(&path);
        for target in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let to = match file {
                "" => path.clone(),
                file => path.with_file_name(file),
            };
            let there = to.exists() && (anchor.is_empty() || has_anchor(&read(&to), anchor));
            if !there {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Whether a page has a heading that GitHub gives this anchor.
fn has_anchor(page: &str, anchor: &str) -> bool {
    let anchor_of = |title: &str| -> String {
        let kept = title.trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    page.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor_of(line.trim_start_matches('#')) == anchor)
}

#[test]
fn the_codec_in_a_page_is_the_codec_that_is_tested() {
    let told: Vec<String> = blocks(&read("docs/write-a-codec.md"))
        .into_iter()
        .filter(|(_, language, _)| language == "rust")
        .map(|(_, _, code)| code)
        .collect();
    let lines = |text: &str| -> Vec<String> {
        let full = text.lines().filter(|line| !line.trim().is_empty());
        full.map(str::to_owned).collect()
    };
    assert_eq!(
        lines(&told.concat()),
        lines(&read("tests/third-party/src/lib.rs"))
    );
}

#[test]
fn functions_that_are_named_are_there() {
    let page = read("docs/life-of-a-request.md").replace("\n", " ");
    let mut named = 0;
    // `Type::function` (`path/to/file.rs`), whatever the white space between them.
    let words: Vec<&str> = page.split('`').collect();
    for window in words.windows(3) {
        let &[function, between, path] = window else {
            continue;
        };
        if between.trim() != "(" || !path.ends_with(".rs") {
            continue;
        }
        let name = function.rsplit("::").next().unwrap_or(function);
        let file = read(path);
        assert!(
            file.contains(&format!("fn {name}(")) || file.contains(&format!("fn {name}<")),
            "{path} has no function `{name}`"
        );
        named += 1;
    }
    assert!(named > 30, "{named} functions found in the page");
}

/// Every section of the guide is a configuration together with the documents of the first one.
#[test]
fn configuration_examples_load_without_a_warning() {
    let blocks = blocks(&read("docs/configuration.md"));
    let yaml = |wanted: &str| -> String {
        let of_it = blocks
            .iter()
            .filter(|(heading, language, _)| heading == wanted && language == "yaml");
        of_it.map(|(_, _, code)| format!("{code}---\n")).collect()
    };
    let examples = blocks.iter().filter(|(_, language, _)| language == "yaml");
    let mut headings: Vec<&String> = examples.map(|(heading, ..)| heading).collect();
    headings.dedup();
    let base = yaml(headings[0]);
    check(headings[0], &base);
    for heading in &headings[1..] {
        check(heading, &replaced(&base, &yaml(heading)));
    }
    assert!(headings.len() > 5, "examples in {headings:?}");
}

/// Both texts, without the documents of the first that the second has anew.
fn replaced(base: &str, own: &str) -> String {
    let identity = |document: &str| -> Vec<String> {
        let lines = document.lines().filter(|line| {
            ["apiVersion:", "kind:", "metadata:"]
                .iter()
                .any(|key| line.starts_with(key))
        });
        lines.map(str::to_owned).collect()
    };
    let anew: Vec<_> = own.split("---\n").map(identity).collect();
    let kept = base
        .split("---\n")
        .filter(|document| !anew.contains(&identity(document)));
    kept.chain([own]).collect::<Vec<_>>().join("---\n")
}

#[test]
fn the_readme_s_example_loads_without_a_warning() {
    let yaml: Vec<String> = blocks(&read("README.md"))
        .into_iter()
        .filter(|(_, language, _)| language == "yaml")
        .map(|(_, _, code)| code)
        .collect();
    check("README.md", &yaml.join("---\n"));
}

fn check(what: &str, text: &str) {
    let name: String = what.chars().filter(char::is_ascii_alphanumeric).collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.yaml"));
    fs::write(&path, text).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_meltemi"))
        .args(["check", "--strict"])
        .arg(&path)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}:\n{said}\n{text}");
}
