//! What a client sends in order happens in order: whatever connections its requests take, and however slow
//! each of them is.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meltemi_config::Cluster;
use meltemi_frame::Sharing;
use meltemi_redis::Redis;
use support::*;

/// Larger than what is held whole.
const LARGE: usize = 100 << 10;

/// What servers executed, by client.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<HashMap<String, Vec<String>>>>);

impl Log {
    fn write(&self, words: &[String]) {
        // `client:number`, in whatever place the command has a key.
        let tag = words.iter().find_map(|word| word.split_once(':'));
        if let Some((client, number)) = tag {
            let mut log = self.0.lock().unwrap();
            let of_client = log.entry(client.to_owned()).or_default();
            of_client.push(number.to_owned());
        }
    }

    fn of(&self, client: &str) -> Vec<String> {
        let log = self.0.lock().unwrap();
        log.get(client).cloned().unwrap_or_default()
    }
}

/// A server that executes each command after a delay that differs from connection to connection.
fn slow_server(log: Log, seed: u64) -> Upstream {
    Upstream::start(move |stream| {
        let mut random =
            fastrand::Rng::with_seed(seed ^ u64::from(stream.peer_addr().unwrap().port()));
        stream.set_nodelay(true).unwrap();
        let pace = [0, 200, 3000][random.usize(..3)];
        let mut line = Line::new(stream);
        while line.reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            let words = line.command();
            std::thread::sleep(Duration::from_micros(random.u64(..=pace)));
            log.write(&words);
            let reply = match words[0].as_str() {
                "EXEC" => "*0\r\n",
                "BLPOP" => "*-1\r\n",
                "GET" => "$-1\r\n",
                _ => "+OK\r\n",
            };
            if line.reader.get_mut().write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Random commands of one client, and how many are sent.
fn pipeline(client: &str, length: usize, random: &mut fastrand::Rng) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    let mut tag = 0;
    let mut key = || {
        tag += 1;
        format!("{client}:{tag}")
    };
    for _ in 0..length {
        let commands = match random.usize(..20) {
            0 => vec![command(&["SET", &key(), &"x".repeat(LARGE)])],
            1 => vec![command(&["BLPOP", &key(), "0"])],
            2 => vec![
                command(&["MULTI"]),
                command(&["SET", &key(), "x"]),
                command(&["SET", &key(), &"x".repeat(LARGE)]),
                command(&["EXEC"]),
            ],
            3 => vec![
                command(&["WATCH", &key()]),
                command(&["GET", &key()]),
                command(&["UNWATCH"]),
            ],
            4 => vec![command(&["SELECT", &random.usize(..3).to_string()])],
            5..12 => vec![command(&["SET", &key(), "x"])],
            _ => vec![command(&["GET", &key()])],
        };
        count += commands.len();
        text.extend(commands);
    }
    (text, count)
}

/// Reads one reply. Returns whether it is an error.
fn reply(line: &mut Line) -> bool {
    let first = line.line();
    assert!(!first.is_empty(), "closed");
    first.starts_with('-')
}

/// Clients send random pipelines at once; each of them must be executed in the order sent.
fn all_in_order(address: SocketAddr, log: &Log, seed: u64) {
    let clients: Vec<_> = (0..4)
        .map(|number| {
            std::thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed * 100 + number);
                let name = format!("c{number}");
                let (text, count) = pipeline(&name, 120, &mut random);
                let stream = connect(address);
                let mut writer = stream.try_clone().unwrap();
                let bytes = text.clone();
                let writing = std::thread::spawn(move || {
                    for part in bytes.as_bytes().chunks(7000) {
                        writer.write_all(part).unwrap();
                        if random.u8(..8) == 0 {
                            std::thread::sleep(Duration::from_millis(2));
                        }
                    }
                });
                let mut line = Line::new(stream);
                for _ in 0..count {
                    assert!(!reply(&mut line), "client {name} of seed {seed}");
                }
                writing.join().unwrap();
                text.matches(&format!("{name}:")).count()
            })
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let sent = client.join().unwrap();
        let expected: Vec<String> = (1..=sent).map(|tag| tag.to_string()).collect();
        assert_eq!(log.of(&format!("c{number}")), expected, "seed {seed}");
    }
}

#[test]
fn random_pipelines_are_executed_in_order() {
    type Change = fn(&mut Cluster);
    let kinds: [(usize, Change); 4] = [
        (1, |_| {}),
        (2, |_| {}),
        (1, |one| one.sharing = Some(Sharing::Exclusive)),
        (2, |one| {
            one.sharing = Some(Sharing::Exclusive);
            one.limits.connections = 4;
        }),
    ];
    for (seed, (endpoints, change)) in kinds.into_iter().enumerate() {
        let seed = seed as u64;
        let log = Log::default();
        let servers: Vec<_> = (0..endpoints)
            .map(|at| slow_server(log.clone(), seed * 10 + at as u64))
            .collect();
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        let mut one = cluster("one", &addresses);
        change(&mut one);
        let mut route = catch_all("one");
        route.timeout = None;
        let (_proxy, address) = redis(route, vec![one]);
        all_in_order(address, &log, seed);
    }
}

#[test]
fn a_request_in_pieces_waits_and_is_waited_for() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = redis(catch_all("one"), vec![cluster("one", &[server.address])]);
    let mut client = Line::new(connect(address));
    let large = "x".repeat(LARGE);
    let set = |value: &str| command(&["SET", "k", value]);
    client.send(&(set("first") + &set(&large) + &set("small")));
    let mut first = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(first.command()[2], "first");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.connections(), 1, "the large one waits");
    first.send("+OK\r\n");
    let mut second = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(second.command()[2], large);
    assert!(is_silent(&mut first), "the small one waits");
    second.send("+OK\r\n");
    assert_eq!(first.command()[2], "small");
    first.send("+OK\r\n");
    let got: Vec<_> = (0..3).map(|_| client.line()).collect();
    assert_eq!(got, ["+OK"; 3]);
}

#[test]
fn nothing_overtakes_a_blocking_command() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = redis(catch_all("one"), vec![cluster("one", &[server.address])]);
    let mut client = Line::new(connect(address));
    client.send(
        &(command(&["LPUSH", "a", "1"])
            + &command(&["BRPOPLPUSH", "a", "b", "1"])
            + &command(&["LLEN", "a"])
            + &command(&["LLEN", "b"])),
    );
    let mut shared = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(shared.command()[0], "LPUSH");
    assert!(is_silent(&mut shared));
    assert_eq!(server.connections(), 1);
    shared.send(":1\r\n");
    let mut own = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(own.command()[0], "BRPOPLPUSH");
    assert!(is_silent(&mut shared));
    own.send("$1\r\n1\r\n");
    assert_eq!(shared.command(), ["LLEN", "a"]);
    assert_eq!(shared.command(), ["LLEN", "b"]);
    shared.send(":0\r\n:1\r\n");
    let got: Vec<_> = (0..5).map(|_| client.line()).collect();
    assert_eq!(got, [":1", "$1", "1", ":0", ":1"]);
}

#[test]
fn a_client_stays_on_a_slow_connection() {
    let (server, connections) = Upstream::scripted();
    let (_proxy, address) = redis(catch_all("one"), vec![cluster("one", &[server.address])]);
    let mut client = Line::new(connect(address));
    client.send(&command(&["SET", "k", "new"]));
    let mut slow = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(slow.command()[0], "SET");
    std::thread::sleep(Duration::from_millis(200));
    client.send(&command(&["GET", "k"]));
    assert_eq!(slow.command()[0], "GET");
    // Others need not wait for it.
    let mut other = Line::new(connect(address));
    other.send(&command(&["GET", "k"]));
    let mut second = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(second.command()[0], "GET");
    slow.send("+OK\r\n+new\r\n");
    second.send("+new\r\n");
    assert_eq!(
        (client.line(), client.line()),
        ("+OK".into(), "+new".into())
    );
    assert_eq!(other.line(), "+new");
}

#[test]
fn an_exclusive_pipeline_takes_one_connection_of_nobody_else() {
    let (server, connections) = Upstream::scripted();
    let mut exclusive = cluster("one", &[server.address]);
    exclusive.sharing = Some(Sharing::Exclusive);
    let (_proxy, address) = redis(catch_all("one"), vec![exclusive]);
    let mut client = Line::new(connect(address));
    let get = |key: usize| command(&["GET", &key.to_string()]);
    client.send(&(0..100).map(get).collect::<String>());
    let mut own = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    for key in 0..100 {
        assert_eq!(own.command(), ["GET", &key.to_string()]);
    }
    let mut other = Line::new(connect(address));
    other.send(&get(100));
    let mut others = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(others.command(), ["GET", "100"]);
    // It stays the client's own as long as something is under way.
    own.send(&"+x\r\n".repeat(99));
    client.send(&get(101));
    assert_eq!(own.command(), ["GET", "101"]);
    own.send("+x\r\n+x\r\n");
    for _ in 0..101 {
        assert_eq!(client.line(), "+x");
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_client_waits_for_what_it_has_on_a_connection_that_takes_no_more() {
    let (server, connections) = Upstream::scripted();
    let routes = vec![
        {
            let mut short = route("key", "a", "one");
            short.timeout = Some(Duration::from_millis(50));
            short
        },
        catch_all("one"),
    ];
    let clusters = vec![cluster("one", &[server.address])];
    let (_proxy, address) = start(&config(Redis::new(), routes, clusters));
    let mut client = Line::new(connect(address));
    client.send(&(command(&["INCR", "a"]) + &command(&["SET", "k", "1"])));
    let mut stuck = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(stuck.command()[0], "INCR");
    assert_eq!(stuck.command()[0], "SET");
    // The connection takes no new requests from here on.
    assert!(client.line().starts_with('-'));
    client.send(&(command(&["GET", "k"]) + &command(&["GET", "l"])));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.connections(), 1, "SET is under way");
    stuck.send(":1\r\n+OK\r\n");
    let mut fresh = Line::new(connections.recv_timeout(PATIENCE).unwrap());
    assert_eq!(fresh.command(), ["GET", "k"]);
    assert_eq!(fresh.command(), ["GET", "l"]);
    fresh.send("+1\r\n+2\r\n");
    let got: Vec<_> = (0..3).map(|_| client.line()).collect();
    assert_eq!(got, ["+OK", "+1", "+2"]);
}

/// Nothing comes for a moment.
fn is_silent(line: &mut Line) -> bool {
    let stream = line.reader.get_ref().try_clone().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let silent = line.reader.fill_buf().is_err();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}
