//! The reference pages say what the program says. `MELTEMI_WRITE_REFERENCE=1` writes them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

fn page(name: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_meltemi"))
        .args(["reference", name])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let generated = String::from_utf8(output.stdout).expect("text");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/reference")
        .join(format!("{name}.md"));
    if std::env::var_os("MELTEMI_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &generated).expect("the page is written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written
        .lines()
        .zip(generated.lines())
        .position(|(old, new)| old != new);
    assert!(
        written == generated,
        "{} has drifted (line {}); MELTEMI_WRITE_REFERENCE=1 cargo test --test reference writes it",
        path.display(),
        differs.unwrap_or_else(|| written.lines().count().min(generated.lines().count())) + 1
    );
}

#[test]
fn configuration() {
    page("configuration");
}

#[test]
fn metrics() {
    page("metrics");
}

#[test]
fn protocols() {
    page("protocols");
}
