//! Accepts connections on one thread, and gives each to the worker with the fewest connections.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::downstream::admission::Admission;
use crate::telemetry::stats::{LISTENER, MetricSet, Stats, listener};
use crate::worker::Command;

/// The length of the kernel's queue of connections that are not accepted yet.
const BACKLOG: i32 = 1024;

/// A worker as the acceptor sees it.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) load: Arc<AtomicUsize>,
}

/// A listening socket in use.
struct Accepting {
    name: Arc<str>,
    local: SocketAddr,
    /// A second handle of the socket, in case its listener is renamed.
    socket: std::net::TcpListener,
    limit: Arc<AtomicUsize>,
    task: AbortHandle,
}

/// The listening sockets of the process.
pub(crate) struct Acceptor {
    runtime: tokio::runtime::Handle,
    lanes: Vec<WorkerHandle>,
    stats: Stats,
    open: HashMap<SocketAddr, Accepting>,
}

/// A listener of the configuration.
pub(crate) struct Wanted {
    pub(crate) address: SocketAddr,
    pub(crate) name: Arc<str>,
    /// The most connections that it may have.
    pub(crate) connections: usize,
}

/// The prepared change of listeners.
pub(crate) struct Prepared {
    listeners: Vec<(SocketAddr, PreparedListener)>,
}

enum PreparedListener {
    /// The listener stays. Only its limit may change.
    Kept(usize),
    /// The socket is bound, but no task accepts on it yet.
    New(Ready),
}

struct Ready {
    name: Arc<str>,
    local: SocketAddr,
    socket: std::net::TcpListener,
    listener: TcpListener,
    limit: usize,
}

impl Acceptor {
    pub(crate) fn new(
        runtime: tokio::runtime::Handle,
        lanes: Vec<WorkerHandle>,
        stats: Stats,
    ) -> Self {
        Self {
            runtime,
            lanes,
            stats,
            open: HashMap::new(),
        }
    }

    /// Binds the new addresses and does everything else that can fail. Changes nothing yet.
    pub(crate) fn prepare(&self, wanted: &[Wanted]) -> Result<Prepared, (SocketAddr, io::Error)> {
        let prepare = |one: &Wanted| {
            let prepared = match self.open.get(&one.address) {
                Some(open) if open.name == one.name => Ok(PreparedListener::Kept(one.connections)),
                // The listener has a new name. Its socket stays, with the clients in its queue.
                Some(open) => open
                    .socket
                    .try_clone()
                    .and_then(|socket| self.ready(socket, one)),
                None => bind(one.address).and_then(|socket| self.ready(socket, one)),
            };
            match prepared {
                Ok(prepared) => Ok((one.address, prepared)),
                Err(error) => Err((one.address, error)),
            }
        };
        let listeners = wanted.iter().map(prepare).collect::<Result<_, _>>()?;
        Ok(Prepared { listeners })
    }

    fn ready(
        &self,
        socket: std::net::TcpListener,
        wanted: &Wanted,
    ) -> io::Result<PreparedListener> {
        let _inside = self.runtime.enter();
        Ok(PreparedListener::New(Ready {
            name: Arc::clone(&wanted.name),
            local: socket.local_addr()?,
            listener: TcpListener::from_std(socket.try_clone()?)?,
            socket,
            limit: wanted.connections,
        }))
    }

    /// Accepts on the prepared listeners, and stops on all others.
    pub(crate) fn switch(&mut self, prepared: Prepared) {
        let mut before = std::mem::take(&mut self.open);
        for (address, listener) in prepared.listeners {
            match listener {
                PreparedListener::Kept(limit) => {
                    if let Some(accepting) = before.remove(&address) {
                        accepting.limit.store(limit, Ordering::Relaxed);
                        self.open.insert(address, accepting);
                    }
                }
                PreparedListener::New(ready) => {
                    let accepting = self.accept(ready);
                    self.open.insert(address, accepting);
                }
            }
        }
        for accepting in before.into_values() {
            accepting.task.abort();
        }
    }

    fn accept(&self, ready: Ready) -> Accepting {
        let limit = Arc::new(AtomicUsize::new(ready.limit));
        let task = self.runtime.spawn(accept_all(
            ready.listener,
            Arc::clone(&ready.name),
            self.lanes.clone(),
            Arc::clone(&limit),
            self.stats.group(&LISTENER, vec![ready.name.to_string()]),
        ));
        Accepting {
            name: ready.name,
            local: ready.local,
            socket: ready.socket,
            limit,
            task: task.abort_handle(),
        }
    }

    /// Returns the address of each listener. The port is the real one if the system chose it.
    pub(crate) fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let mut all: Vec<_> = self
            .open
            .values()
            .map(|one| (Arc::clone(&one.name), one.local))
            .collect();
        all.sort();
        all
    }

    /// Stops accepting.
    pub(crate) fn close(&mut self) {
        for (_, accepting) in self.open.drain() {
            accepting.task.abort();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept_all(
    socket: TcpListener,
    name: Arc<str>,
    lanes: Vec<WorkerHandle>,
    limit: Arc<AtomicUsize>,
    group: Arc<MetricSet>,
) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The process is probably out of file descriptors. The shortage will pass, and a
                // busy loop would not help.
                tracing::warn!(listener = %name, %error, "the listener cannot accept connections");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= limit.load(Ordering::Relaxed) {
            group.add(listener::REFUSED, 1);
            continue;
        }
        give(stream, peer, &name, &lanes, &open);
    }
}

fn give(
    stream: TcpStream,
    peer: SocketAddr,
    name: &Arc<str>,
    lanes: &[WorkerHandle],
    open: &Arc<AtomicUsize>,
) {
    // A worker that has stopped would look like the one with the fewest connections.
    let Some(lane) = lanes
        .iter()
        .filter(|lane| !lane.commands.is_closed())
        .min_by_key(|lane| lane.load.load(Ordering::Relaxed))
    else {
        return;
    };
    let Ok(stream) = stream.into_std() else {
        return;
    };
    let admission = Admission::new(&lane.load, open);
    // If the worker has stopped, the connection and its admission are dropped.
    let _ = lane
        .commands
        .send(Command::Accept(stream, peer, Arc::clone(name), admission));
}
