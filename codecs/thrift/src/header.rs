//! The header block of `THeader` and `TTHeader`: its fixed front, and its entries as pairs. Both
//! have the same structure (`HeaderFormat.md`; TTHeader as volo-thrift and Kitex write it). They
//! differ in the magic, and in the encoding of numbers and entries. It must not read the payload.

use std::borrow::Cow;
use std::ops::ControlFlow;

use meltemi_frame::{Entry, Limits, Span, Violation};

use crate::cursor::{Cursor, Stop};
use crate::dialect::Transport;

/// The position of the magic in a frame.
pub(crate) const MAGIC_AT: usize = 4;
/// The position of the sequence id in a frame.
pub(crate) const SEQID_AT: usize = 8;
/// The position of the block's length in a frame. The unit is four-byte words.
pub(crate) const WORDS_AT: usize = 12;
/// The position of the block in a frame.
pub(crate) const BLOCK_AT: usize = 14;

/// The transforms of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    None,
    /// Only zlib: the front of the payload can be read.
    Zlib,
    /// zlib and others. The payload cannot be read here, as for all following variants.
    ZlibAndMore,
    Hmac,
    Snappy,
    Qlz,
    Zstd,
    Other,
}

impl Transform {
    pub(crate) const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Zlib | Self::ZlibAndMore => Some("zlib"),
            Self::Hmac => Some("hmac"),
            Self::Snappy => Some("snappy"),
            Self::Qlz => Some("qlz"),
            Self::Zstd => Some("zstd"),
            Self::Other => Some("other"),
        }
    }

    const fn of(id: u32) -> Self {
        match id {
            1 => Self::Zlib,
            2 => Self::Hmac,
            3 => Self::Snappy,
            4 => Self::Qlz,
            5 => Self::Zstd,
            _ => Self::Other,
        }
    }
}

/// The front of a header block. Offsets count from byte 0 of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) transport: Transport,
    pub(crate) seqid: i32,
    /// The protocol id: 0 binary, 1 JSON, 2 compact.
    pub(crate) protocol: u32,
    pub(crate) transform: Transform,
    /// The start of the entries.
    pub(crate) entries: usize,
    /// The end of the block and the start of the payload.
    pub(crate) end: usize,
}

/// Returns the transport with this magic.
pub(crate) const fn transport_of(magic: [u8; 2]) -> Option<Transport> {
    match magic {
        [0x0f, 0xff] => Some(Transport::Header),
        [0x10, 0x00] => Some(Transport::TtHeader),
        _ => None,
    }
}

/// Reads the front of the block in a frame of `total` bytes. `bytes` is the front of the frame.
pub(crate) fn read(bytes: &[u8], total: usize, transport: Transport) -> Result<Header, Stop> {
    let mut cursor = Cursor::new(bytes, SEQID_AT);
    let seqid = cursor.i32()?;
    let words = cursor.u16()?;
    let end = BLOCK_AT + usize::from(words) * 4;
    if end > total {
        return Err(Stop::Bad(Violation::Length {
            field: "size of the header block in bytes",
            value: i64::from(words) * 4,
        }));
    }
    // The whole block is buffered, even if only its front is read: the encoder may rewrite it.
    let block = bytes.get(..end).ok_or(Stop::Short(end))?;
    let mut cursor = Cursor::new(block, BLOCK_AT);
    let (protocol, transform) = front(&mut cursor, transport).map_err(inside)?;
    Ok(Header {
        transport,
        seqid,
        protocol,
        transform,
        entries: cursor.at(),
        end,
    })
}

/// Reads the protocol id and the transforms.
fn front(cursor: &mut Cursor<'_>, transport: Transport) -> Result<(u32, Transform), Stop> {
    let number = |cursor: &mut Cursor<'_>| match transport {
        Transport::TtHeader => cursor.u8().map(u32::from),
        _ => cursor.varint32("number in the header block"),
    };
    let protocol = number(cursor)?;
    let mut transform = Transform::None;
    for _ in 0..number(cursor)? {
        let id = number(cursor)?;
        transform = match transform {
            Transform::None => Transform::of(id),
            // More than one: named after the first, and not readable.
            Transform::Zlib => Transform::ZlibAndMore,
            other => other,
        };
    }
    Ok((protocol, transform))
}

/// Converts a stop inside a block that is buffered whole: an early end is a violation.
fn inside(stop: Stop) -> Violation {
    match stop {
        Stop::Bad(violation) => violation,
        Stop::Short(_) => Violation::Invalid("the header block ends inside one of its fields"),
    }
}

/// The name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'b> {
    Text(&'b [u8]),
    /// `TTHeader` only.
    Number(u16),
}

/// The ids of the blocks of entries.
pub(crate) const KEY_VALUE: u32 = 1;
/// `TTHeader`: keys are numbers.
pub(crate) const INT_KEY_VALUE: u32 = 0x10;
/// `TTHeader`: one token, without a name.
pub(crate) const ACL_TOKEN: u32 = 0x11;
/// `fbthrift`: entries that stay for the whole connection.
const PERSISTENT: u32 = 2;

/// One entry of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'b> {
    /// The block that contains it.
    pub(crate) block: u32,
    pub(crate) name: Name<'b>,
    pub(crate) value: &'b [u8],
    /// The position of the value.
    pub(crate) at: usize,
}

/// The entries of a header block, in wire order.
#[derive(Debug)]
pub(crate) struct Pairs<'b> {
    transport: Transport,
    cursor: Cursor<'b>,
    block: u32,
    left: u32,
    /// The start of a block of an unknown kind, or of the padding.
    rest: Option<usize>,
}

impl<'b> Pairs<'b> {
    /// Returns the entries in `entries..end` of a frame.
    pub(crate) fn new(frame: &'b [u8], transport: Transport, entries: usize, end: usize) -> Self {
        Self {
            transport,
            cursor: Cursor::new(frame.get(..end).unwrap_or(frame), entries),
            block: 0,
            left: 0,
            rest: None,
        }
    }

    /// Returns the start of the bytes that were not understood. Valid after the last pair.
    pub(crate) const fn rest(&self) -> Option<usize> {
        self.rest
    }

    /// Returns the next entry.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'b>>, Violation> {
        self.step().map_err(inside)
    }

    fn step(&mut self) -> Result<Option<Pair<'b>>, Stop> {
        while self.left == 0 {
            let start = self.cursor.at();
            if self.rest.is_some() || self.cursor.is_done() {
                self.rest.get_or_insert(start);
                return Ok(None);
            }
            self.left = match self.transport {
                Transport::TtHeader => self.tt_block()?,
                _ => self.block()?,
            };
            if self.block == 0 {
                // Padding, or a newer kind of block: readers stop here (`HeaderFormat.md`, "Info").
                self.rest = Some(start);
                return Ok(None);
            }
        }
        self.left -= 1;
        let pair = match self.transport {
            Transport::TtHeader => self.tt_pair()?,
            _ => self.pair()?,
        };
        Ok(Some(pair))
    }

    fn block(&mut self) -> Result<u32, Stop> {
        self.block = self.cursor.varint32("kind of a header block")?;
        match self.block {
            KEY_VALUE | PERSISTENT => self.cursor.varint32("number of headers"),
            _ => {
                self.block = 0;
                Ok(0)
            }
        }
    }

    fn pair(&mut self) -> Result<Pair<'b>, Stop> {
        let mut text = || {
            let length = self.cursor.varint32("length of a header")?;
            let at = self.cursor.at();
            Ok::<_, Stop>((self.cursor.take(length as usize)?, at))
        };
        let (name, _) = text()?;
        let (value, at) = text()?;
        Ok(Pair {
            block: self.block,
            name: Name::Text(name),
            value,
            at,
        })
    }

    fn tt_block(&mut self) -> Result<u32, Stop> {
        self.block = u32::from(self.cursor.u8()?);
        match self.block {
            KEY_VALUE | INT_KEY_VALUE => self.cursor.u16().map(u32::from),
            ACL_TOKEN => Ok(1),
            _ => {
                self.block = 0;
                Ok(0)
            }
        }
    }

    fn tt_pair(&mut self) -> Result<Pair<'b>, Stop> {
        let name = match self.block {
            INT_KEY_VALUE => Name::Number(self.cursor.u16()?),
            ACL_TOKEN => Name::Text(b""),
            _ => {
                let length = self.cursor.u16()?;
                Name::Text(self.cursor.take(usize::from(length))?)
            }
        };
        let length = self.cursor.u16()?;
        let at = self.cursor.at();
        Ok(Pair {
            block: self.block,
            name,
            value: self.cursor.take(usize::from(length))?,
            at,
        })
    }
}

/// Checks that all entries can be read and are not too many, and passes them to `visit`. Returns
/// `false` if a server may see other entries: entries that stay for the connection, or blocks of an
/// unknown kind.
pub(crate) fn check<'b>(
    frame: &'b [u8],
    header: &Header,
    limits: &Limits,
    visit: &mut dyn FnMut(&Pair<'b>),
) -> Result<bool, Violation> {
    let mut pairs = Pairs::new(frame, header.transport, header.entries, header.end);
    let (mut count, mut sure) = (0usize, true);
    while let Some(pair) = pairs.next()? {
        count += 1;
        if count > limits.entries {
            return Err(Violation::Entries {
                limit: limits.entries,
            });
        }
        sure &= pair.block != PERSISTENT || header.transport == Transport::TtHeader;
        visit(&pair);
    }
    // The rest is padding: zeros.
    let rest = pairs.rest().and_then(|rest| frame.get(rest..header.end));
    let padding = rest.is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
    Ok(sure && padding)
}

/// [`meltemi_frame::Walk`] for `THeader`.
pub(crate) fn walk<'b>(
    wire: &'b [u8],
    region: Span,
    visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>,
) {
    walk_pairs(wire, Transport::Header, region, visit);
}

/// [`meltemi_frame::Walk`] for `TTHeader`: numbers are named in decimal, and the token has no name.
pub(crate) fn tt_walk<'b>(
    wire: &'b [u8],
    region: Span,
    visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>,
) {
    walk_pairs(wire, Transport::TtHeader, region, visit);
}

fn walk_pairs<'b>(
    wire: &'b [u8],
    transport: Transport,
    region: Span,
    visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>,
) {
    let mut pairs = Pairs::new(wire, transport, region.start as usize, region.end as usize);
    while let Ok(Some(pair)) = pairs.next() {
        let name = match pair.name {
            _ if pair.block == ACL_TOKEN && transport == Transport::TtHeader => continue,
            Name::Text(name) => Cow::Borrowed(name),
            Name::Number(number) => decimal(number),
        };
        let entry = Entry {
            name,
            value: Cow::Borrowed(pair.value),
        };
        if visit(entry).is_break() {
            return;
        }
    }
}

/// Returns the names of the common numbers, so that walking them does not allocate.
fn decimal(number: u16) -> Cow<'static, [u8]> {
    const TWO_DIGITS: &[u8; 100] = b"00010203040506070809101112131415161718192021222324\
        25262728293031323334353637383940414243444546474849";
    let at = usize::from(number) * 2;
    match TWO_DIGITS.get(at..at.saturating_add(2)) {
        Some([b'0', one]) => Cow::Borrowed(std::slice::from_ref(one)),
        Some(two) => Cow::Borrowed(two),
        None => Cow::Owned(number.to_string().into_bytes()),
    }
}

/// Returns the number of a header's name, if it is written as [`decimal`] writes it.
pub(crate) fn number(name: &[u8]) -> Option<u16> {
    let number = std::str::from_utf8(name).ok()?.parse().ok()?;
    (*decimal(number) == *name).then_some(number)
}

#[cfg(test)]
mod tests;
