//! The input of a downstream connection: detects the protocol, decodes messages, and answers
//! malformed ones. Must not depend on what a message requests.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use meltemi_frame::{DecodeError, Decoded, Fault, Identified, ReplyContext, Violation, identify};

use super::{DownstreamTask, Streaming};
use crate::telemetry::stats::listener;
use crate::transport::buffers::{Consumed, Lent, Read};

impl DownstreamTask {
    /// Handles the buffered input again. Returns `true` if some of it was consumed.
    pub(super) fn again(&mut self) -> bool {
        let before = self.input.len();
        if before == 0 {
            return false;
        }
        if let Some(lent) = self.input.again() {
            self.take(lent);
        }
        let moved = self.input.len() < before;
        self.note_partial(moved);
        moved
    }

    /// Reads once and handles the data. Returns `true` if there may be more.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(false));
        };
        let before = self.input.len();
        let read = ready!(self.input.read(stream, &self.worker.buffer, cx))?;
        let Read::Data(count, lent) = read else {
            return Poll::Ready(Ok(false));
        };
        self.worker.tick();
        if let Some(lent) = lent {
            self.take(lent);
        }
        self.view.group.add(listener::RX_BYTES, count as u64);
        self.down.activity.active_us.set(self.worker.now_us());
        self.note_partial(self.input.len() < before + count);
        Poll::Ready(Ok(true))
    }

    fn take(&mut self, lent: Lent) {
        let consumed = self.consume(lent.bytes());
        self.input.give_back(lent, consumed, &self.worker.buffer);
    }

    /// Tracks the time of a partial message, which must arrive within the limit unless the proxy
    /// itself stopped reading. `moved`: some input was consumed, so the remaining message has just
    /// begun.
    fn note_partial(&self, moved: bool) {
        let stalled = self.conversation.stalled.as_ref();
        let stalled = stalled.map_or(0, |message| message.len());
        self.down.note_input(self.input.len() + stalled);
        let since = &self.down.activity.partial_since_us;
        if self.down.activity.detecting.get() {
            // The time counts from the start of the connection: no complete message has arrived
            // yet.
        } else if self.input.is_empty() && matches!(self.conversation.streaming, Streaming::None)
            || self.must_wait()
        {
            since.set(0);
        } else if moved || since.get() == 0 {
            since.set(self.worker.now_us());
        }
    }

    fn consume(&mut self, bytes: &[u8]) -> Consumed {
        let mut taken = Consumed::default();
        if self.served.is_none() {
            match identify(&self.view.candidates, bytes) {
                Identified::Need(need) => {
                    taken.need = need;
                    return taken;
                }
                Identified::One(at) => {
                    if let Some(served) = self.view.served.get(at).cloned() {
                        self.speak(served);
                    }
                }
                Identified::None => {
                    self.view.group.add(listener::UNDETECTED, 1);
                    tracing::debug!(downstream = %self.down.peer, "no codec recognised the protocol");
                    self.conversation.closing = true;
                }
            }
        }
        let Some(interest) = self.served.as_ref().map(|served| served.interest) else {
            taken.bytes = bytes.len();
            return taken;
        };
        let down = Rc::clone(&self.down);
        while let Some(rest) = bytes.get(taken.bytes..).filter(|rest| !rest.is_empty()) {
            let mut decoded = match down.codec() {
                Some(mut codec) => codec.decode(rest, interest),
                None => break,
            };
            // By reference: messages are large, and every move copies one.
            match &mut decoded {
                Ok(Decoded::Incomplete(need)) => {
                    taken.need = *need;
                    break;
                }
                Ok(Decoded::Skip(count)) => taken.bytes += (*count).max(1),
                Ok(Decoded::Message(message, count)) => {
                    taken.bytes += (*count).max(1);
                    if self.message(message, false) {
                        break;
                    }
                }
                Err(DecodeError::Message {
                    violation,
                    length,
                    answer,
                }) => {
                    self.note_malformed(violation, answer.as_deref());
                    taken.drop_message(*length, rest.len());
                }
                Err(DecodeError::Connection { violation, answer }) => {
                    self.note_malformed(violation, answer.as_deref());
                    // Framing is lost.
                    self.conversation.closing = true;
                    taken.bytes = bytes.len();
                }
            }
        }
        taken
    }

    /// Answers a message that cannot be decoded, if the codec can.
    fn note_malformed(&self, violation: &Violation, answer: Option<&ReplyContext>) {
        self.view.group.add(listener::MALFORMED, 1);
        tracing::debug!(downstream = %self.down.peer, %violation, "the client sent a malformed message");
        if let Some(receipt) = answer {
            let fault = if violation.is_limit() {
                Fault::TooLarge
            } else {
                Fault::Malformed
            };
            self.down.reject(receipt, fault, &violation.to_string());
        }
    }
}
