//! Decoding of messages that end with a delimiter and consist of words.

use meltemi_frame::{DecodeError, Decoded, Interest, Message, Open, Side, Span, Violation};
use memchr::memchr_iter;

use super::{Described, Known, attributes, head_of, not_expected, note, put_length, put_note};
use crate::plan::{self, Field, Line, Plan, View};
use crate::words::Words;

impl Described {
    pub(super) fn decode_line<'b>(
        &mut self,
        input: &'b [u8],
        want: Interest,
    ) -> Result<Decoded<'b>, DecodeError> {
        let Some(line) = &self.plan.line else {
            return Err(DecodeError::lost(Violation::magic(self.plan.name, input)));
        };
        let limit = self.plan.max_length.min(self.limits.frame as u64);
        let Some(end) = end_of(line, input, self.scanned) else {
            // Only the last bytes can be the start of the delimiter.
            self.scanned = input.len().saturating_sub(line.end.len() - 1);
            if input.len() as u64 > limit {
                let length = input.len() as u64;
                return Err(DecodeError::lost(Violation::TooLarge { length, limit }));
            }
            return Ok(Decoded::Incomplete(input.len() + 1));
        };
        self.scanned = 0;
        if end as u64 > limit {
            return Err(DecodeError::lost(Violation::TooLarge {
                length: end as u64,
                limit,
            }));
        }
        let wire = input.get(..end).unwrap_or_default();
        let content = content(line, wire);
        let words = Words::of(content, line.separator);
        if words.as_slice().is_empty() {
            return Ok(Decoded::Skip(end));
        }
        let view = View {
            wire,
            words: words.as_slice(),
            line_end: content.len(),
        };
        let message = decode_words(&self.plan, self.side, wire, view, want)?;
        Ok(Decoded::Message(message, end))
    }
}

/// Returns the end of the delimiter. The search starts at `from`.
fn end_of(line: &Line, input: &[u8], from: usize) -> Option<usize> {
    let last = *line.end.last()?;
    let rest = input.get(from..)?;
    memchr_iter(last, rest).map(|at| from + at + 1).find(|end| {
        input
            .get(..*end)
            .is_some_and(|front| front.ends_with(&line.end))
    })
}

/// Returns the message without its delimiter.
pub(super) fn content<'b>(line: &Line, wire: &'b [u8]) -> &'b [u8] {
    let content = wire.strip_suffix(&*line.end).unwrap_or(wire);
    if *line.end == *b"\n" {
        content.strip_suffix(b"\r").unwrap_or(content)
    } else {
        content
    }
}

/// Returns the variant that the peer of this side sends, otherwise any.
fn select(plan: &Plan, side: Side) -> Option<(usize, &plan::Variant)> {
    let mut variants = plan.variants.iter().enumerate();
    let fits = |variant: &plan::Variant| variant.side.is_none_or(|only| only == side);
    variants
        .find(|(_, variant)| fits(variant))
        .or_else(|| plan.variants.first().map(|first| (0, first)))
}

fn decode_words<'b>(
    plan: &Plan,
    side: Side,
    wire: &'b [u8],
    view: View<'_>,
    want: Interest,
) -> Result<Message<'b>, DecodeError> {
    let Some((at, variant)) = select(plan, side) else {
        return Err(DecodeError::lost(Violation::magic(plan.name, wire)));
    };
    let length = wire.len() as u64;
    let mut known = Known {
        plan,
        variant: at,
        kind: None,
        id: None,
        wire,
    };
    let rule = variant
        .kind(side, view)
        .map_err(|kind| known.malformed(not_expected(side, kind), length))?;
    known.kind = Some(rule.kind);
    let head = head_of(variant, rule, view);
    known.id = head.id;
    if variant.id.is_some() && head.id.is_none() && rule.kind.expects_reply() {
        known.kind = None;
        return Err(known.malformed(Violation::Invalid("its id is not a number"), length));
    }
    let mut message = Message::new(head, wire);
    put_note(&mut message.layout, note::VARIANT, at);
    put_length(&mut message.layout, length);
    if let Some(span) = variant
        .id
        .and_then(|field: Field| field.span(view))
        .filter(|_| head.id.is_some())
    {
        put_note(&mut message.layout, note::START, span.start as usize);
        put_note(&mut message.layout, note::END, span.end as usize);
    }
    attributes::fill(&mut message, variant, view, want, &|_| None);
    if let Some(plan::Open::Words {
        from,
        walk,
        interest,
    }) = &variant.open
        && want >= *interest
        && let Some(first) = view.words.get(*from)
    {
        let region = Span::new(first.start as usize, view.line_end);
        message.attributes.set_open(Open::Walk {
            region,
            walk: *walk,
        });
    }
    Ok(message)
}

/// Returns `true` if the first bytes of a client are a message of this protocol: a rule with
/// conditions must match the first line.
pub(crate) fn known_line(plan: &Plan, line: &Line, prefix: &[u8]) -> Option<bool> {
    let end = end_of(line, prefix, 0)?;
    let wire = prefix.get(..end)?;
    let content = content(line, wire);
    let words = Words::of(content, line.separator);
    let view = View {
        wire,
        words: words.as_slice(),
        line_end: content.len(),
    };
    let (_, variant) = select(plan, Side::Server)?;
    Some(
        variant
            .kind(Side::Server, view)
            .is_ok_and(|rule| !rule.tests.is_empty()),
    )
}
