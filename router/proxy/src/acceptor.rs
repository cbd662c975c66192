//! Accepts connections on one thread and gives each to the worker that has the fewest.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::stats::{Group, LISTENER, Stats, listener};
use crate::worker::Command;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;

/// A worker as the acceptor sees it.
#[derive(Clone)]
pub(crate) struct Lane {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) load: Arc<AtomicUsize>,
}

/// A connection that was let in: counted as long as this lives.
pub(crate) struct Admission {
    load: Arc<AtomicUsize>,
    listener: Arc<AtomicUsize>,
}

impl Admission {
    pub(crate) fn new(load: &Arc<AtomicUsize>, listener: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        listener.fetch_add(1, Ordering::Relaxed);
        Self {
            load: Arc::clone(load),
            listener: Arc::clone(listener),
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.listener.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listening socket that is being accepted on.
struct Accepting {
    name: Arc<str>,
    local: SocketAddr,
    /// The same socket once more, for a listener that changes its name.
    socket: std::net::TcpListener,
    limit: Arc<AtomicUsize>,
    task: AbortHandle,
}

/// The listening sockets of a process.
pub(crate) struct Acceptor {
    runtime: tokio::runtime::Handle,
    lanes: Vec<Lane>,
    stats: Stats,
    open: HashMap<SocketAddr, Accepting>,
}

/// A socket that is bound, but not accepted on yet.
pub(crate) struct Bound {
    wanted: SocketAddr,
    socket: std::net::TcpListener,
}

impl Acceptor {
    pub(crate) fn new(runtime: tokio::runtime::Handle, lanes: Vec<Lane>, stats: Stats) -> Self {
        Self {
            runtime,
            lanes,
            stats,
            open: HashMap::new(),
        }
    }

    /// Binds the addresses that are not open yet. Nothing changes if one of them cannot be bound.
    pub(crate) fn bind(
        &self,
        wanted: &[SocketAddr],
    ) -> Result<Vec<Bound>, (SocketAddr, io::Error)> {
        wanted
            .iter()
            .filter(|address| !self.open.contains_key(address))
            .map(|address| {
                let socket = bind(*address).map_err(|error| (*address, error))?;
                Ok(Bound {
                    wanted: *address,
                    socket,
                })
            })
            .collect()
    }

    /// Accepts on the bound sockets, and no more on those that are not wanted.
    /// `wanted`: address, name of the listener, and how many connections it may have.
    pub(crate) fn switch(
        &mut self,
        bound: Vec<Bound>,
        wanted: &[(SocketAddr, Arc<str>, usize)],
    ) -> Result<(), (SocketAddr, io::Error)> {
        let mut bound: HashMap<_, _> = bound
            .into_iter()
            .map(|bound| (bound.wanted, bound.socket))
            .collect();
        self.open.retain(|address, accepting| {
            let kept = wanted.iter().find(|(other, _, _)| other == address);
            match kept {
                Some((_, name, limit)) if *name == accepting.name => {
                    accepting.limit.store(*limit, Ordering::Relaxed);
                    return true;
                }
                // Another name: its socket stays, and so does who waits in it to be accepted.
                Some(_) => {
                    let socket = accepting.socket.try_clone();
                    bound.extend(socket.ok().map(|socket| (*address, socket)));
                }
                None => {}
            }
            accepting.task.abort();
            false
        });
        for (address, name, limit) in wanted {
            if self.open.contains_key(address) {
                continue;
            }
            let socket = match bound.remove(address) {
                Some(socket) => socket,
                None => bind(*address).map_err(|error| (*address, error))?,
            };
            let accepting = self
                .accept(socket, name, *limit)
                .map_err(|error| (*address, error))?;
            self.open.insert(*address, accepting);
        }
        Ok(())
    }

    fn accept(
        &self,
        socket: std::net::TcpListener,
        name: &Arc<str>,
        limit: usize,
    ) -> io::Result<Accepting> {
        let _inside = self.runtime.enter();
        let local = socket.local_addr()?;
        let listener = TcpListener::from_std(socket.try_clone()?)?;
        let limit = Arc::new(AtomicUsize::new(limit));
        let task = self.runtime.spawn(accept_all(
            listener,
            Arc::clone(name),
            self.lanes.clone(),
            Arc::clone(&limit),
            self.stats.group(&LISTENER, vec![name.to_string()]),
        ));
        Ok(Accepting {
            name: Arc::clone(name),
            local,
            socket,
            limit,
            task: task.abort_handle(),
        })
    }

    /// Where each listener listens (which tells the port, where the system chose it).
    pub(crate) fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let mut all: Vec<_> = self
            .open
            .values()
            .map(|one| (Arc::clone(&one.name), one.local))
            .collect();
        all.sort();
        all
    }

    /// Accepts no more.
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
    lanes: Vec<Lane>,
    limit: Arc<AtomicUsize>,
    group: Arc<Group>,
) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: it passes, and a hot loop would not help.
                tracing::warn!(listener = %name, %error, "cannot accept");
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
    lanes: &[Lane],
    open: &Arc<AtomicUsize>,
) {
    // A worker that is gone has the least to do of all.
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
    // A worker that is gone drops the connection, and its admission with it.
    let _ = lane
        .commands
        .send(Command::Accept(stream, peer, Arc::clone(name), admission));
}
