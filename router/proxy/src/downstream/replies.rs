//! The order of the replies on one downstream connection, and their encoding.

use std::collections::VecDeque;

use meltemi_frame::{Codec, LocalMessage, Message, Output, OwnedMessage, Reason, ReplyContext};
use meltemi_router_core::Order;

/// The least memory counted for a held piece, in addition to its bytes. Small replies need memory
/// too, and a client can request many of them.
const HELD_OVERHEAD: usize = 256;

pub(crate) struct Replies {
    flow: Flow,
    /// The reply that is partly written: its first pieces, but not its last.
    begun: Option<u64>,
    /// Bytes of held replies.
    held_bytes: usize,
}

/// The order in which replies leave.
enum Flow {
    InOrder(Order<Waiting>),
    /// In any order, but the pieces of one reply are not mixed with other replies.
    AsTheyCome {
        next: u64,
        held: VecDeque<(u64, Reserved)>,
    },
}

/// The pieces of a held reply. Boxed, because every connection has several of these and most are
/// empty.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "one word in the common case of none")]
struct Waiting(Option<Box<Vec<Reserved>>>);

/// A reply, or a piece of one.
pub(crate) enum Piece<'a> {
    Message(&'a Message<'a>),
    Fault(&'a ReplyContext, Reason, &'a str),
    Own(&'a ReplyContext),
    Pong(&'a ReplyContext),
}

/// A held reply, or a piece of one. Boxed, because it is rare and large.
enum Reserved {
    Message(Box<OwnedMessage>),
    Fault(Box<(ReplyContext, Reason, String)>),
    Own(Box<ReplyContext>),
    Pong(Box<ReplyContext>),
}

/// The reply failed after its first bytes were written. The bytes cannot be taken back, and the
/// client could not parse anything that follows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CutShort;

impl Replies {
    pub(crate) fn new(in_order: bool) -> Self {
        let flow = if in_order {
            Flow::InOrder(Order::default())
        } else {
            Flow::AsTheyCome {
                next: 0,
                held: VecDeque::new(),
            }
        };
        Self {
            flow,
            begun: None,
            held_bytes: 0,
        }
    }

    /// Opens a slot for the reply to a request.
    pub(crate) fn open(&mut self) -> u64 {
        match &mut self.flow {
            Flow::InOrder(order) => order.push(),
            Flow::AsTheyCome { next, .. } => {
                *next += 1;
                *next
            }
        }
    }

    /// Returns `true` if replies leave in request order.
    pub(crate) const fn in_order(&self) -> bool {
        matches!(self.flow, Flow::InOrder(_))
    }

    /// Returns the memory of held replies, in bytes.
    pub(crate) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn trim(&mut self) {
        match &mut self.flow {
            Flow::InOrder(order) => order.shrink(),
            Flow::AsTheyCome { held, .. } => held.shrink_to_fit(),
        }
    }

    /// Returns `true` if pieces of this reply are written at once.
    pub(crate) fn is_turn(&self, seq: u64) -> bool {
        match &self.flow {
            Flow::InOrder(order) => order.is_turn(seq),
            Flow::AsTheyCome { .. } => self.begun.is_none_or(|current| current == seq),
        }
    }

    /// Writes a piece of the reply `seq`, or holds it until its turn.
    pub(crate) fn put(
        &mut self,
        seq: u64,
        piece: &Piece<'_>,
        codec: &mut dyn Codec,
        out: &mut Output,
    ) -> Result<(), CutShort> {
        let fault = matches!(piece, Piece::Fault(..));
        if fault && self.begun == Some(seq) {
            return Err(CutShort);
        }
        let Self {
            flow,
            begun,
            held_bytes,
        } = self;
        match flow {
            Flow::InOrder(order) => {
                if order.is_turn(seq) {
                    write(piece, codec, out);
                    *begun = (!piece.is_last()).then_some(seq);
                } else if let Some(waiting) = order.buffer(seq) {
                    let held = waiting.0.get_or_insert_default();
                    if fault {
                        // No piece of this reply has been written, so the fault replaces all of
                        // them.
                        *held_bytes -= held.drain(..).map(|piece| piece.size()).sum::<usize>();
                    }
                    let piece = piece.hold();
                    *held_bytes += piece.size();
                    held.push(piece);
                }
                if piece.is_last() && order.finish(seq) {
                    // A reply that leaves here may be incomplete. If its last piece is held too, it
                    // leaves now as well.
                    let first = order.first();
                    for piece in order.ready().filter_map(|one| one.0).flat_map(|held| *held) {
                        *held_bytes -= piece.size();
                        piece.write(codec, out);
                        *begun = if piece.is_last() { None } else { first };
                    }
                    if begun.is_some() {
                        *begun = order.first();
                    }
                }
            }
            Flow::AsTheyCome { held, .. } => {
                if begun.is_some_and(|current| current != seq) {
                    if fault {
                        held.retain(|(other, piece)| {
                            let gone = *other == seq;
                            *held_bytes -= if gone { piece.size() } else { 0 };
                            !gone
                        });
                    }
                    let piece = piece.hold();
                    *held_bytes += piece.size();
                    held.push_back((seq, piece));
                    return Ok(());
                }
                write(piece, codec, out);
                *begun = (!piece.is_last()).then_some(seq);
                while begun.is_none()
                    && let Some((next, piece)) = held.pop_front()
                {
                    *held_bytes -= piece.size();
                    piece.write(codec, out);
                    if piece.is_last() {
                        continue;
                    }
                    // The other held pieces of this reply leave before anything else.
                    *begun = Some(next);
                    held.retain(|(other, piece)| {
                        if *other != next {
                            return true;
                        }
                        *held_bytes -= piece.size();
                        piece.write(codec, out);
                        *begun = (!piece.is_last()).then_some(next);
                        false
                    });
                }
            }
        }
        Ok(())
    }
}

impl Piece<'_> {
    pub(crate) fn is_last(&self) -> bool {
        !matches!(self, Piece::Message(message) if !message.head.end)
    }

    fn hold(&self) -> Reserved {
        match self {
            Piece::Message(message) => Reserved::Message(Box::new(message.to_owned_message())),
            Piece::Fault(receipt, reason, text) => {
                Reserved::Fault(Box::new(((*receipt).clone(), *reason, (*text).to_owned())))
            }
            Piece::Own(receipt) => Reserved::Own(Box::new((*receipt).clone())),
            Piece::Pong(receipt) => Reserved::Pong(Box::new((*receipt).clone())),
        }
    }
}

impl Reserved {
    /// Returns the approximate memory size in bytes.
    fn size(&self) -> usize {
        HELD_OVERHEAD
            + match self {
                Self::Message(message) => message.len(),
                Self::Fault(fault) => fault.2.len(),
                Self::Own(_) | Self::Pong(_) => 0,
            }
    }

    fn is_last(&self) -> bool {
        !matches!(self, Self::Message(message) if !message.message().head.end)
    }

    fn write(&self, codec: &mut dyn Codec, out: &mut Output) {
        match self {
            Self::Message(message) => write(&Piece::Message(&message.message()), codec, out),
            Self::Fault(fault) => write(&Piece::Fault(&fault.0, fault.1, &fault.2), codec, out),
            Self::Own(receipt) => write(&Piece::Own(receipt), codec, out),
            Self::Pong(receipt) => write(&Piece::Pong(receipt), codec, out),
        }
    }
}

pub(crate) fn write(piece: &Piece<'_>, codec: &mut dyn Codec, out: &mut Output) {
    let result = match piece {
        Piece::Message(message) => {
            if let Err(error) = codec.encode(message, out) {
                // A response without its changes is better than no response.
                tracing::warn!(%error, "response sent without the changes of its route");
                let _ = codec.encode(&message.without_edits(), out);
            }
            return;
        }
        Piece::Fault(to, reason, text) => codec.synthesize(
            LocalMessage::Failure {
                to,
                reason: *reason,
                text,
            },
            out,
        ),
        Piece::Own(to) => codec.synthesize(LocalMessage::CodecReply { to }, out),
        Piece::Pong(to) => codec.synthesize(LocalMessage::Pong { to }, out),
    };
    if let Err(error) = result {
        tracing::debug!(%error, "protocol cannot encode a local reply");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_frame::{DecodeError, Decoded, EncodeError, Head, Interest, Kind, Unsupported};

    /// A codec that writes wire bytes unchanged, and `!` for a fault.
    struct Plain;

    impl Codec for Plain {
        fn decode<'b>(&mut self, _: &'b [u8], _: Interest) -> Result<Decoded<'b>, DecodeError> {
            Ok(Decoded::Incomplete(1))
        }
        fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
            out.put(message.wire());
            Ok(())
        }
        fn synthesize(&mut self, _: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
            out.put(b"!");
            Ok(())
        }
    }

    struct Line {
        replies: Replies,
        out: Output,
    }

    impl Line {
        fn new(in_order: bool) -> Self {
            Self {
                replies: Replies::new(in_order),
                out: Output::new(),
            }
        }

        fn put(&mut self, seq: u64, text: &str, end: bool) {
            let mut head = Head::new(Kind::Response, None);
            head.end = end;
            let message = Message::new(head, text.as_bytes());
            self.replies
                .put(seq, &Piece::Message(&message), &mut Plain, &mut self.out)
                .unwrap();
        }

        fn fail(&mut self, seq: u64) -> Result<(), CutShort> {
            let receipt = ReplyContext::default();
            let piece = Piece::Fault(&receipt, Reason::Unavailable, "");
            self.replies.put(seq, &piece, &mut Plain, &mut self.out)
        }

        fn written(&mut self) -> String {
            String::from_utf8(self.out.drain().to_vec()).unwrap()
        }
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let mut line = Line::new(true);
        let (a, b, c) = (
            line.replies.open(),
            line.replies.open(),
            line.replies.open(),
        );
        line.put(c, "c", true);
        line.put(b, "b1", false);
        line.put(a, "a1", false);
        line.put(a, "a2", true);
        assert_eq!(line.written(), "a1a2b1");
        line.put(b, "b2", true);
        assert_eq!(line.written(), "b2c");
        assert_eq!(line.replies.held_bytes(), 0);
    }

    #[test]
    fn pieces_of_one_reply_are_not_mixed_with_others() {
        let mut line = Line::new(false);
        let (a, b, c) = (
            line.replies.open(),
            line.replies.open(),
            line.replies.open(),
        );
        line.put(a, "a1", false);
        line.put(b, "b1", false);
        line.put(c, "c", true);
        line.put(b, "b2", true);
        assert_eq!(line.written(), "a1");
        line.put(a, "a2", true);
        assert_eq!(line.written(), "a2b1b2c");
        assert_eq!(line.replies.held_bytes(), 0);
    }

    #[test]
    fn a_reply_that_fails_after_it_began_cannot_be_mended() {
        for in_order in [true, false] {
            let mut line = Line::new(in_order);
            let (a, b) = (line.replies.open(), line.replies.open());
            line.put(a, "a1", false);
            line.put(b, "b1", false);
            // No held piece has been written, so the fault replaces them.
            assert_eq!(line.fail(b), Ok(()));
            assert_eq!(line.fail(a), Err(CutShort));
            line.put(a, "a2", true);
            assert_eq!(line.written(), "a1a2!");
        }
    }

    #[test]
    fn a_reply_that_says_nothing_is_not_free_to_hold() {
        for in_order in [true, false] {
            let mut line = Line::new(in_order);
            let first = line.replies.open();
            line.put(first, "a1", false);
            for _ in 0..100 {
                let seq = line.replies.open();
                assert!(line.replies.is_turn(first) && !line.replies.is_turn(seq));
                line.fail(seq).unwrap();
            }
            assert!(line.replies.held_bytes() >= 100 * size_of::<ReplyContext>());
            line.put(first, "a2", true);
            assert_eq!(line.replies.held_bytes(), 0);
        }
    }

    #[test]
    fn a_held_reply_that_began_to_leave_cannot_be_mended_either() {
        let mut line = Line::new(true);
        let (a, b) = (line.replies.open(), line.replies.open());
        line.put(b, "b1", false);
        line.put(a, "a", true);
        assert_eq!(line.written(), "ab1");
        assert_eq!(line.fail(b), Err(CutShort));
    }
}
