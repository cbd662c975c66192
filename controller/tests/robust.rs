//! Whatever the bytes: no panic. And files: links, sizes, changes.

#![allow(
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{builtins, load_text};
use meltemi_controller::{Watch, load};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        load_text(&text);
    }

    #[test]
    fn yaml_like_text_never_panics(text in "([-a-z&*?:{}\\[\\],#|>'\"!% \n\t0-9<~]|---\n){0,120}") {
        load_text(&text);
    }

    #[test]
    fn examples_with_a_hole_never_panic(which in 0..EXAMPLES.len(), at in 0.0..1.0_f64, put in "[-a-z:{}\\[\\]\\n 0-9\"]{0,4}") {
        let text = EXAMPLES[which];
        let cut = ((text.len() as f64) * at) as usize;
        if text.is_char_boundary(cut) {
            load_text(&format!("{}{put}{}", &text[..cut], &text[(cut + 3).min(text.len())..]));
        }
    }

    #[test]
    fn examples_without_a_line_never_panic(which in 0..EXAMPLES.len(), line in 0..100_usize) {
        let lines: Vec<&str> = EXAMPLES[which].lines().enumerate().filter(|(at, _)| *at != line).map(|(_, text)| text).collect();
        load_text(&lines.join("\n"));
    }
}

const EXAMPLES: &[&str] = &[
    include_str!("examples/dubbo/mesh.yaml"),
    include_str!("examples/redis/mesh.yaml"),
    include_str!("examples/gateway/mesh.yaml"),
    include_str!("examples/custom/mesh.yaml"),
    include_str!("examples/thrift/routes.yaml"),
];

/// A folder of its own, which goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("meltemi-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const EMPTY: &[u8] = b"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {servers: []}\n";

#[test]
fn folders_are_read_by_name_and_without_hidden_files() {
    let folder = Folder::new("walk");
    folder.write("b/c.yml", EMPTY);
    folder.write("a.yaml", EMPTY);
    folder.write("b.json", br#"{"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "a"}, "spec": {"servers": []}}"#);
    folder.write(".hidden.yaml", b"[");
    folder.write("..data/x.yaml", b"[");
    folder.write("notes.txt", b"[");
    let outcome = load(std::slice::from_ref(&folder.0), &builtins());
    let names: Vec<String> = outcome
        .sources
        .iter()
        .map(|path| path.strip_prefix(&folder.0).unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["a.yaml", "b/c.yml", "b.json"]);
    // The last of the three documents of one name counts.
    assert_eq!(outcome.warnings().count(), 2, "{:?}", outcome.problems);
    assert_eq!(outcome.resources.len(), 1);
}

#[test]
fn files_that_cannot_be_read_are_errors_that_name_them() {
    let folder = Folder::new("bad");
    let latin = folder.write("latin.yaml", b"a: \xe9\n");
    let gone = folder.0.join("gone.yaml");
    let large = folder.write("large.yaml", &vec![b'#'; (16 << 20) + 1]);
    let outcome = load(&[latin, gone, large], &builtins());
    let texts: Vec<String> = outcome.errors().map(ToString::to_string).collect();
    for part in ["not UTF-8", "gone.yaml", "larger than 16 MiB"] {
        assert!(texts.iter().any(|text| text.contains(part)), "{texts:?}");
    }
    assert!(outcome.config.is_none());
}

#[test]
fn changes_are_noticed_once_and_only_when_they_stand_still() {
    let folder = Folder::new("poll");
    let file = folder.write("a.yaml", EMPTY);
    let mut watch = Watch::new(vec![folder.0.clone()]);
    assert!(!watch.changed());
    fs::write(&file, [EMPTY, b"# more\n"].concat()).unwrap();
    assert!(!watch.changed(), "it has not stood still yet");
    assert!(watch.changed());
    assert!(!watch.changed());
    folder.write("b.yaml", b"");
    assert!(!watch.changed());
    assert!(watch.changed(), "a new file");
    fs::remove_file(&file).unwrap();
    assert!(!watch.changed());
    assert!(watch.changed(), "a file is gone");
    // Written again as it was: nothing to tell.
    fs::write(folder.0.join("b.yaml"), b"").unwrap();
    assert!(!watch.changed());
    assert!(!watch.changed());
}

#[cfg(unix)]
#[test]
fn the_swap_of_a_config_map_is_noticed() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("swap");
    folder.write("..one/mesh.yaml", EMPTY);
    folder.write("..two/mesh.yaml", &[EMPTY, b"# two\n"].concat());
    symlink("..one", folder.0.join("..data")).unwrap();
    symlink("..data/mesh.yaml", folder.0.join("mesh.yaml")).unwrap();
    let mut watch = Watch::new(vec![folder.0.clone()]);
    symlink("..two", folder.0.join("..tmp")).unwrap();
    fs::rename(folder.0.join("..tmp"), folder.0.join("..data")).unwrap();
    assert!(!watch.changed());
    assert!(watch.changed());
}
