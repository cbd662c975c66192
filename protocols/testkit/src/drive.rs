//! Drives a codec like a connection: bytes arrive in pieces, and messages come out.
//!
//! Every violation of the contract of `decode` itself (no progress, more bytes consumed than
//! present) is detected here.

use meltemi_frame::{Codec, DecodeError, Decoded, Interest, Message, Side, Spec};

use crate::Failure;
use crate::failure::ensure;
use crate::seen::{Event, Run, Seen};

/// How bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// All at once.
    Whole,
    /// In pieces of this many bytes.
    Pieces(usize),
    /// In two pieces, the first one of this many bytes.
    SplitAt(usize),
}

impl Arrival {
    const fn next(self, have: usize, all: usize) -> usize {
        let to = match self {
            Self::Whole => all,
            Self::Pieces(size) => have.saturating_add(size),
            Self::SplitAt(at) => {
                if have < at {
                    at
                } else {
                    all
                }
            }
        };
        if to < all { to } else { all }
    }
}

/// Feeds bytes to a codec and passes every step to a visitor.
pub(crate) struct Drive<'a> {
    pub spec: &'a Spec,
    pub want: Interest,
    pub arrival: Arrival,
    /// `true` to call the codec also with fewer bytes than it asked for, and twice with the same
    /// bytes.
    pub impatient: bool,
}

/// One result of the codec.
pub(crate) enum Step<'a, 'b> {
    Message(&'a Message<'b>, usize),
    Error(&'a DecodeError, usize),
}

impl Drive<'_> {
    pub(crate) fn run(&self, codec: &mut dyn Codec, bytes: &[u8]) -> Result<Run, Failure> {
        let mut events = Vec::new();
        let rest = self.walk(codec, bytes, &mut |_, step| {
            events.push(match step {
                Step::Message(message, offset) => {
                    Event::Message(Seen::new(self.spec, message, offset))
                }
                Step::Error(DecodeError::Message { length, .. }, offset) => {
                    Event::Malformed(offset, *length)
                }
                Step::Error(DecodeError::Connection { .. }, offset) => Event::Lost(offset),
            });
            Ok(())
        })?;
        Ok(Run { events, rest })
    }

    /// Returns the offset of the unfinished rest.
    pub(crate) fn walk(
        &self,
        codec: &mut dyn Codec,
        bytes: &[u8],
        visit: &mut dyn FnMut(&mut dyn Codec, Step<'_, '_>) -> crate::Verdict,
    ) -> Result<usize, Failure> {
        let mut offset = 0;
        let mut have = self.arrival.next(0, bytes.len());
        let mut need = 1;
        loop {
            let input = bytes.get(offset..have).unwrap_or_default();
            let waits = input.len() < need && (input.is_empty() || !self.impatient);
            if waits {
                if have == bytes.len() {
                    return Ok(offset.min(bytes.len()));
                }
                have = self.arrival.next(have, bytes.len());
                continue;
            }
            let taken = match codec.decode(input, self.want) {
                Ok(Decoded::Message(message, taken)) => {
                    check_message(&message, taken, input.len(), offset)?;
                    visit(codec, Step::Message(&message, offset))?;
                    taken
                }
                Ok(Decoded::Skip(taken)) => {
                    ensure!(taken > 0, "Skip(0) at offset {offset}: no progress");
                    ensure!(
                        taken <= input.len(),
                        "Skip({taken}) at offset {offset}, but only {} bytes are present",
                        input.len()
                    );
                    taken
                }
                Ok(Decoded::Incomplete(asked)) => {
                    ensure!(
                        asked > input.len(),
                        "Incomplete({asked}) at offset {offset}, but {} bytes are already present",
                        input.len()
                    );
                    if self.impatient {
                        again(codec, input, self.want, offset)?;
                    }
                    if have == bytes.len() {
                        return Ok(offset);
                    }
                    need = asked;
                    have = self.arrival.next(have, bytes.len());
                    continue;
                }
                Err(error) => {
                    visit(codec, Step::Error(&error, offset))?;
                    match error {
                        DecodeError::Connection { .. } => return Ok(offset),
                        DecodeError::Message { length, .. } => {
                            ensure!(
                                length > 0,
                                "a malformed message of length 0 at offset {offset}: no progress"
                            );
                            length
                        }
                    }
                }
            };
            need = 1;
            offset = offset.saturating_add(taken);
            // A malformed message may be longer than the input. The rest is discarded when it
            // arrives.
            if offset >= bytes.len() {
                return Ok(bytes.len());
            }
            while have < offset {
                have = self.arrival.next(have, bytes.len());
            }
        }
    }
}

fn check_message(
    message: &Message<'_>,
    taken: usize,
    have: usize,
    offset: usize,
) -> crate::Verdict {
    let wire = message.wire().len();
    ensure!(
        taken > 0,
        "a message of length 0 at offset {offset}: no progress"
    );
    ensure!(
        taken <= have,
        "a message of {taken} bytes at offset {offset}, but only {have} are present"
    );
    ensure!(
        wire == taken,
        "the message at offset {offset} took {taken} bytes but holds {wire}"
    );
    Ok(())
}

/// A codec that returned `Incomplete` must return it again for the same bytes.
fn again(codec: &mut dyn Codec, input: &[u8], want: Interest, offset: usize) -> crate::Verdict {
    match codec.decode(input, want) {
        Ok(Decoded::Incomplete(asked)) if asked > input.len() => Ok(()),
        other => Err(Failure::new(format!(
            "after Incomplete at offset {offset} the same {} bytes gave {}",
            input.len(),
            name(&other)
        ))),
    }
}

pub(crate) fn name(decoded: &Result<Decoded<'_>, DecodeError>) -> String {
    match decoded {
        Ok(Decoded::Message(message, taken)) => {
            format!("a {} of {taken} bytes", message.head.kind.name())
        }
        Ok(Decoded::Skip(taken)) => format!("Skip({taken})"),
        Ok(Decoded::Incomplete(need)) => format!("Incomplete({need})"),
        Err(error) => format!("an error ({error})"),
    }
}

/// Returns the other end of a connection.
pub(crate) const fn opposite(side: Side) -> Side {
    match side {
        Side::Server => Side::Client,
        Side::Client => Side::Server,
    }
}
