//! Requests that wait before they are sent: for a delay to end, or for the reply of a rate limit
//! service.
//!
//! Clients of protocols with in-order replies also expect in-order execution. For them, the
//! requests behind a delayed request wait too.

use std::rc::Rc;
use std::time::Duration;

use meltemi_frame::{Fault, Head, Kind, OwnedMessage};

use crate::call::Call;
use crate::call::delayed::{Delayed, Reservation, Wait};
use crate::context::WorkerContext;
use crate::dispatch;

/// The longest time between two checks whether the client has disconnected.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the wait of a request. With in-order replies, the request joins the queue of its client.
pub(crate) fn delay(
    worker: &Rc<WorkerContext>,
    message: OwnedMessage,
    call: Box<Call>,
    wait: Wait,
) {
    let parked = Delayed {
        hold: Reservation::of(&message, &call, false),
        message,
        call,
        wait,
    };
    let down = parked.call.down().filter(|down| down.answers_in_order());
    let Some(down) = down.map(Rc::clone) else {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move { go(&worker, parked).await });
        return;
    };
    // Requests of one client are sent one after the other. The first one starts the task, which
    // ends with the last.
    if down.delay(parked) {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            while let Some(parked) = down.next_delayed() {
                go(&worker, parked).await;
            }
            down.wake();
        });
    }
}

/// Waits, then sends the request or answers it.
async fn go(worker: &Rc<WorkerContext>, parked: Delayed) {
    let Delayed {
        message,
        mut call,
        wait,
        hold,
    } = parked;
    let head = *message.head();
    let mut abort = None;
    let due_ms = match wait {
        Wait::Until(due_ms) => due_ms,
        Wait::RateLimit(limits, due_ms) => {
            for limit in limits {
                if let Err((limit, text)) = limit.resolve().await {
                    worker.tick();
                    if let Some(track) = call.telemetry_mut() {
                        track.note(|entry| entry.limit = limit);
                    }
                    call.refuse(worker, Fault::RateLimited, &text);
                    return abort_transaction(hold.as_ref(), &head);
                }
            }
            due_ms.unwrap_or_default()
        }
        Wait::Turn => 0,
        Wait::Abort(due_ms, reason, text) => {
            abort = Some((reason, text));
            due_ms
        }
    };
    worker.tick();
    let until = due_ms.min(call.deadline_ms);
    while worker.now_ms() < until && !has_left(&head, &call) {
        let rest = Duration::from_millis(until - worker.now_ms());
        tokio::time::sleep(rest.min(LOOK)).await;
        worker.tick();
    }
    loop {
        if has_left(&head, &call) {
            return call.abandon(worker);
        }
        if call.deadline_ms <= worker.now_ms() {
            let text = "the request timed out before it was sent";
            call.refuse(worker, Fault::Timeout, text);
            return abort_transaction(hold.as_ref(), &head);
        }
        if let Some((reason, text)) = abort {
            call.answer(worker, Fault::Injected, reason, &text);
            return abort_transaction(hold.as_ref(), &head);
        }
        let down = call.down().map(Rc::clone);
        let seq = call.caller().map(|caller| caller.seq);
        if let Some(down) = &down
            && down.has_earlier(seq)
        {
            // Earlier requests that were queued again go first.
            down.delay(Delayed {
                message,
                call,
                wait: Wait::Turn,
                hold,
            });
            return;
        }
        match dispatch::resume(worker, &mut message.message(), call) {
            None => return,
            Some(back) => call = back,
        }
        // The earlier requests must be answered first.
        let rest = call.deadline_ms.saturating_sub(worker.now_ms());
        let rest = Duration::from_millis(rest).min(LOOK);
        if let Some(down) = down {
            let _ = tokio::time::timeout(rest, down.moves()).await;
        }
        worker.tick();
    }
}

/// Returns `true` if the client of the request has left. A one-way request is sent even then.
fn has_left(head: &Head, call: &Call) -> bool {
    head.kind == Kind::Request && call.down().is_some_and(|down| down.is_closed())
}

fn abort_transaction(hold: Option<&Reservation>, head: &Head) {
    if let Some(hold) = hold {
        hold.down.abort_transaction(head);
    }
}
