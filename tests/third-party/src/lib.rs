//! Pigeon: letters between towns. One letter a line, four words and a text:
//!
//! ```text
//! 7 ask weather will it rain?      a request: id 7, topic `weather`
//! 8 tell weather it rains          a one-way: nobody answers it
//! 7 ok weather no                  the answer to 7
//! 7 no weather nobody knows        the answer to 7, a failure
//! ```

use std::io::Write as _;

use meltemi_frame::{
    Codec, Correlation, DecodeError, Decoded, Detect, EncodeError, Fault, Head, Interest, KeyId,
    KeySpec, Kind, Limits, LocalMessage, Message, Output, Protocol, Reason, ReplyContext, Session,
    Side, SmallBytes, Span, Spec, Status, System, Unsupported, Violation,
};

/// The slot of the attribute `topic`: its position in `Spec::keys`.
const TOPIC: KeyId = KeyId(0);
/// The slot of the attribute `letter`.
const LETTER: KeyId = KeyId(1);

/// The protocol: one value per process.
#[derive(Debug)]
pub struct Pigeon {
    spec: Spec,
}

impl Pigeon {
    /// The protocol.
    pub fn new() -> Self {
        Self {
            spec: Spec::new("pigeon", "topic", Correlation::Id { bits: 32 })
                .keys([
                    KeySpec::request("topic", "What the letter is about.").both(),
                    KeySpec::request("letter", "`ask` or `tell`."),
                ])
                .replies(Reason::ALL)
                .system(System::Messaging("pigeon".into())),
        }
    }
}

impl Default for Pigeon {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol for Pigeon {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn detect(&self, prefix: &[u8]) -> Detect {
        let digits = prefix
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let rest = prefix.get(digits..).unwrap_or_default();
        if !(1..=10).contains(&digits) {
            return Detect::No;
        }
        let mut detected = Detect::No;
        for start in [" ask ", " tell "] {
            if rest.starts_with(start.as_bytes()) {
                return Detect::Yes;
            }
            if start.as_bytes().starts_with(rest) {
                detected = Detect::Need(prefix.len() + 1);
            }
        }
        detected
    }

    fn codec(&self, side: Side, limits: &Limits, _: &Session) -> Box<dyn Codec> {
        Box::new(Letters {
            side,
            limit: limits.frame,
            scanned: 0,
        })
    }
}

/// One side of one connection.
struct Letters {
    side: Side,
    /// The longest line, in bytes.
    limit: usize,
    /// Bytes at the front of the input that hold no line feed.
    scanned: usize,
}

impl Codec for Letters {
    fn decode<'b>(&mut self, input: &'b [u8], _: Interest) -> Result<Decoded<'b>, DecodeError> {
        let fresh = input.get(self.scanned..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.scanned = input.len();
            if input.len() > self.limit {
                return Err(DecodeError::lost(too_large(input.len(), self.limit)));
            }
            return Ok(Decoded::Incomplete(input.len() + 1));
        };
        let length = self.scanned + end + 1;
        self.scanned = 0;
        if length == 1 {
            return Ok(Decoded::Skip(1));
        }
        let wire = input.get(..length).unwrap_or_default();
        match self.letter(wire) {
            Ok(message) => Ok(Decoded::Message(message, length)),
            Err((violation, answer)) => Err(DecodeError::Message {
                violation,
                length,
                answer,
            }),
        }
    }

    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
        if let Some(edit) = message.edits().first() {
            return Err(EncodeError::Edit {
                protocol: "pigeon",
                name: edit.name().to_owned(),
                why: "letters are sealed",
            });
        }
        let mut rest = message.wire();
        if let (true, Some(id)) = (message.id_changed(), message.id()) {
            put_id(id, out);
            let [id_end, ..] = message.layout;
            rest = rest.get(id_end as usize..).unwrap_or_default();
        }
        out.put(rest);
        Ok(())
    }

    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
        let LocalMessage::Failure { to, reason, text } = say else {
            return Err(Unsupported {
                protocol: "pigeon",
                what: "anything but failures",
            });
        };
        let (Some(id), true) = (to.id, to.bits == ANSWER) else {
            return Err(Unsupported {
                protocol: "pigeon",
                what: "an answer to this letter",
            });
        };
        put_id(id, out);
        out.put(b" no ");
        out.put(match to.name.as_slice() {
            b"" => b"-",
            topic => topic,
        });
        out.put(b" ");
        out.put(word(reason).as_bytes());
        out.put(b": ");
        for byte in text.bytes() {
            out.put(&[if byte == b'\n' { b' ' } else { byte }]);
        }
        out.put(b"\n");
        Ok(())
    }

    fn receipt(&self, request: &Message<'_>) -> ReplyContext {
        let topic = request.attributes.slot(TOPIC, request.wire());
        receipt(
            request.head.id,
            request.head.kind,
            topic.unwrap_or_default(),
        )
    }
}

impl Letters {
    /// A line as a message; or what is wrong with it, and who has to know: the client that asked, or
    /// the one whose answer this was.
    fn letter<'b>(
        &self,
        wire: &'b [u8],
    ) -> Result<Message<'b>, (Violation, Option<Box<ReplyContext>>)> {
        let silent = |violation| (violation, None);
        let mut words = Words {
            line: wire.trim_ascii_end(),
            at: 0,
        };
        let (digits, id_span) = words.next_word();
        let id = id_of(digits).ok_or_else(|| silent(Violation::Invalid("an id is 0 to 2^32-1")))?;
        let (letter, letter_span) = words.next_word();
        let (topic, topic_span) = words.next_word();

        let (kind, status) = match (letter, self.side) {
            (b"ask", Side::Server) => (Kind::Request, Status::Ok),
            (b"tell", Side::Server) => (Kind::OneWay, Status::Ok),
            (b"ok", Side::Client) => (Kind::Response, Status::Ok),
            (b"no", Side::Client) => (Kind::Response, Status::Failed(Fault::Application)),
            (b"ask" | b"tell" | b"ok" | b"no", side) => {
                let kind = if side == Side::Server {
                    "response"
                } else {
                    "request"
                };
                return Err(silent(Violation::WrongSide {
                    kind,
                    from: side.peer(),
                }));
            }
            _ => {
                return Err(silent(Violation::Invalid(
                    "a letter is ask, tell, ok or no",
                )));
            }
        };
        if wire.len() > self.limit && self.side == Side::Server || topic.is_empty() {
            let violation = match topic {
                b"" => Violation::Invalid("a letter has a topic"),
                _ => too_large(wire.len(), self.limit),
            };
            let to = receipt(Some(id), kind, topic);
            return Err((violation, (kind != Kind::OneWay).then(|| Box::new(to))));
        }

        let mut message = Message::new(Head::new(kind, Some(id)), wire);
        message.head.status = status;
        message.attributes.set_span(TOPIC, topic_span);
        if self.side == Side::Server {
            message.attributes.set_span(LETTER, letter_span);
        }
        message.layout = [id_span.end, 0, 0, 0, 0, 0, 0, 0];
        Ok(message)
    }
}

/// In `ReplyContext::bits`: somebody waits for an answer.
const ANSWER: u64 = 1;

fn receipt(id: Option<i64>, kind: Kind, topic: &[u8]) -> ReplyContext {
    let bits = if kind == Kind::Request { ANSWER } else { 0 };
    ReplyContext {
        id,
        bits,
        name: SmallBytes::new(topic),
    }
}

/// The words of a line, one after the other, and where they lie.
struct Words<'b> {
    line: &'b [u8],
    at: usize,
}

impl<'b> Words<'b> {
    fn next_word(&mut self) -> (&'b [u8], Span) {
        let start = self.at.min(self.line.len());
        let rest = self.line.get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(rest.len());
        self.at = start + length + 1;
        (
            rest.get(..length).unwrap_or_default(),
            Span::new(start, start + length),
        )
    }
}

/// An id as the frame has it: 32 bits, sign-extended.
fn id_of(digits: &[u8]) -> Option<i64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number: u32 = std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()?;
    Some(number.cast_signed().into())
}

/// The other way, without allocating.
fn put_id(id: i64, out: &mut Output) {
    let number = id as u32;
    let mut digits = [0; 10];
    let mut free = digits.as_mut_slice();
    // Ten digits hold every number of 32 bits.
    let _ = write!(free, "{number}");
    let used = 10 - free.len();
    out.put(digits.get(..used).unwrap_or_default());
}

fn too_large(length: usize, limit: usize) -> Violation {
    Violation::TooLarge {
        length: length as u64,
        limit: limit as u64,
    }
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::BadRequest => "not understood",
        Reason::NotFound => "nobody there",
        Reason::Unavailable => "nobody answers",
        Reason::Timeout => "too late",
        Reason::Overloaded => "too many letters",
        Reason::Denied => "not for you",
        Reason::Internal => "lost",
    }
}
