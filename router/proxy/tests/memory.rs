//! The bound on what waits in the whole process: whoever holds most is stopped, then cut off, and nobody else.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use meltemi_config::ListenerLimits;
use meltemi_frame::Sharing;
use meltemi_proxy::{Options, Proxy};
use meltemi_redis::Redis;
use support::*;

const MIB: usize = 1 << 20;

/// A proxy whose clients may each have as much waiting as they like, but not all together.
fn bounded(bound: usize, server: SocketAddr, sharing: Option<Sharing>) -> (Proxy, SocketAddr) {
    let limits = ListenerLimits {
        output: 256 * MIB,
        output_cut_off: 256 * MIB,
        ..ListenerLimits::default()
    };
    let mut one = cluster("one", &[server]);
    one.sharing = sharing;
    let mut route = catch_all("one");
    route.timeout = None;
    let config = config_with(Redis::new(), vec![route], vec![one], limits, 0);
    let options = Options {
        workers: 1,
        memory: Some(bound as u64),
        ..Options::default()
    };
    let proxy = Proxy::start(&config, &options).unwrap();
    let address = proxy.addresses()[0].1;
    (proxy, address)
}

/// Writes a value of so many MiB.
fn reply(mut stream: &TcpStream, mebibytes: usize) -> std::io::Result<()> {
    write!(stream, "${}\r\n", mebibytes * MIB)?;
    for _ in 0..mebibytes {
        stream.write_all(&vec![b'x'; MIB])?;
    }
    stream.write_all(b"\r\n")
}

/// A server whose every key is a value of so many MiB as the key says.
fn values() -> Upstream {
    Upstream::start(|stream| {
        let writer = stream.try_clone().unwrap();
        let mut reader = Line::new(stream);
        reader.reader.get_ref().set_read_timeout(None).unwrap();
        loop {
            let words = reader.command();
            if reply(&writer, words[1].parse().unwrap()).is_err() {
                return;
            }
        }
    })
}

fn get(mebibytes: usize) -> String {
    command(&["GET", &mebibytes.to_string()])
}

/// Reads a value of so many MiB; tells how many bytes came.
fn received(client: &mut Line, mebibytes: usize) -> usize {
    let mut count = 0;
    let mut bytes = vec![0; MIB];
    let whole = mebibytes * MIB + format!("${}\r\n\r\n", mebibytes * MIB).len();
    let stream = client.reader.get_mut();
    while count < whole {
        let room = bytes.len().min(whole - count);
        match stream.read(&mut bytes[..room]) {
            Ok(0) | Err(_) => break,
            Ok(more) => count += more,
        }
    }
    count - count.min(whole - mebibytes * MIB)
}

#[test]
fn a_client_that_holds_most_is_stopped_and_nobody_else() {
    const BOUND: usize = 64 * MIB;
    let server = values();
    let (proxy, address) = bounded(BOUND, server.address, Some(Sharing::Exclusive));
    let mut large = Line::new(connect(address));
    large.send(&get(100));
    eventually("it is stopped", || {
        sum(&proxy, "meltemi_downstream_memory_stopped") > 0
    });
    std::thread::sleep(Duration::from_millis(500));
    let waiting = sum(&proxy, "meltemi_downstream_waiting_bytes") as usize;
    assert!((BOUND / 2..BOUND * 7 / 8).contains(&waiting), "{waiting}");
    let mut other = Line::new(connect(address));
    other.send(&get(20));
    assert_eq!(received(&mut other, 20), 20 * MIB);
    assert_eq!(received(&mut large, 100), 100 * MIB);
    assert_eq!(sum(&proxy, "meltemi_downstream_memory_cut_off"), 0);
    eventually("nothing waits", || {
        sum(&proxy, "meltemi_downstream_waiting_bytes") == 0
    });
}

#[test]
fn whoever_holds_most_is_cut_off_where_others_cannot_wait() {
    let (server, connections) = Upstream::scripted();
    let (proxy, address) = bounded(40 * MIB, server.address, None);
    let mut clients: Vec<_> = (0..3).map(|_| Line::new(connect(address))).collect();
    for (client, mebibytes) in clients.iter_mut().zip([40, 24, 1]) {
        client.send(&get(mebibytes));
        // In this order.
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut upstream = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    for mebibytes in [40, 24, 1] {
        assert_eq!(upstream.command(), ["GET", &mebibytes.to_string()]);
    }
    let stream = upstream.reader.get_ref().try_clone().unwrap();
    std::thread::spawn(move || {
        for mebibytes in [40, 24, 1] {
            reply(&stream, mebibytes).unwrap();
        }
    });
    assert_eq!(received(&mut clients[2], 1), MIB);
    assert_eq!(sum(&proxy, "meltemi_downstream_memory_cut_off"), 1);
    assert_eq!(received(&mut clients[1], 24), 24 * MIB);
    assert!(received(&mut clients[0], 40) < 40 * MIB);
    eventually("nothing waits", || {
        sum(&proxy, "meltemi_downstream_waiting_bytes") == 0
    });
}

#[test]
fn many_small_holders_are_bounded_together() {
    const BOUND: usize = 8 * MIB;
    let server = values();
    let (proxy, address) = bounded(BOUND, server.address, None);
    // Each holds less than what a connection may always hold, and all of them five times the bound.
    let partial = format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$62000\r\n{}",
        "x".repeat(60_000)
    );
    let clients: Vec<_> = (0..700)
        .map(|_| {
            let mut client = connect(address);
            // Cut off meanwhile, it may take no more.
            let _ = client.write_all(partial.as_bytes());
            client
        })
        .collect();
    eventually("some are cut off", || {
        sum(&proxy, "meltemi_downstream_memory_cut_off") > 0
            && (sum(&proxy, "meltemi_downstream_waiting_bytes") as usize) < BOUND
    });
    let mut other = Line::new(connect(address));
    other.send(&get(1));
    assert_eq!(received(&mut other, 1), MIB);
    drop(clients);
    eventually("nothing waits", || {
        sum(&proxy, "meltemi_downstream_waiting_bytes") == 0
    });
}
