//! Edits: another method, or other attachments (of requests, and of responses that have some). All
//! other bytes stay the same.
//!
//! Attachments are rewritten entry by entry: an unchanged entry is copied, a new one is written as
//! a string. Strings are not in the reference tables of Hessian2, so an added string shifts no
//! reference. The removal of a structured value would shift references. It is refused if a later
//! value could depend on them.

use std::ops::Range;

use meltemi_frame::{Edit, EncodeError, Kind, Limits, Message, Output};

use crate::attachments::{self, Place};
use crate::codec::NAME;
use crate::cursor::{Bad, Scratch};
use crate::format::{Form, Format, RawEntry, Reader};
use crate::header::{self, Header, LENGTH};
use crate::protocol::ATTACHMENT;
use crate::request;
use crate::response;

/// The combined result of all edits of one name: the value, or none.
type Change<'m> = (&'m str, Option<&'m [u8]>);

/// The reason why a message cannot be edited.
#[derive(Clone, Copy)]
struct Refused(&'static str);

impl From<Bad> for Refused {
    fn from(_: Bad) -> Self {
        Self("its body cannot be decoded up to the attachments")
    }
}

/// Appends an edited message. Leaves `out` unchanged on an error.
pub(crate) fn encode(
    message: &Message<'_>,
    scratch: &mut Scratch,
    limits: &Limits,
    out: &mut Output,
) -> Result<(), EncodeError> {
    let before = out.len();
    let result = Rewrite::of(message, scratch, limits).and_then(|rewrite| rewrite.write(out));
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// One message and its edits.
struct Rewrite<'m, 's> {
    message: &'m Message<'m>,
    scratch: &'s mut Scratch,
    limits: &'s Limits,
    format: Format,
    method: Option<Change<'m>>,
    attachments: Vec<Change<'m>>,
}

impl<'m, 's> Rewrite<'m, 's> {
    fn of(
        message: &'m Message<'m>,
        scratch: &'s mut Scratch,
        limits: &'s Limits,
    ) -> Result<Self, EncodeError> {
        let mut method = None;
        let mut attachments: Vec<Change<'m>> = Vec::new();
        let header = Header::read(message.wire());
        let format = header.and_then(|header| Format::of(header.serialization()));
        for edit in message.edits() {
            let name = edit.name();
            let response = message.head.kind == Kind::Response;
            if !response && !matches!(message.head.kind, Kind::Request | Kind::OneWay) {
                return Err(refused(name, "it is not a message of an application"));
            }
            if format.is_none() {
                return Err(refused(
                    name,
                    "the codec cannot decode the body's serialization",
                ));
            }
            let value = match edit {
                // A map has one value per name, so an add is a set.
                Edit::Set(_, value) | Edit::Add(_, value) => Some(&**value),
                Edit::Remove(_) => None,
            };
            if name == "method" && !response {
                method = Some((name, value));
                continue;
            }
            let Some(attachment) = attachment_of(name, response) else {
                return Err(refused(name, "it is fixed"));
            };
            attachments.retain(|(known, _)| *known != attachment);
            attachments.push((attachment, value));
        }
        Ok(Self {
            message,
            scratch,
            limits,
            format: format.unwrap_or(Format::Hessian2),
            method,
            attachments,
        })
    }

    fn write(mut self, out: &mut Output) -> Result<(), EncodeError> {
        let (wire, format) = (self.message.wire(), self.format);
        let part = |range: Range<usize>| wire.get(range).unwrap_or_default();
        // If the body itself prevents the edits, the error names the first one.
        let name = self.message.edits().first().map_or("", Edit::name);
        let fail = |Refused(why)| refused(name, why);

        let mut reader = Reader::new(format, wire, LENGTH, self.scratch, self.limits);
        let mut entries = Entries::new(format, wire, std::mem::take(&mut self.attachments));
        let sought = !entries.changes.is_empty();
        if sought && !self.message.head.end {
            return Err(fail(Refused(
                "its attachments have not arrived yet, because it is streamed",
            )));
        }
        let method_at = if self.message.head.kind == Kind::Response {
            pass_response(&mut reader, wire).map_err(fail)?;
            0..0
        } else {
            let fields = request::fields(&mut reader).map_err(|bad| fail(bad.into()))?;
            if let Some((name, _)) = self.method
                && request::is_generic(&fields, format, wire)
            {
                return Err(refused(
                    name,
                    "the method of a generic call is in an argument",
                ));
            }
            if sought {
                let passed = request::skip_arguments(&fields, &mut reader, wire);
                passed.map_err(|bad| fail(bad.into()))?;
            }
            fields.method_at
        };
        let mut place = None;
        if sought {
            let read = attachments::read(&mut reader, self.limits, |entry| entries.plan(entry));
            place = Some(read.map_err(fail)?);
        }

        let id = self.message.id().unwrap_or_default();
        let old = Header::read(wire).map_or(0, |header| i64::from(header.body));
        let start = out.len();
        out.put(part(0..header::ID_AT));
        out.put(&id.to_be_bytes());
        let hole = out.hole(LENGTH - header::BODY_AT);
        let mut at = LENGTH;
        if let Some((name, method)) = self.method {
            out.put(part(at..method_at.start));
            format
                .put_field(method, out)
                .ok_or_else(|| refused(name, "the value is not UTF-8 text"))?;
            at = method_at.end;
        }
        if let Some(place) = place {
            out.put(part(at..place.start));
            format.framed(out, |out| entries.write(place, out))?;
            at = place.end;
        }
        out.put(part(at..wire.len()));
        // The rest of a streamed message follows unchanged, so only the difference is known here.
        let grown = (out.len() - start) as i64 - wire.len() as i64;
        let body = i32::try_from(old + grown).map_err(|_| EncodeError::TooLarge {
            protocol: NAME,
            what: "the length of the body",
        })?;
        out.fill(hole, &body.to_be_bytes());
        Ok(())
    }
}

/// The entries of the attachments, old and new.
struct Entries<'m> {
    format: Format,
    wire: &'m [u8],
    changes: Vec<Change<'m>>,
    /// The result for each old entry, in order: the bytes to copy, and the change that replaces the
    /// value after them.
    kept: Vec<(Range<usize>, Option<usize>)>,
    /// `true` for each change that has replaced an entry.
    placed: Vec<bool>,
    /// `true` if a structured value was removed.
    gap: bool,
}

impl<'m> Entries<'m> {
    fn new(format: Format, wire: &'m [u8], changes: Vec<Change<'m>>) -> Self {
        Self {
            format,
            wire,
            placed: vec![false; changes.len()],
            changes,
            kept: Vec::new(),
            gap: false,
        }
    }

    /// Decides the result for an old entry.
    fn plan(&mut self, entry: &RawEntry) -> Result<(), Refused> {
        if self.gap && entry.is_structured() {
            return Err(Refused(
                "it has a structured value, and later values may refer to it",
            ));
        }
        let name = self.format.text(self.wire, &entry.key);
        let change = name.and_then(|name| {
            let named = |(change, _): &Change<'_>| *change.as_bytes() == *name;
            self.changes.iter().position(named)
        });
        let Some(change) = change else {
            self.kept.push((entry.start..entry.end, None));
            return Ok(());
        };
        self.gap |= entry.is_structured();
        let placed = self.placed.get_mut(change);
        let again = placed.map(|placed| std::mem::replace(placed, true));
        let value = self.changes.get(change).and_then(|(_, value)| *value);
        // For every reader of a map, a repeated name has one value.
        if value.is_some() && again == Some(false) {
            self.kept.push((entry.start..entry.middle, Some(change)));
        }
        Ok(())
    }

    /// Appends the map.
    fn write(&self, place: Place, out: &mut Output) -> Result<(), EncodeError> {
        let (open, close) = self.format.map();
        let part = |range: Range<usize>| self.wire.get(range).unwrap_or_default();
        if place.form == Form::Map {
            // The length of a frame comes before the map, and is rewritten.
            let head = if self.format == Format::Fastjson2 {
                4
            } else {
                0
            };
            out.put(part(place.start + head..place.first));
        } else {
            out.put(&[open]);
        }
        for (range, change) in &self.kept {
            out.put(part(range.clone()));
            if let Some(change) = change {
                self.put_value(*change, out)?;
            }
        }
        for (change, placed) in self.placed.iter().enumerate() {
            if !placed {
                self.put_entry(change, out)?;
            }
        }
        out.put(&[close]);
        Ok(())
    }

    fn put_entry(&self, change: usize, out: &mut Output) -> Result<(), EncodeError> {
        if let Some((name, Some(_))) = self.changes.get(change) {
            self.format
                .put_text(name.as_bytes(), out)
                .ok_or_else(|| refused(name, "the name is not valid text"))?;
            self.put_value(change, out)?;
        }
        Ok(())
    }

    fn put_value(&self, change: usize, out: &mut Output) -> Result<(), EncodeError> {
        if let Some((name, Some(value))) = self.changes.get(change) {
            self.format
                .put_text(value, out)
                .ok_or_else(|| refused(name, "the value is not UTF-8 text"))?;
        }
        Ok(())
    }
}

/// Skips a response up to its attachments, if it may have some.
fn pass_response(reader: &mut Reader<'_, '_>, wire: &[u8]) -> Result<(), Refused> {
    if Header::read(wire).is_none_or(|header| header.status != header::OK) {
        return Err(Refused("only a response with a result has attachments"));
    }
    let outcome = response::outcome(reader)?;
    if !outcome.has_attachments {
        return Err(Refused(
            "the caller's version of Dubbo has no attachments in responses",
        ));
    }
    if outcome.has_value {
        reader.skip()?;
    }
    Ok(())
}

/// Returns the name of the attachment for an attribute, if it can be edited.
fn attachment_of(name: &str, response: bool) -> Option<&str> {
    if let Some(rest) = name.strip_prefix(ATTACHMENT) {
        return Some(rest).filter(|rest| !rest.is_empty());
    }
    match name {
        "interface" | "method" | "version" | "path" | "types" | "dubbo" | "serialization"
        | "generic.method" | "status" | "result" | "" => None,
        "group" if response => None,
        name => Some(name),
    }
}

fn refused(name: &str, why: &'static str) -> EncodeError {
    EncodeError::Edit {
        protocol: NAME,
        name: name.to_owned(),
        why,
    }
}
