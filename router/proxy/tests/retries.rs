//! What is sent again and what never is, and in which order, with peers that fail.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use meltemi_config::{Balancing, Outlier, RetryBudget, Share};
use meltemi_dubbo::Dubbo;
use meltemi_frame::Fault;
use meltemi_thrift::Thrift;
use support::*;

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
fn a_pipeline_that_was_not_sent_is_tried_again_in_its_order() {
    // Nobody listens at first: what was never sent may be sent again, be it safe or not.
    let address = nobody();
    let route = catch_all("one");
    let (proxy, to) = redis(route, vec![cluster("one", &[address])]);
    let mut client = Line::new(connect(to));
    client.send(&(command(&["SET", "a", "1"]) + &command(&["INCR", "b"])));
    eventually("it is tried again", || {
        sum(&proxy, "meltemi_upstream_moved") >= 2
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
    let route = catch_all("one");
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
    assert_eq!(sum(&proxy, "meltemi_upstream_moved"), 0);
}

#[test]
fn only_so_many_are_under_retry() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = Upstream::start(move |mut stream| {
        let first = connections.fetch_add(1, SeqCst) == 0;
        // The first connection takes five requests and ends. Those after it answer.
        for _ in 0..if first { 5 } else { usize::MAX } {
            let Some((_, _, id, _)) = read_dubbo(&mut stream) else {
                return;
            };
            if !first {
                let _ = stream.write_all(&dubbo_frame(0x02, 20, id, b"\x92"));
            }
        }
    });
    let mut small = cluster("one", &[server.address]);
    small.budget = RetryBudget {
        share: Share::NONE,
        least: 2,
    };
    let mut route = catch_all("one");
    route.retry.on = vec![Fault::Reset];
    route.retry.resend = true;
    route.retry.backoff = Duration::from_millis(200);
    route.retry.longest_backoff = Duration::from_millis(200);
    let (proxy, to) = start(&config(Dubbo::new(), vec![route], vec![small]));
    let mut client = connect(to);
    let batch: Vec<u8> = (1..=5).flat_map(|id| dubbo(id, "m", b"x")).collect();
    client.write_all(&batch).unwrap();
    let answers = (0..5).map(|_| read_dubbo(&mut client).unwrap().1);
    assert_eq!(answers.filter(|status| *status == 20).count(), 2);
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 2);
    assert_eq!(sum(&proxy, "meltemi_upstream_retries_refused"), 3);
}

#[test]
fn a_burst_that_meets_a_dead_endpoint_loses_nothing() {
    let (one, two) = (dubbo_server(), dubbo_server());
    let mut three = cluster("one", &[one.address, nobody(), two.address]);
    three.balancing = Balancing::RoundRobin;
    three.budget = RetryBudget {
        share: Share::NONE,
        least: 0,
    };
    three.limits.retries = 0;
    let (proxy, to) = start(&config(Dubbo::new(), vec![catch_all("one")], vec![three]));
    let mut client = connect(to);
    let batch: Vec<u8> = (1..=1000).flat_map(|id| dubbo(id, "m", b"x")).collect();
    client.write_all(&batch).unwrap();
    let failed = (1..=1000).filter(|_| read_dubbo(&mut client).unwrap().1 != 20);
    assert_eq!(failed.count(), 0);
    assert!(sum(&proxy, "meltemi_upstream_moved") > 0);
    assert_eq!(sum(&proxy, "meltemi_upstream_retries"), 0);
}

#[test]
fn what_nobody_takes_is_answered_when_its_time_is_out() {
    // Without a deadline it waits as long as a connection may take to be made.
    for deadline in [Some(Duration::from_millis(300)), None] {
        let mut down = cluster("one", &[nobody(), nobody()]);
        down.connect_timeout = Duration::from_millis(if deadline.is_some() { 5000 } else { 300 });
        let mut route = catch_all("one");
        route.timeout = deadline;
        let (proxy, to) = start(&config(Dubbo::new(), vec![route], vec![down]));
        let mut client = connect(to);
        let began = std::time::Instant::now();
        client.write_all(&dubbo(1, "m", b"x")).unwrap();
        assert_ne!(read_dubbo(&mut client).unwrap().1, 20);
        let took = began.elapsed();
        // A pause that would outlast its time is not begun.
        assert!((50..2000).contains(&took.as_millis()), "{took:?}");
        let moved = sum(&proxy, "meltemi_upstream_moved");
        assert!((2..60).contains(&moved), "{moved}");
    }
}

#[test]
fn a_route_without_attempts_moves_nothing() {
    let mut route = catch_all("one");
    route.retry.attempts = 0;
    let (proxy, to) = start(&config(
        Dubbo::new(),
        vec![route],
        vec![cluster("one", &[nobody()])],
    ));
    let mut client = connect(to);
    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    assert_ne!(read_dubbo(&mut client).unwrap().1, 20);
    assert_eq!(sum(&proxy, "meltemi_upstream_moved"), 0);
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
fn pieces_behind_a_retry_wait_for_it() {
    let address = nobody();
    let route = catch_all("one");
    let (proxy, to) = redis(route, vec![cluster("one", &[address])]);
    let mut client = Line::new(connect(to));
    client.send(&command(&["GET", "k"]));
    eventually("it is tried again", || {
        sum(&proxy, "meltemi_upstream_moved") >= 1
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
