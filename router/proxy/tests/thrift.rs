//! The data path with a protocol that is answered in order, one request per upstream connection.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use meltemi_frame::Sharing;
use meltemi_thrift::Thrift;
use support::*;

#[test]
fn requests_of_one_connection_go_where_their_method_routes() {
    let (one, two) = (thrift_server("one"), thrift_server("two"));
    let routes = vec![route("method", "a", "one"), route("method", "b", "two")];
    let clusters = vec![
        cluster("one", &[one.address]),
        cluster("two", &[two.address]),
    ];
    let (_proxy, address) = start(&config(Thrift::new(), routes, clusters));
    let mut client = connect(address);
    for (method, label) in [("a", "one"), ("b", "two"), ("a", "one")] {
        client.write_all(&thrift(1, method, 7)).unwrap();
        let (kind, name, seqid, rest) = read_thrift(&mut client).unwrap();
        assert_eq!((kind, name.as_str(), seqid), (2, method, 7));
        assert!(
            rest.windows(3).any(|part| part == label.as_bytes()),
            "{rest:?}"
        );
    }
    client.write_all(&thrift(1, "nowhere", 8)).unwrap();
    let (kind, name, seqid, rest) = read_thrift(&mut client).unwrap();
    assert_eq!((kind, name.as_str(), seqid), (3, "nowhere", 8));
    assert!(
        String::from_utf8_lossy(&rest).contains("no route"),
        "{rest:?}"
    );
    // The connection lives.
    client.write_all(&thrift(1, "b", 9)).unwrap();
    assert_eq!(read_thrift(&mut client).unwrap().2, 9);
}

#[test]
fn an_exclusive_connection_carries_the_pipeline_of_one_client() {
    // The first call of each batch is slow: the others wait for it.
    let server = Upstream::start(|mut stream| {
        while let Some((_, method, seqid, _)) = read_thrift(&mut stream) {
            if seqid % 8 == 0 {
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = stream.write_all(&thrift_with(2, &method, seqid, b"x"));
        }
    });
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Thrift::new(), vec![catch_all("one")], clusters));
    let mut client = connect(address);
    for round in 0..3 {
        let batch: Vec<u8> = (0..8).flat_map(|n| thrift(1, "m", round * 8 + n)).collect();
        client.write_all(&batch).unwrap();
        for n in 0..8 {
            assert_eq!(read_thrift(&mut client).unwrap().2, round * 8 + n);
        }
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_declared_cluster_multiplexes_by_rewritten_ids() {
    let (server, connections) = Upstream::scripted();
    let mut declared = cluster("one", &[server.address]);
    declared.sharing = Some(Sharing::Multiplexed);
    declared.limits.shared_connections = 1;
    let config = config(Thrift::new(), vec![catch_all("one")], vec![declared]);
    let (_proxy, address) = start(&config);
    let (mut a, mut b) = (connect(address), connect(address));
    a.write_all(&thrift(1, "fromA", 0)).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let first = read_thrift(&mut upstream).unwrap();
    b.write_all(&thrift(1, "fromB", 0)).unwrap();
    let second = read_thrift(&mut upstream).unwrap();
    assert_ne!(first.2, second.2, "both clients used id 0");
    // Answered the other way round.
    upstream
        .write_all(&thrift_with(2, "fromB", second.2, b"B"))
        .unwrap();
    upstream
        .write_all(&thrift_with(2, "fromA", first.2, b"A"))
        .unwrap();
    let (to_b, to_a) = (read_thrift(&mut b).unwrap(), read_thrift(&mut a).unwrap());
    assert_eq!((to_a.1.as_str(), to_a.2), ("fromA", 0));
    assert_eq!((to_b.1.as_str(), to_b.2), ("fromB", 0));
}

#[test]
fn faults_are_told_in_the_callers_protocol() {
    let (silent, _connections) = Upstream::scripted();
    let closing = Upstream::start(|mut stream| drop(read_thrift(&mut stream)));
    let mut slow = route("method", "slow", "silent");
    slow.timeout = Some(Duration::from_millis(100));
    let mut down = route("method", "down", "down");
    down.timeout = Some(Duration::from_millis(100));
    let routes = vec![
        slow,
        down,
        route("method", "reset", "closing"),
        route("method", "empty", "empty"),
    ];
    let clusters = vec![
        cluster("silent", &[silent.address]),
        cluster("down", &[nobody()]),
        cluster("closing", &[closing.address]),
        cluster("empty", &[]),
    ];
    let (_proxy, address) = start(&config(Thrift::new(), routes, clusters));
    let mut client = connect(address);
    for (method, words) in [
        ("slow", "in time"),
        ("down", "connecting to"),
        ("reset", "closed the connection"),
        ("empty", "no endpoint"),
    ] {
        let began = Instant::now();
        client.write_all(&thrift(1, method, 3)).unwrap();
        let (kind, name, seqid, rest) = read_thrift(&mut client).unwrap();
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert_eq!((kind, name.as_str(), seqid), (3, method, 3), "{text}");
        assert!(text.contains(words), "{method}: {text}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn one_ways_are_forwarded_and_never_answered() {
    let (server, connections) = Upstream::scripted();
    let routes = vec![route("method", "fire", "one")];
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Thrift::new(), routes, clusters));
    let mut client = connect(address);
    client.write_all(&thrift(4, "fire", 1)).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    assert_eq!(read_thrift(&mut upstream).unwrap().1, "fire");
    // Neither is one that routes nowhere.
    client.write_all(&thrift(4, "nowhere", 2)).unwrap();
    client.write_all(&thrift(1, "nowhere", 3)).unwrap();
    assert_eq!(read_thrift(&mut client).unwrap().2, 3);
}

#[test]
fn a_half_closed_client_still_gets_its_answers() {
    let server = Upstream::start(|mut stream| {
        while let Some((_, method, seqid, _)) = read_thrift(&mut stream) {
            std::thread::sleep(Duration::from_millis(50));
            let _ = stream.write_all(&thrift_with(2, &method, seqid, b"x"));
        }
    });
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Thrift::new(), vec![catch_all("one")], clusters));
    let mut client = connect(address);
    client.write_all(&thrift(1, "m", 1)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_thrift(&mut client).unwrap().2, 1);
    assert!(read_all(&mut client).is_empty());
}

#[test]
fn large_messages_stream_both_ways() {
    let server = Upstream::start(|mut stream| {
        while let Some((_, method, seqid, rest)) = read_thrift(&mut stream) {
            let text = &rest[7..rest.len() - 1];
            let _ = stream.write_all(&thrift_with(2, &method, seqid, text));
        }
    });
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Thrift::new(), vec![catch_all("one")], clusters));
    let mut client = connect(address);
    let text: Vec<u8> = (0..8 << 20).map(|n| (n % 251) as u8).collect();
    for seqid in 0..2 {
        let mut writer = client.try_clone().unwrap();
        let request = thrift_with(1, "echo", seqid, &text);
        let sending = std::thread::spawn(move || writer.write_all(&request).unwrap());
        let (_, _, id, rest) = read_thrift(&mut client).unwrap();
        sending.join().unwrap();
        assert_eq!(id, seqid);
        assert!(
            rest[7..rest.len() - 1] == text[..],
            "the text came back changed"
        );
    }
}

#[test]
fn a_busy_cluster_queues_and_then_refuses() {
    let (server, connections) = Upstream::scripted();
    let mut small = cluster("one", &[server.address]);
    small.limits.connections = 1;
    small.limits.pending = 1;
    let (_proxy, address) = start(&config(Thrift::new(), vec![catch_all("one")], vec![small]));
    let mut clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
    clients[0].write_all(&thrift(1, "m", 0)).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    assert_eq!(read_thrift(&mut upstream).unwrap().2, 0);
    clients[1].write_all(&thrift(1, "m", 1)).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    clients[2].write_all(&thrift(1, "m", 2)).unwrap();
    let refused = read_thrift(&mut clients[2]).unwrap();
    assert_eq!((refused.0, refused.2), (3, 2));
    // The one that waits gets the connection when it is free.
    upstream.write_all(&thrift_with(2, "m", 0, b"x")).unwrap();
    assert_eq!(read_thrift(&mut clients[0]).unwrap().0, 2);
    assert_eq!(read_thrift(&mut upstream).unwrap().2, 1);
    upstream.write_all(&thrift_with(2, "m", 1, b"x")).unwrap();
    assert_eq!(read_thrift(&mut clients[1]).unwrap().0, 2);
    assert_eq!(server.connections(), 1);
}

#[test]
fn one_at_a_time_holds_for_large_requests_too() {
    let server = thrift_server("x");
    let limits = meltemi_config::ListenerLimits {
        in_flight: 1,
        ..Default::default()
    };
    let clusters = vec![cluster("one", &[server.address])];
    let config = config_with(Thrift::new(), vec![catch_all("one")], clusters, limits, 0);
    let (_proxy, address) = start(&config);
    let mut client = connect(address);
    for seqid in 0..3 {
        let request = thrift_with(1, "m", seqid, &vec![b'y'; 1 << 20]);
        client.write_all(&request).unwrap();
        let (kind, _, id, _) = read_thrift(&mut client).unwrap();
        assert_eq!((kind, id), (2, seqid));
    }
}

#[test]
fn a_reply_that_must_wait_does_not_stop_the_one_before_it() {
    let (slow, slow_connections) = Upstream::scripted();
    let big = Upstream::start(|mut stream| {
        while let Some((_, method, seqid, _)) = read_thrift(&mut stream) {
            let _ = stream.write_all(&thrift_with(2, &method, seqid, &vec![b'b'; 2 << 20]));
        }
    });
    let clusters = vec![
        cluster("slow", &[slow.address]),
        cluster("big", &[big.address]),
    ];
    let routes = vec![route("method", "big", "big"), catch_all("slow")];
    let (_proxy, address) = start(&config(Thrift::new(), routes, clusters));
    let mut client = connect(address);
    client
        .write_all(&[thrift(1, "slow", 1), thrift(1, "big", 2)].concat())
        .unwrap();
    let mut upstream = slow_connections.recv_timeout(PATIENCE).unwrap();
    read_thrift(&mut upstream).unwrap();
    // Time enough for the second reply to fill what may be held.
    std::thread::sleep(Duration::from_millis(200));
    let answering = std::thread::spawn(move || {
        let text = vec![b's'; 4 << 20];
        upstream
            .write_all(&thrift_with(2, "slow", 1, &text))
            .unwrap();
    });
    let began = Instant::now();
    let (kind, _, id, rest) = read_thrift(&mut client).unwrap();
    assert_eq!((kind, id, rest.len()), (2, 1, (4 << 20) + 8));
    let (kind, _, id, rest) = read_thrift(&mut client).unwrap();
    assert_eq!((kind, id, rest.len()), (2, 2, (2 << 20) + 8));
    assert!(began.elapsed() < PATIENCE / 2);
    answering.join().unwrap();
}

#[test]
fn what_a_server_must_not_send_mixes_up_no_replies() {
    let (server, connections) = Upstream::scripted();
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Thrift::new(), vec![catch_all("one")], clusters));
    let mut a = connect(address);
    let mut b = connect(address);
    a.write_all(&thrift(1, "m", 1)).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    read_thrift(&mut upstream).unwrap();
    // A call of the server's own: no answer to anybody.
    upstream.write_all(&thrift(1, "callback", 1)).unwrap();
    let (kind, _, id, _) = read_thrift(&mut a).unwrap();
    assert_eq!((kind, id), (3, 1), "told at once");
    b.write_all(&thrift(1, "m", 1)).unwrap();
    let _ = upstream.write_all(&thrift_with(2, "m", 1, b"for a"));
    let mut fresh = connections
        .recv_timeout(PATIENCE)
        .expect("another connection");
    read_thrift(&mut fresh).unwrap();
    fresh.write_all(&thrift_with(2, "m", 1, b"for b")).unwrap();
    let (kind, _, _, rest) = read_thrift(&mut b).unwrap();
    assert_eq!(kind, 2);
    assert!(rest.windows(5).any(|part| part == b"for b"));
}

#[test]
fn a_client_that_leaves_within_a_one_way_message_leaves_no_connection_behind() {
    let (server, connections) = Upstream::scripted();
    let mut small = cluster("one", &[server.address]);
    small.limits.connections = 1;
    let (_proxy, address) = start(&config(Thrift::new(), vec![catch_all("one")], vec![small]));
    let mut client = connect(address);
    let message = thrift_with(4, "m", 1, &vec![b'y'; 1 << 20]);
    client.write_all(&message[..500_000]).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(client);
    assert!(read_all(&mut upstream).len() <= 500_000);
    let mut other = connect(address);
    other.write_all(&thrift(1, "m", 2)).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    assert_eq!(read_thrift(&mut upstream).unwrap().2, 2);
}

#[test]
fn many_one_way_messages_wait_and_all_of_them_go() {
    let (server, connections) = Upstream::scripted();
    let mut small = cluster("one", &[server.address]);
    small.limits.connections = 1;
    let (_proxy, address) = start(&config(Thrift::new(), vec![catch_all("one")], vec![small]));
    let mut first = connect(address);
    first.write_all(&thrift(1, "m", 0)).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    read_thrift(&mut upstream).unwrap();
    let mut other = connect(address);
    let messages: Vec<u8> = (1..=1000)
        .flat_map(|n| thrift(4, &format!("m{n}"), n))
        .collect();
    other.write_all(&messages).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    upstream.write_all(&thrift_with(2, "m", 0, b"x")).unwrap();
    for n in 1..=1000 {
        // One-way calls get ids of the proxy's own.
        assert_eq!(read_thrift(&mut upstream).unwrap().1, format!("m{n}"));
    }
    other.write_all(&thrift(1, "m", 1001)).unwrap();
    assert_eq!(read_thrift(&mut upstream).unwrap().2, 1001);
}
