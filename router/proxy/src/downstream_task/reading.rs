//! The input of a downstream connection: its bytes become messages. It detects the protocol, and answers
//! what is malformed. What a message asks for is not known here.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use meltemi_frame::{DecodeError, Decoded, Fault, Identified, identify};

use super::{DownstreamTask, Streaming};
use crate::io::{Consumed, Read};
use crate::stats::listener;

impl DownstreamTask {
    /// Presents the input that waits once more. Tells whether some of it was taken.
    pub(super) fn again(&mut self) -> bool {
        let before = self.input.len();
        let mut input = std::mem::take(&mut self.input);
        let mut discard = 0;
        input.again(&mut |bytes| self.consume(bytes, &mut discard));
        input.discard(discard);
        self.input = input;
        let moved = self.input.len() < before;
        self.note_partial(moved);
        moved
    }

    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let Some(mut stream) = self.stream.take() else {
            return Poll::Ready(Ok(Read::Eof));
        };
        let before = self.input.len();
        let mut input = std::mem::take(&mut self.input);
        let worker = Rc::clone(&self.worker);
        let mut discard = 0;
        let result = input.read(&mut stream, &worker.buffer, cx, &mut |bytes| {
            self.consume(bytes, &mut discard)
        });
        input.discard(discard);
        self.input = input;
        self.stream = Some(stream);
        if let Poll::Ready(Ok(Read::Data(count))) = result {
            self.view.group.add(listener::RX_BYTES, count as u64);
            self.down.watch.active_us.set(self.worker.now_us());
            self.note_partial(self.input.len() < before + count);
        }
        result
    }

    /// A message that has begun must end within its time, unless it is we who do not read.
    /// `moved`: something was taken from the input, so that what waits now has just begun.
    fn note_partial(&self, moved: bool) {
        let since = &self.down.watch.partial_since_us;
        if self.down.watch.detecting.get() {
            // Counted from the start: whatever came has told nothing yet.
        } else if self.input.is_empty() && matches!(self.conversation.streaming, Streaming::None)
            || self.must_wait()
        {
            since.set(0);
        } else if moved || since.get() == 0 {
            since.set(self.worker.now_us());
        }
    }

    fn consume(&mut self, bytes: &[u8], discard: &mut usize) -> Consumed {
        if self.served.is_none() {
            match identify(&self.view.candidates, bytes) {
                Identified::Need(need) => return Consumed { bytes: 0, need },
                Identified::One(at) => {
                    if let Some(served) = self.view.served.get(at).cloned() {
                        self.speak(served);
                    }
                }
                Identified::None => {
                    self.view.group.add(listener::UNDETECTED, 1);
                    tracing::debug!(downstream = %self.down.peer, "protocol not recognised");
                    self.conversation.closing = true;
                    return Consumed {
                        bytes: bytes.len(),
                        need: 0,
                    };
                }
            }
        }
        let Some(interest) = self.served.as_ref().map(|served| served.interest) else {
            return Consumed {
                bytes: bytes.len(),
                need: 0,
            };
        };
        let down = Rc::clone(&self.down);
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            // By reference: messages are large, and every move copies one.
            match &mut down.decode(rest, interest) {
                None => break,
                Some(Ok(Decoded::Incomplete(need))) => {
                    return Consumed {
                        bytes: at,
                        need: *need,
                    };
                }
                Some(Ok(Decoded::Skip(count))) => at += (*count).max(1),
                Some(Ok(Decoded::Message(message, count))) => {
                    at += (*count).max(1);
                    if self.message(message, false) {
                        return Consumed {
                            bytes: at.min(bytes.len()),
                            need: 0,
                        };
                    }
                }
                Some(Err(DecodeError::Message {
                    violation,
                    length,
                    answer,
                })) => {
                    self.view.group.add(listener::MALFORMED, 1);
                    tracing::debug!(downstream = %down.peer, %violation, "malformed message");
                    *discard += length.saturating_sub(rest.len());
                    at += (*length).clamp(1, rest.len());
                    if let Some(receipt) = answer {
                        down.reject(receipt, fault_of(violation), &violation.to_string());
                    }
                }
                Some(Err(DecodeError::Connection { violation, answer })) => {
                    self.view.group.add(listener::MALFORMED, 1);
                    tracing::debug!(downstream = %down.peer, %violation, "framing lost");
                    if let Some(receipt) = answer {
                        down.reject(receipt, fault_of(violation), &violation.to_string());
                    }
                    self.conversation.closing = true;
                    return Consumed {
                        bytes: bytes.len(),
                        need: 0,
                    };
                }
            }
        }
        Consumed {
            bytes: at.min(bytes.len()),
            need: 0,
        }
    }
}

const fn fault_of(violation: &meltemi_frame::Violation) -> Fault {
    if violation.is_limit() {
        Fault::TooLarge
    } else {
        Fault::Malformed
    }
}
