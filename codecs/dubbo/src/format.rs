//! The two serializations whose bodies are decoded, behind one reader of fields and attachments. It must not
//! depend on the order of the fields: `request` and `response` define it.

use std::borrow::Cow;
use std::ops::Range;

use meltemi_frame::{Limits, Output};

use crate::cursor::{Bad, Cursor, Scratch, Text, Value, as_text};
use crate::{hessian, jsonb};

/// A serialization whose bodies are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Hessian2,
    Fastjson2,
}

impl Format {
    /// Returns the format with this id in the header's flags.
    pub(crate) const fn of(serialization: u8) -> Option<Self> {
        match serialization {
            2 => Some(Self::Hessian2),
            23 => Some(Self::Fastjson2),
            _ => None,
        }
    }

    /// Returns the function that converts a string value to its text.
    pub(crate) fn rebuild(self) -> fn(&[u8]) -> Vec<u8> {
        match self {
            Self::Hessian2 => hessian::rebuild,
            Self::Fastjson2 => jsonb::rebuild,
        }
    }

    /// Returns `true` if every reader gets the same text for the string value `bytes`.
    pub(crate) fn is_exact(self, bytes: &[u8]) -> bool {
        match self {
            Self::Hessian2 => hessian::is_exact(bytes),
            Self::Fastjson2 => jsonb::is_exact(bytes),
        }
    }

    /// Returns the routing text of a value, if it has one.
    pub(crate) fn text<'b>(self, wire: &'b [u8], value: &Value) -> Option<Cow<'b, [u8]>> {
        as_text(wire, value, self.rebuild())
    }

    /// Appends a string inside a value (for example a map key). `None` if `text` is not valid text.
    pub(crate) fn put_text(self, text: &[u8], out: &mut Output) -> Option<()> {
        match self {
            Self::Hessian2 => hessian::put_text(text, out),
            Self::Fastjson2 => jsonb::put_text(text, out),
        }
    }

    /// Appends a field of a body: a string, or a null. `None` if `text` is not valid text.
    pub(crate) fn put_field(self, text: Option<&[u8]>, out: &mut Output) -> Option<()> {
        self.framed(out, |out| match text {
            Some(text) => self.put_text(text, out),
            None => {
                out.put(&[self.null()]);
                Some(())
            }
        })
    }

    /// Appends the output of `inner`, in the frame of a field in this serialization.
    pub(crate) fn framed<R>(self, out: &mut Output, inner: impl FnOnce(&mut Output) -> R) -> R {
        if self == Self::Hessian2 {
            return inner(out);
        }
        let hole = out.hole(4);
        let result = inner(out);
        let length = u32::try_from(out.since(&hole)).unwrap_or(u32::MAX);
        out.fill(hole, &length.to_be_bytes());
        result
    }

    /// Returns the tag of a null.
    pub(crate) const fn null(self) -> u8 {
        match self {
            Self::Hessian2 => hessian::NULL,
            Self::Fastjson2 => jsonb::NULL,
        }
    }

    /// Returns the tags that open and close a map.
    pub(crate) const fn map(self) -> (u8, u8) {
        match self {
            Self::Hessian2 => (hessian::MAP, hessian::END),
            Self::Fastjson2 => (jsonb::MAP, jsonb::END),
        }
    }

    pub(crate) fn leaf(self, cursor: &mut Cursor<'_>) -> Result<Option<Value>, Bad> {
        match self {
            Self::Hessian2 => hessian::leaf(cursor),
            Self::Fastjson2 => jsonb::leaf(cursor),
        }
    }
}

/// The first element of a list of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstOfList {
    /// The list is null.
    Null,
    /// The list is empty.
    Empty,
    /// The list starts with this string.
    Text(Range<usize>),
    /// The strings of this list are not decoded.
    Other,
}

/// The form of the attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The body has ended.
    Missing,
    /// A null.
    Null,
    /// A map.
    Map,
}

/// An entry of a map.
#[derive(Clone, Debug)]
pub(crate) struct RawEntry {
    pub(crate) key: Value,
    pub(crate) value: Value,
    /// The start of the key.
    pub(crate) start: usize,
    /// The start of the value.
    pub(crate) middle: usize,
    /// The end of the value.
    pub(crate) end: usize,
}

impl RawEntry {
    /// Returns `true` if a part of the entry can be a reference, or the target of one.
    pub(crate) fn is_structured(&self) -> bool {
        let walked = |value: &Value| !matches!(value, Value::Structured | Value::Hidden);
        !(walked(&self.key) && walked(&self.value))
    }
}

/// Reads the values of one body in order.
#[derive(Debug)]
pub(crate) struct Reader<'b, 's> {
    pub(crate) format: Format,
    cursor: Cursor<'b>,
    scratch: &'s mut Scratch,
    depth: usize,
    /// The open map has a class that may keep other entries than a hash map.
    pub(crate) odd_map: bool,
}

impl<'b, 's> Reader<'b, 's> {
    /// Returns a reader of the body that starts at `at` in the message `wire`.
    pub(crate) fn new(
        format: Format,
        wire: &'b [u8],
        at: usize,
        scratch: &'s mut Scratch,
        limits: &Limits,
    ) -> Self {
        scratch.reset();
        Self {
            format,
            cursor: Cursor::new(wire, at),
            scratch,
            depth: limits.depth,
            odd_map: false,
        }
    }

    /// Returns the start of the next value.
    pub(crate) const fn at(&self) -> usize {
        self.cursor.at
    }

    /// Returns `true` if the body ends here.
    pub(crate) const fn is_over(&self) -> bool {
        self.cursor.left() == 0
    }

    /// Reads a field that is a string or a null.
    #[inline]
    pub(crate) fn text(&mut self, what: &'static str) -> Result<Text, Bad> {
        // A fast path for the common case.
        if self.format == Format::Hessian2
            && let Some(text) = hessian::plain(&mut self.cursor)
        {
            return Ok(Text::Plain(text));
        }
        self.any_text(what)
    }

    #[inline(never)]
    fn any_text(&mut self, what: &'static str) -> Result<Text, Bad> {
        match self.field()? {
            Some(Value::Text(text)) => Ok(text),
            // There is a string, but its encoding is not decoded.
            Some(Value::Hidden) => Ok(Text::Hidden),
            _ => Err(Bad::Invalid(what)),
        }
    }

    /// Reads the next field if it is an integer.
    pub(crate) fn integer(&mut self) -> Result<Option<i64>, Bad> {
        if self.format == Format::Hessian2 {
            match self.cursor.peek()? {
                // Strings are more common here than numbers, and numbers are small.
                0x00..=0x1f | 0x30..=0x33 => return Ok(None),
                small @ 0x80..=0xbf => {
                    self.cursor.at += 1;
                    return Ok(Some(i64::from(small) - 0x90));
                }
                _ => {}
            }
        }
        let before = self.cursor.at;
        if let Some(Value::Int(number)) = self.field()? {
            return Ok(Some(number));
        }
        self.cursor.at = before;
        Ok(None)
    }

    /// Reads a field without parts. `None` if it has parts; then the position does not change.
    pub(crate) fn field(&mut self) -> Result<Option<Value>, Bad> {
        if self.format == Format::Hessian2 {
            return hessian::leaf(&mut self.cursor);
        }
        let mut inner = self.cursor.clone();
        let frame = frame(&mut inner)?;
        let end = frame.end;
        let within = inner.bytes.get(..end).ok_or(Bad::End)?;
        let value = jsonb::leaf(&mut Cursor::new(within, frame.start))?;
        if value.is_some() {
            self.cursor.at = end;
        }
        Ok(value)
    }

    /// Returns the start of the list of strings in the next field, without moving. `None` if there is no
    /// such list.
    pub(crate) fn first_of_list(&self) -> Option<FirstOfList> {
        let mut cursor = self.cursor.clone();
        if self.format == Format::Fastjson2 {
            let frame = frame(&mut cursor).ok()?;
            cursor = Cursor::new(cursor.bytes.get(..frame.end)?, frame.start);
            return match cursor.peek().ok()? {
                jsonb::NULL => Some(FirstOfList::Null),
                _ if jsonb::has_parts(&cursor) => Some(FirstOfList::Other),
                _ => None,
            };
        }
        match cursor.byte().ok()? {
            hessian::NULL => return Some(FirstOfList::Null),
            0x70 | 0x78 => return Some(FirstOfList::Empty),
            0x71..=0x77 => hessian::skip_type(&mut cursor).ok()?,
            0x79..=0x7f => {}
            _ => return None,
        }
        match hessian::leaf(&mut cursor).ok()? {
            Some(Value::Text(Text::Plain(range))) => Some(FirstOfList::Text(range)),
            _ => None,
        }
    }

    /// Skips a field.
    pub(crate) fn skip(&mut self) -> Result<(), Bad> {
        match self.format {
            Format::Hessian2 => hessian::skip(&mut self.cursor, self.scratch, self.depth),
            Format::Fastjson2 => frame(&mut self.cursor).map(|_| ()),
        }
    }

    /// Opens the map in the next field, if there is one. [`Self::entry`] reads its entries.
    pub(crate) fn open_map(&mut self) -> Result<Form, Bad> {
        if self.is_over() {
            return Ok(Form::Missing);
        }
        if self.format == Format::Fastjson2 {
            // The frame ends with the map: entries must not exceed it.
            let frame = frame(&mut self.cursor)?;
            self.cursor.bytes = self.cursor.bytes.get(..frame.end).ok_or(Bad::End)?;
            self.cursor.at = frame.start;
        }
        let tag = self.cursor.byte()?;
        // Java also converts a reference and an object to a map.
        let unread = match self.format {
            Format::Hessian2 => matches!(tag, b'C' | b'O' | b'Q' | 0x60..=0x6f),
            Format::Fastjson2 => matches!(tag, 0x92 | 0x93),
        };
        if unread {
            return Err(Bad::Unread);
        }
        if tag == self.format.null() {
            return Ok(Form::Null);
        }
        if tag == hessian::TYPED_MAP && self.format == Format::Hessian2 {
            let start = self.cursor.at;
            hessian::skip_type(&mut self.cursor)?;
            let class = self.cursor.bytes.get(start + 1..self.cursor.at);
            self.odd_map = !matches!(
                class,
                Some(
                    b"java.util.HashMap"
                        | b"java.util.LinkedHashMap"
                        | b"java.util.TreeMap"
                        | b"java.util.Map"
                )
            );
        } else if tag != self.format.map().0 {
            return Err(Bad::Invalid("the attachments are not a map"));
        }
        Ok(Form::Map)
    }

    /// Returns the end of the field whose map was read to its end mark.
    pub(crate) const fn map_end(&self) -> usize {
        match self.format {
            Format::Hessian2 => self.cursor.at,
            // All bytes after the map in its frame belong to the field.
            Format::Fastjson2 => self.cursor.bytes.len(),
        }
    }

    /// Reads the next entry of the map. `None` after its end mark.
    #[inline]
    pub(crate) fn entry(&mut self) -> Result<Option<RawEntry>, Bad> {
        if self.format == Format::Hessian2
            && let Some(entry) = self.plain_entry()
        {
            return Ok(Some(entry));
        }
        self.any_entry()
    }

    /// Reads the next entry if it is two short ASCII strings of Hessian2. `None` otherwise, without moving.
    #[inline]
    fn plain_entry(&mut self) -> Option<RawEntry> {
        let start = self.cursor.at;
        let key = hessian::plain(&mut self.cursor)?;
        let middle = self.cursor.at;
        let Some(value) = hessian::plain(&mut self.cursor) else {
            self.cursor.at = start;
            return None;
        };
        Some(RawEntry {
            key: Value::Text(Text::Plain(key)),
            value: Value::Text(Text::Plain(value)),
            start,
            middle,
            end: self.cursor.at,
        })
    }

    #[inline(never)]
    fn any_entry(&mut self) -> Result<Option<RawEntry>, Bad> {
        if self.cursor.peek()? == self.format.map().1 {
            self.cursor.at += 1;
            return Ok(None);
        }
        let start = self.cursor.at;
        let key = self.value()?;
        let middle = self.cursor.at;
        let value = self.value()?;
        Ok(Some(RawEntry {
            key,
            value,
            start,
            middle,
            end: self.cursor.at,
        }))
    }

    /// Reads any value inside a map.
    fn value(&mut self) -> Result<Value, Bad> {
        if let Some(value) = self.format.leaf(&mut self.cursor)? {
            return Ok(value);
        }
        // The map around it is the first level.
        let depth = self.depth.saturating_sub(1);
        match self.format {
            Format::Hessian2 => hessian::skip(&mut self.cursor, self.scratch, depth)?,
            Format::Fastjson2 => {
                let parts = jsonb::has_parts(&self.cursor);
                jsonb::skip(&mut self.cursor, self.scratch, depth)?;
                if !parts {
                    return Ok(Value::Hidden);
                }
            }
        }
        Ok(Value::Structured)
    }
}

/// Skips a fastjson2 field. Returns the range of its JSONB.
fn frame(cursor: &mut Cursor<'_>) -> Result<Range<usize>, Bad> {
    let length = usize::try_from(cursor.signed(4)?)
        .map_err(|_| Bad::Invalid("the length of a field is negative"))?;
    let start = cursor.at;
    cursor.take(length)?;
    Ok(start..cursor.at)
}
