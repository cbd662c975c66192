//! Peers that break off, answer nonsense, leave and do not read, while configurations change: in the
//! end nothing is left behind, and well-behaved clients are served.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use meltemi_config::{
    Abort, AttributeMatch, Config, FaultRule, ListenerLimits, Matcher, Mirror, Origin, Outlier,
    Share,
};
use meltemi_frame::{Fault, Reason};
use meltemi_proxy::ClusterReport;
use meltemi_thrift::Thrift;
use support::*;

/// A server that does everything a server should not, until it is told to `behave`.
fn wild(behave: &Arc<AtomicBool>) -> Upstream {
    let behave = Arc::clone(behave);
    Upstream::start(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        while let Some((kind, method, seqid, _)) = read_thrift(&mut stream) {
            if kind != 1 {
                continue;
            }
            let good = thrift_with(2, &method, seqid, &vec![b'x'; fastrand::usize(1..200_000)]);
            let wild = !behave.load(Ordering::Relaxed);
            let sent = match fastrand::u8(..).min(if wild { u8::MAX } else { 0 }) % 8 {
                1 => return,
                2 => stream
                    .write_all(&good[..good.len() / 2])
                    .and(Err(std::io::ErrorKind::Other.into())),
                3 => stream.write_all(&thrift(1, "callback", seqid)),
                4 => stream.write_all(&thrift_with(2, &method, seqid + 1, b"other")),
                5 => stream.write_all(&[good.clone(), good].concat()),
                6 => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
                // Too late, or never.
                7 if fastrand::bool() => {
                    std::thread::sleep(Duration::from_millis(150));
                    stream.write_all(&good)
                }
                7 => Ok(()),
                _ => stream.write_all(&good),
            };
            if sent.is_err() {
                return;
            }
        }
    })
}

/// A client that does everything a client should not.
fn rude(address: SocketAddr, until: Instant) {
    while Instant::now() < until {
        let mut stream = connect(address);
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        for seqid in 0..fastrand::i32(1..20) {
            let kind = if fastrand::u8(..4) == 0 { 4 } else { 1 };
            let size = fastrand::usize(1..150_000);
            let message = thrift_with(kind, "m", seqid, &vec![b'y'; size]);
            let end = match fastrand::u8(..8) {
                0 => message.len() / 2,
                _ => message.len(),
            };
            if stream.write_all(&message[..end]).is_err() || end < message.len() {
                break;
            }
        }
        match fastrand::u8(..4) {
            0 => drop(stream.shutdown(Shutdown::Write)),
            1 => drop(stream.read(&mut [0; 4096])),
            _ => {}
        }
    }
}

fn configuration(port: u16, server: &Upstream, name: &str) -> Config {
    let mut route = catch_all(name);
    route.timeout = Some(Duration::from_millis(100));
    route.retry.on = vec![Fault::Reset, Fault::Timeout, Fault::BadResponse];
    route.retry.resend = true;
    route.retry.per_try_timeout = Some(Duration::from_millis(40));
    let some = Share::percent(20.0);
    route.faults = vec![FaultRule {
        matches: vec![AttributeMatch {
            name: "method".into(),
            matcher: Matcher::Exact("m".into()),
            negate: false,
        }],
        delay: Some((Duration::from_millis(30), some)),
        abort: Some(Abort {
            reason: Reason::Unavailable,
            text: "on purpose".into(),
            share: some,
        }),
        origin: Origin::default(),
    }];
    route.mirrors = vec![Mirror {
        cluster: "copies".into(),
        share: some,
        writes_only: false,
        compare: true,
        origin: Origin::default(),
    }];
    let mut small = cluster(name, &[server.address]);
    small.limits.connections = 8;
    small.limits.pending = 16;
    let limits = ListenerLimits {
        in_flight: 8,
        output: 64 << 10,
        output_cut_off: 1 << 20,
        slow_frame: Duration::from_millis(300),
        ..Default::default()
    };
    small.outlier = Some(Outlier {
        consecutive: 3,
        ejection: Duration::from_millis(20),
        longest: Duration::from_millis(40),
        ..Outlier::default()
    });
    let mut copies = cluster("copies", &[server.address, nobody()]);
    copies.limits.connections = 4;
    config_with(
        Thrift::new(),
        vec![route],
        vec![small, copies],
        limits,
        port,
    )
}

fn gauge(proxy: &meltemi_proxy::Proxy, name: &str) -> u64 {
    proxy.stats().values(name).values().sum()
}

#[test]
fn whatever_peers_do_nothing_is_left_behind() {
    let behave = Arc::new(AtomicBool::new(false));
    let server = wild(&behave);
    let port = nobody().port();
    let (proxy, address) = start(&configuration(port, &server, "even"));
    let until = Instant::now() + Duration::from_millis(1500);
    let clients: Vec<_> = (0..6)
        .map(|_| std::thread::spawn(move || rude(address, until)))
        .collect();
    let mut turn = 0;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        turn += 1;
        let name = ["even", "odd"][turn % 2];
        proxy.reload(&configuration(port, &server, name)).unwrap();
    }
    for client in clients {
        client.join().expect("a client ran to its end");
    }
    behave.store(true, Ordering::Relaxed);
    // Clients that left, and requests that nobody answers, are gone in time.
    let patience = Instant::now() + PATIENCE;
    let left = || {
        (
            proxy.connections() as u64,
            gauge(&proxy, "meltemi_downstream_connections_active"),
        )
    };
    while left() != (0, 0) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(left(), (0, 0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let left = || {
        let clusters = runtime.block_on(proxy.clusters());
        let count = |cluster: &ClusterReport| {
            let in_flight: u32 = cluster.endpoints.iter().map(|one| one.1).sum();
            let counted = cluster.counted;
            in_flight as usize + counted.requests + counted.pending + counted.retries
        };
        assert_eq!(clusters.len(), 2);
        assert!(clusters.iter().all(|one| one.counted.connections <= 8));
        clusters.iter().map(count).sum::<usize>()
    };
    while left() != 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(left(), 0);
    for what in [
        "meltemi_upstream_retries",
        "meltemi_mirror_requests",
        "meltemi_outlier_ejections",
    ] {
        assert!(gauge(&proxy, what) > 0, "{what}");
    }
    assert!(gauge(&proxy, "meltemi_upstream_connections_active") <= 8 + 4);
    for seqid in 0..20 {
        let mut client = connect(address);
        client.write_all(&thrift(1, "even", seqid)).unwrap();
        let (kind, _, id, _) = read_thrift(&mut client).expect("served");
        assert_eq!((kind, id), (2, seqid));
    }
    assert!(runtime.block_on(proxy.drain(PATIENCE)));
}
