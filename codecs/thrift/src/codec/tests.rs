//! The codec as a connection uses it: pieces of large messages, limits, sides, dialects.

use meltemi_frame::Status;
use proptest::prelude::*;

use super::*;
use crate::testing::*;

#[test]
fn a_large_framed_message_streams_through_with_its_id_rewritten() {
    let limits = Limits {
        hold: 64,
        ..Limits::default()
    };
    let whole = frame(
        &[
            &b"\x82\x21\x07\x03put\x18\xe8\x07"[..],
            &[b'x'; 1000],
            b"\x00",
        ]
        .concat(),
    );
    let mut server = with(Side::Server, limits);
    let mut out = Output::new();
    let mut at = 0;
    let mut pieces = Vec::new();
    while at < whole.len() {
        let end = (at + 300).min(whole.len());
        let (mut message, taken) = one(&mut *server, &whole[at..end], Interest::Headers);
        pieces.push((message.head.kind, taken, message.head.end));
        message.set_id(70_000);
        server.encode(&message, &mut out).unwrap();
        at += taken;
    }
    assert_eq!(pieces[0], (Kind::Request, 64, false));
    assert!(pieces[1..].iter().all(|(kind, ..)| *kind == Kind::Data));
    assert!(pieces.last().unwrap().2);
    let out = out.drain();
    let (message, taken) = one(&mut *codec(Side::Server), &out, Interest::Body);
    assert_eq!((taken, message.head.id), (out.len(), Some(70_000)));
    assert_eq!(out.len(), whole.len() + 2);
}

#[test]
fn a_large_unframed_message_streams_through() {
    let limits = Limits {
        hold: 64,
        ..Limits::default()
    };
    let whole = [big(1000), big(10)].concat();
    for step in [1, 7, 64, 5000] {
        let mut server = with(Side::Server, limits);
        let (mut at, mut seen) = (0, step.min(whole.len()));
        let mut kinds = Vec::new();
        let mut total = Vec::new();
        while at < whole.len() {
            match server.decode(&whole[at..seen], Interest::Route).unwrap() {
                Decoded::Message(message, taken) => {
                    total.extend_from_slice(message.wire());
                    kinds.push((message.head.kind, message.head.end));
                    at += taken;
                }
                Decoded::Incomplete(need) => {
                    assert!(at + need > seen);
                    seen = (seen + step).min(whole.len());
                }
                Decoded::Skip(_) => panic!(),
            }
        }
        assert_eq!(total, whole);
        assert_eq!(kinds.iter().filter(|(_, end)| *end).count(), 2);
        assert_eq!(kinds.first(), Some(&(Kind::Request, false)));
        assert_eq!(kinds.last(), Some(&(Kind::Request, true)));
    }
}

#[test]
fn a_request_over_the_limit_is_answered_and_a_response_is_not_limited() {
    let limits = Limits {
        frame: 4096,
        hold: 64,
        ..Limits::default()
    };
    let over = Violation::TooLarge {
        length: 5004,
        limit: 4096,
    };
    let mut call = frame(ADD);
    call[..4].copy_from_slice(&5000u32.to_be_bytes());
    match with(Side::Server, limits).decode(&call, Interest::Route) {
        Err(DecodeError::Connection {
            violation,
            answer: Some(answer),
        }) => {
            assert_eq!(violation, over);
            assert_eq!((answer.id, answer.name.as_slice()), (Some(7), &b"add"[..]));
        }
        other => panic!("{other:?}"),
    }
    // The limit is told as soon as the front is there.
    let mut server = with(Side::Server, limits);
    assert!(matches!(
        server.decode(&call[..20], Interest::Route),
        Ok(Decoded::Incomplete(_))
    ));
    assert!(server.decode(&call[..31], Interest::Route).is_err());

    let unframed = big(5000);
    match with(Side::Server, limits).decode(&unframed[..40], Interest::Route) {
        Err(DecodeError::Connection {
            answer: Some(answer),
            ..
        }) => assert_eq!(answer.id, Some(7)),
        other => panic!("{other:?}"),
    }

    let mut reply =
        frame(b"\x80\x01\x00\x02\x00\x00\x00\x03add\x00\x00\x00\x07\x0b\x00\x00\x00\x00\x13\x00");
    reply[..4].copy_from_slice(&5000u32.to_be_bytes());
    reply.resize(5004, 0);
    for want in [Interest::Route, Interest::Body] {
        let (message, taken) = one(&mut *with(Side::Client, limits), &reply, want);
        assert!(!message.head.end && taken <= 4096);
    }
}

#[test]
fn a_body_is_walked_only_where_it_is_asked_for() {
    let deep = [&ADD[..ADD.len() - 8], &b"\x0c\x00\x01".repeat(70), &[0; 71]].concat();
    let behind = [ADD, ADD].concat();
    let short = &ADD[..ADD.len() - 1];
    for payload in [&deep[..], &behind, short] {
        let bytes = [frame(payload), frame(ADD)].concat();
        for want in [Interest::Route, Interest::Headers] {
            one(&mut *codec(Side::Server), &bytes, want);
        }
        let mut server = codec(Side::Server);
        let length = match server.decode(&bytes, Interest::Body) {
            Err(DecodeError::Message {
                length,
                answer: Some(answer),
                ..
            }) => {
                assert_eq!(answer.id, Some(7));
                length
            }
            other => panic!("{other:?}"),
        };
        one(&mut *server, &bytes[length..], Interest::Body);
    }
}

#[test]
fn a_client_learns_from_what_it_sends_and_else_from_what_comes() {
    let mut client = codec(Side::Client);
    let (call, _) = one(&mut *codec(Side::Server), ADD, Interest::Route);
    encoded(&mut *client, &call);
    let reply =
        b"\x80\x01\x00\x02\x00\x00\x00\x03add\x00\x00\x00\x07\x08\x00\x00\x00\x00\x00\x03\x00";
    assert_eq!(one(&mut *client, reply, Interest::Route).1, reply.len());
    assert!(client.decode(&frame(reply), Interest::Route).is_err());

    let framed = frame(reply);
    let mut client = codec(Side::Client);
    let (message, taken) = one(&mut *client, &framed, Interest::Route);
    assert_eq!((taken, message.head.status), (framed.len(), Status::Ok));
}

#[test]
fn too_many_or_broken_headers_are_answered() {
    let block = b"\x00\x00\x01\x02\x01a\x01b\x01c\x01d";
    let front = [b"\x0f\xff\0\0\0\0\0\x07\0\x03".as_slice(), block].concat();
    let call = frame(&[&front, ADD].concat());
    let few = Limits {
        entries: 1,
        ..Limits::default()
    };
    match with(Side::Server, few).decode(&call, Interest::Headers) {
        Err(DecodeError::Message {
            violation,
            length,
            answer: Some(_),
        }) => {
            assert_eq!(
                (violation, length),
                (Violation::Entries { limit: 1 }, call.len())
            );
        }
        other => panic!("{other:?}"),
    }
    // Nobody looks at them: they are the server's business.
    one(&mut *with(Side::Server, few), &call, Interest::Route);

    let mut call = call;
    // The first name is longer than the block.
    call[18] = 0x7f;
    let broken = codec(Side::Server)
        .decode(&call, Interest::Headers)
        .map(drop);
    let Err(DecodeError::Message {
        violation: Violation::Invalid(_),
        answer: Some(answer),
        ..
    }) = broken
    else {
        panic!("{broken:?}");
    };
    assert_eq!((answer.id, answer.name.as_slice()), (Some(7), &b"add"[..]));
}

proptest! {
    /// Whatever comes in whatever pieces: no panic, and the pieces make no difference.
    #[test]
    fn any_bytes_are_survived(
        front in prop::sample::select(vec![
            &b""[..], b"\x80\x01\x00", b"\x82", b"[1,\"", b"\0\0\0\x20\x80\x01\x00",
            b"\0\0\0\x20\x0f\xff", b"\0\0\0\x40\x10\x00", b"\0\0\0\x04echo"]),
        rest in prop::collection::vec(prop_oneof![0u8..16, any::<u8>()], 0..120),
        side in prop::sample::select(vec![Side::Server, Side::Client]),
        want in prop::sample::select(vec![Interest::Route, Interest::Headers, Interest::Body]),
    ) {
        let bytes = [front, &rest].concat();
        let run = |step: usize| {
            let mut codec = codec(side);
            let (mut at, mut seen, mut events) = (0, 0, Vec::new());
            while seen < bytes.len() {
                seen = (seen + step).min(bytes.len());
                loop {
                    match codec.decode(&bytes[at..seen], want) {
                        Ok(Decoded::Message(message, taken)) => {
                            events.push((message.head.kind, message.head.id, taken));
                            at += taken;
                        }
                        Ok(Decoded::Incomplete(need)) => {
                            assert!(need > seen - at);
                            break;
                        }
                        Ok(Decoded::Skip(_)) | Err(_) => return events,
                    }
                }
            }
            events
        };
        prop_assert_eq!(run(1), run(1000));
    }
}

#[test]
fn clients_of_different_dialects_never_share_a_connection() {
    let call = |bytes: &[u8]| {
        let mut server = codec(Side::Server);
        one(&mut *server, bytes, Interest::Route);
        server.session()
    };
    let strict = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x01\x00";
    let compact = b"\x82\x21\x01\x04ping\x00";
    let (framed, bare) = (call(&frame(strict)), call(strict));
    assert!(framed.same(&call(&frame(strict))));
    assert!(!framed.same(&bare) && !framed.same(&call(&frame(compact))));
    assert!(framed.preamble().is_empty(), "nothing is said first");
}
