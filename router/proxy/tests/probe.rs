//! Probes against scripted endpoints: every way to be well, and every way not to be.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meltemi_config::{Cluster, HealthCheck, Probe};
use meltemi_dubbo::Dubbo;
use meltemi_frame::{Fault, Protocol, Session};
use meltemi_proxy::stats::Stats;
use meltemi_proxy::{ProbeError, ProbeTarget, Prober, probe};
use meltemi_redis::Redis;
use meltemi_thrift::Thrift;
use support::*;

const SHORT: Duration = Duration::from_millis(150);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn ask_as(
    protocol: Arc<dyn Protocol>,
    address: SocketAddr,
    what: Probe,
    login: &Session,
) -> Result<Duration, ProbeError> {
    let asking = probe(Some(&protocol), address, &what, login, PATIENCE);
    runtime().block_on(asking)
}

fn ask(protocol: impl Protocol, address: SocketAddr, what: Probe) -> Result<Duration, ProbeError> {
    ask_as(Arc::new(protocol), address, what, &Session::default())
}

fn call(operation: &str) -> Probe {
    Probe::Call(operation.to_owned())
}

/// An endpoint that reads once, says this, and closes when the other side has.
fn says(answer: &'static [u8]) -> Upstream {
    Upstream::start(move |mut stream| {
        let mut asked = [0; 1024];
        let _ = stream.read(&mut asked);
        let _ = stream.write_all(answer);
        let _ = stream.read(&mut asked);
    })
}

/// An endpoint that reads once, says this, and closes.
fn says_and_closes(answer: &'static [u8]) -> Upstream {
    Upstream::start(move |mut stream| {
        let mut asked = [0; 1024];
        let _ = stream.read(&mut asked);
        let _ = stream.write_all(answer);
    })
}

#[test]
fn a_dubbo_endpoint_answers_a_heartbeat() {
    let (heard, asked) = channel();
    let heard = Mutex::new(heard);
    let server = Upstream::start(move |mut stream| {
        let (flags, status, id, body) = read_dubbo(&mut stream).unwrap();
        heard.lock().unwrap().send((flags, status, body)).unwrap();
        // Its own heartbeat, and an answer to somebody else: neither is the answer.
        stream.write_all(&dubbo_frame(0xe2, 0, 9, b"N")).unwrap();
        stream.write_all(&dubbo_frame(0x22, 20, 77, b"N")).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        for byte in dubbo_frame(0x22, 20, id, b"N") {
            stream.write_all(&[byte]).unwrap();
        }
    });
    let took = ask(Dubbo::new(), server.address, Probe::Heartbeat).unwrap();
    assert!(took >= Duration::from_millis(30), "{took:?}");
    assert_eq!(asked.recv().unwrap(), (0xe2, 0, b"N".to_vec()));
}

#[test]
fn a_dubbo_endpoint_that_is_leaving_is_not_well() {
    let server = says(b"\xda\xbb\xa2\0\0\0\0\0\0\0\0\0\0\0\0\x02\x01R");
    let result = ask(Dubbo::new(), server.address, Probe::Heartbeat);
    assert!(matches!(result, Err(ProbeError::Leaving)), "{result:?}");
}

#[test]
fn a_thrift_endpoint_answers_a_call() {
    let (heard, asked) = channel();
    let heard = Mutex::new(heard);
    let server = Upstream::start(move |mut stream| {
        let (kind, method, seqid, rest) = read_thrift(&mut stream).unwrap();
        heard
            .lock()
            .unwrap()
            .send((kind, method.clone(), rest))
            .unwrap();
        stream.write_all(&thrift(2, &method, seqid)).unwrap();
    });
    ask(Thrift::new(), server.address, call("ping")).unwrap();
    assert_eq!(asked.recv().unwrap(), (1, "ping".to_owned(), vec![0]));
}

#[test]
fn an_exception_is_an_answer_unless_the_method_is_unknown() {
    let declared = b"\0\0\0\x15\x80\x01\0\x02\0\0\0\x04ping\0\0\0\x01\x0c\0\x01\0\0";
    ask(Thrift::new(), says(declared).address, call("ping")).unwrap();

    // A TApplicationException of this type, without a text.
    let exception = |kind: u8| -> &'static [u8] {
        let front = *b"\0\0\0\x18\x80\x01\0\x03\0\0\0\x04ping\0\0\0\x01\x08\0\x02\0\0\0";
        [front.as_slice(), &[kind, 0]].concat().leak()
    };
    ask(Thrift::new(), says(exception(6)).address, call("ping")).unwrap();
    let unknown = ask(Thrift::new(), says(exception(1)).address, call("ping"));
    assert!(
        matches!(unknown, Err(ProbeError::NoOperation)),
        "{unknown:?}"
    );
    let shed = ask(Thrift::new(), says(exception(11)).address, call("ping"));
    assert!(
        matches!(shed, Err(ProbeError::Failed(Fault::Overload))),
        "{shed:?}"
    );
}

#[test]
fn a_large_answer_is_known_by_its_front() {
    let server = Upstream::start(|mut stream| {
        let (_, method, seqid, _) = read_thrift(&mut stream).unwrap();
        let reply = thrift_with(2, &method, seqid, &vec![b'x'; 8 << 20]);
        // It is not read to its end.
        let _ = stream.write_all(&reply);
    });
    ask(Thrift::new(), server.address, call("ping")).unwrap();
}

#[test]
fn a_redis_endpoint_answers_behind_its_login() {
    let login = Redis::new().login(Some("app"), "secret").unwrap();
    let (heard, asked) = channel();
    let heard = Mutex::new(heard);
    let server = Upstream::start(move |mut stream| {
        let expected = "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$6\r\nsecret\r\n*1\r\n$4\r\nPING\r\n";
        let mut bytes = vec![0; expected.len()];
        stream.read_exact(&mut bytes).unwrap();
        heard
            .lock()
            .unwrap()
            .send(bytes == expected.as_bytes())
            .unwrap();
        stream.write_all(b"+OK\r\n+PO").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"NG\r\n").unwrap();
    });
    let redis: Arc<dyn Protocol> = Arc::new(Redis::new());
    ask_as(Arc::clone(&redis), server.address, Probe::Heartbeat, &login).unwrap();
    assert!(asked.recv().unwrap());

    let refuses =
        says(b"-WRONGPASS invalid username-password pair\r\n-NOAUTH Authentication required.\r\n");
    let refused = ask_as(redis, refuses.address, Probe::Heartbeat, &login).unwrap_err();
    assert!(refused.to_string().contains("AUTH"), "{refused}");
    assert!(matches!(refused, ProbeError::NoAnswer(_)));
}

#[test]
fn a_redis_endpoint_that_answers_with_an_error_is_not_well() {
    let cases: [(&[u8], Fault); 4] = [
        (b"-NOAUTH Authentication required.\r\n", Fault::Denied),
        (
            b"-LOADING Redis is loading the dataset in memory\r\n",
            Fault::Server,
        ),
        (b"-MISCONF Redis is configured to save\r\n", Fault::Server),
        (
            b"-ERR max number of clients reached\r\n",
            Fault::Application,
        ),
    ];
    for (answer, expected) in cases {
        let result = ask(Redis::new(), says(answer).address, Probe::Heartbeat);
        assert!(
            matches!(&result, Err(ProbeError::Failed(fault)) if *fault == expected),
            "{result:?}"
        );
    }
    ask(Redis::new(), says(b"+PONG\r\n").address, Probe::Heartbeat).unwrap();
}

#[test]
fn whoever_refuses_is_silent_or_closes_is_not_well() {
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    // Everything after a length could be a frame.
    let framed = b"\0\0\0\x08garbage!";
    type Case = (Arc<dyn Protocol>, Probe, &'static [u8], &'static [u8]);
    let cases: [Case; 3] = [
        (
            Arc::new(Dubbo::new()),
            Probe::Heartbeat,
            b"\xda\xbb\x22\x14\0\0",
            http,
        ),
        (Arc::new(Redis::new()), Probe::Heartbeat, b"+PON", http),
        (
            Arc::new(Thrift::new()),
            call("ping"),
            b"\0\0\0\x12\x80\x01\0\x02\0\0",
            framed,
        ),
    ];
    for (protocol, what, front, garbage) in cases {
        let ask = |address| {
            ask_as(
                Arc::clone(&protocol),
                address,
                what.clone(),
                &Session::default(),
            )
        };
        let refused = ask(nobody());
        assert!(
            matches!(&refused, Err(ProbeError::Connect(_))),
            "{refused:?}"
        );

        let closed = ask(says_and_closes(b"").address);
        assert!(matches!(closed, Err(ProbeError::Closed)), "{closed:?}");
        let in_the_middle = ask(says_and_closes(front).address);
        assert!(
            matches!(in_the_middle, Err(ProbeError::Closed)),
            "{in_the_middle:?}"
        );

        let (session, started) = (Session::default(), Instant::now());
        for answer in [b"".as_slice(), front] {
            let server = says(answer);
            let asking = probe(Some(&protocol), server.address, &what, &session, SHORT);
            let silent = runtime().block_on(asking);
            assert!(
                matches!(silent, Err(ProbeError::TimedOut(waited)) if waited == SHORT),
                "{silent:?}"
            );
        }
        assert!(started.elapsed() >= 2 * SHORT);
        let garbage = ask(says(garbage).address);
        assert!(
            matches!(garbage, Err(ProbeError::NoAnswer(_))),
            "{garbage:?}"
        );
    }
}

#[test]
fn an_answer_that_never_ends_is_cut_off() {
    let server = Upstream::start(|mut stream| {
        // A line without an end.
        let _ = stream.write_all(b"+");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let started = Instant::now();
    let endless = ask(Redis::new(), server.address, Probe::Heartbeat);
    assert!(
        matches!(endless, Err(ProbeError::NoAnswer(_))),
        "{endless:?}"
    );
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn what_a_protocol_cannot_ask_is_told_before_anything_is_sent() {
    let (server, _connections) = Upstream::scripted();
    let heartbeat = ask(Thrift::new(), server.address, Probe::Heartbeat);
    assert!(
        matches!(heartbeat, Err(ProbeError::Unsupported(_))),
        "{heartbeat:?}"
    );
    let called = ask(Dubbo::new(), server.address, call("greet"));
    assert!(
        matches!(called, Err(ProbeError::Unsupported(_))),
        "{called:?}"
    );
    let session = Session::default();
    let asking = probe(None, server.address, &Probe::Heartbeat, &session, PATIENCE);
    let unknown = runtime().block_on(asking);
    assert!(
        matches!(unknown, Err(ProbeError::NoProtocol)),
        "{unknown:?}"
    );
    assert_eq!(server.connections(), 0);
}

#[test]
fn accepting_is_enough_where_nothing_else_is_asked() {
    let (server, _connections) = Upstream::scripted();
    let session = Session::default();
    let ask = |address| runtime().block_on(probe(None, address, &Probe::Tcp, &session, PATIENCE));
    ask(server.address).unwrap();
    assert!(matches!(ask(nobody()), Err(ProbeError::Connect(_))));
}

/// How one probe went, as the prober tells it.
type RequestLog = (String, SocketAddr, Result<Duration, ProbeError>);

fn prober() -> (tokio::runtime::Runtime, Prober, Receiver<RequestLog>, Stats) {
    let (runtime, stats) = (runtime(), Stats::default());
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let report = move |cluster: &str, address, result| {
        let _ = tell
            .lock()
            .unwrap()
            .send((cluster.to_owned(), address, result));
    };
    let prober = Prober::new(runtime.handle().clone(), stats.clone(), report);
    (runtime, prober, told, stats)
}

fn checked(name: &str, interval: Duration, addresses: &[SocketAddr]) -> ProbeTarget {
    let mut cluster = Cluster::new(name, Vec::new());
    cluster.protocol = Some(Arc::new(Redis::new()));
    cluster.health = Some(HealthCheck {
        probe: Probe::Heartbeat,
        interval,
        timeout: PATIENCE,
        unhealthy: 3,
        healthy: 2,
        session: Default::default(),
    });
    ProbeTarget {
        cluster: Arc::new(cluster),
        addresses: addresses.to_vec(),
    }
}

/// A Redis endpoint that answers every command with a pong.
fn redis_server() -> Upstream {
    Upstream::start(|mut stream: TcpStream| {
        let mut asked = [0; 1024];
        while stream.read(&mut asked).is_ok_and(|count| count > 0) {
            let _ = stream.write_all(b"+PONG\r\n");
        }
    })
}

#[test]
fn every_endpoint_is_probed_at_once_and_again_and_counted() {
    let (_runtime, prober, told, stats) = prober();
    let (well, ill) = (redis_server(), nobody());
    prober.configure(vec![
        checked("cache", Duration::from_millis(20), &[well.address, ill]),
        checked("slow", Duration::from_secs(3600), &[well.address]),
    ]);
    let (mut good, mut bad, mut slow) = (0_u64, 0_u64, 0_u64);
    while good < 5 || bad < 5 || slow < 1 {
        let (cluster, address, result) = told.recv_timeout(PATIENCE).unwrap();
        match (&*cluster, result) {
            ("slow", Ok(_)) => slow += 1,
            ("cache", Ok(_)) if address == well.address => good += 1,
            ("cache", Err(ProbeError::Connect(_))) if address == ill => bad += 1,
            other => panic!("{other:?} of {address}"),
        }
    }
    assert_eq!(slow, 1);
    drop(prober);
    let counted = |metric, cluster: &str| stats.values(metric)[&vec![cluster.to_owned()]];
    // Further ones may have ended since.
    assert!(counted("meltemi_health_probes", "cache") >= good + bad);
    assert!(counted("meltemi_health_probe_failures", "cache") >= bad);
    assert!(
        counted("meltemi_health_probe_failures", "cache")
            <= counted("meltemi_health_probes", "cache") - good
    );
    assert_eq!(counted("meltemi_health_probes", "slow"), 1);
    assert_eq!(counted("meltemi_health_probe_failures", "slow"), 0);
}

#[test]
fn a_probe_speaks_as_its_check_says_behind_the_login() {
    let (_runtime, prober, told, _) = prober();
    let (hear, heard) = channel();
    let hear = Mutex::new(hear);
    let server = Upstream::start(move |mut stream: TcpStream| {
        let mut asked = Vec::new();
        let mut piece = [0; 1024];
        while !asked.ends_with(b"PING\r\n") {
            let count = stream.read(&mut piece).unwrap();
            assert_ne!(count, 0, "{asked:?}");
            asked.extend_from_slice(&piece[..count]);
        }
        hear.lock().unwrap().send(asked).unwrap();
        stream.write_all(b"+OK\r\n+OK\r\n+PONG\r\n").unwrap();
    });
    let target = checked("cache", Duration::from_secs(3600), &[server.address]);
    let mut cluster = Cluster::clone(&target.cluster);
    cluster.login = Session::new(b"AUTH x\r\n".to_vec(), 1);
    let mut health = cluster.health.take().unwrap();
    health.session = Session::new(b"SELECT 3\r\n".to_vec(), 1);
    cluster.health = Some(health);
    prober.configure(vec![ProbeTarget {
        cluster: Arc::new(cluster),
        ..target
    }]);
    let (_, _, result) = told.recv_timeout(PATIENCE).unwrap();
    assert!(result.is_ok(), "{result:?}");
    let asked = heard.recv_timeout(PATIENCE).unwrap();
    assert!(asked.starts_with(b"AUTH x\r\nSELECT 3\r\n"), "{asked:?}");
}

#[test]
fn a_new_configuration_replaces_the_endpoints_and_keeps_their_turns() {
    let (_runtime, prober, told, _) = prober();
    let hour = Duration::from_secs(3600);
    let (stays, comes) = (redis_server(), redis_server());
    let (hangs, connections) = Upstream::scripted();
    prober.configure(vec![checked(
        "cache",
        hour,
        &[stays.address, hangs.address],
    )]);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().1, stays.address);
    let mut hanging = connections.recv_timeout(PATIENCE).unwrap();

    // The one that hangs goes: its probe is given up, and nothing is told of it.
    prober.configure(vec![checked(
        "cache",
        hour,
        &[comes.address, stays.address],
    )]);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().1, comes.address);
    let asked = read_all(&mut hanging);
    assert_eq!(asked, b"*1\r\n$4\r\nPING\r\n");
    assert!(told.recv_timeout(SHORT).is_err());
    assert_eq!((stays.connections(), comes.connections()), (1, 1));

    prober.configure(Vec::new());
    prober.configure(vec![checked("cache", hour, &[stays.address])]);
    assert_eq!(
        told.recv_timeout(PATIENCE).unwrap().1,
        stays.address,
        "it is new again"
    );
}

#[test]
fn so_many_at_a_time_and_the_others_behind_them() {
    let (_runtime, prober, told, _) = prober();
    let (hangs, connections) = Upstream::scripted();
    let port = hangs.address.port();
    // Loopback has many addresses; this listener is on one, and the others refuse.
    let waiting: Vec<SocketAddr> = (0..80_u8)
        .map(|last| ([127, 0, 1, last + 1], port).into())
        .collect();
    let clusters: Vec<_> = (0..70)
        .map(|number| checked(&format!("hangs-{number}"), PATIENCE, &[hangs.address]))
        .collect();
    prober.configure(clusters);
    let mut held: Vec<TcpStream> = (0..64)
        .map(|_| connections.recv_timeout(PATIENCE).unwrap())
        .collect();
    assert!(connections.recv_timeout(SHORT).is_err(), "64 at a time");
    assert!(told.try_recv().is_err());
    let mut first = held.remove(0);
    assert!(first.read(&mut [0; 64]).unwrap() > 0);
    drop(first);
    assert!(matches!(
        told.recv_timeout(PATIENCE).unwrap().2,
        Err(ProbeError::Closed)
    ));
    held.push(connections.recv_timeout(PATIENCE).unwrap());
    assert!(connections.recv_timeout(SHORT).is_err());

    // Those that go make room for the new ones.
    prober.configure(vec![checked(
        "refuses",
        Duration::from_secs(3600),
        &waiting,
    )]);
    let mut refused: Vec<_> = (0..80)
        .map(|_| told.recv_timeout(PATIENCE).unwrap())
        .map(|(cluster, address, _)| (cluster, address))
        .collect();
    refused.sort();
    refused.dedup();
    assert_eq!(refused.len(), 80);
    assert!(refused.iter().all(|(cluster, _)| cluster == "refuses"));
}

#[test]
fn nothing_runs_where_nothing_is_checked_or_the_prober_is_gone() {
    let (runtime, prober, told, stats) = prober();
    let server = redis_server();
    let mut unchecked = checked("cache", SHORT, &[server.address]);
    let mut cluster = (*unchecked.cluster).clone();
    cluster.health = None;
    unchecked.cluster = Arc::new(cluster);
    prober.configure(Vec::new());
    prober.configure(vec![unchecked]);
    prober.configure(vec![checked("empty", SHORT, &[])]);
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    assert!(stats.values("meltemi_health_probes").is_empty());

    let (hangs, connections) = Upstream::scripted();
    prober.configure(vec![
        checked("cache", Duration::from_millis(10), &[server.address]),
        checked("hangs", SHORT, &[hangs.address]),
    ]);
    assert!(told.recv_timeout(PATIENCE).is_ok());
    let mut hanging = connections.recv_timeout(PATIENCE).unwrap();
    drop(prober);
    read_all(&mut hanging);
    while told.recv_timeout(PATIENCE).is_ok() {}
    let before = server.connections();
    std::thread::sleep(SHORT);
    assert_eq!(server.connections(), before);
}
