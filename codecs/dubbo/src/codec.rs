//! One side of one connection: the framing, and the kind of each message. It must not read bodies:
//! `request`, `response` and `event` do.

use meltemi_frame::{
    Codec, DecodeError, Decoded, EncodeError, Head, Interest, Kind, Limits, LocalMessage, Message,
    Output, ReplyContext, Side, Unsupported, Violation,
};

use crate::cursor::{Bad, Scratch};
use crate::edit;
use crate::event;
use crate::format::{Format, Reader};
use crate::front;
use crate::header::{self, Header, LENGTH, MAGIC};
use crate::plain;
use crate::protocol::key;
use crate::reply;
use crate::request;
use crate::response;

/// The name of the protocol in errors.
pub(crate) const NAME: &str = "dubbo";

/// The minimum number of bytes buffered before the head of a large message is returned. Smaller
/// messages are buffered completely.
const FRONT: usize = 1 << 10;

pub(crate) struct DubboCodec {
    side: Side,
    limits: Limits,
    scratch: Scratch,
    /// The id of a large message whose head was returned, and the number of its bytes still due.
    rest: Option<(i64, usize)>,
}

impl DubboCodec {
    pub(crate) fn new(side: Side, limits: Limits) -> Self {
        Self {
            side,
            limits,
            scratch: Scratch::default(),
            rest: None,
        }
    }

    /// Returns the next piece of a large message: all bytes that have arrived.
    fn piece<'b>(&mut self, id: i64, left: usize, input: &'b [u8]) -> Decoded<'b> {
        let Some((wire, _)) = input.split_at_checked(left.min(input.len())) else {
            return Decoded::Incomplete(1);
        };
        if wire.is_empty() {
            return Decoded::Incomplete(1);
        }
        let left = left - wire.len();
        self.rest = (left > 0).then_some((id, left));
        let mut head = Head::new(Kind::Data, Some(id));
        head.end = left == 0;
        Decoded::Message(Message::new(head, wire), wire.len())
    }

    /// Validates the header alone. Returns the length of the message.
    fn extent(&self, header: Header) -> Result<usize, DecodeError> {
        let lost = |violation| DecodeError::Connection {
            violation,
            answer: self.answer(header),
        };
        let body = usize::try_from(header.body).map_err(|_| {
            lost(Violation::Length {
                field: "body length",
                value: i64::from(header.body),
            })
        })?;
        let length = body.saturating_add(LENGTH);
        // Responses of any size stream through. All other messages must fit.
        let streams = || self.side == Side::Client && !header.is_event() && !header.is_request();
        if length > self.limits.frame && !streams() {
            return Err(lost(Violation::TooLarge {
                length: length as u64,
                limit: self.limits.frame as u64,
            }));
        }
        Ok(length)
    }

    /// Returns up to which length a message is buffered completely, in bytes.
    #[cold]
    fn holds(&self, header: Header, want: Interest) -> usize {
        // A call from a server (a callback argument) and its reply are buffered completely.
        let backwards = header.is_request() == (self.side == Side::Client);
        if want >= Interest::Headers || header.is_event() || backwards {
            self.limits.frame.max(self.limits.hold)
        } else {
            self.limits.hold
        }
    }

    /// Returns the receipt for a refused message: of the request itself, or of the request that the
    /// response answers.
    fn answer(&self, header: Header) -> Option<Box<ReplyContext>> {
        let told = match self.side {
            Side::Server => header.is_request() && header.is_two_way(),
            Side::Client => !header.is_request(),
        };
        (told && !header.is_event()).then(|| Box::new(reply::receipt(header, &[])))
    }

    /// Decodes the message in `wire`. It is complete if `whole` is set, otherwise only its front.
    /// `refuse` converts its errors.
    #[inline]
    fn message<'b, E>(
        &mut self,
        header: Header,
        wire: &'b [u8],
        whole: bool,
        want: Interest,
        refuse: impl FnOnce(&Self, Bad) -> E,
    ) -> Result<Decoded<'b>, E> {
        let kind = match (header.is_request(), header.is_two_way()) {
            _ if header.is_event() => {
                match event::kind(header, wire, &mut self.scratch, &self.limits) {
                    Ok(kind) => kind,
                    Err(bad) => return Err(refuse(self, bad)),
                }
            }
            (true, true) => Kind::Request,
            (true, false) => Kind::OneWay,
            (false, _) => Kind::Response,
        };
        if !(whole && want >= Interest::Headers)
            && let Some(front) = plain::front(header, wire)
        {
            return plain::message(&front, header, wire, (kind, whole));
        }
        self.make(header, wire, kind, (whole, want), refuse)
    }

    /// Builds the message, with any body.
    #[inline(never)]
    pub(crate) fn make<'b, E>(
        &mut self,
        header: Header,
        wire: &'b [u8],
        kind: Kind,
        (whole, want): (bool, Interest),
        refuse: impl FnOnce(&Self, Bad) -> E,
    ) -> Result<Decoded<'b>, E> {
        let head = Head::new(kind, Some(header.id));
        let mut decoded = Ok(Decoded::Message(Message::new(head, wire), wire.len()));
        if let Ok(Decoded::Message(message, _)) = &mut decoded
            && !header.is_event()
            && let Err(bad) = self.fill(header, message, whole, want)
        {
            decoded = Err(refuse(self, bad));
        }
        decoded
    }

    /// Reads the body, as far as `want` requires.
    fn fill(
        &mut self,
        header: Header,
        message: &mut Message<'_>,
        whole: bool,
        want: Interest,
    ) -> Result<(), Bad> {
        let wire = message.wire();
        let response = message.head.kind == Kind::Response;
        if response {
            message.head.status = header::outcome(header.status);
        }
        message.head.end = whole;
        describe_header(header, message);

        let well = !response || header.status == header::OK;
        let Some(format) = Format::of(header.serialization()).filter(|_| well) else {
            if header.serialization() == 0 {
                return Err(Bad::Invalid("there is no serialization with id 0"));
            }
            if !response {
                let attributes = &mut message.attributes;
                front::publish(header.serialization(), wire, LENGTH, attributes);
            }
            return Ok(());
        };
        let (scratch, limits) = (&mut self.scratch, &self.limits);
        let mut reader = Reader::new(format, wire, LENGTH, scratch, limits);
        if response {
            let outcome = response::outcome(&mut reader)?;
            response::publish(outcome, message);
            if whole && want >= Interest::Headers {
                // A reply that nests too deeply still goes to the caller, without attachments.
                match response::publish_rest(outcome, &mut reader, limits, message) {
                    Ok(()) | Err(Bad::Depth | Bad::Entries) => {}
                    Err(bad) => return Err(bad),
                }
            }
        } else {
            let fields = request::fields(&mut reader)?;
            request::publish(&fields, &reader, message);
            if whole && want >= Interest::Headers {
                request::publish_rest(&fields, &mut reader, limits, message)?;
            }
        }
        Ok(())
    }
}

fn describe_header(header: Header, message: &mut Message<'_>) {
    let attributes = &mut message.attributes;
    match header::serialization_name(header.serialization()) {
        Some(name) => attributes.set_static(key::SERIALIZATION, name),
        None => {
            let number = header.serialization().to_string();
            attributes.set_kept(key::SERIALIZATION, number.into_bytes());
        }
    }
    if message.head.kind == Kind::Response {
        match header::status_text(header.status) {
            Some(text) => attributes.set_static(key::STATUS, text),
            None => attributes.set_kept(key::STATUS, header.status.to_string().into_bytes()),
        }
    }
}

impl Codec for DubboCodec {
    fn decode<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        if let Some((id, left)) = self.rest {
            return Ok(self.piece(id, left, input));
        }
        let known = input.len().min(MAGIC.len());
        if input.get(..known) != MAGIC.get(..known) {
            return Err(DecodeError::lost(Violation::magic(NAME, input)));
        }
        let Some(header) = Header::read(input) else {
            return Ok(Decoded::Incomplete(LENGTH));
        };
        let length = self.extent(header)?;

        if length > self.limits.hold && length > FRONT && length > self.holds(header, want) {
            let front = self.limits.hold.max(FRONT);
            let Some(wire) = input.get(..front) else {
                return Ok(Decoded::Incomplete(front));
            };
            match self.message(header, wire, false, Interest::Route, |_, bad| bad) {
                Ok(front_of) => {
                    self.rest = Some((header.id, length.saturating_sub(front)));
                    return Ok(front_of);
                }
                // The fields before the arguments are larger than the front: the message is
                // buffered.
                Err(Bad::End) if length <= self.limits.frame => {}
                Err(bad) => return Err(self.refused(bad, header, length)),
            }
        }
        let Some(wire) = input.get(..length) else {
            return Ok(Decoded::Incomplete(length));
        };
        let refuse = |this: &Self, bad| this.refused(bad, header, length);
        self.message(header, wire, true, want, refuse)
    }

    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
        if !message.edits().is_empty() {
            return edit::encode(message, &mut self.scratch, &self.limits, out);
        }
        match message.id() {
            Some(id) if message.id_changed() && message.head.kind != Kind::Data => {
                put_with_id(message.wire(), id, out);
            }
            _ => out.put(message.wire()),
        }
        Ok(())
    }

    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
        let cannot = |what| Unsupported {
            protocol: NAME,
            what,
        };
        match say {
            LocalMessage::Failure { to, .. } if to.bits & reply::NO_ANSWER != 0 => {
                return Err(cannot("a reply to a one-way request"));
            }
            LocalMessage::Failure { to, reason, text } => reply::failure(to, reason, text, out),
            LocalMessage::CodecReply { .. } => return Err(cannot("a codec reply")),
            LocalMessage::Ping { id } => reply::ping(id, out),
            LocalMessage::Probe { .. } => return Err(cannot("a probe")),
            LocalMessage::Pong { to } => reply::pong(to, out),
            LocalMessage::GoAway => reply::goaway(out),
        }
        Ok(())
    }

    fn receipt(&self, request: &Message<'_>) -> ReplyContext {
        let Some(header) = Header::read(request.wire()) else {
            return ReplyContext::new(request.head.id);
        };
        let heartbeat = if request.head.kind == Kind::Ping {
            request.wire().get(LENGTH..).unwrap_or_default()
        } else {
            &[]
        };
        reply::receipt(header, heartbeat)
    }
}

impl DubboCodec {
    fn refused(&self, bad: Bad, header: Header, length: usize) -> DecodeError {
        DecodeError::Message {
            violation: bad.violation(&self.limits),
            length,
            answer: self.answer(header),
        }
    }
}

/// Appends a message with another id.
pub(crate) fn put_with_id(wire: &[u8], id: i64, out: &mut Output) {
    let (Some(front), Some(rest)) = (wire.get(..header::ID_AT), wire.get(header::ID_AT + 8..))
    else {
        return out.put(wire);
    };
    out.put(front);
    out.put(&id.to_be_bytes());
    out.put(rest);
}
