//! The admin server against clients that are slow, many, or led here by a name that is not ours.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use meltemi_config::Config;
use meltemi_proxy::{Admin, AdminOptions, Options, Proxy};

const PATIENCE: Duration = Duration::from_millis(300);

/// An admin server for two clients at most.
fn serve() -> (tokio::runtime::Runtime, Proxy, SocketAddr) {
    let options = Options {
        workers: 1,
        ..Options::default()
    };
    let proxy = Proxy::start(&Config::default(), &options).unwrap();
    let options = AdminOptions {
        hosts: vec!["admin.example".to_owned()],
        header_timeout: PATIENCE,
        connections: 2,
    };
    let admin = Admin::new(&proxy, options);
    admin.set_ready(true);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listening = runtime.block_on(admin.bind(([127, 0, 0, 1], 0).into()));
    let (socket, address) = listening.unwrap();
    runtime.spawn(admin.serve(socket));
    (runtime, proxy, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream
}

/// The first line of the answer; empty if the connection was closed instead.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

fn ask(address: SocketAddr, host: &str) -> String {
    let mut stream = connect(address);
    let request = format!("GET /ready HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    // The server may have closed the connection already.
    let _ = stream.write_all(request.as_bytes());
    answer(&mut stream)
}

#[test]
fn only_its_own_names_are_answered() {
    let (_runtime, _proxy, address) = serve();
    for host in ["127.0.0.1", "localhost:1", "admin.example"] {
        assert_eq!(ask(address, host), "HTTP/1.1 200 OK", "{host}");
    }
    assert_eq!(
        ask(address, "evil.example"),
        "HTTP/1.1 421 Misdirected Request"
    );
}

#[test]
fn a_client_that_dribbles_its_request_is_dropped() {
    let (_runtime, _proxy, address) = serve();
    let mut stream = connect(address);
    let started = Instant::now();
    let dropped = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nX: "
        .iter()
        .cycle()
        .any(|byte| {
            std::thread::sleep(Duration::from_millis(30));
            stream.write_all(&[*byte]).is_err() || started.elapsed() > support::PATIENCE
        });
    assert!(dropped && started.elapsed() < support::PATIENCE);
}

#[test]
fn connections_over_the_limit_are_closed_and_give_way_later() {
    let (_runtime, _proxy, address) = serve();
    let idle = [connect(address), connect(address)];
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(ask(address, "localhost"), "");
    drop(idle);
    let started = Instant::now();
    while ask(address, "localhost") != "HTTP/1.1 200 OK" {
        assert!(started.elapsed() < support::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    let (_runtime, _proxy, address) = serve();
    let _idle = [connect(address), connect(address)];
    let started = Instant::now();
    while ask(address, "localhost") != "HTTP/1.1 200 OK" {
        assert!(started.elapsed() < support::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}
