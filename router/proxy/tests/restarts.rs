//! Servers that stop and come back under load, as in a rolling restart: no request fails.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use meltemi_config::{Balancing, RetryBudget, Share};
use meltemi_dubbo::Dubbo;
use support::*;

/// A Dubbo server that stops as real ones do: it accepts no more, asks its clients to leave, answers what
/// still comes, and closes when nothing comes any more.
struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let accepting = std::thread::spawn(move || {
            let mut serving = Vec::new();
            loop {
                let stopping = stop.load(SeqCst);
                match listener.accept() {
                    Ok((stream, _)) => {
                        let stop = Arc::clone(&stop);
                        serving.push(std::thread::spawn(move || serve(stream, &stop)));
                    }
                    // Connections that wait to be accepted would be reset, with what was sent on them.
                    Err(_) if stopping => break,
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
            drop(listener);
            for thread in serving {
                thread.join().unwrap();
            }
        });
        Self {
            address,
            stopping,
            accepting: Some(accepting),
        }
    }

    /// Stops, and starts again at the same address.
    fn restart(&mut self) {
        self.stop();
        std::thread::sleep(Duration::from_millis(50));
        *self = Self::start(self.address);
    }

    fn stop(&mut self) {
        self.stopping.store(true, SeqCst);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

fn serve(mut stream: TcpStream, stop: &AtomicBool) {
    stream.set_nonblocking(false).unwrap();
    let mut said = false;
    loop {
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let stopping = stop.load(SeqCst);
        if stopping && !said {
            said = true;
            // The event by which a provider asks to be left.
            let _ = stream.write_all(&dubbo_frame(0xa2, 0, 0, b"\x01R"));
        }
        match stream.peek(&mut [0]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stopping {
                    return;
                }
                continue;
            }
            Err(_) => return,
        }
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let Some((_, _, id, _)) = read_dubbo(&mut stream) else {
            return;
        };
        if stream
            .write_all(&dubbo_frame(0x02, 20, id, b"\x92"))
            .is_err()
        {
            return;
        }
    }
}

/// Clients that keep many calls in flight until they are told to stop.
struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    made: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
}

impl Load {
    fn start(to: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (made, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4).map(|_| {
            let (over, made, failed) = (Arc::clone(&over), Arc::clone(&made), Arc::clone(&failed));
            std::thread::spawn(move || {
                let mut client = connect(to);
                let batch: Vec<u8> = (1..=50).flat_map(|id| dubbo(id, "m", b"x")).collect();
                while !over.load(SeqCst) {
                    client.write_all(&batch).unwrap();
                    for _ in 1..=50 {
                        let (_, status, _, _) = read_dubbo(&mut client).expect("an answer");
                        made.fetch_add(1, SeqCst);
                        failed.fetch_add(usize::from(status != 20), SeqCst);
                    }
                }
            })
        });
        Self {
            clients: clients.collect(),
            over,
            made,
            failed,
        }
    }

    /// How many calls there were, and how many failed.
    fn end(self) -> (usize, usize) {
        self.over.store(true, SeqCst);
        for client in self.clients {
            client.join().unwrap();
        }
        (self.made.load(SeqCst), self.failed.load(SeqCst))
    }
}

fn servers(count: usize) -> Vec<Server> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    (0..count).map(|_| Server::start(any)).collect()
}

#[test]
fn a_rolling_restart_under_load_fails_nothing() {
    let mut servers = servers(3);
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut three = cluster("one", &addresses);
    three.balancing = Balancing::RoundRobin;
    three.budget = RetryBudget {
        share: Share::NONE,
        least: 0,
    };
    let (proxy, to) = start(&config(Dubbo::new(), vec![catch_all("one")], vec![three]));
    let load = Load::start(to);
    for server in &mut servers {
        server.restart();
        std::thread::sleep(Duration::from_millis(100));
    }
    let (made, failed) = load.end();
    assert!(made > 200, "{made}");
    assert_eq!(failed, 0, "of {made}");
    assert!(sum(&proxy, "meltemi_upstream_connect_failures") > 0);
}

#[test]
fn a_provider_that_stops_under_load_costs_nothing_while_another_is_up() {
    let mut servers = servers(2);
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let (_proxy, to) = start(&config(
        Dubbo::new(),
        vec![catch_all("one")],
        vec![cluster("one", &addresses)],
    ));
    let load = Load::start(to);
    std::thread::sleep(Duration::from_millis(100));
    servers[0].stop();
    std::thread::sleep(Duration::from_millis(300));
    let (made, failed) = load.end();
    assert_eq!(failed, 0, "of {made}");
}
