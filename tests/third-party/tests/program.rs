//! The program knows Pigeon as it knows its own.

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pigeon"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn decode_finds_the_protocol_and_prints_its_messages() {
    let output = run(&["decode", "--format", "json", "samples/asks.server.bin"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 3, "{text}");
    let first = text.lines().next().expect("a line");
    assert!(
        first.contains(r#""topic":"weather""#) && first.contains(r#""id":7"#),
        "{first}"
    );
}

#[test]
fn decode_of_broken_bytes_says_so_and_fails() {
    let output = run(&[
        "decode",
        "--protocol",
        "pigeon",
        "samples/broken.server.bin",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("a letter has a topic"),
        "{output:?}"
    );
}

#[test]
fn routes_are_checked_against_its_attributes() {
    let output = run(&["check", "mesh.yaml"]);
    assert!(output.status.success(), "{output:?}");
    let explain = |topic: &str| {
        let topic = format!("topic={topic}");
        stdout(&run(&[
            "explain",
            "mesh.yaml",
            "--attribute",
            &topic,
            "--format",
            "json",
        ]))
    };
    assert!(explain("weather").contains("outbound|7000|forecasters|town.example"));
    assert!(explain("gossip").contains("outbound|7000|everybody|town.example"));
}

#[test]
fn the_reference_has_a_section_of_it() {
    let text = stdout(&run(&["reference", "protocols"]));
    assert!(text.contains("## pigeon") && text.contains("What the letter is about."));
}
