//! Memory allocations of a worker: none per small message, and little per idle connection.

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
use crate::config::snapshot::{ProcessState, Snapshot};
use crate::config::view::{MetricHandles, View};
use crate::context::Services;
use crate::context::clock::Clock;
use crate::context::memory::Memory;
use crate::context::ticker::Ticker;
use crate::downstream::admission::Admission;
use crate::ratelimit::RateLimits;
use crate::telemetry::stats::Stats;
use crate::transport::stream::{Stream, Wrap};
use crate::transport::testing::awkward;

/// A call with one argument. Its content does not matter here.
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

/// Routes by method. The last route matches every method.
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
    Arc::new(Snapshot::compile(&config, &ProcessState::new(0), false))
}

/// A worker that is ready to run, and a Dubbo server that accepts this many connections.
struct Bench {
    start: Start,
    load: Arc<AtomicUsize>,
    commands: mpsc::UnboundedSender<Command>,
    receiver: mpsc::UnboundedReceiver<Command>,
    _background: tokio::runtime::Runtime,
}

impl Bench {
    fn new(connections: usize, wrap: Wrap) -> Self {
        let length = request().len();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for _ in 0..connections {
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
                memory: Memory::new(usize::MAX, 1),
                ticker: Ticker::start(background.handle()),
                wrap,
            },
            number: 0,
            snapshot: snapshot(upstream),
            load: Arc::clone(&load),
        };
        Self {
            start,
            load,
            commands,
            receiver,
            _background: background,
        }
    }
}

/// Connects a client to the worker.
fn connect(
    front: &TcpListener,
    commands: &mpsc::UnboundedSender<Command>,
    load: &Arc<AtomicUsize>,
) -> StdStream {
    let client = StdStream::connect(front.local_addr().unwrap()).unwrap();
    let (stream, peer) = front.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let admission = Admission::new(load, &Arc::default());
    let accept = Command::Accept(stream, peer, "test".into(), admission);
    commands.send(accept).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// Returns the allocations of a worker while `connections` clients send `requests` each, one after
/// the other, and then stay silent for a while.
fn allocated(connections: usize, requests: usize) -> AllocationInfo {
    let request = request();
    let Bench {
        start,
        load,
        commands,
        receiver,
        _background,
    } = Bench::new(2, Stream::from);
    let clients: JoinHandle<()> = std::thread::spawn(move || {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients: Vec<_> = (0..connections)
            .map(|_| connect(&front, &commands, &load))
            .collect();
        let mut answer = [0; 17];
        for client in &mut clients {
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
    // The sweep allocates a little from time to time.
    assert!(more < 200, "{more} allocations for 2000 requests");
}

#[test]
fn an_idle_connection_keeps_little() {
    let few = allocated(10, 1);
    let many = allocated(210, 1);
    let more = many.bytes_max.saturating_sub(few.bytes_max) / 200;
    // About 500 of these bytes belong to the event loop: the task's header and the socket's
    // registration.
    assert!(more <= 1184, "{more} bytes for each");
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
            &ProcessState::new(0),
            false,
        ));
    });
    let forgotten = measure(|| config = None);
    let plain = -forgotten.bytes_current / ROUTES as i64;
    let each = compiled.bytes_current / ROUTES as i64;
    assert!(each <= 512, "{each} bytes for each");
    // The snapshot keeps no part of the configuration that it was compiled from.
    assert!(plain >= 400, "{plain} bytes of each given back");
    let (snapshot, stats) = (snapshot.unwrap(), Stats::default());
    let (mut kept, mut view) = (MetricHandles::default(), None);
    let viewed = measure(|| {
        view = Some(View::new(&snapshot, &[].into(), &mut kept, &stats));
    });
    let each = viewed.bytes_current / ROUTES as i64;
    assert!(each <= 256, "{each} bytes for each and worker");
}

#[test]
fn a_layer_over_a_socket_may_hold_bytes_in_both_directions() {
    const REQUESTS: usize = 400;
    let Bench {
        start,
        load,
        commands,
        receiver,
        _background,
    } = Bench::new(1, awkward);
    let client = std::thread::spawn(move || {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = connect(&front, &commands, &load);
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // First byte by byte, then the rest: the layer holds bytes while the socket is silent.
        let mut answer = [0; 17];
        for _ in 0..3 {
            client.write_all(&request()).unwrap();
            client.read_exact(&mut answer).unwrap();
        }
        client.write_all(&request().repeat(REQUESTS)).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).unwrap();
        commands.send(Command::Stop).unwrap();
        (answer, answers)
    });
    run(start, receiver).unwrap();
    let (answer, answers) = client.join().unwrap();
    assert_eq!(answer[..4], [0xda, 0xbb, 0x02, 20]);
    assert!(
        answers == answer.repeat(REQUESTS),
        "{} bytes",
        answers.len()
    );
}
