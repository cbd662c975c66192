//! Decoding of messages with a length in their header.

use meltemi_frame::{
    DecodeError, Decoded, Head, Interest, Kind, Limits, Message, Side, Span, Violation,
};

use super::place::{Body, Cut, Sections};
use super::{
    Described, Known, Rest, attributes, content, head_of, not_expected, note, put_length, put_note,
};
use crate::checksum::crc32;
use crate::plan::{Ending, Fit, Open, Plan, Variant, View, all_pass, fits};

/// The size in bytes of the pieces of a large message. It does not depend on the network: for a
/// slow response the client is woken once per piece, not once per segment.
const PIECE: u64 = 16 << 10;

impl Described {
    pub(super) fn decode_framed<'b>(
        &mut self,
        input: &'b [u8],
        want: Interest,
    ) -> Result<Decoded<'b>, DecodeError> {
        let Self {
            plan,
            side,
            limits,
            rest,
            ..
        } = self;
        let at = match select(plan, *side, input) {
            Selected::One(at) => at,
            Selected::Need(need) => return Ok(Decoded::Incomplete(need)),
            Selected::None => return Err(DecodeError::lost(Violation::magic(plan.name, input))),
        };
        let Some(variant) = plan.variants.get(at) else {
            return Err(DecodeError::lost(Violation::magic(plan.name, input)));
        };
        let Some(header) = input.get(..variant.header) else {
            return Ok(Decoded::Incomplete(variant.header));
        };
        let view = View::of(header);
        let mut known = Known {
            plan,
            variant: at,
            kind: None,
            id: None,
            wire: input,
        };
        let rule = variant.kind(*side, view);
        if let Ok(rule) = rule {
            known.kind = Some(rule.kind);
            known.id = variant.id.and_then(|field| field.number(view));
        }
        let total = variant
            .total(header)
            .map_err(|violation| known.lost(violation))?;
        let rule = rule.map_err(|kind| known.malformed(not_expected(*side, kind), total))?;
        let head = head_of(variant, rule, view);
        if variant.id.is_some() && head.id.is_none() {
            known.kind = None;
            return Err(known.malformed(Violation::Invalid("its id is not a number"), total));
        }
        let shape = Shape {
            variant,
            view,
            total,
            want,
            kind: rule.kind,
        };
        match shape.extent(limits, plan.max_length, input, known)? {
            Taken::Incomplete(need) => Ok(Decoded::Incomplete(need)),
            Taken::Front(length, sections) => {
                let message = shape.message(head, input, length, &sections, limits, known)?;
                let left = total.saturating_sub(length as u64);
                if left > 0 {
                    let checksum = shape.checksum();
                    let id_end = variant.id.map_or(0, |field| field.end());
                    let behind_id = total.saturating_sub((id_end + checksum) as u64);
                    *rest = Some(Rest {
                        left,
                        id: head.id,
                        variant: at,
                        checksum,
                        behind_id,
                    });
                }
                Ok(Decoded::Message(message, length))
            }
        }
    }

    /// Returns the next piece of a large message.
    pub(super) fn piece<'b>(&mut self, rest: Rest, input: &'b [u8]) -> Decoded<'b> {
        // The checksum is rewritten in one step, so it must not be split.
        let body = rest.left.saturating_sub(rest.checksum as u64);
        let take = if rest.left <= PIECE {
            rest.left
        } else {
            PIECE.min(body)
        };
        let take = usize::try_from(take).unwrap_or(usize::MAX);
        let Some(wire) = input.get(..take) else {
            return Decoded::Incomplete(take);
        };
        let left = rest.left - take as u64;
        let mut head = Head::new(Kind::Data, rest.id);
        head.end = left == 0;
        let mut message = Message::new(head, wire);
        put_note(&mut message.layout, note::VARIANT, rest.variant);
        if head.end {
            put_note(&mut message.layout, note::CHECKSUM, rest.checksum);
            put_length(&mut message.layout, rest.behind_id);
        }
        self.rest = (left > 0).then_some(Rest { left, ..rest });
        Decoded::Message(message, take)
    }
}

enum Selected {
    One(usize),
    Need(usize),
    None,
}

/// Returns the variant of the bytes: one that the peer may send, otherwise any.
fn select(plan: &Plan, side: Side, input: &[u8]) -> Selected {
    for expected in [true, false] {
        for (at, variant) in plan.variants.iter().enumerate() {
            if variant.side.is_none_or(|only| only == side) != expected {
                continue;
            }
            match fits(variant.magic.iter(), input) {
                Fit::Yes => return Selected::One(at),
                Fit::Need(need) => return Selected::Need(need),
                Fit::No => {}
            }
        }
    }
    Selected::None
}

/// The part of a message that is returned at once.
enum Taken {
    Incomplete(usize),
    Front(usize, Sections),
}

/// A message whose header is known.
struct Shape<'p, 'b> {
    variant: &'p Variant,
    view: View<'b>,
    total: u64,
    want: Interest,
    kind: Kind,
}

impl Shape<'_, '_> {
    fn checksum(&self) -> usize {
        let trailer = self.variant.trailer.as_ref();
        let trailer = trailer.filter(|trailer| {
            matches!(trailer.what, Ending::Crc32(_)) && all_pass(&trailer.when, self.view)
        });
        trailer.map_or(0, |trailer| trailer.what.size())
    }

    fn body(&self) -> Body<'_, '_> {
        let trailer = self.variant.trailer_length(self.view) as u64;
        let end = usize::try_from(self.total.saturating_sub(trailer)).unwrap_or(usize::MAX);
        Body {
            variant: self.variant,
            view: self.view,
            end,
        }
    }

    fn extent(
        &self,
        limits: &Limits,
        max: u64,
        input: &[u8],
        known: Known<'_>,
    ) -> Result<Taken, DecodeError> {
        let total = self.total;
        let limit = max.min(limits.frame as u64);
        let too_large = || Violation::TooLarge {
            length: total,
            limit,
        };
        let flows = matches!(
            self.kind,
            Kind::Request | Kind::OneWay | Kind::Response | Kind::Push
        );
        let answer = matches!(self.kind, Kind::Response | Kind::Push);
        if total > max || (total > limit && !answer) {
            return Err(known.lost(too_large()));
        }
        // Edited entries need a new checksum: a message within the limit is buffered for that.
        let streams = flows
            && self.variant.streams
            && self.want < Interest::Body
            && (self.checksum() == 0 || total > limit);
        let mut sections = Sections::default();
        if total > limits.hold as u64 && streams {
            match self
                .body()
                .place(input, self.variant.needed, limits, &mut sections)
            {
                Ok(front) if front as u64 > limit => {
                    return Err(known.malformed(too_large(), total));
                }
                Ok(front) => return Ok(Taken::Front(front, sections)),
                Err(Cut::Need(need)) if need as u64 > limit => {
                    return Err(known.malformed(too_large(), total));
                }
                Err(Cut::Need(need)) => return Ok(Taken::Incomplete(need)),
                Err(Cut::Bad(violation)) => return Err(known.malformed(violation, total)),
            }
        }
        if total > limit {
            return Err(known.malformed(too_large(), total));
        }
        let length = usize::try_from(total).unwrap_or(usize::MAX);
        let Some(wire) = input.get(..length) else {
            return Ok(Taken::Incomplete(length));
        };
        let looked = if self.want == Interest::Body {
            self.variant.sections.len()
        } else {
            self.variant.needed
        };
        match self.body().place(wire, looked, limits, &mut sections) {
            Ok(_) => Ok(Taken::Front(length, sections)),
            // Cannot be `Need`: all bytes have arrived.
            Err(Cut::Need(_)) => {
                Err(known.malformed(Violation::Invalid("a section is cut off"), total))
            }
            Err(Cut::Bad(violation)) => Err(known.malformed(violation, total)),
        }
    }

    fn message<'b>(
        &self,
        mut head: Head,
        input: &'b [u8],
        length: usize,
        sections: &Sections,
        limits: &Limits,
        known: Known<'_>,
    ) -> Result<Message<'b>, DecodeError> {
        let wire = input.get(..length).unwrap_or_default();
        head.end = length as u64 == self.total;
        if head.end {
            self.check_trailer(wire, known)?;
        }
        let mut message = Message::new(head, wire);
        put_note(&mut message.layout, note::VARIANT, known.variant);
        put_note(&mut message.layout, note::CHECKSUM, self.checksum());
        put_length(&mut message.layout, self.total);
        attributes::fill(
            &mut message,
            self.variant,
            View::of(wire),
            self.want,
            &|section| sections.get(section).copied().flatten(),
        );
        if let Some(Open::Section {
            section,
            entries,
            walk,
            interest,
        }) = &self.variant.open
            && let Some(span) = sections.get(*section).copied().flatten()
        {
            let start = span.start as usize + entries.count.map_or(0, |count| count.size);
            let region = Span::new(start.min(span.end as usize), span.end as usize);
            put_note(&mut message.layout, note::START, region.start as usize);
            put_note(&mut message.layout, note::END, region.end as usize);
            put_note(&mut message.layout, note::EDITABLE, 1);
            attributes::entries(
                &mut message,
                self.variant,
                entries.format,
                region,
                self.want,
                limits,
            )
            .map_err(|violation| known.malformed(violation, self.total))?;
            if self.want >= *interest {
                message.attributes.set_open(meltemi_frame::Open::Walk {
                    region,
                    walk: *walk,
                });
            }
        }
        if self.want == Interest::Body {
            let view = View::of(wire);
            content::compare(&mut message, self.variant, view, &|section| {
                sections.get(section).copied().flatten()
            });
        }
        Ok(message)
    }

    /// Checks the trailer. A missing end marker means that the length was wrong. A wrong checksum
    /// refuses only this message: a server that gets it closes the connection, which other clients
    /// may share.
    fn check_trailer(&self, wire: &[u8], known: Known<'_>) -> Result<(), DecodeError> {
        let Some(trailer) = self
            .variant
            .trailer
            .as_ref()
            .filter(|trailer| all_pass(&trailer.when, self.view))
        else {
            return Ok(());
        };
        let end = wire.len().saturating_sub(trailer.what.size());
        let (body, found) = wire.split_at_checked(end).unwrap_or((wire, &[]));
        match &trailer.what {
            Ending::Bytes(bytes) if **bytes != *found => Err(known.lost(Violation::Invalid(
                "the message does not end with its end marker",
            ))),
            Ending::Crc32(number) if number.read(found) != Some(i64::from(crc32(body))) => {
                Err(known.malformed(Violation::Invalid("the checksum is wrong"), self.total))
            }
            Ending::Bytes(_) | Ending::Crc32(_) => Ok(()),
        }
    }
}
