//! Connections in sessions of clients that are gone, and connections on which a server is silent because it
//! works.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::*;

/// Answers every command; counts the connections that are open.
fn server() -> (Upstream, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let server = Upstream::start(move |stream| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut line = Line::new(stream);
        while line.reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            line.command();
            line.send("+OK\r\n");
        }
        count.fetch_sub(1, Ordering::SeqCst);
    });
    (server, open)
}

/// A kind of session, and the command that makes one of its own, by number.
type Kind = (&'static str, fn(usize) -> Vec<String>);

fn kinds() -> [Kind; 4] {
    [
        ("name", |n| split(&format!("CLIENT SETNAME pod-{n}"))),
        ("user", |n| split(&format!("AUTH user-{n} secret"))),
        ("database", |n| split(&format!("SELECT {n}"))),
        ("library", |n| {
            split(&format!("CLIENT SETINFO LIB-NAME lib-{n}"))
        }),
    ]
}

fn split(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn visit(address: std::net::SocketAddr, session: &[String]) -> Line {
    let mut client = Line::new(connect(address));
    let words: Vec<&str> = session.iter().map(String::as_str).collect();
    client.send(&(command(&words) + &command(&["GET", "k"])));
    assert_eq!(
        (client.line(), client.line()),
        ("+OK".into(), "+OK".into()),
        "{session:?}"
    );
    client
}

#[test]
fn sessions_that_nobody_uses_make_room() {
    for (kind, session) in kinds() {
        let (server, open) = server();
        let mut small = cluster("one", &[server.address]);
        small.limits.connections = 4;
        let (_proxy, address) = redis(catch_all("one"), vec![small]);
        for number in 1..=15 {
            drop(visit(address, &session(number)));
        }
        assert!(open.load(Ordering::SeqCst) <= 6, "{kind}");
        // And for clients without a session.
        let mut plain = Line::new(connect(address));
        plain.send(&command(&["GET", "k"]));
        assert_eq!(plain.line(), "+OK", "{kind}");
    }
}

#[test]
fn sessions_that_nobody_uses_are_given_up() {
    for (kind, session) in kinds() {
        let (server, open) = server();
        let mut brief = cluster("one", &[server.address]);
        brief.session_idle_timeout = Duration::from_millis(300);
        let (_proxy, address) = redis(catch_all("one"), vec![brief]);
        let mut plain = Line::new(connect(address));
        plain.send(&command(&["GET", "k"]));
        assert_eq!(plain.line(), "+OK");
        let stays = visit(address, &session(1));
        for number in 2..=5 {
            drop(visit(address, &session(number)));
        }
        eventually("they are closed", || open.load(Ordering::SeqCst) == 2);
        // A client that is there keeps its own, and others theirs.
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(open.load(Ordering::SeqCst), 2, "{kind}");
        drop(stays);
        eventually("it is closed", || open.load(Ordering::SeqCst) == 1);
    }
}

#[test]
fn a_server_that_works_on_a_request_need_not_answer_heartbeats() {
    let (server, connections) = Upstream::scripted();
    let mut one = cluster("one", &[server.address]);
    one.keepalive = Duration::from_millis(50);
    let (proxy, address) = redis(catch_all("one"), vec![one]);
    let mut script = Line::new(connect(address));
    let mut neighbour = Line::new(connect(address));
    script.send(&command(&["GET", "slow"]));
    let mut shared = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(shared.command()[0], "GET");
    neighbour.send(&command(&["GET", "k"]));
    let mut blocked = Line::new(connect(address));
    blocked.send(&command(&["BLPOP", "q", "0"]));
    let mut own = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(own.command()[0], "BLPOP");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(sum(&proxy, "meltemi_upstream_timeouts"), 0);
    assert_eq!(shared.command(), ["GET", "k"]);
    shared.send("+1\r\n+2\r\n");
    own.send("*-1\r\n");
    assert_eq!(script.line(), "+1");
    assert_eq!(neighbour.line(), "+2");
    assert_eq!(blocked.line(), "*-1");
    // Silent again, it is asked; what is sent behind the question waits with it.
    assert_eq!(shared.command(), ["PING"]);
    neighbour.send(&command(&["GET", "l"]));
    assert_eq!(shared.command(), ["GET", "l"]);
    std::thread::sleep(Duration::from_millis(500));
    shared.send("+PONG\r\n+3\r\n");
    assert_eq!(neighbour.line(), "+3");
}
