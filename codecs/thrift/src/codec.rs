//! One side of one connection: where messages start and end, and what is presented whole or in
//! pieces. What the bytes of a message say is told by the other modules.

mod one_way;
mod unframed;

use meltemi_frame::{
    Codec, DecodeError, Decoded, EncodeError, Head, Interest, Kind, Limits, LocalMessage, Message,
    Output, ReplyContext, Session, Side, Unsupported, Violation,
};

use crate::cursor::Stop;
use crate::dialect::{Dialect, Encoding, Transport};
use crate::envelope::Envelope;
use crate::front::Front;
use crate::inflate::Inflater;
use crate::scan::{Progress, Scanner};
use crate::{plain, present, probe, reply, rewrite, sniff};

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug)]
enum At {
    Message,
    /// What is left of a message whose end is known.
    Rest {
        left: usize,
        id: Option<i64>,
    },
    /// What is left of an unframed message that the scanner is inside of.
    Scan {
        sent: usize,
        id: Option<i64>,
    },
}

pub(crate) struct ThriftCodec {
    side: Side,
    limits: Limits,
    at: At,
    /// Whether messages have frames. A server learns it from the first message, a client from what
    /// it sends or, if it sent nothing, from the first reply.
    framed: Option<bool>,
    /// Made with the first message that has to be walked.
    scanner: Option<Box<Scanner>>,
    /// The scanner is inside of the unframed message at the front of the input.
    scanning: bool,
    inflater: Inflater,
    /// The client's dialect. Servers that tell dialects do so once per connection, so that no
    /// upstream connection may carry two.
    session: Session,
    spoken: Option<u32>,
    /// The dialect of what is said to a server first.
    probe: Dialect,
    /// The sequence id of one-way calls on this connection, once there was one.
    one_way: Option<i32>,
}

impl ThriftCodec {
    /// `spoken`: the dialect of the session, as [`Session::dialect`] takes it.
    pub(crate) fn new(side: Side, limits: &Limits, spoken: u32) -> Self {
        Self {
            side,
            limits: *limits,
            at: At::Message,
            framed: None,
            scanner: None,
            scanning: false,
            inflater: Inflater::default(),
            session: Session::default(),
            spoken: None,
            probe: spoken
                .checked_sub(1)
                .map_or(Dialect::ORDINARY, Dialect::from_bits),
            one_way: None,
        }
    }

    #[inline]
    fn note_dialect(&mut self, bits: u32) {
        if self.spoken != Some(bits) {
            self.spoken = Some(bits);
            self.session = session(Dialect::from_bits(bits));
        }
    }

    /// Up to this many bytes a message is presented whole.
    fn hold(&self, want: Interest) -> usize {
        match want {
            Interest::Body => self.limits.frame,
            _ => self.limits.hold.min(self.limits.frame),
        }
    }

    fn refuses(&self, length: usize) -> bool {
        self.side == Side::Server && length > self.limits.frame
    }

    fn too_large(&self, length: usize) -> Violation {
        Violation::TooLarge {
            length: length as u64,
            limit: self.limits.frame as u64,
        }
    }

    /// The message at the front of the input, if it is whole and as most framed ones are.
    #[inline]
    fn plain<'b>(&self, input: &'b [u8], want: Interest) -> Option<(&'b [u8], Envelope)> {
        let total = sniff::frame_size(*input.first_chunk::<4>()?).ok()?;
        if want == Interest::Body || total > self.hold(want) {
            return None;
        }
        let wire = input.get(..total)?;
        Some((wire, plain::envelope(wire, self.side)?))
    }

    fn framed<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        let Some(length) = input.first_chunk::<4>() else {
            return Ok(Decoded::Incomplete(4));
        };
        let total = sniff::frame_size(*length).map_err(DecodeError::lost)?;
        let refused = self.refuses(total);
        let (front, bytes) = match self.front(input, total, want) {
            Ok(read) => read,
            Err(Stop::Short(need)) => return Ok(Decoded::Incomplete(need)),
            // A length like that before nothing that can be read is no length.
            Err(Stop::Bad(_)) if total > self.limits.frame => {
                return Err(DecodeError::lost(self.too_large(total)));
            }
            Err(Stop::Bad(violation)) => return Err(unanswered(violation, total)),
        };
        if refused {
            return Err(DecodeError::Connection {
                violation: self.too_large(total),
                answer: front.answer(bytes),
            });
        }
        if let Err(violation) = present::check_side(&front, self.side) {
            return Err(unanswered(violation, total));
        }
        let flaw = match &front.flaw {
            None if want == Interest::Body && bytes.len() == total => {
                self.body(bytes, &front).err()
            }
            flaw => flaw.clone(),
        };
        if let Some(violation) = flaw {
            let answer = match self.side {
                Side::Server => front.answer(bytes),
                // A response, as its side was right.
                Side::Client => Some(Box::new(ReplyContext::new(Some(i64::from(front.seqid()))))),
            };
            return Err(DecodeError::Message {
                violation,
                length: total,
                answer,
            });
        }
        let size = bytes.len();
        if size < total {
            self.at = At::Rest {
                left: total - size,
                id: Some(i64::from(front.seqid())),
            };
        }
        self.present(&front, bytes, size == total)
    }

    /// The front of the message in a frame of `total` bytes, and the piece that is presented.
    fn front<'b>(
        &mut self,
        input: &'b [u8],
        total: usize,
        want: Interest,
    ) -> Result<(Front, &'b [u8]), Stop> {
        // Of a request that is refused no more is waited for than the answer needs.
        let whole = if self.refuses(total) {
            1
        } else {
            self.hold(want)
        };
        let mut size = total.min(whole);
        loop {
            let bytes = input.get(..size).ok_or(Stop::Short(size))?;
            match Front::framed(bytes, total, want, &self.limits, &mut self.inflater) {
                Ok(front) => return Ok((front, bytes)),
                Err(Stop::Short(need)) if size < total && size < self.limits.frame => {
                    // In JSON a name does not tell its length: every step is larger than the last,
                    // so that the work stays linear.
                    size = need.max(size.saturating_add(size / 2)).min(total);
                }
                Err(Stop::Short(_)) if size < total => {
                    return Err(Stop::Bad(self.too_large(total)));
                }
                Err(Stop::Short(_)) => {
                    let what = "the frame ends inside the front of its message";
                    return Err(Stop::Bad(Violation::Invalid(what)));
                }
                Err(bad) => return Err(bad),
            }
        }
    }

    /// Walks the struct of a framed message that is held whole, and inflated if it is compressed. Nothing may stand behind it: a
    /// server would take it for another message, one that was never routed.
    fn body(&mut self, bytes: &[u8], front: &Front) -> Result<(), Violation> {
        let whole = front.inflated.as_ref().and_then(|one| one.whole.as_ref());
        let (bytes, envelope, first) = match (&front.envelope, whole) {
            (Some(envelope), _) => (bytes, envelope, front.start()),
            (None, Some((inflated, envelope))) => (&**inflated, envelope, 0),
            (None, None) => return Ok(()),
        };
        let start = match envelope.encoding {
            Encoding::Json => first,
            _ => envelope.body,
        };
        let scanner = self.scanner.get_or_insert_default();
        scanner.start(envelope.encoding, start, self.limits.depth);
        match scanner.advance(bytes)? {
            Progress::Done(end) if end == bytes.len() => Ok(()),
            Progress::Done(_) => Err(Violation::Invalid("the frame goes on behind its message")),
            Progress::More(_) => Err(Violation::Invalid("the frame ends inside its message")),
        }
    }

    /// The message of a front, or its first piece.
    #[inline]
    fn present<'b>(
        &mut self,
        front: &Front,
        bytes: &'b [u8],
        end: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        if self.side == Side::Server {
            self.note_dialect(front.dialect.bits());
        } else if self.one_way == Some(front.seqid()) {
            return one_way::unasked(present::message(front, bytes, self.side, end));
        }
        present::message(front, bytes, self.side, end)
    }

    /// A further piece of the message of this id.
    fn data<'b>(&self, piece: &'b [u8], id: Option<i64>, end: bool) -> Decoded<'b> {
        if self.is_unasked(id) {
            return Decoded::Skip(piece.len());
        }
        let mut head = Head::new(Kind::Data, id);
        head.end = end;
        Decoded::Message(Message::new(head, piece), piece.len())
    }

    fn rest<'b>(&mut self, input: &'b [u8], left: usize, id: Option<i64>) -> Decoded<'b> {
        let piece = input.get(..left).unwrap_or(input);
        if piece.is_empty() {
            return Decoded::Incomplete(1);
        }
        let left = left - piece.len();
        self.at = match left {
            0 => At::Message,
            left => At::Rest { left, id },
        };
        self.data(piece, id, left == 0)
    }
}

/// The session of connections that speak a dialect: its bits, past 0, which is any dialect.
pub(crate) fn session(dialect: Dialect) -> Session {
    Session::dialect(dialect.bits() + 1)
}

fn unanswered(violation: Violation, length: usize) -> DecodeError {
    DecodeError::Message {
        violation,
        length,
        answer: None,
    }
}

impl Codec for ThriftCodec {
    fn decode<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        match self.at {
            At::Message => {}
            At::Rest { left, id } => return Ok(self.rest(input, left, id)),
            At::Scan { sent, id } => return self.scan(input, sent, id),
        }
        let framed = match self.framed {
            Some(framed) => framed,
            None => match sniff::framed(input) {
                Ok(framed) => framed,
                Err(Stop::Short(need)) => return Ok(Decoded::Incomplete(need)),
                Err(Stop::Bad(violation)) => return Err(DecodeError::lost(violation)),
            },
        };
        self.framed = Some(framed);
        if framed && let Some((wire, envelope)) = self.plain(input, want) {
            if self.side == Side::Client {
                if self.one_way == Some(envelope.seqid) {
                    return one_way::unasked(plain::reply(&envelope, wire));
                }
                return plain::reply(&envelope, wire);
            }
            self.note_dialect(plain::BITS);
            return plain::request(&envelope, wire);
        }
        if framed {
            self.framed(input, want)
        } else {
            self.unframed(input, want)
        }
    }

    fn session(&self) -> Session {
        self.session.clone()
    }

    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
        let head = message.head.kind;
        if self.side == Side::Client && head == Kind::OneWay {
            self.put_one_way(message, out)?;
        } else {
            rewrite::message(message, out)?;
        }
        if self.side == Side::Client && matches!(head, Kind::Request | Kind::OneWay) {
            // Connections serve one client after the other, so the last one counts.
            self.framed = Some(present::transport(message) != Transport::Unframed);
        }
        Ok(())
    }

    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
        match (self.side, say) {
            (Side::Client, LocalMessage::Probe { id, operation }) => {
                probe::call(self.probe, id, operation, out)?;
                self.framed = Some(self.probe.transport != Transport::Unframed);
                Ok(())
            }
            _ => reply::say(say, out),
        }
    }

    fn receipt(&self, request: &Message<'_>) -> ReplyContext {
        present::receipt(request)
    }
}

#[cfg(test)]
mod tests;
