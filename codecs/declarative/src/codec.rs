//! One side of one connection of a described protocol: its state, and the codec functions per kind
//! of framing.

mod attributes;
mod content;
mod edit;
mod encode;
mod framed;
mod line;
mod place;
mod say;

pub(crate) use line::known_line;
pub(crate) use say::say;

use std::sync::Arc;

use meltemi_frame::{
    Codec, DecodeError, Decoded, EncodeError, Head, Interest, Kind, Layout, Limits, LocalMessage,
    Message, Output, ReplyContext, Side, SmallBytes, Status, Unsupported, Violation,
};

use crate::plan::{Field, Plan, Rule, Variant, View};

/// The codec of a described protocol.
#[derive(Debug)]
pub(crate) struct Described {
    plan: Arc<Plan>,
    side: Side,
    limits: Limits,
    /// The part of a large message that is still due.
    rest: Option<Rest>,
    /// The number of bytes of an incomplete line that contain no delimiter.
    scanned: usize,
    /// The variant of the last message. The proxy's own unsolicited messages use it.
    spoken: Option<usize>,
    scratch: edit::Scratch,
}

/// The rest of a message that arrives in pieces.
#[derive(Clone, Copy, Debug)]
struct Rest {
    left: u64,
    id: Option<i64>,
    variant: usize,
    /// The bytes of the checksum at its end. They are never split.
    checksum: usize,
    /// The number of bytes between the id and the checksum.
    behind_id: u64,
}

/// The positions of the notes in `layout`.
mod note {
    /// The variant.
    pub(super) const VARIANT: usize = 0;
    /// The start and the end of the entries (in a delimited message, of the id's word).
    pub(super) const START: usize = 1;
    pub(super) const END: usize = 2;
    /// The length of the whole message (of a piece: the bytes after the id), low and high half.
    pub(super) const LOW: usize = 3;
    pub(super) const HIGH: usize = 4;
    /// The size of the checksum at the end of the message.
    pub(super) const CHECKSUM: usize = 5;
    /// There are entries that can be edited.
    pub(super) const EDITABLE: usize = 6;
}

fn put_note(layout: &mut Layout, at: usize, value: usize) {
    if let Some(place) = layout.get_mut(at) {
        *place = u32::try_from(value).unwrap_or(u32::MAX);
    }
}

fn put_length(layout: &mut Layout, length: u64) {
    let half = |value: u64| usize::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    put_note(layout, note::LOW, half(length));
    put_note(layout, note::HIGH, half(length >> 32));
}

fn noted(layout: &Layout, at: usize) -> usize {
    layout.get(at).map_or(0, |value| *value as usize)
}

fn noted_length(layout: &Layout) -> u64 {
    let at = |place: usize| layout.get(place).map_or(0, |value| u64::from(*value));
    at(note::LOW) | (at(note::HIGH) << 32)
}

impl Described {
    pub(crate) fn new(plan: Arc<Plan>, side: Side, limits: &Limits) -> Self {
        Self {
            plan,
            side,
            limits: *limits,
            rest: None,
            scanned: 0,
            spoken: None,
            scratch: edit::Scratch::default(),
        }
    }
}

impl Codec for Described {
    fn decode<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        let decoded = if let Some(rest) = self.rest {
            return Ok(self.piece(rest, input));
        } else if input.is_empty() {
            Decoded::Incomplete(1)
        } else if self.plan.line.is_some() {
            self.decode_line(input, want)?
        } else {
            self.decode_framed(input, want)?
        };
        if let Decoded::Message(message, _) = &decoded {
            self.spoken = Some(noted(&message.layout, note::VARIANT));
        }
        Ok(decoded)
    }

    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
        self.encode_message(message, out)?;
        self.spoken = Some(noted(&message.layout, note::VARIANT));
        Ok(())
    }

    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
        say::say(&self.plan, self.spoken, say, out)
    }

    fn receipt(&self, request: &Message<'_>) -> ReplyContext {
        let variant = noted(&request.layout, note::VARIANT);
        receipt(
            &self.plan,
            variant,
            request.head.kind,
            request.head.id,
            request.wire(),
        )
    }
}

/// Set in a receipt's bits if the message must never get a reply.
const ONE_WAY: u64 = 1 << 32;

/// Returns the receipt of a request: its variant, and the bytes from which replies copy fields.
fn receipt(plan: &Plan, variant: usize, kind: Kind, id: Option<i64>, wire: &[u8]) -> ReplyContext {
    let mut receipt = ReplyContext::new(id);
    receipt.bits = variant as u64;
    if kind == Kind::OneWay {
        receipt.bits |= ONE_WAY;
    }
    if plan.keep > 0 {
        receipt.name = SmallBytes::new(wire.get(..plan.keep.min(wire.len())).unwrap_or_default());
    }
    receipt
}

/// The known properties of an invalid message: enough to reply to it.
#[derive(Clone, Copy)]
struct Known<'a> {
    plan: &'a Plan,
    variant: usize,
    kind: Option<Kind>,
    id: Option<i64>,
    wire: &'a [u8],
}

impl Known<'_> {
    fn answer(self) -> Option<Box<ReplyContext>> {
        let kind = self.kind.filter(|kind| *kind == Kind::Request)?;
        Some(Box::new(receipt(
            self.plan,
            self.variant,
            kind,
            self.id,
            self.wire,
        )))
    }

    fn malformed(self, violation: Violation, length: u64) -> DecodeError {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        DecodeError::Message {
            violation,
            length,
            answer: self.answer(),
        }
    }

    fn lost(self, violation: Violation) -> DecodeError {
        DecodeError::Connection {
            violation,
            answer: self.answer(),
        }
    }
}

/// Returns the violation for a message that matches no rule, or that the wrong side sent.
fn not_expected(side: Side, kind: Option<Kind>) -> Violation {
    match kind {
        Some(kind) => Violation::WrongSide {
            kind: kind.name(),
            from: side.peer(),
        },
        None => Violation::Invalid("no rule of the description matches this message"),
    }
}

/// Returns the head of a message, from its fields.
fn head_of(variant: &Variant, rule: &Rule, view: View<'_>) -> Head {
    let id = variant.id.and_then(|field| field.number(view));
    let mut head = Head::new(rule.kind, id);
    head.safety = rule.safety;
    if let Some((field, unit)) = variant.timeout {
        head.timeout = duration(field, unit, view);
    }
    if rule.kind == Kind::Response
        && let Some(table) = &variant.status
        && !table.ok.passes(view)
    {
        let fault = table.faults.iter().find(|(test, _)| test.passes(view));
        head.status = Status::Failed(fault.map_or(table.otherwise, |(_, fault)| *fault));
    }
    head
}

fn duration(field: Field, unit: u64, view: View<'_>) -> Option<std::time::Duration> {
    let value = u64::try_from(field.number(view)?)
        .ok()
        .filter(|value| *value > 0)?;
    Some(std::time::Duration::from_micros(value.checked_mul(unit)?))
}
