//! Puts requests into the output of a connection, and records who waits for the answers. How the bytes reach the
//! socket is not known here.

use meltemi_frame::{Bind, EncodeError, Fault, Message, Output};
use meltemi_router_core::Pending;

use crate::call::{Call, Place};
use crate::context::WorkerContext;
use crate::telemetry::stats::cluster;
use crate::upstream::in_flight::{Calls, Unsent};
use crate::upstream::{Phase, State, Upstream};

impl Upstream {
    /// Sends a request. A call that gets no reply ends here.
    ///
    /// # Errors
    ///
    /// As [`Upstream::send`].
    pub(crate) fn send_call(
        &self,
        worker: &WorkerContext,
        message: &mut Message<'_>,
        call: Box<Call>,
        deadline_ms: u64,
    ) -> Result<bool, Box<Unsent>> {
        if call.expects_reply(message.head.kind) {
            return self.send(worker, message, Some(call), deadline_ms);
        }
        let sent = self.send(worker, message, None, u64::MAX);
        match &sent {
            Ok(_) => call.sent(worker),
            Err(unsent) => call.refuse(worker, unsent.fault, unsent.text()),
        }
        sent
    }

    /// Sends a request, or a piece of one, and records the call that waits for its response.
    /// Returns `true` if the output is over its limit.
    ///
    /// # Errors
    ///
    /// Fails if the connection is closed, has no free request id, or cannot encode the request. The
    /// error contains the fault and the call.
    pub(crate) fn send(
        &self,
        worker: &WorkerContext,
        message: &mut Message<'_>,
        call: Option<Box<Call>>,
        deadline_ms: u64,
    ) -> Result<bool, Box<Unsent>> {
        let mut state = self.state.borrow_mut();
        // Pieces of a request are never taken back, nor are pinned requests on an open connection.
        let free = message.head.bind != Bind::Pin && state.pinned_to.is_none();
        let whole = message.head.end && (free || state.phase == Phase::Connecting);
        let State {
            codec,
            out,
            written,
            calls,
            phase,
            ..
        } = &mut *state;
        if *phase == Phase::Closed {
            let text = "the upstream connection has ended";
            return Err(Unsent::new(Fault::Reset, text, call));
        }
        let before = out.len();
        let start = *written + before as u64;
        let place = |out: &Output| Place {
            start,
            length: if whole { out.len() - before } else { 0 },
        };
        let wants_answer = call.is_some();
        match (calls, call) {
            (Calls::ById(pending), Some(call)) => {
                let id = give_id(pending, message, call, deadline_ms)?;
                if let Err(error) = codec.encode(message, out) {
                    return Err(unsupported(&error, pending.remove(id)));
                }
                if let Some(call) = pending.get_mut(id) {
                    call.place = place(out);
                }
            }
            (Calls::InOrder(fifo), Some(mut call)) => {
                if let Err(error) = codec.encode(message, out) {
                    return Err(unsupported(&error, Some(call)));
                }
                call.place = place(out);
                keep_plain(&mut call, message);
                call.sent_us = worker.now_us();
                fifo.push(call, deadline_ms);
            }
            (_, None) => {
                if let Err(error) = codec.encode(message, out) {
                    return Err(unsupported(&error, None));
                }
            }
        }
        let after = out.len();
        let added = (after - before) as u64;
        self.cluster.group.add(cluster::TX_BYTES, added);
        self.active_us.set(worker.now_us());
        if wants_answer {
            worker.something_pending();
        }
        if before == 0
            && let Some(waker) = &state.waker
        {
            waker.wake_by_ref();
        }
        self.account(worker, after);
        Ok(after > self.cap())
    }
}

/// Records a call under a free id, and gives the request that id.
fn give_id(
    pending: &mut Pending<Box<Call>>,
    message: &mut Message<'_>,
    call: Box<Call>,
    deadline_ms: u64,
) -> Result<i64, Box<Unsent>> {
    if pending.is_full() {
        let text = "no request id is free";
        return Err(Unsent::new(Fault::Overload, text, Some(call)));
    }
    let none = || Unsent::new(Fault::Overload, "no request id", None);
    let mut id = pending.insert(call, deadline_ms).ok_or_else(none)?;
    if message.head.id == Some(id) {
        // Only an id that changes is written. A message can have a second id that the client chose,
        // and the codec must replace that too.
        let again = pending.remove(id);
        let other = again.and_then(|call| pending.insert(call, deadline_ms));
        id = other.ok_or_else(none)?;
    }
    message.set_id(id);
    Ok(id)
}

/// If the codec added bytes for this connection, they would be wrong on another connection.
fn keep_plain(call: &mut Call, message: &Message<'_>) {
    if call.place.length > message.wire().len() && message.edits().is_empty() {
        match message.head.bind {
            Bind::Free | Bind::Dedicated => call.keep_whole(message),
            Bind::Pin | Bind::Session | Bind::Login => call.place.length = 0,
        }
    }
}

fn unsupported(error: &EncodeError, call: Option<Box<Call>>) -> Box<Unsent> {
    Unsent::new(Fault::Unsupported, error.to_string(), call)
}
