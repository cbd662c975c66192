//! Calls of servers to their clients, over connections that belong to one client.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;

use meltemi_dubbo::Dubbo;
use meltemi_frame::Sharing;
use meltemi_proxy::Proxy;
use support::*;

const REQUEST: u8 = 0xc2;
const RESPONSE: u8 = 0x02;
const OK: u8 = 20;

struct Scene {
    /// Connections to each of the two servers.
    servers: [Receiver<TcpStream>; 2],
    proxy: Proxy,
    address: SocketAddr,
}

/// Two servers that take turns.
fn scene(sharing: Option<Sharing>) -> Scene {
    let (one, first) = Upstream::scripted();
    let (two, second) = Upstream::scripted();
    let mut both = cluster("both", &[one.address, two.address]);
    both.sharing = sharing;
    let (proxy, address) = start(&config(Dubbo::new(), vec![catch_all("both")], vec![both]));
    Scene {
        servers: [first, second],
        proxy,
        address,
    }
}

impl Scene {
    /// A client that has asked both servers, and its connections to them.
    fn client(&self) -> (TcpStream, [TcpStream; 2]) {
        let mut client = connect(self.address);
        for id in 1..=2 {
            client.write_all(&dubbo(id, "m", b"x")).unwrap();
        }
        let servers = self.servers.each_ref().map(|server| {
            let mut stream = server.recv_timeout(PATIENCE).unwrap();
            let (_, _, id, _) = read_dubbo(&mut stream).unwrap();
            let answer = dubbo_frame(RESPONSE, OK, id, b"\x92");
            stream.write_all(&answer).unwrap();
            stream
        });
        let mut answered = [(); 2].map(|()| read_dubbo(&mut client).unwrap().2);
        answered.sort_unstable();
        assert_eq!(answered, [1, 2]);
        (client, servers)
    }
}

/// The client answers a call that it has read.
fn answer(client: &mut TcpStream, id: i64, value: u8) {
    let body = [0x91, value];
    client
        .write_all(&dubbo_frame(RESPONSE, OK, id, &body))
        .unwrap();
}

#[test]
fn servers_with_the_same_ids_get_their_own_answers() {
    let scene = scene(Some(Sharing::Exclusive));
    let (mut client, mut servers) = scene.client();
    for (at, server) in servers.iter_mut().enumerate() {
        server
            .write_all(&dubbo(7, "hear", &[b'a' + at as u8]))
            .unwrap();
    }
    let mut calls = [(); 2].map(|()| read_dubbo(&mut client).unwrap());
    assert_ne!(calls[0].2, calls[1].2, "the client tells them apart");
    calls.reverse();
    for (flags, _, id, body) in calls {
        assert_eq!(flags, REQUEST);
        let text = *body.iter().rev().nth(2).unwrap();
        answer(&mut client, id, 0x90 + text - b'a');
    }
    for (at, server) in servers.iter_mut().enumerate() {
        let (flags, status, id, body) = read_dubbo(server).unwrap();
        assert_eq!((flags, status, id), (RESPONSE, OK, 7));
        assert_eq!(body, [0x91, 0x90 + at as u8]);
    }
    assert_eq!(sum(&scene.proxy, "meltemi_upstream_callbacks"), 2);
    // The client goes on as before, on the same connections.
    client.write_all(&dubbo(3, "m", b"x")).unwrap();
    client.write_all(&dubbo(4, "m", b"x")).unwrap();
    for server in &mut servers {
        assert_eq!(read_dubbo(server).unwrap().0, REQUEST);
    }
}

#[test]
fn each_client_has_its_own_connections_and_they_end_with_it() {
    let scene = scene(Some(Sharing::Exclusive));
    let (mut one, mut of_one) = scene.client();
    let (mut two, mut of_two) = scene.client();
    of_two[0].write_all(&dubbo(7, "hear", b"two")).unwrap();
    of_one[0].write_all(&dubbo(7, "hear", b"one")).unwrap();
    for (client, text) in [(&mut one, b"one"), (&mut two, b"two")] {
        let (_, _, _, body) = read_dubbo(client).unwrap();
        assert!(body.windows(3).any(|part| part == text));
    }
    drop(one);
    for server in &mut of_one {
        assert!(read_all(server).is_empty());
    }
    two.write_all(&dubbo(3, "m", b"x")).unwrap();
    two.write_all(&dubbo(4, "m", b"x")).unwrap();
    for server in &mut of_two {
        assert_eq!(read_dubbo(server).unwrap().0, REQUEST);
    }
    assert_eq!(sum(&scene.proxy, "meltemi_upstream_connections_active"), 2);
}

#[test]
fn a_call_does_not_come_between_the_pieces_of_a_reply() {
    let scene = scene(Some(Sharing::Exclusive));
    let (mut client, mut servers) = scene.client();
    client.write_all(&dubbo(3, "m", b"x")).unwrap();
    let (_, _, id, _) = [0, 1]
        .iter()
        .find_map(|at| {
            let stream = &mut servers[*at];
            stream
                .set_read_timeout(Some(std::time::Duration::from_millis(500)))
                .unwrap();
            let found = read_dubbo(stream);
            if found.is_some() && *at == 1 {
                // The one that answers is the first from here on.
                servers.swap(0, 1);
            }
            found
        })
        .unwrap();
    let mut body = vec![0x91, b'B', 0xff, 0xff];
    body.resize(body.len() + 0xffff, b'x');
    body.resize(200_000, 0);
    let reply = dubbo_frame(RESPONSE, OK, id, &body);
    let (front, rest) = reply.split_at(150_000);
    servers[0].write_all(front).unwrap();
    let mut got = vec![0; 100_000];
    client.read_exact(&mut got).unwrap();
    servers[1].write_all(&dubbo(7, "hear", b"x")).unwrap();
    eventually("it calls", || {
        sum(&scene.proxy, "meltemi_upstream_callbacks") == 1
    });
    servers[0].write_all(rest).unwrap();
    let mut last = vec![0; reply.len() - got.len()];
    client.read_exact(&mut last).unwrap();
    assert!([got, last].concat()[16..] == reply[16..]);
    assert_eq!(read_dubbo(&mut client).unwrap().0, REQUEST);
}

#[test]
fn an_answer_that_nobody_asked_for_is_malformed() {
    let scene = scene(Some(Sharing::Exclusive));
    let (mut client, mut servers) = scene.client();
    servers[0].write_all(&dubbo(7, "hear", b"x")).unwrap();
    let (_, _, id, _) = read_dubbo(&mut client).unwrap();
    for id in [id + 1, id, id] {
        answer(&mut client, id, 0x90);
    }
    eventually("two are refused", || {
        sum(&scene.proxy, "meltemi_downstream_malformed") == 2
    });
    assert_eq!(read_dubbo(&mut servers[0]).unwrap().2, 7);
}

#[test]
fn over_a_shared_connection_no_client_is_called() {
    let scene = scene(None);
    let (mut client, mut servers) = scene.client();
    servers[0].write_all(&dubbo(7, "hear", b"x")).unwrap();
    eventually("it is counted", || {
        sum(&scene.proxy, "meltemi_upstream_server_requests") == 1
    });
    client
        .set_read_timeout(Some(std::time::Duration::from_millis(100)))
        .unwrap();
    assert!(client.read(&mut [0; 1]).is_err());
}
