//! One connection of the load generator: what it has in flight, and whether replies are right.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;
use mio::net::TcpStream;

use super::{Options, latencies};
use crate::payload::Payload;
use crate::pipe::Pipe;
use crate::wire::{Ask, Protocol, Reply};

/// What was counted.
pub(super) struct Tally {
    pub(super) latencies: Histogram<u64>,
    /// Good replies.
    pub(super) replies: u64,
    /// Errors in the protocol's own words.
    pub(super) failed: u64,
    /// Replies that were never asked for, or have another's payload.
    pub(super) wrong: u64,
    /// Requests whose connection was closed.
    pub(super) cut: u64,
    /// Connections that were closed.
    pub(super) closed: u64,
    /// When the last good reply came, and the longest time between two.
    pub(super) last: Instant,
    pub(super) silence: std::time::Duration,
    counting: bool,
}

/// What was counted when the measured time was over.
pub(super) struct Counted {
    pub(super) latencies: Histogram<u64>,
    pub(super) replies: u64,
    pub(super) failed: u64,
    pub(super) silence: std::time::Duration,
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            latencies: latencies()?,
            replies: 0,
            failed: 0,
            wrong: 0,
            cut: 0,
            closed: 0,
            last: Instant::now(),
            silence: std::time::Duration::ZERO,
            counting: true,
        })
    }

    /// The measured time begins. What went wrong before stays counted.
    pub(super) fn reset(&mut self, now: Instant) {
        self.latencies.reset();
        self.replies = 0;
        self.failed = 0;
        self.last = now;
        self.silence = std::time::Duration::ZERO;
    }

    /// The measured time is over.
    pub(super) fn close(&mut self) -> Counted {
        self.counting = false;
        Counted {
            latencies: self.latencies.clone(),
            replies: self.replies,
            failed: self.failed,
            silence: self.silence.max(self.last.elapsed()),
        }
    }

    fn good(&mut self, now: Instant, due: Instant) {
        if self.counting {
            self.replies += 1;
            self.latencies
                .saturating_record((now - due).as_nanos() as u64);
            self.silence = self.silence.max(now - self.last);
            self.last = now;
        }
    }
}

/// A request in flight.
#[derive(Clone, Copy)]
struct Slot {
    id: u32,
    due: Instant,
}

pub(super) struct Connection {
    pipe: Pipe,
    number: u64,
    protocol: Protocol,
    lane: String,
    depth: usize,
    /// Whether requests are dealt out at a fixed rate.
    paced: bool,
    /// By the low bits of the id.
    slots: Vec<Option<Slot>>,
    in_flight: usize,
    next: u32,
    /// The request that the next reply without an id answers.
    oldest: u32,
    queue: VecDeque<Instant>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, number: usize, options: &Options) -> Result<Self> {
        // Replies may come in any order: a slow one must not stop the ids behind it too early.
        let slots = (options.depth * 4).next_power_of_two().max(64);
        Ok(Self {
            pipe: Pipe::new(stream)?,
            number: number as u64,
            protocol: options.protocol,
            lane: options.lane.clone(),
            depth: options.depth,
            paced: options.rate.is_some(),
            slots: vec![None; slots],
            in_flight: 0,
            next: 1,
            oldest: 1,
            queue: VecDeque::new(),
        })
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A request is due, whether it can be sent yet or not.
    pub(super) fn queue(&mut self, due: Instant) {
        self.queue.push_back(due);
    }

    /// Takes replies and sends what may be sent. False once the peer has closed.
    pub(super) fn turn(
        &mut self,
        readable: bool,
        sending: bool,
        payload: &Payload,
        scratch: &mut [u8],
        tally: &mut Tally,
    ) -> Result<bool> {
        let mut open = true;
        if readable {
            let Self {
                pipe,
                protocol,
                slots,
                in_flight,
                oldest,
                number,
                ..
            } = self;
            open = pipe.read(scratch, |input, _| {
                let now = Instant::now();
                let mut done = 0;
                while let Some(reply) = protocol.reply(&input[done..])? {
                    done += reply.length;
                    let id = reply.id.unwrap_or(*oldest);
                    *oldest = oldest.wrapping_add(1);
                    let mask = slots.len() - 1;
                    let slot = slots[id as usize & mask].take_if(|slot| slot.id == id);
                    *in_flight -= usize::from(slot.is_some());
                    judge(&reply, slot, *number, payload, now, tally);
                }
                Ok(done)
            })?;
        }
        if sending && open {
            self.send(payload);
        }
        self.pipe.flush()?;
        Ok(open)
    }

    fn send(&mut self, payload: &Payload) {
        let now = Instant::now();
        while self.in_flight < self.depth {
            let mask = self.slots.len() - 1;
            let slot = &mut self.slots[self.next as usize & mask];
            if slot.is_some() {
                return;
            }
            let due = if self.paced {
                let Some(due) = self.queue.pop_front() else {
                    return;
                };
                due
            } else {
                now
            };
            *slot = Some(Slot { id: self.next, due });
            let tag = self.number << 32 | u64::from(self.next);
            let ask = Ask {
                id: self.next,
                tag,
                lane: &self.lane,
                payload,
            };
            self.protocol.ask(&ask, &mut self.pipe.out);
            self.in_flight += 1;
            self.next = self.next.wrapping_add(1);
        }
    }
}

fn judge(
    reply: &Reply<'_>,
    slot: Option<Slot>,
    number: u64,
    payload: &Payload,
    now: Instant,
    tally: &mut Tally,
) {
    match (slot, reply.payload) {
        (Some(_), None) => tally.failed += 1,
        (Some(slot), Some(bytes)) if payload.is(number << 32 | u64::from(slot.id), bytes) => {
            tally.good(now, slot.due);
        }
        _ => tally.wrong += 1,
    }
}
