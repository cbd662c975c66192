//! Requests that wait before they are sent: for a pause to be over, or for somebody's word.
//!
//! Where a protocol answers in order, its clients also expect to be served in order: there what is behind
//! a request that waits, waits with it.

use std::rc::Rc;
use std::time::Duration;

use meltemi_frame::{Fault, OwnedMessage};
use tokio::sync::oneshot;

use crate::call::Call;
use crate::dispatch;
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
}

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
}

/// Lets a request wait.
pub(crate) fn park(worker: &Rc<Worker>, message: OwnedMessage, call: Call, wait: Wait) {
    let parked = Parked {
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
    } = parked;
    let due_ms = match wait {
        Wait::Until(due_ms) => Some(due_ms),
        Wait::Words(words, due_ms) => {
            for word in words {
                if let Err((fault, text)) = word.heard().await {
                    worker.tick();
                    if let Some(track) = call.track_mut() {
                        track.note(|entry| text.0.clone_into(&mut entry.limit));
                    }
                    return call.refuse(worker, fault, &text.1);
                }
            }
            due_ms
        }
        Wait::Turn => None,
    };
    worker.tick();
    if let Some(due_ms) = due_ms {
        let until = due_ms.min(call.deadline_ms);
        sleep_until(worker, until).await;
        worker.tick();
    }
    if call.deadline_ms <= worker.now_ms() {
        return call.refuse(
            worker,
            Fault::Timeout,
            "the time was out before it was sent",
        );
    }
    dispatch::resume(worker, &mut message.message(), call);
}

async fn sleep_until(worker: &Worker, due_ms: u64) {
    let left = due_ms.saturating_sub(worker.now_ms());
    if left > 0 {
        tokio::time::sleep(Duration::from_millis(left)).await;
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
