//! Dubbo 2 with Hessian2: `demo.Echo.<lane>(String)` with attachments as a Java client sends them, and
//! the string back.

use super::{Ask, Bad, INTERFACE, Reply, Served, number, when};

const HEADER: usize = 16;
const REQUEST: [u8; 4] = [0xda, 0xbb, 0xc2, 0];
const RESPONSE: [u8; 3] = [0xda, 0xbb, 0x02];
const HEARTBEAT: [u8; 4] = [0xda, 0xbb, 0xe2, 0];
const OK: u8 = 20;
/// A body that says: a value follows.
const VALUE: u8 = 0x91;

pub(super) fn ask(ask: &Ask<'_>, out: &mut Vec<u8>) {
    let at = open(REQUEST, u64::from(ask.id), out);
    for text in ["2.0.2", INTERFACE, "1.0.0", ask.lane, "Ljava/lang/String;"] {
        string(text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
    string(ask.payload.size(), out);
    ask.payload.put(ask.tag, out);
    out.push(b'H');
    for text in [
        "path",
        INTERFACE,
        "interface",
        INTERFACE,
        "version",
        "1.0.0",
        "x-user",
        "beta",
    ] {
        string(text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'Z');
    close(at, out);
}

fn open(start: [u8; 4], id: u64, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&start);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    at
}

fn close(at: usize, out: &mut [u8]) {
    let length = (out.len() - at - HEADER) as u32;
    out[at + 12..at + HEADER].copy_from_slice(&length.to_be_bytes());
}

/// The header of a string of so many letters.
fn string(size: usize, out: &mut Vec<u8>) {
    match size {
        0..=31 => out.push(size as u8),
        32..=1023 => out.extend_from_slice(&[0x30 | (size >> 8) as u8, size as u8]),
        _ => out.extend_from_slice(&[b'S', (size >> 8) as u8, size as u8]),
    }
}

/// A string of letters at the front, and what is behind it.
fn text(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, size) = match *input {
        [short @ 0..=31, ..] => (1, usize::from(short)),
        [high @ 0x30..=0x33, low, ..] => (2, usize::from(high & 3) << 8 | usize::from(low)),
        [b'S', high, low, ..] => (3, usize::from(high) << 8 | usize::from(low)),
        _ => return None,
    };
    input.get(header..)?.split_at_checked(size)
}

/// The whole message at the front: its length, header and body.
fn whole(input: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let length = HEADER + number(input, 12)? as usize;
    let (header, body) = input.get(..length)?.split_at_checked(HEADER)?;
    Some((length, header, body))
}

pub(super) fn reply(input: &[u8]) -> Result<Option<Reply<'_>>, Bad> {
    let Some((length, header, body)) = whole(input) else {
        return Ok(None);
    };
    if !header.starts_with(&RESPONSE) {
        return Err(Bad("not a response"));
    }
    let payload = match (header[3], body) {
        (OK, [VALUE, rest @ ..]) => Some(text(rest).ok_or(Bad("a value that is not a string"))?.0),
        (OK, _) => return Err(Bad("a response without a value")),
        _ => None,
    };
    // Ids are 64 bits wide; this client uses half of them, and no proxy may change one.
    let id = (number(header, 4) == Some(0))
        .then(|| number(header, 8))
        .flatten();
    Ok(Some(Reply {
        length,
        id: Some(id.ok_or(Bad("an id that was never sent"))?),
        payload,
    }))
}

pub(super) fn serve(input: &[u8], out: &mut Vec<u8>) -> Result<Option<Served>, Bad> {
    let Some((length, header, body)) = whole(input) else {
        return Ok(None);
    };
    let id =
        u64::from(number(header, 4).unwrap_or(0)) << 32 | u64::from(number(header, 8).unwrap_or(0));
    let [a, b, c, _] = RESPONSE_OK;
    if header.starts_with(&HEARTBEAT) {
        let at = open([a, b, c | 0x20, OK], id, out);
        out.push(b'N');
        close(at, out);
        return Ok(Some(Served {
            length,
            when: super::When::Now,
        }));
    }
    if !header.starts_with(&REQUEST) {
        return Err(Bad("not a two-way request"));
    }
    let read = || {
        let mut rest = body;
        let mut next = || {
            let (found, behind) = text(rest)?;
            rest = behind;
            Some(found)
        };
        let [_, _, _, method, _, argument] = [next()?, next()?, next()?, next()?, next()?, next()?];
        Some((method, argument))
    };
    let (method, argument) = read().ok_or(Bad("a request without a string"))?;
    let at = open(RESPONSE_OK, id, out);
    out.push(VALUE);
    string(argument.len(), out);
    out.extend_from_slice(argument);
    close(at, out);
    Ok(Some(Served {
        length,
        when: when(method),
    }))
}

const RESPONSE_OK: [u8; 4] = [RESPONSE[0], RESPONSE[1], RESPONSE[2], OK];
