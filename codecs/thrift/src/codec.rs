//! One side of one connection: the start and the end of messages, and which of them are returned
//! whole or in pieces. It must not interpret the bytes of a message: the other modules do.

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

/// The kind of the bytes at the front of the input.
#[derive(Clone, Copy, Debug)]
enum At {
    Message,
    /// The rest of a message whose end is known.
    Rest {
        left: usize,
        id: i32,
    },
    /// The rest of an unframed message. The scanner is inside it.
    Scan {
        sent: usize,
        id: i32,
    },
}

pub(crate) struct ThriftCodec {
    side: Side,
    limits: Limits,
    at: At,
    /// `true` if messages have frames. A server learns it from the first message. A client learns
    /// it from its own messages or, if it has sent none, from the first reply.
    framed: Option<bool>,
    /// Created with the first message that must be walked.
    scanner: Option<Box<Scanner>>,
    /// The scanner is inside the unframed message at the front of the input.
    scanning: bool,
    inflater: Inflater,
    /// The client's dialect. Servers detect the dialect once per connection, so an upstream
    /// connection must never carry two.
    session: Session,
    spoken: Option<u32>,
    /// The dialect of the proxy's own first message to a server.
    probe: Dialect,
    /// The sequence id of one-way calls on this connection, after the first one.
    one_way: Option<i32>,
}

impl ThriftCodec {
    /// `spoken` is the dialect of the session, in the form of [`Session::dialect`].
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

    /// Notes the framing of a request. A connection serves one client after the other, so the last
    /// request decides.
    #[inline]
    pub(crate) fn note_framing(&mut self, request: &Message<'_>) {
        self.framed = Some(present::transport(request) != Transport::Unframed);
    }

    /// Returns the maximum size in bytes of a message that is returned whole.
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

    /// Returns the message at the front of the input, if it is complete and has the common framed
    /// form.
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
            // Unreadable bytes follow, so the first four bytes are not a length.
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
                // A response, because its side was correct.
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
                id: front.seqid(),
            };
        }
        self.present(&front, bytes, size == total)
    }

    /// Returns the front of the message in a frame of `total` bytes, and the piece to return.
    fn front<'b>(
        &mut self,
        input: &'b [u8],
        total: usize,
        want: Interest,
    ) -> Result<(Front, &'b [u8]), Stop> {
        // For a refused request, only the bytes that the reply needs are awaited.
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
                    // In JSON a name has no length. Every step is larger than the last, so that the
                    // work stays linear.
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

    /// Walks the struct of a framed message that is buffered whole, and inflated if it is
    /// compressed. Fails if bytes follow the struct: a server would read them as another message,
    /// which was never routed.
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
            Progress::Done(_) => Err(Violation::Invalid("the frame continues after its message")),
            Progress::More(_) => Err(Violation::Invalid("the frame ends inside its message")),
        }
    }

    /// Returns the message of a front, or its first piece.
    #[inline]
    fn present<'b>(
        &mut self,
        front: &Front,
        bytes: &'b [u8],
        end: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        if self.side == Side::Server {
            self.note_dialect(front.dialect.bits());
        } else if self.is_unasked(front.seqid()) {
            return one_way::unasked(present::message(front, bytes, self.side, end));
        }
        present::message(front, bytes, self.side, end)
    }

    /// Returns the next piece of the message with this id.
    fn data<'b>(&self, piece: &'b [u8], id: i32, end: bool) -> Decoded<'b> {
        if self.is_unasked(id) {
            return Decoded::Skip(piece.len());
        }
        let mut head = Head::new(Kind::Data, Some(i64::from(id)));
        head.end = end;
        Decoded::Message(Message::new(head, piece), piece.len())
    }

    fn rest<'b>(&mut self, input: &'b [u8], left: usize, id: i32) -> Decoded<'b> {
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

/// Returns the session of connections with this dialect: its bits plus one. 0 is any dialect.
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
                if self.is_unasked(envelope.seqid) {
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
        if self.side == Side::Client {
            match message.head.kind {
                Kind::OneWay => return self.put_one_way(message, out),
                Kind::Request => self.note_framing(message),
                _ => {}
            }
        }
        rewrite::message(message, out)
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
