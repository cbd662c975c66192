//! The data path with a pipelined protocol whose connections have sessions and can be tied.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::{BufRead as _, Read as _, Write as _};
use std::time::{Duration, Instant};

use meltemi_config::{AttributeMatch, Matcher};
use meltemi_redis::Redis;
use support::*;

fn one(upstream: &Upstream) -> meltemi_config::Cluster {
    let mut declared = cluster("one", &[upstream.address]);
    declared.limits.shared_connections = 1;
    declared
}

#[test]
fn clients_share_a_pipeline_and_replies_keep_their_order() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut a = Line::new(connect(address));
    let mut b = Line::new(connect(address));
    a.send(&(command(&["GET", "a1"]) + &command(&["GET", "a2"])));
    let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(upstream.command(), ["GET", "a1"]);
    assert_eq!(upstream.command(), ["GET", "a2"]);
    b.send("get b1\n");
    assert_eq!(upstream.line(), "get b1", "as it came");
    upstream.send("+1\r\n+2\r\n");
    assert_eq!((a.line(), a.line()), ("+1".into(), "+2".into()));
    upstream.send("+3\r\n");
    assert_eq!(b.line(), "+3");
    assert_eq!(server.connections(), 1);
}

#[test]
fn keys_route_by_prefix_and_a_pipeline_over_two_clusters_stays_in_order() {
    let (server_u, conns_u) = Upstream::scripted();
    let (server_o, conns_o) = Upstream::scripted();
    let mut by_key = catch_all("users");
    by_key.name = "users".into();
    by_key.matches = vec![AttributeMatch {
        name: "key".into(),
        matcher: Matcher::Prefix("user:".into()),
        negate: false,
    }];
    let routes = vec![by_key, catch_all("others")];
    let clusters = vec![
        cluster("users", &[server_u.address]),
        cluster("others", &[server_o.address]),
    ];
    let (_proxy, address) = start(&config(Redis::new(), routes, clusters));
    let mut client = Line::new(connect(address));
    client.send(&(command(&["GET", "x"]) + &command(&["GET", "user:1"]) + &command(&["GET", "y"])));
    let mut others = Line::new(conns_o.recv_timeout(PATIENCE).unwrap());
    let mut users = Line::new(conns_u.recv_timeout(PATIENCE).unwrap());
    assert_eq!(users.command(), ["GET", "user:1"]);
    users.send("+second\r\n");
    assert_eq!(others.command(), ["GET", "x"]);
    assert_eq!(others.command(), ["GET", "y"]);
    others.send("+first\r\n+third\r\n");
    let got = [client.line(), client.line(), client.line()];
    assert_eq!(got, ["+first", "+second", "+third"]);
}

#[test]
fn a_selected_database_is_one_clients_own() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut a = Line::new(connect(address));
    let mut b = Line::new(connect(address));
    b.send(&command(&["GET", "k"]));
    let mut plain = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(plain.command(), ["GET", "k"]);
    plain.send("+db0\r\n");
    assert_eq!(b.line(), "+db0");
    // SELECT and what is pipelined behind it.
    a.send(&(command(&["SELECT", "5"]) + &command(&["GET", "k"])));
    let mut five = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(five.command(), ["SELECT", "5"]);
    five.send("+OK\r\n");
    assert_eq!(five.command(), ["GET", "k"]);
    five.send("+db5\r\n");
    assert_eq!((a.line(), a.line()), ("+OK".into(), "+db5".into()));
    // A third client that selects the same shares it; the plain one is still plain.
    b.send(&command(&["GET", "k"]));
    assert_eq!(plain.command(), ["GET", "k"]);
    plain.send("+db0\r\n");
    assert_eq!(b.line(), "+db0");
}

#[test]
fn a_transaction_has_its_connection_for_itself() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut a = Line::new(connect(address));
    let mut b = Line::new(connect(address));
    a.send(&command(&["MULTI"]));
    let mut tied = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(tied.command(), ["MULTI"]);
    tied.send("+OK\r\n");
    assert_eq!(a.line(), "+OK");
    b.send(&command(&["GET", "k"]));
    let mut shared = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(shared.command(), ["GET", "k"]);
    shared.send("+v\r\n");
    assert_eq!(b.line(), "+v");
    a.send(&(command(&["SET", "k", "1"]) + &command(&["EXEC"]) + &command(&["GET", "k"])));
    assert_eq!(tied.command()[0], "SET");
    assert_eq!(tied.command()[0], "EXEC");
    tied.send("+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(
        (a.line(), a.line(), a.line()),
        ("+QUEUED".into(), "*1".into(), "+OK".into())
    );
    // Whichever connection serves it: the client gets it, and nothing else.
    let mut answered = false;
    for candidate in [&mut tied, &mut shared] {
        candidate
            .reader
            .get_ref()
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        if candidate
            .reader
            .fill_buf()
            .is_ok_and(|bytes| !bytes.is_empty())
        {
            assert_eq!(candidate.command(), ["GET", "k"]);
            candidate.send("+after\r\n");
            answered = true;
        }
    }
    assert!(answered);
    assert_eq!(a.line(), "+after");
}

#[test]
fn a_blocked_client_blocks_nobody_and_frees_its_connection_when_it_leaves() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut blocked = Line::new(connect(address));
    let mut other = Line::new(connect(address));
    blocked.send(&command(&["BLPOP", "q", "0"]));
    let mut alone = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(alone.command()[0], "BLPOP");
    let began = Instant::now();
    other.send(&command(&["PING"]));
    let mut shared = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(shared.command(), ["PING"]);
    shared.send("+PONG\r\n");
    assert_eq!(other.line(), "+PONG");
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(blocked);
    assert_eq!(alone.line(), "", "the server sees the client leave");
}

#[test]
fn subscriptions_get_their_messages_in_order() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut client = Line::new(connect(address));
    client.send(&command(&["SUBSCRIBE", "a", "b"]));
    let mut tied = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(tied.command(), ["SUBSCRIBE", "a", "b"]);
    let mut expected = String::new();
    for text in [
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n",
    ] {
        tied.send(text);
        expected.push_str(text);
    }
    let mut got = vec![0; expected.len()];
    client.reader.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
    // Leaving the last channel frees the connection: the next request may go anywhere.
    client.send(&command(&["UNSUBSCRIBE"]));
    assert_eq!(tied.command(), ["UNSUBSCRIBE"]);
    tied.send("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n");
    for _ in 0..12 {
        client.line();
    }
    client.send(&command(&["GET", "k"]));
    assert_eq!(tied.command(), ["GET", "k"]);
    tied.send("+v\r\n");
    assert_eq!(client.line(), "+v");
}

#[test]
fn reset_and_quit_are_the_clients_own() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut client = Line::new(connect(address));
    client.send(&(command(&["MULTI"]) + &command(&["SET", "k", "1"]) + &command(&["RESET"])));
    let mut tied = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(tied.command(), ["MULTI"]);
    tied.send("+OK\r\n");
    assert_eq!(tied.command()[0], "SET");
    tied.send("+QUEUED\r\n");
    assert_eq!(
        (client.line(), client.line(), client.line()),
        ("+OK".into(), "+QUEUED".into(), "+RESET".into())
    );
    assert_eq!(
        tied.line(),
        "",
        "a connection left in a transaction is closed"
    );
    client.send(&command(&["GET", "k"]));
    let mut fresh = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(fresh.command(), ["GET", "k"]);
    client.send(&command(&["QUIT"]));
    fresh.send("+v\r\n");
    assert_eq!((client.line(), client.line()), ("+v".into(), "+OK".into()));
    assert_eq!(client.line(), "", "closed");
    assert_eq!(server.connections(), 2);
}

#[test]
fn replies_nobody_asked_for_end_the_connection_and_harm_nobody() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut client = Line::new(connect(address));
    client.send(&command(&["GET", "k"]));
    let mut first = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(first.command(), ["GET", "k"]);
    first.send("+v\r\n+unasked\r\n");
    assert_eq!(client.line(), "+v");
    assert_eq!(first.line(), "", "out of step: closed");
    client.send(&command(&["GET", "k"]));
    let mut second = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(second.command(), ["GET", "k"]);
    second.send("+w\r\n");
    assert_eq!(client.line(), "+w");
}

#[test]
fn credentials_of_the_cluster_come_before_a_clients_session() {
    use meltemi_frame::Protocol as _;
    let (server, connections) = Upstream::scripted();
    let mut secret = one(&server);
    secret.login = Redis::new().login(None, "pw").unwrap();
    let (_proxy, address) = start(&config(Redis::new(), vec![catch_all("one")], vec![secret]));
    let mut client = Line::new(connect(address));
    client.send(&command(&["SELECT", "3"]));
    let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(upstream.command(), ["AUTH", "pw"]);
    upstream.send("+OK\r\n");
    assert_eq!(upstream.command(), ["SELECT", "3"]);
    upstream.send("+OK\r\n");
    assert_eq!(client.line(), "+OK");
    // The connection is of the new session: it is used again, not made again.
    client.send(&command(&["GET", "k"]));
    assert_eq!(upstream.command(), ["GET", "k"]);
    upstream.send("+v\r\n");
    assert_eq!(client.line(), "+v");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_blocking_command_that_waits_for_a_connection_is_dropped_with_its_client() {
    let (server, connections) = Upstream::scripted();
    let mut small = one(&server);
    small.limits.connections = 1;
    let (_proxy, address) = start(&config(Redis::new(), vec![catch_all("one")], vec![small]));
    let mut a = Line::new(connect(address));
    let mut b = Line::new(connect(address));
    let mut c = Line::new(connect(address));
    a.send(&command(&["BLPOP", "a", "0"]));
    let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(upstream.command(), ["BLPOP", "a", "0"]);
    b.send(&command(&["BLPOP", "b", "0"]));
    std::thread::sleep(Duration::from_millis(50));
    drop(b);
    std::thread::sleep(Duration::from_millis(50));
    c.send(&command(&["BLPOP", "c", "0"]));
    std::thread::sleep(Duration::from_millis(50));
    upstream.send("+a\r\n");
    assert_eq!(a.line(), "+a");
    assert_eq!(
        upstream.command(),
        ["BLPOP", "c", "0"],
        "nobody waits for b"
    );
    // One that has waited blocks its connection only as long as its client is there, too.
    drop(c);
    assert_eq!(upstream.reader.read_line(&mut String::new()).unwrap(), 0);
}

#[test]
fn a_client_that_leaves_while_its_next_command_must_wait_is_noticed() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
    ));
    let mut client = Line::new(connect(address));
    client.send(&(command(&["BLPOP", "k", "0"]) + &command(&["MULTI"])));
    let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(upstream.command(), ["BLPOP", "k", "0"]);
    std::thread::sleep(Duration::from_millis(50));
    drop(client);
    assert_eq!(upstream.reader.read_line(&mut String::new()).unwrap(), 0);
}

#[test]
fn a_connection_that_answers_nobody_any_more_is_closed() {
    let (server, connections) = Upstream::scripted();
    let mut route = catch_all("one");
    route.timeout = Some(Duration::from_millis(80));
    let (_proxy, address) = start(&config(Redis::new(), vec![route], vec![one(&server)]));
    let mut client = Line::new(connect(address));
    for _ in 0..3 {
        client.send(&command(&["GET", "k"]));
        let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
        assert_eq!(upstream.command(), ["GET", "k"]);
        assert!(client.line().starts_with('-'));
        assert_eq!(upstream.reader.read_line(&mut String::new()).unwrap(), 0);
    }
}

/// The size of a reply that is several times larger than the cut-off of these tests, in bytes.
const LARGE: usize = 64 << 20;

/// Answers `GET large` with that much, and everything else with `x`.
fn large_and_small() -> Upstream {
    Upstream::start(|stream| {
        let mut line = Line::new(stream);
        while line.reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            if line.command()[1] != "large" {
                line.send("$1\r\nx\r\n");
                continue;
            }
            line.send(&format!("${LARGE}\r\n"));
            let chunk = vec![b'x'; 1 << 20];
            for _ in 0..LARGE >> 20 {
                if line.reader.get_mut().write_all(&chunk).is_err() {
                    return;
                }
            }
            line.send("\r\n");
        }
    })
}

#[test]
fn a_slow_reader_of_a_large_reply_is_waited_for_and_others_go_another_way() {
    let server = large_and_small();
    let limits = meltemi_config::ListenerLimits {
        output_cut_off: 4 << 20,
        ..Default::default()
    };
    let (proxy, address) = start(&config_with(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
        limits,
        0,
    ));
    let mut slow = Line::new(connect(address));
    slow.send(&command(&["GET", "large"]));
    assert_eq!(slow.line(), format!("${LARGE}"));
    // Longer than any patience with a client that holds others up.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let mut other = Line::new(connect(address));
    for _ in 0..10 {
        other.send(&command(&["GET", "small"]));
        assert_eq!((other.line().as_str(), other.line().as_str()), ("$1", "x"));
    }
    assert_eq!(server.connections(), 2);
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..LARGE >> 20 {
        slow.reader.read_exact(&mut buffer).expect("not cut off");
    }
    assert_eq!(slow.line(), "");
    assert_eq!(sum(&proxy, "meltemi_downstream_cut_off"), 0);
}

#[test]
fn a_reply_larger_than_the_cut_off_reaches_a_client_that_reads() {
    let server = large_and_small();
    let limits = meltemi_config::ListenerLimits {
        output_cut_off: 4 << 20,
        ..Default::default()
    };
    let (_proxy, address) = start(&config_with(
        Redis::new(),
        vec![catch_all("one")],
        vec![one(&server)],
        limits,
        0,
    ));
    let mut client = Line::new(connect(address));
    client.send(&command(&["GET", "large"]));
    assert_eq!(client.line(), format!("${LARGE}"));
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..LARGE >> 20 {
        client.reader.read_exact(&mut buffer).expect("not cut off");
        // Well, but not as fast as it comes.
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.line(), "");
}
