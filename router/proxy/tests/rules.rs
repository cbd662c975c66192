//! What routes and clusters do about requests besides sending them somewhere: retries, faults, limits
//! and copies, with peers that fail.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use meltemi_config::{Config, Outlier};
use meltemi_frame::Fault;
use meltemi_proxy::{Options, Proxy};
use meltemi_thrift::Thrift;
use support::*;

fn start_workers(config: &Config, workers: usize) -> (Proxy, SocketAddr) {
    let options = Options {
        workers,
        ..Options::default()
    };
    let proxy = Proxy::start(config, &options).expect("started");
    let address = proxy.addresses()[0].1;
    (proxy, address)
}

/// The sum of a metric.
fn sum(proxy: &Proxy, name: &str) -> u64 {
    proxy.stats().values(name).values().sum()
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Answers every Thrift call, but never one of `hang`.
fn hanging_server() -> Upstream {
    Upstream::start(|mut stream| {
        while let Some((_, method, seqid, _)) = read_thrift(&mut stream) {
            if method != "hang" {
                let _ = stream.write_all(&thrift_with(2, &method, seqid, b"x"));
            }
        }
    })
}

/// One call and its answer.
fn call(client: &mut TcpStream, method: &str) -> u8 {
    client.write_all(&thrift(1, method, 1)).unwrap();
    read_thrift(client).expect("an answer").0
}

#[test]
fn clients_that_leave_do_not_eject_an_endpoint() {
    let server = hanging_server();
    let mut watched = cluster("one", &[server.address]);
    watched.outlier = Some(Outlier {
        consecutive: 2,
        consecutive_gateway: 2,
        ..Outlier::default()
    });
    let mut route = catch_all("one");
    route.retry.on = vec![Fault::Reset];
    route.retry.resend = true;
    let (proxy, address) = start(&config(Thrift::new(), vec![route], vec![watched]));
    for n in 1..4 {
        let mut client = connect(address);
        client.write_all(&thrift(1, "quick", 1)).unwrap();
        client.write_all(&thrift(1, "hang", 2)).unwrap();
        // An answer that is not read makes its end a reset.
        client.peek(&mut [0]).unwrap();
        eventually("both are sent", || {
            sum(&proxy, "meltemi_upstream_requests") >= 2 * n
        });
        drop(client);
        eventually("it is noticed", || {
            sum(&proxy, "meltemi_upstream_resets") == n
        });
    }
    assert_eq!(sum(&proxy, "meltemi_outlier_ejections"), 0);
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 0, "for nobody");
    assert_eq!(call(&mut connect(address), "quick"), 2);
}

#[test]
fn a_limit_of_connections_holds_for_all_workers_and_idle_ones_make_room() {
    let server = hanging_server();
    let mut small = cluster("one", &[server.address]);
    small.limits.connections = 1;
    let config = config(Thrift::new(), vec![catch_all("one")], vec![small]);
    let (proxy, address) = start_workers(&config, 2);
    // One on each worker.
    let mut clients = [connect(address), connect(address)];
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(call(client, "quick"), 2);
            assert!(sum(&proxy, "meltemi_upstream_connections_active") <= 1);
        }
    }
    assert!(server.connections() > 1, "both workers had their turn");
}
