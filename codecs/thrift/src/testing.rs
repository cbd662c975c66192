//! Shared test helpers: messages, codecs, and functions that inspect the output.

use meltemi_frame::{
    Codec, Decoded, Interest, Limits, Message, Output, Protocol as _, Session, Side,
};

use crate::Thrift;

/// A multiplexed call.
pub(crate) const ADD: &[u8] =
    b"\x80\x01\x00\x01\x00\x00\x00\x08Demo:add\x00\x00\x00\x07\x08\x00\x01\x00\x00\x00\x02\x00";

pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[..], payload].concat()
}

/// Returns an unframed call with a string of `length` bytes.
pub(crate) fn big(length: usize) -> Vec<u8> {
    let front = b"\x80\x01\x00\x01\x00\x00\x00\x03put\x00\x00\x00\x07\x0b\x00\x01";
    [
        &front[..],
        &(length as u32).to_be_bytes(),
        &vec![b'x'; length],
        b"\x00",
    ]
    .concat()
}

pub(crate) fn codec(side: Side) -> Box<dyn Codec> {
    with(side, Limits::default())
}

pub(crate) fn with(side: Side, limits: Limits) -> Box<dyn Codec> {
    Thrift::new().codec(side, &limits, &Session::default())
}

pub(crate) fn one<'b>(
    codec: &mut dyn Codec,
    input: &'b [u8],
    want: Interest,
) -> (Message<'b>, usize) {
    match codec.decode(input, want) {
        Ok(Decoded::Message(message, taken)) => (message, taken),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn attribute(message: &Message<'_>, name: &str) -> Option<String> {
    let (lookup, _) = Thrift::new().spec().lookup(name).unwrap();
    let value = message.attribute(&lookup)?;
    Some(String::from_utf8(value.into_owned()).unwrap())
}

pub(crate) fn encoded(codec: &mut dyn Codec, message: &Message<'_>) -> Vec<u8> {
    let mut out = Output::new();
    codec.encode(message, &mut out).unwrap();
    out.drain().to_vec()
}
