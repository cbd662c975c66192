//! What a worker allocates: nothing per small message, and little per idle connection.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use meltemi_config::{
    Address, AttributeMatch, Cluster, Config, Endpoint, Listener, Matcher, Route, Served,
    WeightedCluster,
};
use meltemi_dubbo::Dubbo;
use tokio::sync::mpsc;

use super::{Command, Start, run};
use crate::config::snapshot::{Lasting, Snapshot};
use crate::config::view::{Kept, View};
use crate::context::Services;
use crate::context::beat::Beat;
use crate::context::clock::Clock;
use crate::downstream::admission::Admission;
use crate::ratelimit::RateLimits;
use crate::telemetry::stats::Stats;

/// A one-argument call; what it holds is of no matter here.
fn request() -> Vec<u8> {
    let mut body = Vec::new();
    for text in ["2.0.2", "demo.Service", "0.0.0", "m", ""] {
        body.push(text.len() as u8);
        body.extend(text.as_bytes());
    }
    body.extend([b'H', b'Z']);
    let mut frame = vec![0xda, 0xbb, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame
}

/// Answers every request of this length with a null.
fn serve(listener: &TcpListener, length: usize) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = vec![0; length];
    while stream.read_exact(&mut bytes).is_ok() {
        let mut answer = [0; 17];
        answer[..4].copy_from_slice(&[0xda, 0xbb, 0x02, 20]);
        answer[4..12].copy_from_slice(&bytes[4..12]);
        answer[15] = 1;
        answer[16] = 0x92;
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Routes by method, of which the last takes everything.
fn config(upstream: std::net::SocketAddr, routes: usize) -> Config {
    let route = |at: usize| {
        let target = WeightedCluster {
            cluster: "one".into(),
            weight: 1,
        };
        let method = AttributeMatch {
            name: "method".into(),
            matcher: Matcher::Exact(format!("method-{at}")),
            negate: false,
        };
        Route {
            matches: if at == 0 { vec![] } else { vec![method] },
            timeout: Some(Duration::from_secs(60)),
            ..Route::new(format!("route-{at}"), vec![target])
        }
    };
    let routes = (0..routes).rev().map(route).collect();
    let served = Served::new(Arc::new(Dubbo::new()), routes);
    let listener = Listener::new("test", ([127, 0, 0, 1], 0).into(), vec![served]);
    let cluster = Cluster::new("one", vec![Endpoint::new(Address::Socket(upstream))]);
    Config::new(vec![listener], vec![cluster]).unwrap()
}

fn snapshot(upstream: std::net::SocketAddr) -> Arc<Snapshot> {
    let config = config(upstream, 1);
    Arc::new(Snapshot::compile(&config, &Lasting::new(0), false))
}

/// What a worker allocates from start to end while `connections` clients send `requests` each, one
/// after the other, and then stay silent for a while.
fn allocated(connections: usize, requests: usize) -> AllocationInfo {
    let request = request();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let length = request.len();
    std::thread::spawn(move || {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| serve(&listener, length));
            }
        });
    });
    let (commands, receiver) = mpsc::unbounded_channel();
    let load = Arc::new(AtomicUsize::new(0));
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let start = Start {
        services: Services {
            clock: Clock::start(),
            stats: Stats::default(),
            access_log: None,
            rate_limits: RateLimits::new(background.handle().clone(), Stats::default()),
            tracer: None,
            beat: Beat::start(background.handle()),
        },
        snapshot: snapshot(upstream),
        load: Arc::clone(&load),
    };
    let clients: JoinHandle<()> = std::thread::spawn(move || {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..connections {
            let client = StdStream::connect(address).unwrap();
            let (stream, peer) = front.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let admission = Admission::new(&load, &Arc::default());
            let accept = Command::Accept(stream, peer, "test".into(), admission);
            commands.send(accept).unwrap();
            clients.push(client);
        }
        let mut answer = [0; 17];
        for client in &mut clients {
            client.set_nodelay(true).unwrap();
            for _ in 0..requests {
                client.write_all(&request).unwrap();
                client.read_exact(&mut answer).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(300));
        commands.send(Command::Stop).unwrap();
    });
    let info = measure(|| run(start, receiver).unwrap());
    clients.join().unwrap();
    info
}

#[test]
fn small_messages_allocate_nothing() {
    let few = allocated(1, 100);
    let many = allocated(1, 2100);
    let more = many.count_total.saturating_sub(few.count_total);
    // The sweep allocates a little, now and then.
    assert!(more < 200, "{more} allocations for 2000 requests");
}

#[test]
fn an_idle_connection_keeps_little() {
    let few = allocated(10, 1);
    let many = allocated(210, 1);
    let more = many.bytes_max.saturating_sub(few.bytes_max) / 200;
    // Of these about 500 are the event loop's own: the task's header, the socket's registration.
    assert!(more <= 1168, "{more} bytes for each");
}

#[test]
fn a_route_keeps_little() {
    const ROUTES: usize = 1000;
    let upstream = ([127, 0, 0, 1], 1).into();
    let mut config = Some(config(upstream, ROUTES));
    let mut snapshot = None;
    let compiled = measure(|| {
        snapshot = Some(Snapshot::compile(
            config.as_ref().unwrap(),
            &Lasting::new(0),
            false,
        ));
    });
    let forgotten = measure(|| config = None);
    let plain = -forgotten.bytes_current / ROUTES as i64;
    let each = compiled.bytes_current / ROUTES as i64;
    assert!(each <= 512, "{each} bytes for each");
    // The snapshot keeps none of what it was compiled from.
    assert!(plain >= 400, "{plain} bytes of each given back");
    let (snapshot, stats) = (snapshot.unwrap(), Stats::default());
    let (mut kept, mut view) = (Kept::default(), None);
    let viewed = measure(|| {
        view = Some(View::new(&snapshot, &[].into(), &mut kept, &stats));
    });
    let each = viewed.bytes_current / ROUTES as i64;
    assert!(each <= 256, "{each} bytes for each and worker");
}
