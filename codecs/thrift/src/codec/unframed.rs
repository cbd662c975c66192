//! Messages without frames. Their end is found by walking the struct.

use meltemi_frame::{DecodeError, Decoded, Interest, Violation};

use super::{At, ThriftCodec, unanswered};
use crate::cursor::Stop;
use crate::dialect::{Encoding, Transport};
use crate::envelope::{self, MAX_NAME};
use crate::front::Front;
use crate::scan::Progress;
use crate::{present, sniff};

/// The front of a JSON message is always shorter than this, in bytes.
const JSON_FRONT: usize = MAX_NAME + (1 << 10);

impl ThriftCodec {
    /// Decodes an unframed message. It ends with its struct, so the whole struct is walked.
    pub(super) fn unframed<'b>(
        &mut self,
        input: &'b [u8],
        want: Interest,
    ) -> Result<Decoded<'b>, DecodeError> {
        match sniff::framed(input) {
            Ok(false) => {}
            Ok(true) => return Err(DecodeError::lost(Violation::magic("thrift", input))),
            Err(Stop::Short(need)) => return Ok(Decoded::Incomplete(need)),
            Err(Stop::Bad(violation)) => return Err(DecodeError::lost(violation)),
        }
        let json = input.first() == Some(&b'[');
        // The front of a JSON message has no length, so it is read only once: when the end has
        // arrived, or when there are more bytes than any front has.
        let (encoding, start, least) = if json {
            (Encoding::Json, 0, JSON_FRONT)
        } else {
            match envelope::read(input, 0) {
                Ok(envelope) => (envelope.encoding, envelope.body, envelope.body),
                Err(Stop::Short(need)) => return Ok(Decoded::Incomplete(need)),
                Err(Stop::Bad(violation)) => return Err(DecodeError::lost(violation)),
            }
        };
        let most = self.hold(want).max(least);
        let scanner = self.scanner.get_or_insert_default();
        if !self.scanning {
            scanner.start(encoding, start, self.limits.depth);
            self.scanning = true;
        }
        let progress = scanner.advance(input);
        let reached = scanner.at();
        let (size, left) = match progress {
            Err(violation) => return Err(lost(violation, input)),
            Ok(_) if self.refuses(reached) => return Err(lost(self.too_large(reached), input)),
            Ok(Progress::Done(end)) if end <= most => (end, Some(0)),
            Ok(Progress::Done(end)) => (most, Some(end - most)),
            // A piece ends at the scanner's position, and does not depend on the number of bytes
            // that had arrived.
            Ok(Progress::More(_)) if reached >= most && input.len() >= most => (most, None),
            Ok(Progress::More(need)) if input.len() >= most => {
                return Ok(Decoded::Incomplete(need));
            }
            Ok(Progress::More(need)) => return Ok(Decoded::Incomplete(need.min(most))),
        };
        self.scanning = false;
        let bytes = input.get(..size).unwrap_or(input);
        let front = envelope::read(bytes, 0)
            .map_err(|stop| match stop {
                Stop::Bad(violation) => violation,
                Stop::Short(_) => Violation::Invalid("the message ends inside its front"),
            })
            .map(|envelope| Front::bare(bytes, envelope, Transport::Unframed))
            .and_then(|front| present::check_side(&front, self.side).map(|()| front))
            .map_err(|violation| match left {
                Some(left) => unanswered(violation, size + left),
                None => DecodeError::lost(violation),
            })?;
        let id = front.seqid();
        self.at = match left {
            Some(0) => At::Message,
            Some(left) => At::Rest { left, id },
            None => {
                self.scanner.get_or_insert_default().consumed(size);
                At::Scan { sent: size, id }
            }
        };
        self.present(&front, bytes, left == Some(0))
    }

    /// Returns the next piece of a message whose end is unknown.
    pub(super) fn scan<'b>(
        &mut self,
        input: &'b [u8],
        sent: usize,
        id: i32,
    ) -> Result<Decoded<'b>, DecodeError> {
        let scanner = self.scanner.get_or_insert_default();
        let progress = scanner.advance(input).map_err(DecodeError::lost)?;
        let reached = scanner.at();
        if self.refuses(sent.saturating_add(reached)) {
            return Err(DecodeError::lost(self.too_large(sent + reached)));
        }
        match progress {
            Progress::Done(end) => {
                self.at = At::Message;
                Ok(self.data(input.get(..end).unwrap_or(input), id, true))
            }
            // The scanner reads the bytes of a number again when more of them have arrived.
            Progress::More(need) if reached == 0 || input.is_empty() => {
                Ok(Decoded::Incomplete(need))
            }
            Progress::More(_) => {
                let piece = input.get(..reached).unwrap_or(input);
                self.scanner.get_or_insert_default().consumed(piece.len());
                let sent = sent.saturating_add(piece.len());
                self.at = At::Scan { sent, id };
                Ok(self.data(piece, id, false))
            }
        }
    }
}

/// Returns the error for lost framing inside the unframed message at the front of `input`.
fn lost(violation: Violation, input: &[u8]) -> DecodeError {
    let front =
        envelope::read(input, 0).map(|envelope| Front::bare(input, envelope, Transport::Unframed));
    DecodeError::Connection {
        violation,
        answer: front.ok().and_then(|front| front.answer(input)),
    }
}
