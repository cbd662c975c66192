//! What routes and clusters do about requests besides sending them somewhere and trying again: faults,
//! limits and copies.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meltemi_config::{
    Abort, AttributeMatch, Bucket, FaultRule, ListenerLimits, LocalLimit, LocalLimits, Mirror,
    Origin, Route, Share,
};
use meltemi_dubbo::Dubbo;
use meltemi_frame::Reason;
use meltemi_thrift::Thrift;
use support::*;

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

fn delayed(mut route: Route, delay: u64, only: Option<AttributeMatch>) -> Route {
    route.faults = vec![FaultRule {
        matches: only.into_iter().collect(),
        delay: Some((Duration::from_millis(delay), Share::ALL)),
        abort: None,
        origin: Origin::default(),
    }];
    route
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
    assert_eq!(
        upstream.command(),
        ["DISCARD"],
        "nothing of it is carried out"
    );
    upstream.send("+OK\r\n");
    assert!(client.line().starts_with("-EXECABORT"));
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
        client
            .write_all(&thrift(4, &format!("m{seqid}"), seqid))
            .unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    // No more are taken than may be in flight.
    assert_eq!(sum(&proxy, "meltemi_downstream_oneways"), 2);
    drop(client);
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    for seqid in 0..2 {
        // One-way calls get ids of the proxy's own.
        let (kind, method, ..) = read_thrift(&mut upstream).expect("it is sent");
        assert_eq!((kind, method), (4, format!("m{seqid}")));
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
