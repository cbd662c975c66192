//! Writes a message unchanged, with another sequence id, or with other headers. Corrects every
//! length that changes. It must not read the body.

use meltemi_frame::{Edit, EncodeError, Kind, Message, Output};

use crate::cursor::Digits;
use crate::dialect::Transport;
use crate::header::{
    self, ACL_TOKEN, BLOCK_AT, INT_KEY_VALUE, KEY_VALUE, Name, Pairs, SEQID_AT, WORDS_AT,
};
use crate::{envelope, keys, present};

/// [`message`] for callers that are not on the path of every request.
#[inline(never)]
pub(crate) fn message_apart(message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
    self::message(message, out)
}

/// Appends `message`. On an error no byte was written.
#[expect(clippy::inline_always, reason = "a call costs a third of an encoding")]
#[inline(always)]
pub(crate) fn message(message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
    let wire = message.wire();
    if message.is_unedited() || message.head.kind == Kind::Data {
        out.put(wire);
        return Ok(());
    }
    let dialect = present::dialect(message);
    let id = message.id().filter(|_| message.id_changed());
    // Ids have 32 bits. The sign of the router's number does not matter here.
    let id = id.map(|id| id as i32);
    // With a header the message has two ids, and servers repeat one or the other. Both become the
    // router's id: a payload's id that the client chose could be the id of another client's call.
    let seq = id
        .zip(present::inner_seq(message))
        .map(|(id, span)| (span, envelope::seqid_digits(dialect.encoding, id)));
    let block = match (message.edits(), present::header_span(message)) {
        ([], _) => None,
        ([edit, ..], None) => {
            let why = "only messages of THeader and TTHeader have headers";
            return Err(refused(edit.name(), why));
        }
        (edits, Some(span)) => Some((span, entries(wire, dialect.transport, span, edits)?)),
    };

    let seq_growth = seq
        .as_ref()
        .map_or(0, |(span, digits)| growth(*span, digits.as_slice()));
    let growth = seq_growth
        + block
            .as_ref()
            .map_or(0, |(span, block)| growth(*span, block));
    let mut copy = Copy { wire, at: 0 };
    if dialect.transport != Transport::Unframed {
        let length = grown(wire, 0, growth)?;
        out.put(&length);
        copy.at = 4;
    }
    if dialect.transport.has_headers() {
        copy.up_to(SEQID_AT, out);
        if let Some(id) = id {
            out.put(&id.to_be_bytes());
            copy.at = WORDS_AT;
        }
        let mut end = present::header_span(message).map_or(BLOCK_AT, |(_, end)| end);
        if let Some(((start, old_end), block)) = &block {
            copy.up_to(WORDS_AT, out);
            // `entries` has checked that the number of words fits.
            let words = (start + block.len()).saturating_sub(BLOCK_AT) / 4;
            out.put(&(words as u16).to_be_bytes());
            copy.at = BLOCK_AT;
            copy.up_to(*start, out);
            out.put(block);
            copy.at = *old_end;
            end = *old_end;
        }
        if dialect.framed_payload {
            copy.up_to(end, out);
            out.put(&grown(wire, end, seq_growth)?);
            copy.at = end + 4;
        }
    }
    if let Some(((start, end), digits)) = &seq {
        copy.up_to(*start, out);
        out.put(digits.as_slice());
        copy.at = *end;
    }
    copy.up_to(wire.len(), out);
    Ok(())
}

/// Copies ranges of the wire bytes, in order.
struct Copy<'b> {
    wire: &'b [u8],
    at: usize,
}

impl Copy<'_> {
    fn up_to(&mut self, end: usize, out: &mut Output) {
        out.put(self.wire.get(self.at..end).unwrap_or_default());
        self.at = self.at.max(end);
    }
}

fn growth(old: (usize, usize), new: &[u8]) -> i64 {
    new.len() as i64 - old.1.saturating_sub(old.0) as i64
}

/// Returns the 32-bit length at `at`, plus `growth`.
fn grown(wire: &[u8], at: usize, growth: i64) -> Result<[u8; 4], EncodeError> {
    let old = wire.get(at..).and_then(|rest| rest.first_chunk::<4>());
    let old = i32::from_be_bytes(old.copied().unwrap_or_default());
    i32::try_from(i64::from(old) + growth)
        .map(i32::to_be_bytes)
        .map_err(|_| too_large("the frame length"))
}

fn refused(name: &str, why: &'static str) -> EncodeError {
    EncodeError::Edit {
        protocol: "thrift",
        name: name.to_owned(),
        why,
    }
}

const fn too_large(what: &'static str) -> EncodeError {
    EncodeError::TooLarge {
        protocol: "thrift",
        what,
    }
}

/// One header to write.
struct Item<'m> {
    block: u32,
    name: Name<'m>,
    value: &'m [u8],
}

/// Builds the header block from its entries on, after `edits`, padded to whole words.
fn entries(
    wire: &[u8],
    transport: Transport,
    (start, end): (usize, usize),
    edits: &[Edit],
) -> Result<Vec<u8>, EncodeError> {
    let mut pairs = Pairs::new(wire, transport, start, end);
    let mut items = Vec::new();
    loop {
        match pairs.next() {
            Ok(Some(pair)) => items.push(Item {
                block: pair.block,
                name: pair.name,
                value: pair.value,
            }),
            Ok(None) => break,
            Err(_) => {
                let name = edits.first().map(Edit::name).unwrap_or_default();
                return Err(refused(name, "the message's header block cannot be read"));
            }
        }
    }
    for edit in edits {
        apply(edit, transport, &mut items)?;
    }
    let mut block = Vec::with_capacity(end.saturating_sub(start).saturating_add(64));
    write(&items, transport, &mut block)?;
    let rest = wire
        .get(pairs.rest().unwrap_or(end)..end)
        .unwrap_or_default();
    if rest.iter().any(|byte| *byte != 0) {
        // Readers stop at a block of an unknown kind: it stays last.
        block.extend_from_slice(rest);
    }
    let before = start.saturating_sub(BLOCK_AT);
    let padded = (before + block.len()).next_multiple_of(4);
    block.resize(padded.saturating_sub(before), 0);
    match u16::try_from(padded / 4) {
        Ok(_) => Ok(block),
        Err(_) => Err(too_large("the header block")),
    }
}

fn apply<'m>(
    edit: &'m Edit,
    transport: Transport,
    items: &mut Vec<Item<'m>>,
) -> Result<(), EncodeError> {
    let name = edit
        .name()
        .strip_prefix(keys::HEADER_PREFIX)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| refused(edit.name(), "only headers can be changed"))?
        .as_bytes();
    let number = header::number(name).filter(|_| transport == Transport::TtHeader);
    let is_it = |item: &Item<'_>| match item.name {
        _ if transport == Transport::TtHeader && item.block == ACL_TOKEN => false,
        Name::Text(text) => text == name,
        Name::Number(found) => Some(found) == number,
    };
    let new = |value: &'m [u8]| Item {
        block: number.map_or(KEY_VALUE, |_| INT_KEY_VALUE),
        name: number.map_or(Name::Text(name), Name::Number),
        value,
    };
    match edit {
        Edit::Remove(_) => items.retain(|item| !is_it(item)),
        Edit::Add(_, value) => items.push(new(value)),
        Edit::Set(_, value) => {
            let mut written = false;
            items.retain_mut(|item| {
                let found = is_it(item);
                if found && !written {
                    written = true;
                    item.value = value;
                    return true;
                }
                !found
            });
            if !written {
                items.push(new(value));
            }
        }
    }
    Ok(())
}

/// Writes blocks in the order in which their kinds first appear.
fn write(items: &[Item<'_>], transport: Transport, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut done = Vec::new();
    for Item { block, .. } in items {
        if done.contains(block) {
            continue;
        }
        done.push(*block);
        let same = || items.iter().filter(|item| item.block == *block);
        match transport {
            Transport::TtHeader if *block == ACL_TOKEN => {
                // A token has no count before it.
                for item in same() {
                    out.push(*block as u8);
                    tt_bytes(item.value, out)?;
                }
            }
            Transport::TtHeader => {
                out.push(*block as u8);
                out.extend_from_slice(&tt_length(same().count())?);
                for item in same() {
                    match item.name {
                        Name::Number(number) => out.extend_from_slice(&number.to_be_bytes()),
                        Name::Text(text) => tt_bytes(text, out)?,
                    }
                    tt_bytes(item.value, out)?;
                }
            }
            _ => {
                varint(*block as usize, out)?;
                varint(same().count(), out)?;
                for item in same() {
                    if let Name::Text(text) = item.name {
                        varint(text.len(), out)?;
                        out.extend_from_slice(text);
                    }
                    varint(item.value.len(), out)?;
                    out.extend_from_slice(item.value);
                }
            }
        }
    }
    Ok(())
}

fn varint(number: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let number = u32::try_from(number).map_err(|_| too_large("a header"))?;
    out.extend_from_slice(Digits::varint(number).as_slice());
    Ok(())
}

fn tt_length(length: usize) -> Result<[u8; 2], EncodeError> {
    let length = u16::try_from(length).map_err(|_| too_large("a header"))?;
    Ok(length.to_be_bytes())
}

fn tt_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.extend_from_slice(&tt_length(bytes.len())?);
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests;
