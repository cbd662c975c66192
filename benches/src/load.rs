//! The load generator: one thread, connections × depth in a closed loop, or requests at a fixed rate
//! whose latency counts from when each was due (so nothing is omitted when replies are late). Every
//! byte of every reply is checked.

mod connection;
mod outcome;

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::payload::Payload;
use crate::pipe::SCRATCH;
use crate::wire::{LANE, Protocol};
use connection::{Connection, Tally};
pub use outcome::Outcome;
use outcome::Usage;

const TIMER: Token = Token(usize::MAX);

/// How fine a fixed rate is dealt out.
const FINEST: Duration = Duration::from_micros(20);

/// How long replies may take after the last request.
const DRAIN: Duration = Duration::from_secs(3);

/// How long to wait before connecting again.
const AGAIN: Duration = Duration::from_millis(10);

/// A load.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it goes.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// How many connections.
    pub connections: usize,
    /// Requests in flight on each; at a fixed rate, the most.
    pub depth: usize,
    /// Requests per second over all; `None`: as fast as replies come.
    pub rate: Option<f64>,
    /// Size of the payload.
    pub size: usize,
    /// The method, or first part of the key.
    pub lane: String,
    /// What is not counted at the start.
    pub warmup: Duration,
    /// What is counted.
    pub duration: Duration,
    /// The process whose CPU time is told.
    pub watch: Option<u32>,
    /// Other processes that belong to the measurement.
    pub others: Vec<u32>,
    /// Connections may break; they are made again.
    pub tolerant: bool,
}

impl Options {
    /// One connection with one request in flight, for a second.
    pub fn new(protocol: Protocol, address: SocketAddr) -> Self {
        Self {
            address,
            protocol,
            connections: 1,
            depth: 1,
            rate: None,
            size: 32,
            lane: LANE.to_owned(),
            warmup: Duration::from_millis(300),
            duration: Duration::from_secs(1),
            watch: None,
            others: Vec::new(),
            tolerant: false,
        }
    }
}

/// Runs a load to its end.
pub fn run(options: &Options) -> Result<Outcome> {
    Load::new(options)?.run()
}

struct Load<'o> {
    options: &'o Options,
    payload: Payload,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    tally: Tally,
    scratch: Vec<u8>,
    start: Instant,
    /// Requests at a fixed rate that were dealt out.
    dealt: u64,
    sending: bool,
    retry_at: Option<Instant>,
    /// Wakes the loop when requests are due.
    timer: Option<OwnedFd>,
}

impl<'o> Load<'o> {
    fn new(options: &'o Options) -> Result<Self> {
        if options.size > options.protocol.largest() {
            bail!(
                "{} payloads have at most {} bytes",
                options.protocol.name(),
                options.protocol.largest()
            );
        }
        let mut load = Self {
            options,
            payload: Payload::new(options.size),
            poll: Poll::new()?,
            connections: Vec::new(),
            tally: Tally::new()?,
            scratch: vec![0; SCRATCH],
            start: Instant::now(),
            dealt: 0,
            sending: true,
            retry_at: None,
            timer: None,
        };
        for at in 0..options.connections {
            let connection = load.connect(at)?;
            load.connections.push(Some(connection));
        }
        Ok(load)
    }

    fn connect(&self, at: usize) -> Result<Connection> {
        let stream = std::net::TcpStream::connect_timeout(&self.options.address, DRAIN)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(at), both)?;
        Connection::new(stream, at, self.options)
    }

    fn run(mut self) -> Result<Outcome> {
        self.timer = self.timer()?;
        let mut events = Events::with_capacity(1024);
        self.start = Instant::now();
        let measure = self.start + self.options.warmup;
        let end = measure + self.options.duration;
        let mut from = None;
        for at in 0..self.connections.len() {
            self.turn(at, false)?;
        }
        loop {
            let now = Instant::now();
            if from.is_none() && now >= measure {
                from = Some(Usage::now(self.options)?);
                self.tally.reset(now);
            }
            if now >= end {
                break;
            }
            let until = if from.is_none() { measure } else { end };
            self.step(&mut events, until.saturating_duration_since(now))?;
        }
        let to = Usage::now(self.options)?;
        let counted = self.tally.close();
        self.sending = false;
        let drained = Instant::now() + DRAIN;
        while self.in_flight() > 0 && Instant::now() < drained {
            self.step(&mut events, Duration::from_millis(5))?;
        }
        let lost = self.in_flight();
        let from = from.unwrap_or_else(|| to.clone());
        Ok(Outcome::new(&from, &to, &counted, &self.tally, lost))
    }

    /// Something that wakes the loop when requests are due.
    fn timer(&self) -> Result<Option<OwnedFd>> {
        let Some(rate) = self.options.rate else {
            return Ok(None);
        };
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let period = Duration::from_secs_f64(1.0 / rate).clamp(FINEST, Duration::from_millis(500));
        let period = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(period.subsec_nanos()).max(1),
        };
        let times = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        let descriptor = timer.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE)?;
        Ok(Some(timer))
    }

    fn step(&mut self, events: &mut Events, wait: Duration) -> Result<()> {
        let wait = if self.retry_at.is_some() {
            wait.min(AGAIN)
        } else {
            wait
        };
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in events.iter() {
            match (event.token(), &self.timer) {
                (TIMER, Some(timer)) => {
                    // A timer that is not read does not go on; how often it fired says nothing.
                    let _ = rustix::io::read(timer, &mut [0; 8]);
                }
                (Token(at), _) => self.turn(at, event.is_readable())?,
            }
        }
        self.deal()?;
        self.retry()
    }

    /// Deals out the requests that are due, to the connections in turn.
    fn deal(&mut self) -> Result<()> {
        let Some(rate) = self.options.rate.filter(|_| self.sending) else {
            return Ok(());
        };
        let due = (self.start.elapsed().as_secs_f64() * rate) as u64;
        let first = self.dealt;
        for number in first..due {
            let at = (number % self.connections.len() as u64) as usize;
            let when = self.start + Duration::from_secs_f64(number as f64 / rate);
            if let Some(connection) = &mut self.connections[at] {
                connection.queue(when);
            }
        }
        self.dealt = due.max(first);
        let touched = (due - first.min(due)).min(self.connections.len() as u64);
        for number in first..first + touched {
            self.turn((number % self.connections.len() as u64) as usize, false)?;
        }
        Ok(())
    }

    fn turn(&mut self, at: usize, readable: bool) -> Result<()> {
        let Some(connection) = &mut self.connections[at] else {
            return Ok(());
        };
        let sending = self.sending;
        let went = connection.turn(
            readable,
            sending,
            &self.payload,
            &mut self.scratch,
            &mut self.tally,
        );
        let what = match went {
            Ok(true) => return Ok(()),
            Ok(false) => anyhow::anyhow!("the connection was closed"),
            Err(error) => error,
        };
        if !self.options.tolerant {
            return Err(what.context(format!("connection {at}")));
        }
        self.tally.cut += connection.in_flight() as u64;
        self.tally.closed += 1;
        self.connections[at] = None;
        self.retry_at.get_or_insert_with(|| Instant::now() + AGAIN);
        Ok(())
    }

    fn retry(&mut self) -> Result<()> {
        if !self.sending || self.retry_at.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        self.retry_at = None;
        for at in 0..self.connections.len() {
            if self.connections[at].is_some() {
                continue;
            }
            if let Ok(connection) = self.connect(at) {
                self.connections[at] = Some(connection);
                self.turn(at, false)?;
            } else {
                self.retry_at = Some(Instant::now() + AGAIN);
            }
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.connections
            .iter()
            .flatten()
            .map(Connection::in_flight)
            .sum()
    }
}

/// Latencies in nanoseconds, up to a minute.
fn latencies() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(100, 60_000_000_000, 3)?)
}
