//! Back-pressure from clients that read slowly. Limits the buffered bytes, and decides who waits:
//! the upstream or the client's own requests. Closes the connection of a client that is too far
//! behind. The module does not interpret the bytes.

use std::task::Waker;

use meltemi_frame::Output;

use super::{Downstream, State};
use crate::telemetry::stats::listener;

/// How well the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    Fine,
    /// Too many bytes are buffered. An upstream that serves only this client should wait.
    Slow,
}

impl Downstream {
    /// Returns how many bytes may be buffered before upstreams and requests must wait.
    fn cap(&self) -> usize {
        let limit = self.view.borrow().listener.limits.output;
        limit.min(self.worker.services.memory.allowance())
    }

    /// Decides after a write whether the client keeps up. Closes the connection if the client is
    /// too far behind. `added`: bytes that the last message put into the output.
    pub(super) fn pressure(&self, state: &mut State, seq: Option<u64>, added: usize) -> Pressure {
        let view = self.view.borrow();
        let limits = &view.listener.limits;
        self.account(state);
        let waits = state.waits();
        // One large message is not the fault of a client that had read everything before it.
        let behind = waits.saturating_sub(added) > limits.output.min(limits.output_cut_off);
        if waits > limits.output_cut_off && behind && !state.closed {
            self.count(listener::CUT_OFF, 1);
            tracing::warn!(
                downstream = %self.peer,
                listener = %view.listener.name,
                bytes = waits,
                "client cut off: it does not read its replies; `spec.limits.outputCutOff` of a \
                 ListenerPolicy raises the limit; `sharing: exclusive` of a DestinationPolicy makes the \
                 upstream wait instead"
            );
            state.closed = true;
            state.wake();
        }
        let before = state.waits_before(seq);
        if !state.closed && before > self.cap() {
            self.note_stop(before, limits.output);
            Pressure::Slow
        } else {
            Pressure::Fine
        }
    }

    /// Returns `true` if the connection will be closed soon unless the client reads.
    pub(crate) fn is_nearly_cut_off(&self) -> bool {
        let limit = self.view.borrow().listener.limits.output_cut_off;
        self.state.borrow().waits() > limit - limit / 4
    }

    /// Returns the number of bytes that the client has read since upstreams wait for it.
    pub(crate) fn taken(&self) -> u64 {
        self.state
            .borrow()
            .cold
            .as_ref()
            .map_or(0, |cold| cold.taken)
    }

    /// Returns `true` if the upstream must wait for this client before it sends more of the reply
    /// `seq`, or of a message that is not a reply (`None`). The upstream task is then woken when
    /// there is room.
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

    /// Runs `write` on the output, stores the task's waker, and wakes tasks that wait for room.
    pub(crate) fn flush<R>(&self, waker: &Waker, write: impl FnOnce(&mut Output) -> R) -> R {
        let mut state = self.state.borrow_mut();
        if !state.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        let before = state.out.len();
        let result = write(&mut state.out);
        let taken = before - state.out.len();
        if let Some(cold) = &mut state.cold {
            cold.taken += taken as u64;
        }
        self.account(&state);
        // Held replies are not counted here: they may leave only after the data that these tasks
        // will send. Each task checks that again itself.
        let State { cold, out, .. } = &mut *state;
        if let Some(cold) = cold
            && !cold.waiting.is_empty()
            && out.len() <= self.cap()
        {
            for waker in cold.waiting.drain(..) {
                waker.wake();
            }
        }
        result
    }

    /// Returns the number of requests in flight if more may be read. `None` if more than `cap`
    /// bytes are buffered, or if the connection is ending.
    pub(crate) fn may_read(&self, cap: usize) -> Option<usize> {
        let state = self.state.borrow();
        let delayed = state.cold.as_ref().map_or(0, |cold| cold.delayed_bytes);
        let waits = state.waits() + delayed;
        if waits > cap.min(self.worker.services.memory.allowance()) {
            self.note_stop(waits, cap);
            return None;
        }
        self.activity.stopped.set(false);
        (!state.ending).then_some(state.in_flight)
    }
}

impl State {
    /// Returns the number of bytes to be written, including held replies.
    pub(super) fn waits(&self) -> usize {
        self.out.len() + self.replies.held_bytes()
    }

    /// Returns the number of bytes that must be written before more of the reply `seq`, or before a
    /// message that is not a reply (`None`). Held replies do not count for the current reply: they
    /// leave after it, so stopping it for them would stop both.
    fn waits_before(&self, seq: Option<u64>) -> usize {
        if seq.is_none_or(|seq| self.replies.is_turn(seq)) {
            self.out.len()
        } else {
            self.waits()
        }
    }
}
