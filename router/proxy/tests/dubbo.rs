//! The data path with a multiplexed protocol: clients share upstream connections.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::{Read as _, Write};
use std::time::{Duration, Instant};

use meltemi_config::{Change, Template};
use meltemi_dubbo::Dubbo;
use support::*;

/// Status 20 with a value (kind 1): the text.
fn reply(id: i64, text: &[u8]) -> Vec<u8> {
    let mut body = vec![0x91, b'S'];
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text);
    dubbo_frame(0x02, 20, id, &body)
}

fn one_cluster(upstream: &Upstream) -> meltemi_config::Cluster {
    let mut declared = cluster("one", &[upstream.address]);
    declared.limits.shared_connections = 1;
    declared
}

#[test]
fn clients_share_a_connection_and_get_their_own_answers() {
    let (server, connections) = Upstream::scripted();
    let config = config(
        Dubbo::new(),
        vec![catch_all("one")],
        vec![one_cluster(&server)],
    );
    let (_proxy, address) = start(&config);
    let mut clients: Vec<_> = (0..4).map(|_| connect(address)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client
            .write_all(&dubbo(0, "m", format!("client {n}").as_bytes()))
            .unwrap();
    }
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let mut asked: Vec<_> = (0..4).map(|_| read_dubbo(&mut upstream).unwrap()).collect();
    asked.reverse();
    for (_, _, id, body) in &asked {
        let at = body.windows(7).position(|part| part == b"client ").unwrap();
        upstream.write_all(&reply(*id, &body[at..at + 8])).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let (_, status, id, body) = read_dubbo(client).unwrap();
        assert_eq!((status, id), (20, 0));
        assert!(body.ends_with(format!("client {n}").as_bytes()));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_late_reply_reaches_nobody_else() {
    let (server, connections) = Upstream::scripted();
    let mut route = catch_all("one");
    route.timeout = Some(Duration::from_millis(80));
    let (_proxy, address) = start(&config(
        Dubbo::new(),
        vec![route],
        vec![one_cluster(&server)],
    ));
    let mut client = connect(address);
    client.write_all(&dubbo(1, "m", b"first")).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let first = read_dubbo(&mut upstream).unwrap();
    let (_, status, id, _) = read_dubbo(&mut client).unwrap();
    assert_eq!(
        (status, id),
        (31, 1),
        "the server's timeout, in Dubbo's own status"
    );
    client.write_all(&dubbo(2, "m", b"second")).unwrap();
    let second = read_dubbo(&mut upstream).unwrap();
    // Twice, late, and never asked for: then the right one.
    for id in [first.2, first.2, 9_999_999] {
        upstream.write_all(&reply(id, b"late")).unwrap();
    }
    upstream.write_all(&reply(second.2, b"right")).unwrap();
    let (_, status, id, body) = read_dubbo(&mut client).unwrap();
    assert_eq!((status, id), (20, 2));
    assert!(body.ends_with(b"right"));
}

#[test]
fn heartbeats_are_answered_on_both_sides_and_readonly_drains() {
    let (server, connections) = Upstream::scripted();
    let config = config(
        Dubbo::new(),
        vec![catch_all("one")],
        vec![one_cluster(&server)],
    );
    let (_proxy, address) = start(&config);
    let mut client = connect(address);
    client.write_all(&dubbo_frame(0xe2, 0, 77, b"N")).unwrap();
    let (flags, status, id, body) = read_dubbo(&mut client).unwrap();
    assert_eq!(
        (flags & 0xa0, status, id, body),
        (0x20, 20, 77, b"N".to_vec())
    );

    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    let mut first = connections.recv_timeout(PATIENCE).unwrap();
    let asked = read_dubbo(&mut first).unwrap();
    first.write_all(&dubbo_frame(0xe2, 0, 5, b"N")).unwrap();
    let pong = read_dubbo(&mut first).unwrap();
    assert_eq!((pong.0 & 0xa0, pong.2), (0x20, 5));

    // "R": no new requests here; the one in flight is still answered.
    first.write_all(&dubbo_frame(0xa2, 0, 6, b"\x01R")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(&dubbo(2, "m", b"y")).unwrap();
    let mut second = connections.recv_timeout(PATIENCE).unwrap();
    let elsewhere = read_dubbo(&mut second).unwrap();
    second.write_all(&reply(elsewhere.2, b"two")).unwrap();
    assert_eq!(read_dubbo(&mut client).unwrap().2, 2);
    first.write_all(&reply(asked.2, b"one")).unwrap();
    assert_eq!(read_dubbo(&mut client).unwrap().2, 1);
    assert!(
        read_all(&mut first).is_empty(),
        "closed once nothing is in flight"
    );
}

#[test]
fn malformed_requests_harm_no_other_call() {
    let (server, connections) = Upstream::scripted();
    let config = config(
        Dubbo::new(),
        vec![catch_all("one")],
        vec![one_cluster(&server)],
    );
    let (_proxy, address) = start(&config);
    let mut client = connect(address);
    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let asked = read_dubbo(&mut upstream).unwrap();
    // A reserved tag where the version should be; then a response, which no client sends.
    client
        .write_all(&dubbo_frame(0xc2, 0, 2, &[0x40; 9]))
        .unwrap();
    let (_, status, id, _) = read_dubbo(&mut client).unwrap();
    assert_eq!((status, id), (40, 2));
    client.write_all(&reply(3, b"?")).unwrap();
    upstream.write_all(&reply(asked.2, b"fine")).unwrap();
    assert_eq!(read_dubbo(&mut client).unwrap().2, 1);
    // A length of 2 GiB: told, then closed.
    client
        .write_all(&[
            0xda, 0xbb, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff,
        ])
        .unwrap();
    let (_, status, id, _) = read_dubbo(&mut client).unwrap();
    assert_eq!((status, id), (40, 4));
    assert!(read_all(&mut client).is_empty());
    // Neighbours on the shared connection never noticed.
    let mut other = connect(address);
    other.write_all(&dubbo(9, "m", b"x")).unwrap();
    let asked = read_dubbo(&mut upstream).unwrap();
    upstream.write_all(&reply(asked.2, b"fine")).unwrap();
    assert_eq!(read_dubbo(&mut other).unwrap().2, 9);
}

#[test]
fn a_client_that_does_not_read_harms_no_neighbour() {
    let server = Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            if stream.write_all(&reply(id, &[b'x'; 60_000])).is_err() {
                return;
            }
        }
    });
    let limits = meltemi_config::ListenerLimits {
        output: 1 << 20,
        output_cut_off: 4 << 20,
        ..Default::default()
    };
    let clusters = vec![one_cluster(&server)];
    let config = config_with(Dubbo::new(), vec![catch_all("one")], clusters, limits, 0);
    let (proxy, address) = start(&config);
    let mut deaf = connect(address);
    deaf.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    for id in 0..1000 {
        if deaf.write_all(&dubbo(id, "m", b"x")).is_err() {
            break;
        }
    }
    let mut client = connect(address);
    let began = Instant::now();
    for id in 0..20 {
        client.write_all(&dubbo(id, "m", b"x")).unwrap();
        assert_eq!(read_dubbo(&mut client).unwrap().2, id);
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    drop(deaf);
    // The neighbour goes elsewhere as long as the first connection waits for the other client.
    assert!(server.connections() <= 2);
    drop(proxy);
}

#[test]
fn a_reload_drops_no_call_and_moves_new_ones() {
    let (old, connections) = Upstream::scripted();
    let new = Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            let _ = stream.write_all(&reply(id, b"new"));
        }
    });
    let before = config(
        Dubbo::new(),
        vec![catch_all("one")],
        vec![one_cluster(&old)],
    );
    let (proxy, address) = start(&before);
    let mut client = connect(address);
    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let asked = read_dubbo(&mut upstream).unwrap();
    let after = config_with(
        Dubbo::new(),
        vec![catch_all("two")],
        vec![cluster("two", &[new.address])],
        Default::default(),
        0,
    );
    proxy.reload(&after).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(&dubbo(2, "m", b"x")).unwrap();
    let (_, _, id, body) = read_dubbo(&mut client).unwrap();
    assert_eq!(id, 2);
    assert!(body.ends_with(b"new"));
    upstream.write_all(&reply(asked.2, b"old")).unwrap();
    let (_, _, id, body) = read_dubbo(&mut client).unwrap();
    assert_eq!(id, 1);
    assert!(body.ends_with(b"old"));
}

#[test]
fn draining_answers_what_is_in_flight_and_closes() {
    let (server, connections) = Upstream::scripted();
    let config = config(
        Dubbo::new(),
        vec![catch_all("one")],
        vec![one_cluster(&server)],
    );
    let (proxy, address) = start(&config);
    let mut client = connect(address);
    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let asked = read_dubbo(&mut upstream).unwrap();
    let answering = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        upstream.write_all(&reply(asked.2, b"x")).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let began = Instant::now();
    assert!(
        runtime.block_on(proxy.drain(PATIENCE)),
        "everything ended in time"
    );
    assert!(began.elapsed() >= Duration::from_millis(150));
    answering.join().unwrap();
    let (flags, ..) = read_dubbo(&mut client).unwrap();
    assert_eq!(flags & 0x20, 0x20, "told to go elsewhere first");
    assert_eq!(read_dubbo(&mut client).unwrap().2, 1);
    assert!(read_all(&mut client).is_empty());
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "nobody is let in"
    );
}

#[test]
fn requests_gain_attachments_on_the_way() {
    let (server, connections) = Upstream::scripted();
    let mut route = catch_all("one");
    let value = Template::text("meltemi");
    route.mutation.request = vec![Change::Set("x-mesh".into(), value)];
    let (_proxy, address) = start(&config(
        Dubbo::new(),
        vec![route],
        vec![one_cluster(&server)],
    ));
    let mut client = connect(address);
    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let (_, _, _, body) = read_dubbo(&mut upstream).unwrap();
    assert!(
        body.windows(14).any(|part| part == b"x-mesh\x07meltemi"),
        "{body:?}"
    );
}

#[test]
fn large_responses_stream_past_small_ones() {
    // Larger than the limit on requests: responses of any size stream through.
    let server = Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            let mut body = vec![0x91];
            for _ in 0..600 {
                body.push(b'R');
                body.extend(0x8000_u16.to_be_bytes());
                body.extend(vec![b'y'; 0x8000]);
            }
            body.extend([0]);
            if stream.write_all(&dubbo_frame(0x02, 20, id, &body)).is_err() {
                return;
            }
        }
    });
    let clusters = vec![one_cluster(&server)];
    let (_proxy, address) = start(&config(Dubbo::new(), vec![catch_all("one")], clusters));
    let mut clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&dubbo(n as i64, "m", b"x")).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let (_, status, id, body) = read_dubbo(client).unwrap();
        assert_eq!(
            (status, id, body.len()),
            (20, n as i64, 600 * (0x8000 + 3) + 2)
        );
    }
    let mut none = [0; 1];
    clients[0]
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert!(clients[0].read(&mut none).is_err(), "nothing follows");
}

#[test]
fn limits_of_one_let_one_through() {
    let server = Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            let _ = stream.write_all(&reply(id, b"x"));
        }
    });
    let mut small = cluster("one", &[server.address]);
    small.limits.requests = 1;
    // Fewer than what clients would be spread over.
    small.limits.connections = 1;
    small.limits.shared_connections = 4;
    let (_proxy, address) = start(&config(Dubbo::new(), vec![catch_all("one")], vec![small]));
    for id in 0..8 {
        let mut client = connect(address);
        client.write_all(&dubbo(id, "m", b"x")).unwrap();
        let (_, status, answered, _) = read_dubbo(&mut client).unwrap();
        assert_eq!((status, answered), (20, id));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_listener_may_change_its_name() {
    let server = Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            let _ = stream.write_all(&reply(id, b"x"));
        }
    });
    let port = nobody().port();
    let named = |name: &str| {
        let clusters = vec![one_cluster(&server)];
        let dubbo = std::sync::Arc::new(Dubbo::new());
        let served = meltemi_config::Served::new(dubbo, vec![catch_all("one")]);
        let address = ([127, 0, 0, 1], port).into();
        let listener = meltemi_config::Listener::new(name, address, vec![served]);
        meltemi_config::Config::new(vec![listener], clusters).unwrap()
    };
    let (proxy, address) = start(&named("before"));
    for name in ["after", "later", "before"] {
        proxy.reload(&named(name)).unwrap();
        let mut client = connect(address);
        client.write_all(&dubbo(1, "m", b"x")).unwrap();
        assert_eq!(read_dubbo(&mut client).unwrap().2, 1);
        assert_eq!(&*proxy.addresses()[0].0, name);
    }
}

#[test]
fn a_busy_client_is_not_a_slow_one() {
    let server = Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            let _ = stream.write_all(&reply(id, b"x"));
        }
    });
    let limits = meltemi_config::ListenerLimits {
        slow_frame: Duration::from_millis(500),
        ..Default::default()
    };
    let clusters = vec![one_cluster(&server)];
    let config = config_with(Dubbo::new(), vec![catch_all("one")], clusters, limits, 0);
    let (_proxy, address) = start(&config);
    let mut client = connect(address);
    let began = Instant::now();
    let mut id = 0;
    // Every write ends within a message, so that there is always an unfinished one.
    client.write_all(&dubbo(0, "m", b"x")[..20]).unwrap();
    while began.elapsed() < Duration::from_millis(1500) {
        let mut bytes = dubbo(id, "m", b"x")[20..].to_vec();
        id += 1;
        bytes.extend(&dubbo(id, "m", b"x")[..20]);
        client.write_all(&bytes).unwrap();
        assert_eq!(read_dubbo(&mut client).expect("still served").2, id - 1);
        std::thread::sleep(Duration::from_millis(20));
    }
    // One that stops within a message is.
    let mut rest = [0; 1];
    assert_eq!(client.read(&mut rest).unwrap(), 0);
}

#[test]
fn a_malformed_response_fails_its_own_call_at_once() {
    let (server, connections) = Upstream::scripted();
    let clusters = vec![one_cluster(&server)];
    let (_proxy, address) = start(&config(Dubbo::new(), vec![catch_all("one")], clusters));
    let mut clients: Vec<_> = (0..2).map(|_| connect(address)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&dubbo(n as i64, "m", b"x")).unwrap();
    }
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let a = read_dubbo(&mut upstream).unwrap();
    let b = read_dubbo(&mut upstream).unwrap();
    let began = Instant::now();
    // A reserved tag where the kind of the response should be.
    upstream
        .write_all(&dubbo_frame(0x02, 20, a.2, &[0x40; 9]))
        .unwrap();
    upstream.write_all(&reply(b.2, b"fine")).unwrap();
    let mut answers: Vec<_> = clients
        .iter_mut()
        .map(|client| read_dubbo(client).unwrap().1)
        .collect();
    answers.sort_unstable();
    assert!(
        began.elapsed() < PATIENCE / 2,
        "nobody waited for a timeout"
    );
    assert_eq!(answers[0], 20);
    assert_ne!(answers[1], 20);
}

#[test]
fn a_heartbeat_with_the_id_of_a_call_loses_nobody() {
    let (server, connections) = Upstream::scripted();
    let clusters = vec![one_cluster(&server)];
    let (_proxy, address) = start(&config(Dubbo::new(), vec![catch_all("one")], clusters));
    let mut client = connect(address);
    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let asked = read_dubbo(&mut upstream).unwrap();
    upstream
        .write_all(&dubbo_frame(0x22, 20, asked.2, b"N"))
        .unwrap();
    upstream.write_all(&reply(asked.2, b"fine")).unwrap();
    assert_eq!(read_dubbo(&mut client).unwrap().2, 1);
}

#[test]
fn a_request_on_its_way_when_the_proxy_drains_is_answered() {
    let server = Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            let _ = stream.write_all(&reply(id, b"x"));
        }
    });
    let clusters = vec![one_cluster(&server)];
    let (proxy, address) = start(&config(Dubbo::new(), vec![catch_all("one")], clusters));
    let mut client = connect(address);
    client.write_all(&dubbo(1, "m", b"x")).unwrap();
    read_dubbo(&mut client).unwrap();
    let late = std::thread::spawn(move || {
        let (flags, ..) = read_dubbo(&mut client).unwrap();
        assert_eq!(flags & 0x20, 0x20, "told to go elsewhere");
        std::thread::sleep(Duration::from_millis(50));
        client.write_all(&dubbo(2, "m", b"x")).unwrap();
        assert_eq!(read_dubbo(&mut client).unwrap().2, 2);
        assert!(read_all(&mut client).is_empty());
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert!(runtime.block_on(proxy.drain(PATIENCE)));
    late.join().unwrap();
}

#[test]
fn a_client_that_sends_far_too_much_is_told_so() {
    let (server, _connections) = Upstream::scripted();
    let clusters = vec![one_cluster(&server)];
    let (_proxy, address) = start(&config(Dubbo::new(), vec![catch_all("one")], clusters));
    let mut client = connect(address);
    let mut writer = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let mut bytes = vec![
            0xda, 0xbb, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff,
        ];
        bytes.resize(8 << 20, 0);
        // It may be cut off in the middle.
        let _ = writer.write_all(&bytes);
    });
    std::thread::sleep(Duration::from_millis(100));
    let (_, status, id, _) = read_dubbo(&mut client).unwrap();
    assert_eq!((status, id), (40, 4));
    assert!(read_all(&mut client).is_empty());
    sending.join().unwrap();
}
