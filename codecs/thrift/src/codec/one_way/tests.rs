//! Replies to one-way calls, in every dialect, whole and in pieces.

use meltemi_frame::{Codec as _, Interest, Limits, Side};

use super::*;
use crate::testing::frame;

fn codec(side: Side) -> ThriftCodec {
    ThriftCodec::new(side, &Limits::default(), 0)
}

/// A message of `add`: its type, id and what the struct has.
fn message(kind: u8, id: i32, text: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    let body = [
        b"\x0b\0\0",
        &(text.len() as u32).to_be_bytes()[..],
        text,
        b"\0",
    ]
    .concat();
    [&[0x80, 1, 0, kind, 0, 0, 0, 3], &b"add"[..], &id, &body].concat()
}

/// The same as THeader frames it.
fn headed(payload: &[u8], id: i32) -> Vec<u8> {
    let front = [&b"\x0f\xff\0\0"[..], &id.to_be_bytes(), b"\0\x01\0\0\0\0"].concat();
    frame(&[&front, payload].concat())
}

type Dialect = fn(&[u8], i32) -> Vec<u8>;
const DIALECTS: [Dialect; 3] = [
    |payload, _| frame(payload),
    |payload, _| payload.to_vec(),
    headed,
];

/// What the client side writes for a request that a client sent.
fn forward(client: &mut ThriftCodec, bytes: &[u8]) -> (Kind, Vec<u8>) {
    let mut server = codec(Side::Server);
    let Ok(Decoded::Message(message, _)) = server.decode(bytes, Interest::Route) else {
        panic!("{bytes:02x?}");
    };
    let mut out = Output::new();
    client.encode(&message, &mut out).unwrap();
    (message.head.kind, out.drain().to_vec())
}

#[test]
fn the_reply_to_a_one_way_call_answers_nobody() {
    for dialect in DIALECTS {
        let mut client = codec(Side::Client);
        let (kind, sent) = forward(&mut client, &dialect(&message(4, 0, b"x"), 0));
        let id = client.one_way.unwrap();
        assert_eq!(kind, Kind::OneWay);
        assert_eq!(sent, dialect(&message(4, id, b"x"), id));
        // Another client's call with the same id as the one-way call had.
        let call = dialect(&message(1, 0, b"y"), 0);
        assert_eq!(forward(&mut client, &call), (Kind::Request, call));
        for (id, kind) in [(id, Kind::Push), (0, Kind::Response)] {
            let reply = dialect(&message(2, id, b"y"), id);
            let Ok(Decoded::Message(found, length)) = client.decode(&reply, Interest::Route) else {
                panic!("{reply:02x?}");
            };
            assert_eq!((found.head.kind, length), (kind, reply.len()));
        }
    }
}

#[test]
fn a_large_reply_to_a_one_way_call_is_skipped_to_its_end() {
    let large = vec![b'x'; 1 << 20];
    for dialect in DIALECTS {
        let mut client = codec(Side::Client);
        forward(&mut client, &dialect(&message(4, 7, b"x"), 7));
        let id = client.one_way.unwrap();
        let mut bytes = dialect(&message(2, id, &large), id);
        bytes.extend(dialect(&message(2, 7, b"y"), 7));
        let (mut at, mut kinds) = (0, Vec::new());
        while at < bytes.len() {
            match client.decode(&bytes[at..], Interest::Route).unwrap() {
                Decoded::Message(message, length) => {
                    kinds.push((message.head.kind, message.head.end));
                    at += length;
                }
                Decoded::Skip(length) => at += length,
                Decoded::Incomplete(need) => panic!("{need}"),
            }
        }
        assert_eq!(kinds, [(Kind::Push, true), (Kind::Response, true)]);
    }
}

#[test]
fn every_connection_has_an_id_of_its_own() {
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let mut client = codec(Side::Client);
        forward(&mut client, &frame(&message(4, 0, b"")));
        let first = client.one_way.unwrap();
        forward(&mut client, &frame(&message(4, 1, b"")));
        assert_eq!(client.one_way, Some(first));
        assert!(first >= 1 << 30);
        ids.insert(first);
    }
    assert!(ids.len() > 90);
    assert_eq!(codec(Side::Client).one_way, None);
}
