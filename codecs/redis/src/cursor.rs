//! The cursors of `SCAN` and similar commands. A cursor is valid only on the server that returned
//! it. With several servers the proxy writes the mark of the server into the lowest 16 bits. It
//! must not depend on connections: it sees single requests and replies.

use meltemi_frame::{Mark, Message, Output, Reach};

use crate::args::Args;
use crate::command::{Command, Keys};
use crate::layout;
use crate::number::{Line, line};

/// The number of cursor bits that hold the mark. They are the lowest bits, because some clients
/// read a cursor as a floating-point number, which holds 53 bits.
const MARK: u32 = 16;

/// The cursor of the server is too large for a mark. The client gets this error instead.
const NO_ROOM: &[u8] =
    b"-ERR the cursor of this server is too large for a proxy with several servers\r\n";

/// Records the position of the cursor in a request, and the server that returned it.
pub(crate) fn note(message: &mut Message<'_>, command: &Command, args: &Args<'_>) {
    let place = if command.keys == Keys::None { 1 } else { 2 };
    message.layout[layout::NOTE] = layout::SCAN;
    message.layout[layout::CHANNELS] = place;
    let cursor = args.bytes(place as usize);
    message.head.reach = match cursor.and_then(|text| number(&text)) {
        // The server refuses an invalid number.
        None | Some(0) => Reach::Begins,
        Some(cursor) => Reach::Continues(mark(cursor)),
    };
}

/// Returns the mark in a cursor.
fn mark(cursor: u64) -> Option<Mark> {
    let lowest = cursor & u64::from(u16::MAX);
    u16::try_from(lowest).ok().and_then(Mark::new)
}

/// Returns the argument position of the cursor and its value without the mark. `None` if there is
/// no cursor, or if it needs no change.
pub(crate) fn unmarked(message: &Message<'_>, args: &Args<'_>) -> Option<(usize, Vec<u8>)> {
    message.mark()?;
    if message.layout[layout::NOTE] != layout::SCAN {
        return None;
    }
    let place = message.layout[layout::CHANNELS] as usize;
    let cursor = number(&args.bytes(place)?)?;
    Some((place, (cursor >> MARK).to_string().into_bytes()))
}

/// Writes a reply, or its front, with the mark in its cursor. The cursor 0 ends the scan, and gets
/// no mark.
pub(crate) fn put_reply(wire: &[u8], mark: Mark, out: &mut Output) {
    let Some((start, end, cursor)) = cursor_of(wire) else {
        return out.put(wire);
    };
    if cursor == 0 {
        return out.put(wire);
    }
    out.put(wire.get(..start).unwrap_or_default());
    if cursor >> (u64::BITS - MARK) == 0 {
        let marked = (cursor << MARK | u64::from(mark.get())).to_string();
        out.put(format!("${}\r\n{marked}\r\n", marked.len()).as_bytes());
    } else {
        out.put(NO_ROOM);
    }
    out.put(wire.get(end..).unwrap_or_default());
}

/// Returns the start and the end of the cursor's bulk string in a reply, and the cursor.
fn cursor_of(wire: &[u8]) -> Option<(usize, usize, u64)> {
    const START: usize = 4;
    if wire.get(..=START)? != b"*2\r\n$" {
        return None;
    }
    let Line::Number(length, text) = line(wire, START + 1) else {
        return None;
    };
    let end = text.checked_add(usize::try_from(length).ok()?)?;
    let cursor = number(wire.get(text..end)?)?;
    (wire.get(end..end.checked_add(2)?)? == b"\r\n").then_some((START, end + 2, cursor))
}

/// Parses a cursor in the format that Redis writes.
fn number(text: &[u8]) -> Option<u64> {
    // A sign would parse, too.
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use meltemi_frame::{Codec, Decoded, Interest, Limits, Session};

    use super::*;
    use crate::client::Client;
    use crate::server::Server;

    fn mark_of(number: u16) -> Mark {
        Mark::new(number).unwrap()
    }

    /// Returns the bytes that the server gets for a request, and the endpoints that it concerns.
    fn sent(request: &[u8], mark: Option<u16>) -> (Reach, String) {
        let (limits, session) = (Limits::default(), Session::default());
        let mut server = Server::new(&limits, &session, None);
        let Ok(Decoded::Message(mut message, _)) = server.decode(request, Interest::Route) else {
            panic!("it is a request");
        };
        if let Some(mark) = mark {
            message.set_mark(mark_of(mark));
        }
        let mut out = Output::new();
        let mut client = Client::new(&limits, &session);
        client.encode(&message, &mut out).unwrap();
        let text = String::from_utf8(out.drain().to_vec()).unwrap();
        (message.head.reach, text)
    }

    fn answered(reply: &[u8], mark: u16) -> String {
        let mut out = Output::new();
        put_reply(reply, mark_of(mark), &mut out);
        String::from_utf8(out.drain().to_vec()).unwrap()
    }

    #[test]
    fn a_cursor_has_the_mark_of_its_server() {
        let reply = b"*2\r\n$2\r\n17\r\n*1\r\n$1\r\na\r\n";
        let marked = 17 << 16 | 515;
        assert_eq!(
            answered(reply, 515),
            format!("*2\r\n$7\r\n{marked}\r\n*1\r\n$1\r\na\r\n")
        );
        for (request, array) in [
            (
                format!("SCAN {marked}\r\n"),
                "*2\r\n$4\r\nSCAN\r\n$2\r\n17\r\n",
            ),
            (
                format!("*2\r\n$4\r\nSCAN\r\n$7\r\n{marked}\r\n"),
                "*2\r\n$4\r\nSCAN\r\n$2\r\n17\r\n",
            ),
            (
                format!("hscan k {marked} COUNT 5\r\n"),
                "*5\r\n$5\r\nhscan\r\n$1\r\nk\r\n$2\r\n17\r\n$5\r\nCOUNT\r\n$1\r\n5\r\n",
            ),
        ] {
            let continues = Reach::Continues(Some(mark_of(515)));
            let bytes = request.as_bytes();
            assert_eq!(sent(bytes, Some(515)), (continues, array.to_owned()));
            assert_eq!(sent(bytes, None), (continues, request.clone()));
        }
    }

    #[test]
    fn the_ends_of_a_scan_have_no_mark() {
        let last = "*2\r\n$1\r\n0\r\n*0\r\n";
        assert_eq!(answered(last.as_bytes(), 7), last);
        for first in ["SCAN 0\r\n", "SCAN x\r\n", "SCAN\r\n", "SSCAN k 0\r\n"] {
            assert_eq!(
                sent(first.as_bytes(), None),
                (Reach::Begins, first.to_owned())
            );
        }
        let foreign = format!("SCAN {}\r\n", 1 << 16);
        assert_eq!(sent(foreign.as_bytes(), None).0, Reach::Continues(None));
        for other in [
            "-ERR invalid cursor\r\n",
            "*2\r\n$1\r\nx\r\n*0\r\n",
            "*2\r\n$9\r\n1",
            "$-1\r\n",
            "",
        ] {
            assert_eq!(answered(other.as_bytes(), 7), other);
        }
    }

    #[test]
    fn a_cursor_without_room_for_a_mark_is_an_error() {
        let largest = (1_u64 << 48) - 1;
        let reply =
            |cursor: u64| format!("*2\r\n${}\r\n{cursor}\r\n*0\r\n", cursor.to_string().len());
        let marked = largest << 16 | 9;
        assert_eq!(answered(reply(largest).as_bytes(), 9), reply(marked));
        let refused = answered(reply(largest + 1).as_bytes(), 9);
        assert!(refused.starts_with("*2\r\n-ERR") && refused.ends_with("\r\n*0\r\n"));
    }

    #[test]
    fn a_transaction_is_not_followed() {
        let (limits, session) = (Limits::default(), Session::default());
        let mut server = Server::new(&limits, &session, None);
        server.decode(b"MULTI\r\n", Interest::Route).unwrap();
        let Ok(Decoded::Message(message, _)) = server.decode(b"SCAN 9\r\n", Interest::Route) else {
            panic!("it is a request");
        };
        assert!(message.head.reach.is_any());
    }
}
