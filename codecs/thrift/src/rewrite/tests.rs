//! Ids and headers rewritten: what changes, and that nothing else does.

use meltemi_frame::{Attributes, Interest, Lookup, Open, Side};

use super::*;
use crate::testing::*;

#[test]
fn headers_are_edited_and_every_length_follows() {
    let block = b"\x02\x00\x02\x01\x01p\x01q\x01\x02\x01k\x01v\x01k\x01w";
    let block = [
        &block[..],
        &vec![0; block.len().next_multiple_of(4) - block.len()],
    ]
    .concat();
    let words = (block.len() / 4) as u16;
    let front = [
        b"\x0f\xff\x00\x01\x00\x00\x00\x09".as_slice(),
        &words.to_be_bytes(),
        &block,
    ];
    let call = frame(&[&front.concat()[..], b"\x82\x21\x09\x03add\x00"].concat());
    let mut server = codec(Side::Server);
    // Edits do not need the headers to have been looked at.
    let (mut message, _) = one(&mut *server, &call, Interest::Route);
    assert!(matches!(message.attributes.open(), Open::None));
    message.set_id(300);
    message.edit(Edit::Set(
        "header.k".into(),
        (*b"long enough to move everything").into(),
    ));
    message.edit(Edit::Add("header.n".into(), Box::default()));
    message.edit(Edit::Remove("header.none".into()));
    let out = encoded(&mut *server, &message);
    let (again, taken) = one(&mut *codec(Side::Server), &out, Interest::Body);
    assert_eq!((taken, again.head.id), (out.len(), Some(300)));
    assert_eq!(attribute(&again, "method").as_deref(), Some("add"));
    let all: Vec<_> = ["header.p", "header.k", "header.n"]
        .map(|name| attribute(&again, name))
        .into();
    let expected = [Some("q"), Some("long enough to move everything"), Some("")];
    assert_eq!(
        all.iter().map(Option::as_deref).collect::<Vec<_>>(),
        expected
    );
    let many = |attributes: &Attributes, wire| {
        let mut count = 0;
        attributes.any(&Lookup::Open("k".into()), wire, &mut |_| {
            count += 1;
            false
        });
        count
    };
    assert_eq!(many(&again.attributes, &out), 1);

    message.edit(Edit::Set("header.huge".into(), vec![b'x'; 300_000].into()));
    let mut untouched = Output::new();
    let refused = server.encode(&message, &mut untouched);
    assert!(matches!(refused, Err(EncodeError::TooLarge { .. })) && untouched.is_empty());
}

#[test]
fn headers_cannot_be_added_where_there_are_none() {
    for bytes in [frame(ADD), ADD.to_vec()] {
        let mut server = codec(Side::Server);
        let (mut message, _) = one(&mut *server, &bytes, Interest::Route);
        message.edit(Edit::Set("header.k".into(), (*b"v").into()));
        let mut out = Output::new();
        let refused = server.encode(&message, &mut out);
        assert!(matches!(refused, Err(EncodeError::Edit { .. })) && out.is_empty());
    }
}

#[test]
fn numbers_and_words_are_edited_in_a_ttheader() {
    let call = include_bytes!("../../samples/ttheader_add.server.bin");
    let mut server = codec(Side::Server);
    let (mut message, _) = one(&mut *server, call, Interest::Headers);
    message.edit(Edit::Set("header.6".into(), (*b"other.Demo").into()));
    message.edit(Edit::Set("header.1000".into(), (*b"n").into()));
    message.edit(Edit::Set("header.word".into(), (*b"w").into()));
    message.edit(Edit::Remove("header.rip".into()));
    let out = encoded(&mut *server, &message);
    let (again, _) = one(&mut *codec(Side::Server), &out, Interest::Body);
    let seen = [
        "service",
        "header.1000",
        "header.word",
        "header.rip",
        "header.9",
    ];
    let seen = seen.map(|name| attribute(&again, name));
    let expected = [Some("other.Demo"), Some("n"), Some("w"), None, Some("add")];
    assert_eq!(seen.each_ref().map(Option::as_deref), expected);
}

/// Returns a call in `THeader` or `TTHeader` with these two ids.
fn call(tt: bool, compact: bool, header: i32, inner: i32) -> Vec<u8> {
    let magic = if tt { b"\x10\0\0\0" } else { b"\x0f\xff\0\0" };
    let block: [u8; 6] = [0, 1, if compact { 2 } else { 0 }, 0, 0, 0];
    let payload = if compact {
        let digits = Digits::varint(inner.cast_unsigned());
        [&b"\x82\x21"[..], digits.as_slice(), b"\x03add\0"].concat()
    } else {
        let front = &b"\x80\x01\0\x01\0\0\0\x03add"[..];
        [front, &inner.to_be_bytes(), b"\0"].concat()
    };
    frame(&[&magic[..], &header.to_be_bytes(), &block, &payload].concat())
}

proptest::proptest! {
    #[test]
    fn only_the_routers_id_is_sent_upstream(
        tt: bool, compact: bool, header: i32, inner: i32, id: i32,
    ) {
        // The router never chooses the id that the client wrote.
        proptest::prop_assume!(id != header);
        let wire = call(tt, compact, header, inner);
        let (mut message, _) = one(&mut *codec(Side::Server), &wire, Interest::Route);
        message.set_id(i64::from(id));
        let sent = encoded(&mut *codec(Side::Client), &message);
        assert_eq!(sent, call(tt, compact, id, id));
        // The caller's id comes back in both places.
        let (mut back, _) = one(&mut *codec(Side::Server), &sent, Interest::Route);
        back.set_id(i64::from(header));
        assert_eq!(encoded(&mut *codec(Side::Client), &back), call(tt, compact, header, header));
    }
}

#[test]
fn a_compressed_call_is_answered_and_its_header_rewritten() {
    let call = include_bytes!("../../samples/py_header_compact_zlib_hdr_echo.server.bin");
    let mut server = codec(Side::Server);
    let (mut message, _) = one(&mut *server, call, Interest::Route);
    let seen = ["method", "transform", "type"].map(|name| attribute(&message, name));
    assert_eq!(
        seen.each_ref().map(Option::as_deref),
        [Some("echo"), Some("zlib"), Some("call")]
    );
    let receipt = server.receipt(&message);
    assert_eq!(
        (receipt.id, receipt.name.as_slice()),
        (Some(0x1234), &b"echo"[..])
    );
    message.set_id(5);
    message.edit(Edit::Set("header.x-route".into(), (*b"green").into()));
    let out = encoded(&mut *server, &message);
    let (again, _) = one(&mut *codec(Side::Server), &out, Interest::Headers);
    assert_eq!(
        attribute(&again, "header.x-route").as_deref(),
        Some("green")
    );
    assert_eq!(
        (attribute(&again, "method").as_deref(), again.head.id),
        (Some("echo"), Some(5))
    );
}
