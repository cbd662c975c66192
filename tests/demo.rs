//! The demo is the program's main job in ten seconds: what it shows must be so.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn requests_are_split_as_configured_and_a_guest_is_served() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_meltemi"))
        .args(["demo", "--once"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(demo.stdout.take().expect("its output")).lines();
    let mut line = || lines.next().map(|line| line.expect("text"));

    // Where it told us to connect: the port after `redis-cli -p`.
    let invitation = std::iter::from_fn(&mut line).find(|line| line.contains("redis-cli -p "));
    let invitation = invitation.expect("an invitation");
    let port = invitation
        .split("-p ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let port: u16 = port.expect("a port").parse().expect("a number");
    assert_eq!(
        guest(port, b"GET user:7\r\n"),
        b"$24\r\nhello user:7, this is v1\r\n"
    );
    assert_eq!(
        guest(port, b"GET order:7\r\n"),
        b"$25\r\nhello order:7, this is v2\r\n"
    );

    let rest: Vec<String> = std::iter::from_fn(&mut line).collect();
    let status = demo.wait().expect("it ends");
    assert!(status.success(), "{status}: {rest:#?}");
    let verdicts = rest.iter().filter(|line| line.starts_with("ok "));
    assert_eq!(verdicts.count(), 8, "{rest:#?}");
}

fn guest(port: u16, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.write_all(request).expect("it is sent");
    stream.write_all(b"QUIT\r\n").expect("it is sent");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a reply");
    reply
        .strip_suffix(b"+OK\r\n")
        .expect("the answer to QUIT")
        .to_vec()
}

#[test]
fn its_configuration_is_one_that_an_operator_could_write() {
    let output = Command::new(env!("CARGO_BIN_EXE_meltemi"))
        .args(["demo", "--config"])
        .output()
        .expect("the program runs");
    assert!(output.status.success());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo.yaml");
    std::fs::write(&path, &output.stdout).expect("a file");
    let check = Command::new(env!("CARGO_BIN_EXE_meltemi"))
        .args(["check", "--strict"])
        .arg(&path)
        .output()
        .expect("the program runs");
    assert!(check.status.success(), "{check:?}");
}
