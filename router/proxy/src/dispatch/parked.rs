//! Requests that wait before they are sent: for a pause to be over, or for somebody's word.
//!
//! Where a protocol answers in order, its clients also expect to be served in order: there what is behind
//! a request that waits, waits with it.

use std::rc::Rc;
use std::time::Duration;

use meltemi_frame::{Bind, Fault, Head, Kind, OwnedMessage, Reason};
use tokio::sync::oneshot;

use crate::call::Call;
use crate::dispatch;
use crate::downstream::Downstream;
use crate::ratelimit::Answer;
use crate::worker::Worker;

/// What a request waits for.
pub(crate) enum Wait {
    /// A moment, in milliseconds of the worker's clock.
    Until(u64),
    /// The answers of rate-limit services.
    Words(Vec<Word>, Option<u64>),
    /// Those before it.
    Turn,
    /// A moment; then it is answered with this, and not sent.
    Abort(u64, Reason, String),
}

/// Clients that leave are noticed at least as often.
const LOOK: Duration = Duration::from_secs(1);

/// The word of a service.
pub(crate) struct Word {
    pub(crate) limit: std::sync::Arc<str>,
    pub(crate) answer: oneshot::Receiver<Answer>,
    /// Without an answer the request is refused.
    pub(crate) deny_on_failure: bool,
}

/// A request that waits.
pub(crate) struct Parked {
    message: OwnedMessage,
    call: Call,
    wait: Wait,
    hold: Option<Hold>,
}

/// What a request that waits takes of its client's connection, as long as it waits: a client must not
/// fill memory with what is not sent.
pub(crate) struct Hold {
    down: Rc<Downstream>,
    held: Held,
}

/// What a request takes that waits.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) bytes: usize,
    /// Nothing else counts it among those in flight.
    pub(crate) one_way: bool,
    /// It makes sense only while the client is there.
    pub(crate) blocking: bool,
    /// It waits for a connection of its cluster.
    pub(crate) in_queue: bool,
}

impl Hold {
    pub(crate) fn of(message: &OwnedMessage, call: &Call, in_queue: bool) -> Option<Self> {
        let down = Rc::clone(call.down()?);
        let head = message.head();
        let held = Held {
            bytes: message.len(),
            one_way: head.kind == Kind::OneWay,
            blocking: head.bind == Bind::Once,
            in_queue,
        };
        down.hold(held);
        Some(Self { down, held })
    }
}

impl Parked {
    /// The request's place among those of its client that are answered.
    pub(crate) fn seq(&self) -> Option<u64> {
        self.call.caller().map(|caller| caller.seq)
    }

    /// Whether it was sent after the request `seq`.
    pub(crate) fn is_behind(&self, seq: Option<u64>) -> bool {
        matches!((self.seq(), seq), (Some(own), Some(seq)) if own > seq)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.down.let_go(self.held);
    }
}

/// Lets a request wait.
pub(crate) fn park(worker: &Rc<Worker>, message: OwnedMessage, call: Call, wait: Wait) {
    let parked = Parked {
        hold: Hold::of(&message, &call, false),
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
    // One after the other. The first makes the task that ends with the last.
    if down.park(parked) {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            while let Some(parked) = down.next_parked() {
                go(&worker, parked).await;
            }
            down.wake();
        });
    }
}

/// Waits, and sends the request or answers it.
async fn go(worker: &Rc<Worker>, parked: Parked) {
    let Parked {
        message,
        mut call,
        wait,
        hold,
    } = parked;
    let head = *message.head();
    let mut abort = None;
    let due_ms = match wait {
        Wait::Until(due_ms) => due_ms,
        Wait::Words(words, due_ms) => {
            for word in words {
                if let Err((fault, text)) = word.heard().await {
                    worker.tick();
                    if let Some(track) = call.track_mut() {
                        track.note(|entry| text.0.clone_into(&mut entry.limit));
                    }
                    call.refuse(worker, fault, &text.1);
                    return spoil(hold.as_ref(), &head);
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
            let text = "the time was out before it was sent";
            call.refuse(worker, Fault::Timeout, text);
            return spoil(hold.as_ref(), &head);
        }
        if let Some((reason, text)) = abort {
            call.answer(worker, Fault::Injected, reason, &text);
            return spoil(hold.as_ref(), &head);
        }
        let down = call.down().map(Rc::clone);
        let seq = call.caller().map(|caller| caller.seq);
        if let Some(down) = &down
            && down.answers_in_order()
            && down.has_earlier(seq)
        {
            // Its turn comes again after those that failed in the meantime.
            down.park(Parked {
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
        // What is before it has to be answered first.
        let rest = call.deadline_ms.saturating_sub(worker.now_ms());
        let rest = Duration::from_millis(rest).min(LOOK);
        if let Some(down) = down {
            let _ = tokio::time::timeout(rest, down.moves()).await;
        }
        worker.tick();
    }
}

/// Whether nobody waits for it any more. What is never answered is sent even if its client is gone.
fn has_left(head: &Head, call: &Call) -> bool {
    head.kind == Kind::Request && call.down().is_some_and(|down| down.is_closed())
}

fn spoil(hold: Option<&Hold>, head: &Head) {
    if let Some(hold) = hold {
        hold.down.spoil(head);
    }
}

impl Word {
    /// What the service says; an error is the limit's name and a text for the client.
    async fn heard(self) -> Result<(), (Fault, (String, String))> {
        let Self {
            limit,
            answer,
            deny_on_failure,
        } = self;
        let answer = answer
            .await
            .unwrap_or_else(|_| Answer::Failed("it is gone".to_owned()));
        let refused = |text: String| Err((Fault::RateLimited, (limit.to_string(), text)));
        match answer {
            Answer::Pass => Ok(()),
            Answer::Over => refused(format!("over the limit {limit}")),
            Answer::Failed(why) if deny_on_failure => refused(format!(
                "the rate limit service of {limit} does not answer: {why}"
            )),
            Answer::Failed(_) => Ok(()),
        }
    }
}
