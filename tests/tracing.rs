//! The collector of traces on the command line and in the environment.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

const LISTENER: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: local}
spec:
  servers:
    - port: {number: 1, name: tcp-dubbo}
      bind: 192.0.2.1
";

/// Runs the program, which ends in any case: no machine has that address to listen on.
fn run(name: &str, arguments: &[&str], variable: Option<&str>) -> Output {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.yaml"));
    std::fs::write(&file, LISTENER).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
    command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    if let Some(value) = variable {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", value);
    }
    command
        .args(["run", "--admin", "off"])
        .arg(&file)
        .args(arguments);
    command.output().expect("the program runs")
}

#[test]
fn a_collector_that_cannot_be_is_told() {
    let flag: &[&str] = &["--otlp-endpoint", "https://collector:4317"];
    let cases = [
        ("flag", flag, None),
        ("variable", &[], Some("https://collector:4317")),
    ];
    for (name, arguments, variable) in cases {
        let output = run(name, arguments, variable);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        for part in [
            "https://collector:4317",
            "without TLS",
            "http://127.0.0.1:4317",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
