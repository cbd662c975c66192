//! How much may wait for a client that reads slowly, and who has to wait until it has read: upstreams, its
//! own requests, or nobody any more, as it is cut off. What the bytes say is not known here.

use std::task::Waker;

use meltemi_frame::Output;

use super::{Downstream, State};
use crate::telemetry::stats::listener;

/// How well the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    Fine,
    /// More waits than should: whoever serves this client alone should wait.
    Slow,
}

impl Downstream {
    /// Bytes that may wait to be written before upstreams, or requests, have to wait.
    fn cap(&self) -> usize {
        let limit = self.view.borrow().listener.limits.output;
        limit.min(self.worker.services.memory.allowance())
    }

    /// `added`: bytes that the last message put into the output.
    pub(super) fn pressure(&self, state: &mut State, seq: Option<u64>, added: usize) -> Pressure {
        let view = self.view.borrow();
        let limits = &view.listener.limits;
        self.account(state);
        let waits = state.waits();
        // A client that had read what came before is not at fault for one large message.
        let behind = waits.saturating_sub(added) > limits.output.min(limits.output_cut_off);
        if waits > limits.output_cut_off && behind && !state.closed {
            self.count(listener::CUT_OFF, 1);
            tracing::warn!(
                downstream = %self.peer,
                listener = %view.listener.name,
                bytes = waits,
                "client cut off: it does not read its replies; `spec.limits.outputCutOff` of a \
                 ListenerPolicy allows more, `sharing: exclusive` of a DestinationPolicy lets the \
                 upstream wait"
            );
            state.closed = true;
            state.wake();
        }
        let before = state.waits_before(seq);
        if !state.closed && before > limits.output.min(self.worker.services.memory.allowance()) {
            self.note_stop(before, limits.output);
            Pressure::Slow
        } else {
            Pressure::Fine
        }
    }

    /// Whether the client is cut off if much more comes before it has read.
    pub(crate) fn is_nearly_cut_off(&self) -> bool {
        let limit = self.view.borrow().listener.limits.output_cut_off;
        self.state.borrow().waits() > limit - limit / 4
    }

    /// Bytes that the client has read, since upstreams wait for it.
    pub(crate) fn taken(&self) -> u64 {
        self.state
            .borrow()
            .cold
            .as_ref()
            .map_or(0, |rare| rare.taken)
    }

    /// Whether the upstream that sends the reply `seq`, or what answers nothing, has to wait for
    /// this client; if so it is woken when there is room.
    pub(crate) fn is_slow(&self, seq: Option<u64>, waker: &Waker) -> bool {
        let mut state = self.state.borrow_mut();
        if state.closed || state.waits_before(seq) <= self.cap() {
            return false;
        }
        let waiting = &mut state.cold_state().waiting;
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        true
    }

    /// Runs `write` on the output, remembers the task, and wakes whoever waits for room.
    pub(crate) fn flush<R>(&self, waker: &Waker, write: impl FnOnce(&mut Output) -> R) -> R {
        let mut state = self.state.borrow_mut();
        if !state.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        let before = state.out.len();
        let result = write(&mut state.out);
        let taken = before - state.out.len();
        if let Some(rare) = &mut state.cold {
            rare.taken += taken as u64;
        }
        self.account(&state);
        // What is held may leave only after what they send: they find out themselves.
        let State {
            cold: rare, out, ..
        } = &mut *state;
        if let Some(rare) = rare
            && !rare.waiting.is_empty()
            && out.len() <= self.cap()
        {
            for waker in rare.waiting.drain(..) {
                waker.wake();
            }
        }
        result
    }

    /// How many requests are in flight, if more may be read: not if more than `cap` waits to be written,
    /// in bytes, nor if the connection ends.
    pub(crate) fn may_read(&self, cap: usize) -> Option<usize> {
        let state = self.state.borrow();
        let parked = state.cold.as_ref().map_or(0, |rare| rare.delayed_bytes);
        let waits = state.waits() + parked;
        if waits > cap.min(self.worker.services.memory.allowance()) {
            self.note_stop(waits, cap);
            return None;
        }
        self.activity.stopped.set(false);
        (!state.ending).then_some(state.in_flight)
    }
}

impl State {
    /// Bytes that wait to be written, now or when their turn comes.
    pub(super) fn waits(&self) -> usize {
        self.out.len() + self.replies.held_bytes()
    }

    /// Bytes that must be written before more of the reply `seq` is of use, or of what answers
    /// nothing. What is held for later does not stand before a reply whose turn it is: to stop
    /// that one for its sake would stop both.
    fn waits_before(&self, seq: Option<u64>) -> usize {
        if seq.is_none_or(|seq| self.replies.is_turn(seq)) {
            self.out.len()
        } else {
            self.waits()
        }
    }
}
