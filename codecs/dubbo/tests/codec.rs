//! What the samples alone do not show: edits, large messages, answers, limits.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

use meltemi_dubbo::Dubbo;
use meltemi_frame::{
    Codec, DecodeError, Decoded, Edit, EncodeError, Fault, Interest, Kind, Limits, LocalMessage,
    Lookup, Message, Output, Protocol, Reason, ReplyContext, Session, Side, Status, Violation,
    describe,
};
use proptest::prelude::*;

fn codec(side: Side, limits: Limits) -> Box<dyn Codec> {
    Dubbo::new().codec(side, &limits, &Session::default())
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 32);
    [&[length], text.as_bytes()].concat()
}

fn frame(flags: u8, status: u8, id: i64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xda, 0xbb, flags, status];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A call of `a.B.m` with these arguments and attachments, both as they stand on the wire.
fn call(types: &str, arguments: &[u8], attachments: &[u8]) -> Vec<u8> {
    let mut body = ["2.0.2", "a.B", "1.0", "m", types].map(text).concat();
    body.extend_from_slice(arguments);
    body.extend_from_slice(attachments);
    frame(0xc2, 0, 7, &body)
}

fn attribute(message: &Message<'_>, name: &str) -> Option<String> {
    let (lookup, _) = Dubbo::new().spec().lookup(name).unwrap();
    let value = message.attribute(&lookup)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

fn decode(side: Side, bytes: &[u8], check: impl FnOnce(&mut Message<'_>)) {
    let mut codec = codec(side, Limits::default());
    match codec.decode(bytes, Interest::Headers) {
        Ok(Decoded::Message(mut message, taken)) => {
            assert_eq!(taken, bytes.len());
            check(&mut message);
        }
        other => panic!("{other:?}"),
    }
}

fn edited(side: Side, bytes: &[u8], edits: &[Edit]) -> Result<Vec<u8>, EncodeError> {
    let mut result = None;
    decode(side, bytes, |message| {
        for edit in edits {
            message.edit(edit.clone());
        }
        let mut out = Output::new();
        let done = codec(Side::Client, Limits::default()).encode(message, &mut out);
        assert!(done.is_ok() || out.is_empty());
        result = Some(done.map(|()| out.drain().to_vec()));
    });
    result.unwrap()
}

fn set(name: &str, value: &str) -> Edit {
    Edit::Set(name.into(), value.as_bytes().into())
}

fn remove(name: &str) -> Edit {
    Edit::Remove(name.into())
}

#[test]
fn attachments_change_and_nothing_else_does() {
    let before = call("I", b"\x91", b"H\x01a\x01b\x01n\x95\x01zTZtrailing");
    let after = edited(
        Side::Server,
        &before,
        &[set("n", "x"), remove("a"), set("new", "\u{1f600}")],
    );
    let wanted = call(
        "I",
        b"\x91",
        b"H\x01n\x01x\x01zT\x03new\x02\xed\xa0\xbd\xed\xb8\x80Ztrailing",
    );
    assert_eq!(after.unwrap(), wanted);
}

#[test]
fn a_null_becomes_a_map_and_a_typed_map_stays_one() {
    let after = |map: &[u8]| edited(Side::Server, &call("", b"", map), &[set("a", "b")]).unwrap();
    assert_eq!(after(b"N"), call("", b"", b"H\x01a\x01bZ"));
    assert_eq!(after(b"HZ"), call("", b"", b"H\x01a\x01bZ"));
    assert_eq!(after(b"M\x01tZ"), call("", b"", b"M\x01t\x01a\x01bZ"));
}

#[test]
fn a_name_that_comes_twice_is_set_once() {
    let before = call("", b"", b"H\x01a\x011\x01b\x012\x01a\x013Z");
    let after = edited(Side::Server, &before, &[set("attachment.a", "9")]).unwrap();
    assert_eq!(after, call("", b"", b"H\x01a\x019\x01b\x012Z"));
}

#[test]
fn structured_attachments_stay_and_the_others_are_listed() {
    // The class is defined by the argument; two of its objects are attachments.
    let argument = b"C\x01E\x91\x01f\x60\x90";
    let bytes = call(
        "LE;",
        argument,
        b"H\x01a\x01b\x01o\x60\x91\x01p\x60\x92\x01c\xd0\x00\x01Z",
    );
    decode(Side::Server, &bytes, |message| {
        assert_eq!(attribute(message, "a").as_deref(), Some("b"));
        assert_eq!(attribute(message, "c").as_deref(), Some("-262143"));
        assert_eq!(attribute(message, "o"), None);
    });
    let after = edited(Side::Server, &bytes, &[set("a", "x"), remove("p")]).unwrap();
    let wanted = call(
        "LE;",
        argument,
        b"H\x01a\x01x\x01o\x60\x91\x01c\xd0\x00\x01Z",
    );
    assert_eq!(after, wanted);
    // What stands behind `o` may refer to it.
    let refused = edited(Side::Server, &bytes, &[remove("o")]);
    assert!(matches!(refused, Err(EncodeError::Edit { .. })));
}

#[test]
fn edits_of_what_was_not_walked_find_the_attachments_themselves() {
    let bytes = call("I", b"\x91", b"HZ");
    let mut codec = codec(Side::Server, Limits::default());
    let Ok(Decoded::Message(mut message, _)) = codec.decode(&bytes, Interest::Route) else {
        panic!("no message");
    };
    message.edit(set("group", "blue"));
    message.set_id(-1);
    let mut out = Output::new();
    codec.encode(&message, &mut out).unwrap();
    decode(Side::Server, &out.drain(), |message| {
        assert_eq!(message.head.id, Some(-1));
        assert_eq!(attribute(message, "group").as_deref(), Some("blue"));
    });
}

#[test]
fn responses_take_edits_where_their_caller_knows_attachments() {
    let with = frame(2, 20, 7, b"\x94\x01v\x48\x05dubbo\x052.0.2Z");
    let after = edited(Side::Client, &with, &[set("x", "y")]).unwrap();
    let wanted = frame(2, 20, 7, b"\x94\x01v\x48\x05dubbo\x052.0.2\x01x\x01yZ");
    assert_eq!(after, wanted);
    for body in [&b"\x91\x01v"[..], b"\x92"] {
        let refused = edited(Side::Client, &frame(2, 20, 7, body), &[set("x", "y")]);
        assert!(matches!(refused, Err(EncodeError::Edit { .. })));
    }
    let refused = edited(Side::Client, &frame(2, 70, 7, b"\x01e"), &[set("x", "y")]);
    assert!(matches!(refused, Err(EncodeError::Edit { .. })));
}

#[test]
fn the_method_can_be_renamed_except_in_generic_calls() {
    let bytes = call("I", b"\x91", b"HZ");
    decode(
        Side::Server,
        &edited(Side::Server, &bytes, &[set("method", "n")]).unwrap(),
        |message| {
            assert_eq!(attribute(message, "method").as_deref(), Some("n"));
            assert_eq!(attribute(message, "types").as_deref(), Some("I"));
        },
    );
    let mut body = [
        "2.0.2",
        "a.B",
        "1.0",
        "$invoke",
        "Ljava/lang/String;",
        "real",
    ]
    .map(text)
    .concat();
    body.extend_from_slice(b"HZ");
    let generic = frame(0xc2, 0, 7, &body);
    decode(Side::Server, &generic, |message| {
        assert_eq!(
            attribute(message, "generic.method").as_deref(),
            Some("real")
        );
    });
    assert!(edited(Side::Server, &generic, &[set("method", "n")]).is_err());
}

#[test]
fn values_that_are_no_text_are_refused() {
    let bytes = call("", b"", b"HZ");
    let edit = Edit::Set("a".into(), (*b"\xff").into());
    assert!(matches!(
        edited(Side::Server, &bytes, &[edit]),
        Err(EncodeError::Edit { .. })
    ));
    assert!(edited(Side::Server, &bytes, &[set("interface", "c.D")]).is_err());
}

#[test]
fn declared_names_win_and_the_prefix_reaches_the_attachment() {
    let bytes = call("", b"", b"H\x06method\x05other\x07timeout\xc8\x64Z");
    decode(Side::Server, &bytes, |message| {
        assert_eq!(attribute(message, "method").as_deref(), Some("m"));
        assert_eq!(
            attribute(message, "attachment.method").as_deref(),
            Some("other")
        );
        assert_eq!(message.head.timeout.unwrap().as_millis(), 100);
    });
}

#[test]
fn dubbox_requests_are_tolerated() {
    let mut body = ["2.0.2", "a.B", "1.0", "m"].map(text).concat();
    body.extend_from_slice(b"\x8f\x01I\x95H\x01k\x01vZ");
    decode(Side::Server, &frame(0xc2, 0, 7, &body), |message| {
        assert_eq!(attribute(message, "types").as_deref(), Some("I"));
        assert_eq!(attribute(message, "k").as_deref(), Some("v"));
    });
}

#[test]
fn at_route_the_arguments_are_not_looked_at() {
    let bytes = call("I", b"\x40\x40", b"");
    let decoded = |want| {
        codec(Side::Server, Limits::default())
            .decode(&bytes, want)
            .is_ok()
    };
    assert!(decoded(Interest::Route));
    assert!(!decoded(Interest::Headers));
}

/// Decodes in steps of `step` bytes; every piece's kind, end and bytes.
fn pieces(side: Side, limits: Limits, bytes: &[u8], step: usize) -> Vec<(Kind, bool, Vec<u8>)> {
    let mut codec = codec(side, limits);
    let (mut seen, mut from, mut to) = (Vec::new(), 0, 0);
    while from < bytes.len() {
        match codec.decode(&bytes[from..to], Interest::Route) {
            Ok(Decoded::Message(message, taken)) => {
                assert_eq!(message.head.id, Some(7));
                seen.push((message.head.kind, message.head.end, message.wire().to_vec()));
                from += taken;
            }
            Ok(Decoded::Incomplete(need)) => {
                assert!(need > to - from && to < bytes.len());
                to = (to + step).min(bytes.len());
            }
            other => panic!("{other:?}"),
        }
    }
    seen
}

#[test]
fn large_messages_come_in_pieces_as_they_arrive() {
    let limits = Limits {
        hold: 1500,
        ..Limits::default()
    };
    let argument = [b"S\x20\x00".to_vec(), vec![b'x'; 0x2000]].concat();
    let request = call("Ljava/lang/String;", &argument, b"HZ");
    let response = frame(2, 20, 7, &[b"\x91", &argument[..]].concat());
    for (side, kind, bytes) in [
        (Side::Server, Kind::Request, request),
        (Side::Client, Kind::Response, response),
    ] {
        for step in [1, 100, 5000, 100_000] {
            let seen = pieces(side, limits, &bytes, step);
            let (first, rest) = seen.split_first().unwrap();
            assert_eq!((first.0, first.1, first.2.len()), (kind, false, 1500));
            assert!(rest.iter().all(|(kind, ..)| *kind == Kind::Data));
            let ends: Vec<bool> = rest.iter().map(|(_, end, _)| *end).collect();
            assert_eq!(ends.iter().filter(|end| **end).count(), 1);
            assert_eq!(ends.last(), Some(&true));
            let whole: Vec<u8> = seen.into_iter().flat_map(|(_, _, wire)| wire).collect();
            assert_eq!(whole, bytes);
        }
    }
}

#[test]
fn a_head_takes_another_method_but_no_attachments() {
    let limits = Limits {
        hold: 1024,
        ..Limits::default()
    };
    let argument = [b"S\x10\x00".to_vec(), vec![b'x'; 0x1000]].concat();
    let bytes = call("Ljava/lang/String;", &argument, b"HZ");
    let mut codec = codec(Side::Server, limits);
    let Ok(Decoded::Message(mut head, taken)) = codec.decode(&bytes, Interest::Route) else {
        panic!("no head");
    };
    let mut other = head.clone();
    other.edit(set("a", "b"));
    assert!(codec.encode(&other, &mut Output::new()).is_err());
    head.edit(set("method", "longer"));
    let mut out = Output::new();
    codec.encode(&head, &mut out).unwrap();
    out.put(&bytes[taken..]);
    decode(Side::Server, &out.drain(), |message| {
        assert_eq!(attribute(message, "method").as_deref(), Some("longer"));
    });
}

#[test]
fn fields_that_do_not_fit_the_front_are_waited_for() {
    let limits = Limits {
        hold: 1024,
        ..Limits::default()
    };
    let mut body = text("2.0.2");
    body.extend_from_slice(b"S\x10\x00");
    body.extend_from_slice(&[b'p'; 0x1000]);
    body.extend_from_slice(&["1.0", "m", ""].map(text).concat());
    body.extend_from_slice(b"HZ");
    let seen = pieces(Side::Server, limits, &frame(0xc2, 0, 7, &body), 700);
    assert_eq!((seen.len(), seen[0].1), (1, true));
}

fn failure(side: Side, bytes: &[u8]) -> DecodeError {
    codec(side, Limits::default())
        .decode(bytes, Interest::Headers)
        .unwrap_err()
}

#[test]
fn whoever_waits_is_answered() {
    let answered = |error: &DecodeError| match error {
        DecodeError::Message { answer, .. } | DecodeError::Connection { answer, .. } => {
            answer.as_ref().map(|receipt| receipt.id)
        }
    };
    let broken = |flags: u8| failure(Side::Server, &frame(flags, 0, 9, b"\x40"));
    assert_eq!(answered(&broken(0xc2)), Some(Some(9)));
    assert_eq!(answered(&broken(0x82)), None);

    let mut large = frame(0xc2, 0, 9, b"");
    large[12..16].copy_from_slice(&0x7fff_ffffu32.to_be_bytes());
    let error = failure(Side::Server, &large);
    assert!(matches!(
        error,
        DecodeError::Connection {
            violation: Violation::TooLarge { .. },
            ..
        }
    ));
    assert_eq!(answered(&error), Some(Some(9)));
}

#[test]
fn an_answer_of_a_client_is_a_response() {
    decode(Side::Server, &frame(2, 20, 9, b"\x91\x92"), |message| {
        assert_eq!(message.head.kind, Kind::Response);
        assert_eq!(message.head.id, Some(9));
    });
    // It is held whole, however large, up to the limit.
    let large = frame(
        2,
        20,
        9,
        &[&[0x91, b'B', 0xff, 0xff][..], &[0; 0xffff]].concat(),
    );
    decode(Side::Server, &large, |message| assert!(message.head.end));
}

#[test]
fn a_call_from_a_server_is_a_request() {
    decode(Side::Client, &call("", b"", b"HZ"), |message| {
        assert_eq!(message.head.kind, Kind::Request);
        assert_eq!(attribute(message, "method").as_deref(), Some("m"));
    });
}

#[test]
fn failures_are_said_in_the_callers_serialization() {
    for (serialization, answered_in) in [(2, 2), (23, 23), (21, 2), (7, 2)] {
        let bytes = frame(0xc0 | serialization, 0, -3, b"\x00\x00\x00\x02\x4a1");
        let mut server = codec(Side::Server, Limits::default());
        let receipt = match server.decode(&bytes, Interest::Route) {
            Ok(Decoded::Message(message, _)) => server.receipt(&message),
            Err(DecodeError::Message {
                answer: Some(answer),
                ..
            }) => *answer,
            other => panic!("{other:?}"),
        };
        for (reason, fault) in [
            (Reason::BadRequest, Fault::Malformed),
            (Reason::NotFound, Fault::NoRoute),
            (Reason::Unavailable, Fault::Server),
            (Reason::Timeout, Fault::Timeout),
            (Reason::Overloaded, Fault::Overload),
            (Reason::Denied, Fault::Application),
            (Reason::Internal, Fault::Server),
        ] {
            let mut out = Output::new();
            let say = LocalMessage::Failure {
                to: &receipt,
                reason,
                text: "né",
            };
            server.synthesize(say, &mut out).unwrap();
            let bytes = out.drain();
            assert_eq!(bytes[2], answered_in);
            decode(Side::Client, &bytes, |message| {
                assert_eq!(message.head.id, Some(-3));
                assert_eq!(message.head.status, Status::Failed(fault));
            });
        }
    }
}

#[test]
fn a_heartbeat_is_answered_in_its_own_null() {
    // Native Java, hessian2, fastjson2.
    for (serialization, null) in [
        (7, &b"\xac\xed\x00\x05p"[..]),
        (2, b"N"),
        (23, b"\0\0\0\x01\xaf"),
    ] {
        let ping = frame(0xe0 | serialization, 0, 5, null);
        let mut codec = codec(Side::Server, Limits::default());
        let Ok(Decoded::Message(message, _)) = codec.decode(&ping, Interest::Route) else {
            panic!("no ping");
        };
        assert_eq!(message.head.kind, Kind::Ping);
        let receipt = codec.receipt(&message);
        let mut out = Output::new();
        codec
            .synthesize(LocalMessage::Pong { to: &receipt }, &mut out)
            .unwrap();
        assert_eq!(out.drain(), frame(0x20 | serialization, 20, 5, null));
    }
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    let mut out = Output::new();
    let say = LocalMessage::Failure {
        to: &ReplyContext::new(Some(1)),
        reason: Reason::Internal,
        text: &"é".repeat(5000),
    };
    codec(Side::Server, Limits::default())
        .synthesize(say, &mut out)
        .unwrap();
    assert_eq!(out.len(), 16 + 2 + 500 * 2);
}

#[test]
fn a_response_too_deep_to_walk_goes_without_attachments() {
    let value = [vec![0x79; 100], b"N".to_vec()].concat();
    let body = [&b"\x94"[..], &value, b"H\x01a\x01bZ"].concat();
    decode(Side::Client, &frame(2, 20, 7, &body), |message| {
        assert_eq!(message.head.status, Status::Ok);
        assert_eq!(message.attribute(&Lookup::Open("a".into())), None);
    });
}

#[test]
fn metadata_is_bounded() {
    let attachments = [b"H".to_vec(), b"\x01a\x01b".repeat(513), b"Z".to_vec()].concat();
    decode(Side::Server, &call("", b"", &attachments), |message| {
        let a = Lookup::Open("a".into());
        assert!(message.attributes.is_undetermined(&a));
        assert_eq!(message.attribute(&a), None);
    });
}

proptest! {
    /// Any text set on any request is there afterwards, in both serializations.
    #[test]
    fn edits_arrive(name in "[a-zé中😀.-]{1,40}", value: String, fastjson: bool) {
        prop_assume!(!Dubbo::new().spec().keys.iter().any(|key| key.name == name));
        let sample = if fastjson { "fastjson2-33-attachments" } else { "hessian2-33-attachments" };
        let path = format!("{}/samples/{sample}.server.bin", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let after = edited(Side::Server, &bytes, &[set(&format!("attachment.{name}"), &value)]).unwrap();
        let protocol = Dubbo::new();
        let limits = Limits::default();
        let line = |bytes: &[u8]| {
            describe::lines(&protocol, Side::Server, bytes, &limits, Interest::Body).next().unwrap()
        };
        let (before, after) = (line(&bytes), line(&after));
        prop_assert_eq!(after["attributes"][&name].as_str(), Some(&*value));
        for (known, old) in before["attributes"].as_object().unwrap() {
            prop_assert!(*known == name || after["attributes"][known] == *old, "{}", known);
        }
    }
}
