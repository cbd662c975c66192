//! Which shared connection a request takes: together as long as that is not too much, and never past
//! what its own client has under way.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::net::TcpStream;
use std::sync::mpsc::Receiver;

use meltemi_redis::Redis;
use support::*;

/// Requests in flight from which a connection is busy.
const BUSY: usize = 64;

fn started() -> (
    Upstream,
    Receiver<TcpStream>,
    meltemi_proxy::Proxy,
    std::net::SocketAddr,
) {
    let (server, connections) = Upstream::scripted();
    let (proxy, address) = start(&config(
        Redis::new(),
        vec![catch_all("one")],
        vec![cluster("one", &[server.address])],
    ));
    (server, connections, proxy, address)
}

fn get(key: usize) -> String {
    command(&["GET", &key.to_string()])
}

#[test]
fn clients_share_one_connection_until_it_is_busy() {
    let (server, connections, _proxy, address) = started();
    let mut clients: Vec<_> = (0..=BUSY).map(|_| Line::new(connect(address))).collect();
    clients[0].send(&get(0));
    let mut first = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    for (key, client) in clients[..BUSY].iter_mut().enumerate() {
        if key > 0 {
            client.send(&get(key));
        }
        assert_eq!(first.command(), ["GET", &key.to_string()]);
    }
    assert_eq!(server.connections(), 1);
    // Of the two that there may be, the other is the place of clients with an odd number.
    let mut others = Line::new(connect(address));
    others.send(&get(1000));
    let mut second = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(second.command(), ["GET", "1000"]);
    // And whoever is free goes there, too, be it the place of others.
    clients[BUSY].send(&get(1001));
    assert_eq!(second.command(), ["GET", "1001"]);
    first.send(&"+x\r\n".repeat(BUSY));
    assert_eq!(clients[BUSY - 1].line(), "+x");
    clients[0].line();
    clients[0].send(&get(1));
    assert_eq!(first.command(), ["GET", "1"], "it is busy no more");
}

#[test]
fn what_a_client_has_under_way_is_not_overtaken() {
    let (_server, connections, _proxy, address) = started();
    // Whatever their numbers: half of them have their place on a connection that is not there yet.
    for _ in 0..4 {
        let mut client = Line::new(connect(address));
        client.send(&(get(1) + &get(2)));
        let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
        client.send(&get(3));
        for key in ["1", "2", "3"] {
            assert_eq!(upstream.command(), ["GET", key]);
        }
        // The others find a connection that is gone.
        drop(upstream);
        let error = client.line();
        assert!(error.starts_with('-'), "{error}");
    }
}

#[test]
fn a_busy_client_stays_where_it_is() {
    let (server, connections, _proxy, address) = started();
    // Its own place would be the second connection, and so would the other's.
    let _first = connect(address);
    let mut busy = Line::new(connect(address));
    let pipeline = |from: usize| (from..from + BUSY).map(get).collect::<String>();
    busy.send(&pipeline(0));
    let mut first = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    busy.send(&pipeline(BUSY));
    for key in 0..2 * BUSY {
        assert_eq!(first.command(), ["GET", &key.to_string()]);
    }
    let _third = connect(address);
    let mut other = Line::new(connect(address));
    other.send(&get(1000));
    let mut second = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(second.command(), ["GET", "1000"]);
    // The other connection has little to do, and still.
    busy.send(&get(2000));
    assert_eq!(first.command(), ["GET", "2000"]);
    first.send(&"+x\r\n".repeat(2 * BUSY + 1));
    for _ in 0..=2 * BUSY {
        assert_eq!(busy.line(), "+x");
    }
    assert_eq!(server.connections(), 2);
}
