//! The proxy's own messages, made from the description's templates.

use meltemi_frame::{LocalMessage, Output, Reason, ReplyContext, Unsupported};

use super::{ONE_WAY, line};
use crate::checksum::crc32;
use crate::plan::{
    Copied, Ending, Extent, Field, Length, Plan, Template, Variant, View, Word, all_pass, reason_at,
};
use crate::words::Words;

/// The text is for a person who reads a log. Longer texts are cut.
const MAX_TEXT: usize = 512;

pub(crate) fn say(
    plan: &Plan,
    spoken: Option<usize>,
    say: LocalMessage<'_>,
    out: &mut Output,
) -> Result<(), Unsupported> {
    let refuse = |what| Unsupported {
        protocol: plan.name,
        what,
    };
    let (templates, what, to, id, failure) = match say {
        LocalMessage::Failure { to, reason, text } => (
            &plan.failure,
            "a failure",
            Some(to),
            to.id,
            Some((reason, text)),
        ),
        LocalMessage::Pong { to } => (&plan.pong, "a pong", Some(to), to.id, None),
        LocalMessage::Ping { id } => (&plan.ping, "a ping", None, Some(id), None),
        LocalMessage::GoAway => (&plan.go_away, "a shutdown notice", None, Some(0), None),
        LocalMessage::Probe { .. } => return Err(refuse("a probe")),
        LocalMessage::CodecReply { .. } => return Err(refuse("a codec reply")),
    };
    let asked = to.map(|to| usize::try_from(to.bits & (ONE_WAY - 1)).unwrap_or(usize::MAX));
    if to.is_some_and(|to| to.bits & ONE_WAY != 0) {
        return Err(refuse("a reply to a one-way request"));
    }
    let serves = |template: &&Template| match asked.or(spoken) {
        Some(at) => template.serves.get(at).copied().unwrap_or(false),
        None => true,
    };
    // An unsolicited message may have any variant. A reply must have the variant of its request.
    let other = if asked.is_none() {
        templates.first()
    } else {
        None
    };
    let template = templates
        .iter()
        .find(serves)
        .or(other)
        .ok_or_else(|| refuse(what))?;
    let made = Made {
        plan,
        template,
        to,
        asked,
        id,
        failure,
    };
    let message = if plan.line.is_some() {
        made.words()
    } else {
        made.binary()
    };
    out.put(&message.ok_or_else(|| refuse(what))?);
    Ok(())
}

struct Made<'a> {
    plan: &'a Plan,
    template: &'a Template,
    to: Option<&'a ReplyContext>,
    asked: Option<usize>,
    id: Option<i64>,
    failure: Option<(Reason, &'a str)>,
}

impl Made<'_> {
    /// Returns the stored bytes of the message to reply to.
    fn kept(&self) -> &[u8] {
        self.to.map_or(&[], |to| to.name.as_slice())
    }

    fn text(&self) -> &str {
        let text = self.failure.map_or("", |(_, text)| text);
        let mut end = text.len().min(MAX_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.get(..end).unwrap_or_default()
    }

    fn binary(&self) -> Option<Vec<u8>> {
        let variant = self.plan.variants.get(self.template.variant)?;
        let mut message = self.template.base.to_vec();
        for Copied { own, from } in &self.template.copies {
            let from = self.asked.and_then(|at| from.get(at).copied().flatten());
            if let Some(value) = from.and_then(|from| from.read(self.kept())) {
                own.write(&mut message, value);
            }
        }
        if let (Some((number, values)), Some((reason, _))) = (&self.template.reasons, self.failure)
        {
            number.write(&mut message, *values.get(reason_at(reason))?);
        }
        if let (Some(Field::Number(number)), Some(id)) = (variant.id, self.id) {
            number.write(&mut message, id);
        }
        self.sections(variant, &mut message);
        let header = message.get(..variant.header)?.to_vec();
        let view = View::of(&header);
        let trailer = variant
            .trailer
            .as_ref()
            .filter(|trailer| all_pass(&trailer.when, view));
        if let Length::Total {
            field,
            base,
            counts_trailer,
            ..
        } = &variant.length
        {
            let trailer = trailer
                .filter(|_| *counts_trailer)
                .map_or(0, |trailer| trailer.what.size());
            let told = i64::try_from(message.len() + trailer)
                .ok()?
                .checked_sub(*base)?;
            field.write(&mut message, told);
        }
        match trailer.map(|trailer| &trailer.what) {
            None => {}
            Some(Ending::Bytes(bytes)) => message.extend_from_slice(bytes),
            Some(Ending::Crc32(number)) => {
                let sum = crc32(&message);
                let mut bytes = [0; 4];
                number.write(&mut bytes, i64::from(sum));
                message.extend_from_slice(&bytes);
            }
        }
        Some(message)
    }

    /// Writes every section empty, except the one for the text.
    fn sections(&self, variant: &Variant, message: &mut Vec<u8>) {
        for (at, section) in variant.sections.iter().enumerate() {
            if !all_pass(&section.when, View::of(message)) {
                continue;
            }
            let takes = self.template.text == Some(at);
            let text = if takes { self.text().as_bytes() } else { &[] };
            let counts = section
                .entries
                .and_then(|entries| entries.count)
                .map_or(0, |count| count.size);
            let fit = |max: u64| {
                text.get(..text.len().min(usize::try_from(max).unwrap_or(usize::MAX)))
                    .unwrap_or(text)
            };
            let text = match section.extent {
                Extent::Field(number) => {
                    let text = fit(number.max());
                    number.write(message, i64::try_from(text.len() + counts).unwrap_or(0));
                    text
                }
                Extent::Prefix(mut number) => {
                    let text = fit(number.max());
                    number.at = message.len();
                    message.resize(number.end(), 0);
                    number.write(message, i64::try_from(text.len() + counts).unwrap_or(0));
                    text
                }
                Extent::Counted | Extent::Rest => text,
            };
            message.resize(message.len() + counts, 0);
            message.extend_from_slice(text);
        }
    }

    fn words(&self) -> Option<Vec<u8>> {
        let line = self.plan.line.as_ref()?;
        let content = line::content(line, self.kept());
        let kept = Words::of(content, line.separator);
        let view = View {
            wire: self.kept(),
            words: kept.as_slice(),
            line_end: content.len(),
        };
        let mut message = Vec::new();
        let last = self.template.words.len().saturating_sub(1);
        for (at, word) in self.template.words.iter().enumerate() {
            if at > 0 {
                message.push(line.separator);
            }
            match word {
                Word::Fixed(bytes) => message.extend_from_slice(bytes),
                Word::Id => message.extend_from_slice(self.id?.to_string().as_bytes()),
                Word::Copy(from) => {
                    let from = self.asked.and_then(|at| from.get(at).copied().flatten())?;
                    message.extend_from_slice(from.span(view)?.of(self.kept())?);
                }
                Word::Reason(values) => {
                    message.extend_from_slice(values.get(reason_at(self.failure?.0))?);
                }
                Word::Text => {
                    // A text must not end the message, or (before the last word) the word.
                    let bad =
                        |c: char| c.is_control() || (at < last && c == char::from(line.separator));
                    let text = self.text().chars().map(|c| if bad(c) { '_' } else { c });
                    let mut text: String = text.collect();
                    if let Ok(end) = std::str::from_utf8(&line.end) {
                        text = text.replace(end, "_");
                    }
                    message.extend_from_slice(if text.is_empty() {
                        b"-"
                    } else {
                        text.as_bytes()
                    });
                }
            }
        }
        message.extend_from_slice(&line.end);
        Some(message)
    }
}
