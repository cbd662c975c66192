//! What routes and clusters do about requests besides sending them somewhere: retries, faults, limits
//! and copies, with peers that fail.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use meltemi_config::{
    Abort, AttributeMatch, Balancing, Bucket, Cluster, Config, FaultRule, ListenerLimits,
    LocalLimit, LocalLimits, Matcher, Mirror, Origin, Outlier, RetryBudget, Route, Share,
};
use meltemi_dubbo::Dubbo;
use meltemi_frame::{Fault, Reason};
use meltemi_proxy::{Options, Proxy};
use meltemi_redis::Redis;
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

/// The next connection, in time.
fn accept(listener: &TcpListener) -> Line {
    listener.set_nonblocking(true).unwrap();
    let mut found = None;
    eventually("somebody connects", || {
        found = listener.accept().ok();
        found.is_some()
    });
    let (stream, _) = found.unwrap();
    stream.set_nonblocking(false).unwrap();
    Line::new(stream)
}

fn redis(route: Route, clusters: Vec<Cluster>) -> (Proxy, SocketAddr) {
    start(&config(Redis::new(), vec![route], clusters))
}

fn delayed(mut route: Route, delay: u64, only: Option<AttributeMatch>) -> Route {
    route.faults = vec![FaultRule {
        matches: only.into_iter().collect(),
        delay: Some((Duration::from_millis(delay), Share::ALL)),
        abort: None,
        origin: Origin::default(),
    }];
    route
}

fn is(name: &str, value: &str) -> AttributeMatch {
    AttributeMatch {
        name: name.into(),
        matcher: Matcher::Exact(value.into()),
        negate: false,
    }
}

#[test]
fn a_pipeline_that_was_not_sent_is_tried_again_in_its_order() {
    // Nobody listens at first: what was never sent may be sent again, be it safe or not.
    let address = nobody();
    let mut route = catch_all("one");
    route.retry.attempts = 20;
    let (proxy, to) = redis(route, vec![cluster("one", &[address])]);
    let mut client = Line::new(connect(to));
    client.send(&(command(&["SET", "a", "1"]) + &command(&["INCR", "b"])));
    eventually("it is tried again", || {
        sum(&proxy, "meltemi_upstream_retries") >= 2
    });
    client.send(&(command(&["INCR", "c"]) + &command(&["INCR", "d"])));
    let listener = TcpListener::bind(address).unwrap();
    let mut server = accept(&listener);
    assert_eq!(server.command(), ["SET", "a", "1"]);
    for key in ["b", "c", "d"] {
        assert_eq!(server.command(), ["INCR", key]);
    }
    server.send("+1\r\n+2\r\n+3\r\n+4\r\n");
    let got: Vec<_> = (0..4).map(|_| client.line()).collect();
    assert_eq!(got, ["+1", "+2", "+3", "+4"]);
}

#[test]
fn what_was_sent_and_may_do_harm_is_not_sent_again() {
    let (server, connections) = Upstream::scripted();
    let mut route = catch_all("one");
    route.retry.on = vec![Fault::Reset, Fault::BadResponse];
    let (proxy, address) = redis(route, vec![cluster("one", &[server.address])]);
    let mut client = Line::new(connect(address));
    client.send(&(command(&["INCR", "k"]) + &command(&["GET", "k"])));
    let mut first = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(first.command(), ["INCR", "k"]);
    assert_eq!(first.command(), ["GET", "k"]);
    drop(first);
    // What changes nothing is.
    let mut second = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(second.command(), ["GET", "k"]);
    second.send("+v\r\n");
    let (a, b) = (client.line(), client.line());
    assert!(a.starts_with('-'), "{a}");
    assert_eq!(b, "+v");
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 1);
}

#[test]
fn nothing_of_a_transaction_is_tried_again_without_the_rest() {
    let address = nobody();
    let mut route = catch_all("one");
    route.retry.attempts = 20;
    let (proxy, to) = redis(route, vec![cluster("one", &[address])]);
    let mut client = Line::new(connect(to));
    client.send(
        &["MULTI", "SET", "EXEC"]
            .map(|word| match word {
                "SET" => command(&["SET", "k", "v"]),
                word => command(&[word]),
            })
            .concat(),
    );
    assert!(client.line().starts_with('-'));
    let mut rest = Vec::new();
    let _ = client.reader.read_to_end(&mut rest);
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 0);
}

#[test]
fn a_transaction_of_which_a_command_is_refused_is_not_carried_out() {
    let (server, connections) = Upstream::scripted();
    let mut route = catch_all("one");
    route.faults = vec![FaultRule {
        matches: vec![is("command", "incr")],
        delay: None,
        abort: Some(Abort {
            reason: Reason::Unavailable,
            text: "on purpose".into(),
            share: Share::ALL,
        }),
        origin: Origin::default(),
    }];
    let (_proxy, address) = redis(route, vec![cluster("one", &[server.address])]);
    let mut client = Line::new(connect(address));
    client.send(&(command(&["MULTI"]) + &command(&["SET", "a", "1"])));
    let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(upstream.command(), ["MULTI"]);
    upstream.send("+OK\r\n");
    assert_eq!(upstream.command(), ["SET", "a", "1"]);
    upstream.send("+QUEUED\r\n");
    assert_eq!(
        (client.line(), client.line()),
        ("+OK".into(), "+QUEUED".into())
    );
    client.send(&(command(&["INCR", "b"]) + &command(&["EXEC"])));
    assert!(client.line().starts_with('-'));
    assert_eq!(upstream.line(), "", "closed: nothing of it is carried out");
}

#[test]
fn only_so_many_are_under_retry() {
    let address = nobody();
    let mut small = cluster("one", &[address]);
    small.budget = RetryBudget {
        share: Share::NONE,
        least: 2,
    };
    let mut route = catch_all("one");
    route.retry.attempts = 1;
    route.retry.backoff = Duration::from_millis(200);
    route.retry.longest_backoff = Duration::from_millis(200);
    let (proxy, to) = start(&config(Dubbo::new(), vec![route], vec![small]));
    let mut client = connect(to);
    let batch: Vec<u8> = (1..=5).flat_map(|id| dubbo(id, "m", b"x")).collect();
    client.write_all(&batch).unwrap();
    for _ in 0..5 {
        assert_ne!(read_dubbo(&mut client).unwrap().1, 20);
    }
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 2);
    assert_eq!(sum(&proxy, "meltemi_upstream_retries_refused"), 3);
    // Their places are free again.
    client.write_all(&dubbo(6, "m", b"x")).unwrap();
    read_dubbo(&mut client).unwrap();
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 3);
}

#[test]
fn a_try_that_takes_too_long_is_made_again_elsewhere() {
    let ((silent, _open), good) = (Upstream::scripted(), thrift_server("good"));
    let mut both = cluster("one", &[silent.address, good.address]);
    both.balancing = Balancing::RoundRobin;
    let mut route = catch_all("one");
    route.retry.on = vec![Fault::Timeout];
    route.retry.resend = true;
    route.retry.per_try_timeout = Some(Duration::from_millis(60));
    let (proxy, address) = start(&config(Thrift::new(), vec![route], vec![both]));
    let mut client = connect(address);
    for _ in 0..4 {
        assert_eq!(call(&mut client, "m"), 2);
    }
    // Of two calls in turn one at least meets the silent one.
    let retries = sum(&proxy, "meltemi_upstream_retries");
    assert!((2..=4).contains(&retries), "{retries}");
    assert_eq!(sum(&proxy, "meltemi_upstream_timeouts"), retries);
}

#[test]
fn a_failed_response_is_tried_again_if_the_route_says_so() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = Upstream::start(move |mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            // 80: the server failed; 20: it did not.
            let status = if counted.fetch_add(1, SeqCst) < 2 {
                80
            } else {
                20
            };
            let text: &[u8] = if status == 20 { b"\x92" } else { b"\x01x" };
            let _ = stream.write_all(&dubbo_frame(0x02, status, id, text));
        }
    });
    let mut route = catch_all("one");
    route.retry.on = vec![Fault::Server];
    route.retry.resend = true;
    let clusters = vec![cluster("one", &[server.address])];
    let (proxy, address) = start(&config(Dubbo::new(), vec![route], clusters));
    let mut client = connect(address);
    client.write_all(&dubbo(7, "m", b"x")).unwrap();
    let (_, status, id, _) = read_dubbo(&mut client).unwrap();
    assert_eq!((status, id, count.load(SeqCst)), (20, 7, 3));
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 2);
}

#[test]
fn behind_a_delay_requests_in_order_wait_and_others_overtake() {
    let (server, connections) = Upstream::scripted();
    let route = delayed(catch_all("one"), 150, Some(is("key", "slow")));
    let (_proxy, address) = redis(route, vec![cluster("one", &[server.address])]);
    let mut client = Line::new(connect(address));
    client.send(&(command(&["GET", "slow"]) + &command(&["GET", "fast"])));
    let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(upstream.command(), ["GET", "slow"]);
    assert_eq!(upstream.command(), ["GET", "fast"]);
    upstream.send("+1\r\n+2\r\n");
    assert_eq!((client.line(), client.line()), ("+1".into(), "+2".into()));

    let (server, connections) = Upstream::scripted();
    let route = delayed(catch_all("one"), 150, Some(is("method", "slow")));
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Dubbo::new(), vec![route], clusters));
    let mut client = connect(address);
    client
        .write_all(&[dubbo(1, "slow", b"s"), dubbo(2, "fast", b"f")].concat())
        .unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    for id in [2, 1] {
        let asked = read_dubbo(&mut upstream).unwrap();
        upstream
            .write_all(&dubbo_frame(0x02, 20, asked.2, b"\x92"))
            .unwrap();
        assert_eq!(read_dubbo(&mut client).unwrap().2, id);
    }
}

#[test]
fn a_one_way_request_that_waits_outlives_its_client_and_counts() {
    let (server, connections) = Upstream::scripted();
    let route = delayed(catch_all("one"), 150, None);
    let limits = ListenerLimits {
        in_flight: 2,
        ..ListenerLimits::default()
    };
    let clusters = vec![cluster("one", &[server.address])];
    let config = config_with(Thrift::new(), vec![route], clusters, limits, 0);
    let (proxy, address) = start(&config);
    let mut client = connect(address);
    for seqid in 0..4 {
        client.write_all(&thrift(4, "m", seqid)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    // No more are taken than may be in flight.
    assert_eq!(sum(&proxy, "meltemi_downstream_oneways"), 2);
    drop(client);
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    for seqid in 0..2 {
        let (kind, _, id, _) = read_thrift(&mut upstream).expect("it is sent");
        assert_eq!((kind, id), (4, seqid));
    }
}

#[test]
fn a_copy_that_hangs_holds_up_nobody_and_leaves_with_its_original() {
    let (hanging, copies) = Upstream::scripted();
    let server = thrift_server("original");
    let mut small = cluster("copies", &[hanging.address]);
    small.limits.connections = 2;
    let mut route = delayed(catch_all("one"), 100, Some(is("method", "late")));
    route.timeout = Some(Duration::from_millis(400));
    route.mirrors = vec![Mirror {
        cluster: "copies".into(),
        share: Share::ALL,
        writes_only: false,
        compare: false,
        origin: Origin::default(),
    }];
    let clusters = vec![cluster("one", &[server.address]), small];
    let (proxy, address) = start(&config(Thrift::new(), vec![route], clusters));
    let mut client = connect(address);
    let began = Instant::now();
    client.write_all(&thrift(1, "late", 1)).unwrap();
    eventually("it is taken", || sum(&proxy, "meltemi_route_requests") == 1);
    assert_eq!(sum(&proxy, "meltemi_mirror_requests"), 0, "it waits, too");
    assert_eq!(read_thrift(&mut client).unwrap().0, 2);
    assert!(began.elapsed() >= Duration::from_millis(100));
    for _ in 0..20 {
        assert_eq!(call(&mut client, "m"), 2);
    }
    assert!(began.elapsed() < Duration::from_millis(400));
    assert_eq!(sum(&proxy, "meltemi_mirror_requests"), 21);
    assert_eq!(
        hanging.connections(),
        2,
        "no more than the cluster may have"
    );
    // In the end they are given up.
    for _ in 0..2 {
        let mut copy = copies.recv_timeout(PATIENCE).unwrap();
        assert!(read_thrift(&mut copy).is_some());
        assert!(read_thrift(&mut copy).is_none());
    }
}

#[test]
fn an_aborted_request_is_answered_with_its_reason_after_its_delay() {
    let server = thrift_server("x");
    let mut route = delayed(catch_all("one"), 100, None);
    route.faults[0].abort = Some(Abort {
        reason: Reason::Unavailable,
        text: "closed for lunch".into(),
        share: Share::ALL,
    });
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Thrift::new(), vec![route], clusters));
    let mut client = connect(address);
    let began = Instant::now();
    client.write_all(&thrift(1, "m", 9)).unwrap();
    let (kind, _, seqid, rest) = read_thrift(&mut client).unwrap();
    assert_eq!((kind, seqid), (3, 9));
    assert!(began.elapsed() >= Duration::from_millis(100));
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.contains("closed for lunch"), "{rest}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_local_limit_holds_for_all_workers_together() {
    let server = thrift_server("x");
    let limits = LocalLimits {
        name: "five".into(),
        rules: vec![LocalLimit {
            matches: Vec::new(),
            per: Vec::new(),
            values: 1,
            bucket: Bucket {
                size: 5,
                fill: 1,
                interval: Duration::from_secs(3600),
            },
            origin: Origin::default(),
        }],
        origin: Origin::default(),
    };
    let mut route = catch_all("one");
    route.local_limits = vec![Arc::new(limits)];
    let clusters = vec![cluster("one", &[server.address])];
    let config = config(Thrift::new(), vec![route], clusters);
    let (_proxy, address) = start_workers(&config, 2);
    let mut clients = [connect(address), connect(address)];
    let passed = (0..10).filter(|n| call(&mut clients[n % 2], "m") == 2);
    assert_eq!(passed.count(), 5);
}

#[test]
fn pieces_behind_a_retry_wait_for_it() {
    let address = nobody();
    let mut route = catch_all("one");
    route.retry.attempts = 20;
    let (proxy, to) = redis(route, vec![cluster("one", &[address])]);
    let mut client = Line::new(connect(to));
    client.send(&command(&["GET", "k"]));
    eventually("it is tried again", || {
        sum(&proxy, "meltemi_upstream_retries") >= 1
    });
    const SIZE: usize = 8 << 20;
    let mut writer = client.reader.get_ref().try_clone().unwrap();
    let large = std::thread::spawn(move || {
        let value = "x".repeat(SIZE);
        writer.write_all(command(&["SET", "k", &value]).as_bytes())
    });
    std::thread::sleep(Duration::from_millis(20));
    let listener = TcpListener::bind(address).unwrap();
    let mut server = accept(&listener);
    assert_eq!(server.command(), ["GET", "k"]);
    server.send("+v\r\n");
    assert_eq!(client.line(), "+v");
    // Pieces have a connection of their own.
    let mut server = accept(&listener);
    assert_eq!(server.command()[2].len(), SIZE);
    server.send("+OK\r\n");
    assert_eq!(client.line(), "+OK");
    large.join().unwrap().unwrap();
}
