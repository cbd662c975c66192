//! The server behind the proxies: one thread, any number of connections, an answer to every request.
//! Its lanes can be slow or silent. It answers a connection in order where the protocol's servers do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::pipe::{Pipe, SCRATCH};
use crate::wire::{Protocol, When};

const LISTENER: Token = Token(usize::MAX);

/// What a backend does.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: SocketAddr,
    /// How late it answers in the slow lane.
    pub delay: Duration,
}

/// Serves for ever. Calls `ready` once it listens.
pub fn run(options: &Options, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let listener = TcpListener::bind(options.address)?;
    ready(listener.local_addr()?);
    let mut backend = Backend {
        poll: Poll::new()?,
        listener,
        options: *options,
        connections: Vec::new(),
        late: BinaryHeap::new(),
        scratch: vec![0; SCRATCH],
    };
    backend.serve()
}

struct Backend {
    poll: Poll,
    listener: TcpListener,
    options: Options,
    /// By token. Places are not used again, so that a late answer cannot go astray.
    connections: Vec<Option<Box<Connection>>>,
    late: BinaryHeap<Reverse<Late>>,
    scratch: Vec<u8>,
}

struct Connection {
    pipe: Pipe,
    /// Nothing more is answered before this one is: a server that works in order.
    held: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    due: Instant,
    connection: usize,
    answer: Vec<u8>,
}

impl Backend {
    fn serve(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        self.poll
            .registry()
            .register(&mut self.listener, LISTENER, Interest::READABLE)?;
        loop {
            let next = self.late.peek().map(|Reverse(late)| late.due);
            let wait = next.map(|due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(at) => self.turn(at, event.is_readable()),
                }
            }
            self.answer_late();
        }
    }

    fn accept(&mut self) -> Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let token = Token(self.connections.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, both)?;
            let connection = Connection {
                pipe: Pipe::new(stream)?,
                held: false,
            };
            self.connections.push(Some(Box::new(connection)));
        }
        Ok(())
    }

    /// Answers what has come. A connection that fails is closed.
    fn turn(&mut self, at: usize, readable: bool) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        let options = &self.options;
        let late = &mut self.late;
        let mut held = connection.held;
        let mut open = true;
        if readable && !held {
            let take =
                |input: &[u8], out: &mut Vec<u8>| answer(options, at, &mut held, late, input, out);
            open = connection
                .pipe
                .read(&mut self.scratch, take)
                .unwrap_or(false);
        }
        connection.held = held;
        if !open || connection.pipe.flush().is_err() {
            self.connections[at] = None;
        }
    }

    fn answer_late(&mut self) {
        let now = Instant::now();
        while self
            .late
            .peek()
            .is_some_and(|Reverse(late)| late.due <= now)
        {
            let Some(Reverse(Late {
                connection: at,
                answer: bytes,
                ..
            })) = self.late.pop()
            else {
                return;
            };
            let Some(Some(connection)) = self.connections.get_mut(at) else {
                continue;
            };
            connection.pipe.out.extend_from_slice(&bytes);
            connection.held = false;
            let mut held = false;
            let (options, late) = (&self.options, &mut self.late);
            let left = connection
                .pipe
                .again(|input, out| answer(options, at, &mut held, late, input, out));
            connection.held = held;
            if left.is_err() {
                self.connections[at] = None;
            } else {
                self.turn(at, true);
            }
        }
    }
}

/// Answers requests at the front of the input; says how many bytes they took.
fn answer(
    options: &Options,
    at: usize,
    held: &mut bool,
    late: &mut BinaryHeap<Reverse<Late>>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize> {
    let mut done = 0;
    while !*held {
        let before = out.len();
        let Some(served) = options.protocol.serve(&input[done..], out)? else {
            break;
        };
        done += served.length;
        if served.when == When::Now {
            continue;
        }
        let answer = out.split_off(before);
        *held = options.protocol.in_order();
        if served.when == When::Later {
            let due = Instant::now() + options.delay;
            late.push(Reverse(Late {
                due,
                connection: at,
                answer,
            }));
        }
    }
    Ok(done)
}
