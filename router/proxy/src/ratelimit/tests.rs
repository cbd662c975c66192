//! Rate limit services that answer, refuse, hang or are down. Must not depend on the data path.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use meltemi_config::{Address, Endpoint, GlobalLimit, Listener, Origin, Route, Served};
use prost::Message as _;

use super::service::IN_FLIGHT;
use super::wire::{PATH, RateLimitRequest, RateLimitResponse};
use super::*;
use crate::grpc_testing::{Reply, Server};

/// How long a test waits for an expected event.
const PATIENCE: Duration = Duration::from_secs(10);

struct Bed {
    limits: Arc<RateLimits>,
    stats: Stats,
    _runtime: tokio::runtime::Runtime,
}

impl Bed {
    fn new(clusters: &[Arc<Cluster>]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let stats = Stats::default();
        let limits = RateLimits::new(runtime.handle().clone(), stats.clone());
        limits.configure(clusters);
        Self {
            limits,
            stats,
            _runtime: runtime,
        }
    }

    fn ask(&self, value: &str) -> Answer {
        self.limits.ask(question(value)).blocking_recv().unwrap()
    }

    fn count(&self, metric: &str) -> u64 {
        self.stats.values(metric).values().sum()
    }
}

fn question(value: &str) -> Question {
    Question {
        limit: "per-user".into(),
        cluster: "limiter".into(),
        domain: "shop".into(),
        descriptors: vec![vec![("user".into(), value.into())]],
        timeout: PATIENCE,
    }
}

fn within(timeout: Duration) -> Question {
    Question {
        timeout,
        ..question("ada")
    }
}

fn cluster(addresses: &[SocketAddr]) -> Arc<Cluster> {
    let endpoints = addresses
        .iter()
        .map(|address| Endpoint::new(Address::Socket(*address)));
    Arc::new(Cluster::new("limiter", endpoints.collect()))
}

fn code(overall_code: i32) -> Reply {
    Reply::Message(RateLimitResponse { overall_code }.encode_to_vec())
}

/// Allows every user except `mallory`.
fn decide(path: &str, bytes: &[u8]) -> Reply {
    assert_eq!(path, PATH);
    let question = RateLimitRequest::decode(bytes).unwrap();
    assert_eq!(
        (question.domain.as_str(), question.hits_addend),
        ("shop", 1)
    );
    let entry = &question.descriptors[0].entries[0];
    assert_eq!(entry.key, "user");
    code(if entry.value == "mallory" { 2 } else { 1 })
}

fn failed(answer: &Answer, part: &str) {
    match answer {
        Answer::Failed(why) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?} instead of a failure with `{part}`"),
    }
}

#[test]
fn many_questions_share_one_connection() {
    let server = Server::start(decide);
    let bed = Bed::new(&[cluster(&[server.address])]);
    let answers: Vec<_> = (0..1000)
        .map(|at| {
            let user = if at % 4 == 0 { "mallory" } else { "ada" };
            (user, bed.limits.ask(question(user)))
        })
        .collect();
    for (user, answer) in answers {
        let expected = if user == "mallory" {
            Answer::Over
        } else {
            Answer::Pass
        };
        assert_eq!(answer.blocking_recv().unwrap(), expected);
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1);
    assert_eq!(bed.count("meltemi_global_limit_asked"), 1000);
    assert_eq!(bed.count("meltemi_global_limit_over"), 250);
    assert_eq!(bed.count("meltemi_global_limit_failed"), 0);
}

#[test]
fn endpoints_are_asked_in_turn_and_found_by_name() {
    let servers = [Server::start(decide), Server::start(decide)];
    let named = Address::Name {
        host: "localhost".into(),
        port: servers[1].address.port(),
    };
    let endpoints = vec![
        Endpoint::new(Address::Socket(servers[0].address)),
        Endpoint::new(named),
    ];
    let bed = Bed::new(&[Arc::new(Cluster::new("limiter", endpoints))]);
    for _ in 0..10 {
        assert_eq!(bed.ask("ada"), Answer::Pass);
    }
    for server in &servers {
        assert_eq!(server.accepted.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_service_that_hangs_costs_its_timeout_and_no_more() {
    let server = Server::start(|_, _| Reply::Silence);
    let bed = Bed::new(&[cluster(&[server.address])]);
    let started = Instant::now();
    let answer = bed.limits.ask(within(Duration::from_millis(200)));
    assert!(started.elapsed() < Duration::from_millis(150), "it blocked");
    failed(&answer.blocking_recv().unwrap(), "within 200 ms");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_millis(700), "{took:?}");
    assert_eq!(bed.count("meltemi_global_limit_failed"), 1);
}

#[test]
fn questions_in_flight_are_bounded_and_given_back() {
    let server = Server::start(|_, _| Reply::Silence);
    let bed = Bed::new(&[cluster(&[server.address])]);
    let waiting: Vec<_> = (0..IN_FLIGHT)
        .map(|_| bed.limits.ask(question("ada")))
        .collect();
    let started = Instant::now();
    failed(&bed.ask("ada"), "already wait for limiter");
    assert!(started.elapsed() < Duration::from_secs(1));
    // A request that is cancelled gives its place back.
    drop(waiting);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = bed.limits.ask(within(Duration::from_millis(20)));
        match answer.blocking_recv().unwrap() {
            Answer::Failed(why) if why.contains("already") => {
                assert!(Instant::now() < deadline, "no place was given back");
            }
            other => return failed(&other, "has not answered"),
        }
    }
}

#[test]
fn a_service_that_dies_is_found_again() {
    let server = Server::start(decide);
    let address = server.address;
    let bed = Bed::new(&[cluster(&[address])]);
    assert_eq!(bed.ask("ada"), Answer::Pass);
    drop(server);
    let started = Instant::now();
    for _ in 0..20 {
        assert!(matches!(bed.ask("ada"), Answer::Failed(_)));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "failures wait");
    let _server = Server::start_at(address, decide);
    let deadline = Instant::now() + PATIENCE;
    while bed.ask("ada") != Answer::Pass {
        assert!(Instant::now() < deadline, "it was not found again");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Accepts connections and calls `serve` for each.
fn raw(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            serve(stream);
        }
    });
    (address, accepted)
}

#[test]
fn a_service_that_is_down_is_not_hammered() {
    let (address, accepted) = raw(drop);
    let bed = Bed::new(&[cluster(&[address])]);
    let started = Instant::now();
    let mut asked = 0;
    while started.elapsed() < Duration::from_secs(1) {
        assert!(matches!(bed.ask("ada"), Answer::Failed(_)));
        asked += 1;
    }
    // With pauses that start at 50 ms and double, one second has room for five or six.
    let attempts = accepted.load(Ordering::SeqCst);
    assert!(
        (2..=8).contains(&attempts),
        "{attempts} for {asked} questions"
    );
    assert!(asked > 50, "{asked} questions only: failures wait");
}

#[test]
fn another_endpoint_takes_over() {
    let server = Server::start(decide);
    let (dead, _) = raw(drop);
    let bed = Bed::new(&[cluster(&[dead, server.address])]);
    let passed = (0..20).filter(|_| bed.ask("ada") == Answer::Pass).count();
    assert!(passed >= 15, "{passed} of 20");
}

#[test]
fn garbage_is_a_failure() {
    type Answers = fn(&str, &[u8]) -> Reply;
    let cases: [(Answers, &str); 5] = [
        (|_, _| code(0), "the code 0"),
        (|_, _| code(77), "the code 77"),
        (|_, _| Reply::Message(vec![0xff; 100]), "limiter: "),
        (|_, _| Reply::Message(vec![0; 1 << 20]), "limiter: "),
        (|_, _| Reply::Status("8"), "limiter: "),
    ];
    for (answers, part) in cases {
        let server = Server::start(answers);
        let bed = Bed::new(&[cluster(&[server.address])]);
        failed(&bed.ask("ada"), part);
        assert_eq!(bed.count("meltemi_global_limit_failed"), 1);
    }
    let (address, _) = raw(|mut stream| {
        let mut some = [0; 64];
        let _ = stream.read(&mut some);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK");
    });
    let bed = Bed::new(&[cluster(&[address])]);
    failed(&bed.ask("ada"), "limiter: ");
}

#[test]
fn a_reload_keeps_connections_and_forgets_what_left() {
    let server = Server::start(decide);
    let bed = Bed::new(&[cluster(&[server.address])]);
    assert_eq!(bed.ask("ada"), Answer::Pass);
    bed.limits.configure(&[cluster(&[server.address])]);
    assert_eq!(bed.ask("mallory"), Answer::Over);
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1);
    bed.limits.configure(&[]);
    failed(&bed.ask("ada"), "limiter is not known");
}

#[test]
fn the_services_of_a_configuration_are_those_that_limits_ask() {
    let entry = meltemi_config::DescriptorEntry {
        key: "what".into(),
        value: meltemi_config::DescriptorValue::Text("any".into()),
    };
    let descriptor = meltemi_config::Descriptor {
        entries: vec![entry],
    };
    let limit = |cluster: &str| {
        Arc::new(GlobalLimit {
            name: format!("by {cluster}"),
            matches: Vec::new(),
            domain: "shop".into(),
            descriptors: vec![descriptor.clone()],
            cluster: cluster.into(),
            timeout: PATIENCE,
            deny_on_failure: true,
            origin: Origin::default(),
        })
    };
    let target = meltemi_config::WeightedCluster {
        cluster: "shop".into(),
        weight: 1,
    };
    let mut route = Route::new("all", vec![target]);
    route.global_limits = vec![limit("b"), limit("a")];
    let mut served = Served::new(Arc::new(meltemi_redis::Redis::new()), vec![route]);
    served.global_limits = vec![limit("a")];
    let listener = Listener::new("test", ([127, 0, 0, 1], 0).into(), vec![served]);
    let clusters = ["a", "shop", "b"].map(|name| Cluster::new(name, Vec::new()));
    let config = Config::new(vec![listener], clusters.into()).unwrap();
    let found = services(&config);
    let names: Vec<_> = found.iter().map(|cluster| cluster.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}
