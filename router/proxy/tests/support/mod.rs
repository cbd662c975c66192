//! Scripted peers for the data path's tests: plain threads and blocking sockets, so that they share
//! nothing with what they test.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meltemi_config::{
    Address, AttributeMatch, Cluster, Config, Endpoint, Listener, ListenerLimits, Matcher, Route,
    Served, WeightedCluster,
};
use meltemi_frame::Protocol;
use meltemi_proxy::{Options, Proxy};
use meltemi_redis::Redis;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A route to `cluster` for requests whose `attribute` is `value`.
pub fn route(attribute: &str, value: &str, cluster: &str) -> Route {
    let mut route = catch_all(cluster);
    route.name = format!("{attribute}={value}");
    route.matches = vec![AttributeMatch {
        name: attribute.into(),
        matcher: Matcher::Exact(value.into()),
        negate: false,
    }];
    route
}

/// A route to `cluster` for every request.
pub fn catch_all(cluster: &str) -> Route {
    let target = WeightedCluster {
        cluster: cluster.into(),
        weight: 1,
    };
    Route {
        timeout: Some(PATIENCE),
        ..Route::new("all", vec![target])
    }
}

pub fn cluster(name: &str, addresses: &[SocketAddr]) -> Cluster {
    let endpoints = addresses
        .iter()
        .map(|address| Endpoint::new(Address::Socket(*address)));
    Cluster::new(name, endpoints.collect())
}

pub fn config(protocol: impl Protocol, routes: Vec<Route>, clusters: Vec<Cluster>) -> Config {
    config_with(protocol, routes, clusters, ListenerLimits::default(), 0)
}

pub fn config_with(
    protocol: impl Protocol,
    routes: Vec<Route>,
    clusters: Vec<Cluster>,
    limits: ListenerLimits,
    port: u16,
) -> Config {
    let served = Served::new(Arc::new(protocol), routes);
    let listener = Listener {
        limits,
        ..Listener::new("test", ([127, 0, 0, 1], port).into(), vec![served])
    };
    Config::new(vec![listener], clusters).expect("a valid configuration")
}

pub fn start(config: &Config) -> (Proxy, SocketAddr) {
    let options = Options {
        workers: 1,
        ..Options::default()
    };
    let proxy = Proxy::start(config, &options).expect("started");
    let address = proxy.addresses()[0].1;
    (proxy, address)
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

/// An upstream whose every connection is run by `serve`, on a thread of its own.
pub struct Upstream {
    pub address: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = socket.local_addr().expect("an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address, accepted }
    }

    /// Hands every connection to the test.
    pub fn scripted() -> (Self, Receiver<TcpStream>) {
        let (sender, receiver): (Sender<TcpStream>, _) = channel();
        let sender = Mutex::new(sender);
        let upstream = Self::start(move |stream| {
            stream.set_read_timeout(Some(PATIENCE)).expect("set");
            let _ = sender.lock().expect("unpoisoned").send(stream);
        });
        (upstream, receiver)
    }

    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .expect("bound")
        .local_addr()
        .expect("an address")
}

/// A framed, strict binary Thrift message without fields.
pub fn thrift(kind: u8, method: &str, seqid: i32) -> Vec<u8> {
    thrift_with(kind, method, seqid, &[])
}

/// The same with a string as field 1.
pub fn thrift_with(kind: u8, method: &str, seqid: i32, text: &[u8]) -> Vec<u8> {
    let mut body = vec![0x80, 1, 0, kind];
    body.extend((method.len() as u32).to_be_bytes());
    body.extend(method.as_bytes());
    body.extend(seqid.to_be_bytes());
    if !text.is_empty() {
        body.extend([11, 0, 0]);
        body.extend((text.len() as u32).to_be_bytes());
        body.extend(text);
    }
    body.push(0);
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

/// Reads one frame: message type, method, sequence id, and the rest of its bytes.
pub fn read_thrift(stream: &mut TcpStream) -> Option<(u8, String, i32, Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    let name = u32::from_be_bytes(body[4..8].try_into().unwrap()) as usize;
    let method = String::from_utf8(body[8..8 + name].to_vec()).unwrap();
    let seqid = i32::from_be_bytes(body[8 + name..12 + name].try_into().unwrap());
    Some((body[3], method, seqid, body[12 + name..].to_vec()))
}

/// Answers every Thrift call with its own label.
pub fn thrift_server(label: &'static str) -> Upstream {
    Upstream::start(move |mut stream| {
        while let Some((kind, method, seqid, _)) = read_thrift(&mut stream) {
            if kind == 1
                && stream
                    .write_all(&thrift_with(2, &method, seqid, label.as_bytes()))
                    .is_err()
            {
                return;
            }
        }
    })
}

/// A Dubbo two-way request for `method` of `demo.Service`, in Hessian2, with `text` as its argument.
pub fn dubbo(id: i64, method: &str, text: &[u8]) -> Vec<u8> {
    let short = |text: &str| {
        let mut bytes = vec![text.len() as u8];
        bytes.extend(text.as_bytes());
        bytes
    };
    let mut body = short("2.0.2");
    body.extend(short("demo.Service"));
    body.extend(short("0.0.0"));
    body.extend(short(method));
    body.extend(short("Ljava/lang/String;"));
    body.push(b'S');
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text);
    body.extend([b'H', b'Z']);
    dubbo_frame(0xc2, 0, id, &body)
}

pub fn dubbo_frame(flags: u8, status: u8, id: i64, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xda, 0xbb, flags, status];
    frame.extend(id.to_be_bytes());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame
}

/// Reads one frame: flags, status, id, body.
pub fn read_dubbo(stream: &mut TcpStream) -> Option<(u8, u8, i64, Vec<u8>)> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).ok()?;
    assert_eq!(&header[..2], [0xda, 0xbb]);
    let mut body = vec![0; u32::from_be_bytes(header[12..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body).ok()?;
    let id = i64::from_be_bytes(header[4..12].try_into().unwrap());
    Some((header[2], header[3], id, body))
}

/// Answers every Dubbo call at once.
pub fn dubbo_server() -> Upstream {
    Upstream::start(|mut stream| {
        while let Some((_, _, id, _)) = read_dubbo(&mut stream) {
            let _ = stream.write_all(&dubbo_frame(0x02, 20, id, b"\x92"));
        }
    })
}

/// Reads until the peer closes.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("closed in time");
    bytes
}

/// A connection of a scripted server or client, read by lines.
pub struct Line {
    pub reader: BufReader<TcpStream>,
}

impl Line {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }

    /// One command, as the server gets it.
    pub fn command(&mut self) -> Vec<String> {
        let header = self.line();
        let count: usize = header.strip_prefix('*').expect(&header).parse().unwrap();
        (0..count)
            .map(|_| {
                let length: usize = self.line()[1..].parse().unwrap();
                let mut bytes = vec![0; length + 2];
                self.reader.read_exact(&mut bytes).unwrap();
                String::from_utf8(bytes[..length].to_vec()).unwrap()
            })
            .collect()
    }
}

/// A command, as a client sends it.
pub fn command(words: &[&str]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text
}

pub fn start_workers(config: &Config, workers: usize) -> (Proxy, SocketAddr) {
    let options = Options {
        workers,
        ..Options::default()
    };
    let proxy = Proxy::start(config, &options).expect("started");
    let address = proxy.addresses()[0].1;
    (proxy, address)
}

/// The sum of a metric.
pub fn sum(proxy: &Proxy, name: &str) -> u64 {
    proxy.stats().values(name).values().sum()
}

pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Answers every Thrift call, but never one of `hang`.
pub fn hanging_server() -> Upstream {
    Upstream::start(|mut stream| {
        while let Some((_, method, seqid, _)) = read_thrift(&mut stream) {
            if method != "hang" {
                let _ = stream.write_all(&thrift_with(2, &method, seqid, b"x"));
            }
        }
    })
}

/// One call and its answer.
pub fn call(client: &mut TcpStream, method: &str) -> u8 {
    client.write_all(&thrift(1, method, 1)).unwrap();
    read_thrift(client).expect("an answer").0
}

/// The next connection, in time.
pub fn accept(listener: &TcpListener) -> Line {
    listener.set_nonblocking(true).unwrap();
    let mut found = None;
    eventually("somebody connects", || {
        found = listener.accept().ok();
        found.is_some()
    });
    let (stream, _) = found.unwrap();
    stream.set_nonblocking(false).unwrap();
    Line::new(stream)
}

pub fn redis(route: Route, clusters: Vec<Cluster>) -> (Proxy, SocketAddr) {
    start(&config(Redis::new(), vec![route], clusters))
}

pub fn is(name: &str, value: &str) -> AttributeMatch {
    AttributeMatch {
        name: name.into(),
        matcher: Matcher::Exact(value.into()),
        negate: false,
    }
}
