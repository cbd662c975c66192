//! Framed strict binary Thrift: a call with one string, and the string back.

use super::{Ask, Bad, Reply, Served, number, when};

const CALL: u32 = 0x8001_0001;
const REPLY: u32 = 0x8001_0002;
const EXCEPTION: u32 = 0x8001_0003;
const STRING: u8 = 11;

pub(super) fn ask(ask: &Ask<'_>, out: &mut Vec<u8>) {
    let frame = open(CALL, ask.lane.as_bytes(), ask.id, out);
    out.extend_from_slice(&[STRING, 0, 1]);
    out.extend_from_slice(&(ask.payload.size() as u32).to_be_bytes());
    ask.payload.put(ask.tag, out);
    close(frame, out);
}

fn open(kind: u32, name: &[u8], id: u32, out: &mut Vec<u8>) -> usize {
    let frame = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(name.len() as u32).to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&id.to_be_bytes());
    frame
}

/// Ends the struct and fills in the length of the frame.
fn close(frame: usize, out: &mut Vec<u8>) {
    out.push(0);
    let length = (out.len() - frame - 4) as u32;
    out[frame..frame + 4].copy_from_slice(&length.to_be_bytes());
}

/// The parts of a whole message: its length, kind, name, id and body.
type Parts<'b> = (usize, u32, &'b [u8], u32, &'b [u8]);

fn parts(input: &[u8]) -> Result<Option<Parts<'_>>, Bad> {
    let Some(frame) = number(input, 0) else {
        return Ok(None);
    };
    let length = frame as usize + 4;
    let Some(whole) = input.get(..length) else {
        return Ok(None);
    };
    let read = || {
        let kind = number(whole, 4)?;
        let past = 12 + number(whole, 8)? as usize;
        Some((
            length,
            kind,
            whole.get(12..past)?,
            number(whole, past)?,
            whole.get(past + 4..)?,
        ))
    };
    read()
        .map(Some)
        .ok_or(Bad("a frame too short for its header"))
}

pub(super) fn reply(input: &[u8]) -> Result<Option<Reply<'_>>, Bad> {
    let Some((length, kind, _, id, body)) = parts(input)? else {
        return Ok(None);
    };
    let payload = match kind {
        EXCEPTION => None,
        REPLY => Some(string(body, 0).ok_or(Bad("a reply without a string"))?),
        _ => return Err(Bad("not a reply")),
    };
    Ok(Some(Reply {
        length,
        id: Some(id),
        payload,
    }))
}

/// The struct's only field, with this id.
fn string(body: &[u8], field: u8) -> Option<&[u8]> {
    let rest = body.strip_prefix(&[STRING, 0, field])?;
    let size = number(rest, 0)? as usize;
    rest.get(4..4 + size)
}

pub(super) fn serve(input: &[u8], out: &mut Vec<u8>) -> Result<Option<Served>, Bad> {
    let Some((length, kind, name, id, body)) = parts(input)? else {
        return Ok(None);
    };
    if kind != CALL {
        return Err(Bad("not a call"));
    }
    let argument = string(body, 1).ok_or(Bad("a call without a string"))?;
    let frame = open(REPLY, name, id, out);
    out.extend_from_slice(&[STRING, 0, 0]);
    out.extend_from_slice(&(argument.len() as u32).to_be_bytes());
    out.extend_from_slice(argument);
    close(frame, out);
    Ok(Some(Served {
        length,
        when: when(name),
    }))
}
