//! What the language can describe beyond the two protocols that are shipped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

use std::ops::ControlFlow;
use std::time::Duration;

use meltemi_declarative::Declarative;
use meltemi_frame::{
    Codec, DecodeError, Decoded, Detect, Edit, Fault, Interest, Kind, Limits, LocalMessage,
    Message, Output, Protocol, Reason, Safety, Session, Side, Status, Violation,
};

fn described(yaml: &str) -> Declarative {
    Declarative::from_yaml(yaml).unwrap_or_else(|errors| panic!("{errors}"))
}

fn codec(protocol: &Declarative, side: Side) -> Box<dyn Codec> {
    protocol.codec(side, &Limits::default(), &Session::default())
}

fn decode<'b>(codec: &mut dyn Codec, bytes: &'b [u8]) -> Message<'b> {
    match codec.decode(bytes, Interest::Body).unwrap() {
        Decoded::Message(message, taken) => {
            assert_eq!(taken, bytes.len());
            message
        }
        other => panic!("{other:?}"),
    }
}

fn value(protocol: &Declarative, message: &Message<'_>, name: &str) -> Option<String> {
    let (lookup, _) = protocol.spec().lookup(name).unwrap();
    message
        .attribute(&lookup)
        .map(|value| String::from_utf8(value.into_owned()).unwrap())
}

fn encoded(protocol: &Declarative, message: &Message<'_>) -> Vec<u8> {
    let mut out = Output::new();
    codec(protocol, Side::Client)
        .encode(message, &mut out)
        .unwrap();
    out.drain().to_vec()
}

const LINES: &str = r#"
name: lines
delimiter: {end: "\n"}
variants:
  - name: ask
    from: client
    fields: {verb: {word: 0}, id: {word: 1, encoding: digits}, key: {word: 2}}
  - name: answer
    from: server
    fields: {result: {word: 0}, id: {word: 1, encoding: digits}, text: {word: 2, rest: true}}
kinds:
  - {kind: ping, when: {verb: PING}}
  - {kind: pong, when: {result: PONG}}
  - {kind: oneWay, when: {verb: NOTE}}
  - {kind: request, when: {verb: [GET, HEAD]}, safety: read}
  - {kind: request, when: {verb: PUT}}
  - {kind: response, when: {result: [OK, ERR, BUSY]}}
id: id
status: {field: result, ok: OK, faults: {overload: BUSY, application: ERR}, reasons: {overloaded: BUSY, internal: ERR}}
attributes:
  - {name: method, field: verb, values: {GET: get, HEAD: get}}
  - {name: key, field: key, on: requests}
open: {prefix: arg., fromWord: 3}
replies:
  failure: [{to: ask, variant: answer, text: text}]
  ping: [{variant: ask, set: {verb: PING}}]
  pong: [{to: ask, variant: answer, set: {result: PONG}}]
"#;

#[test]
fn lines_of_words() {
    let lines = described(LINES);
    let mut server = codec(&lines, Side::Server);
    let mut request = decode(&mut *server, b"GET 17 users/7 a=b c=d=e\r\n");
    assert_eq!(
        (request.head.kind, request.head.id),
        (Kind::Request, Some(17))
    );
    assert_eq!(request.head.safety, Safety::Read);
    assert_eq!(value(&lines, &request, "method").as_deref(), Some("get"));
    assert_eq!(value(&lines, &request, "key").as_deref(), Some("users/7"));
    assert_eq!(value(&lines, &request, "arg.c").as_deref(), Some("d=e"));
    let to = server.receipt(&request);
    request.set_id(9000);
    assert_eq!(encoded(&lines, &request), b"GET 9000 users/7 a=b c=d=e\r\n");

    let mut out = Output::new();
    let say = LocalMessage::Failure {
        to: &to,
        reason: Reason::Overloaded,
        text: "too\nmuch",
    };
    server.synthesize(say, &mut out).unwrap();
    let bytes = out.drain();
    assert_eq!(bytes, b"BUSY 17 too_much\n"[..]);
    let mut client = codec(&lines, Side::Client);
    let answer = decode(&mut *client, &bytes);
    assert_eq!(
        (answer.head.id, answer.head.status),
        (Some(17), Status::Failed(Fault::Overload))
    );

    let lost = server
        .decode(b"OK 17 hm\nGET", Interest::Route)
        .unwrap_err();
    assert!(
        matches!(lost, DecodeError::Message { length: 9, .. }),
        "{lost}"
    );
    assert!(matches!(
        server.decode(b"\r\nGET", Interest::Route),
        Ok(Decoded::Skip(2))
    ));
    let no_id = server.decode(b"GET x y\n", Interest::Route).unwrap_err();
    assert!(matches!(
        no_id,
        DecodeError::Message {
            length: 8,
            answer: None,
            ..
        }
    ));
    assert!(matches!(decode(&mut *server, b"NOTE - x\n").head, head if head.kind == Kind::OneWay));
}

#[test]
fn lines_are_detected_by_their_first_words_and_limited() {
    let lines = described(LINES);
    assert_eq!(lines.detect(b"GET 1"), Detect::Need(6));
    assert_eq!(lines.detect(b"GET 1 x\nrubbish"), Detect::Yes);
    assert_eq!(
        lines.detect(b"GET / HTTP/1.1\r\n"),
        Detect::Yes,
        "the words are all that is known"
    );
    assert_eq!(lines.detect(b"DELETE 1 x\n"), Detect::No);
    assert_eq!(lines.detect(&[b'x'; 300]), Detect::No);
    let limits = Limits {
        frame: 16,
        hold: 16,
        ..Limits::default()
    };
    let mut server = lines.codec(Side::Server, &limits, &Session::default());
    assert!(matches!(
        server.decode(b"GET 1 aaaaaaaaaa", Interest::Route),
        Ok(Decoded::Incomplete(17))
    ));
    let error = server
        .decode(b"GET 1 aaaaaaaaaaa", Interest::Route)
        .unwrap_err();
    assert!(matches!(
        error,
        DecodeError::Connection {
            violation: Violation::TooLarge { limit: 16, .. },
            ..
        }
    ));
}

/// The kind of thing that banks run on: lengths in digits, padded texts, an end marker.
const LEDGER: &str = r#"
name: ledger
variants:
  - name: record
    headerLength: 26
    fields:
      length: {offset: 0, size: 6, encoding: digits}
      service: {offset: 6, size: 8, encoding: text}
      direction: {offset: 14, size: 1, encoding: text}
      serial: {offset: 15, size: 8, encoding: digits}
      code: {offset: 23, size: 3, encoding: digits}
    length: {total: length, counts: afterField}
    trailer: {bytes: "03"}
kinds:
  - {kind: request, when: {direction: Q}}
  - {kind: response, when: {direction: R}}
id: serial
status: {field: code, ok: 0, otherwise: application, reasons: {timeout: 408, internal: 500}}
attributes: [{name: service, field: service}, {name: code, field: code, on: responses}]
replies: {failure: [{variant: record, set: {direction: R}, copy: {}}]}
"#;

#[test]
fn digits_and_padded_texts() {
    let ledger = described(LEDGER);
    assert_eq!(ledger.spec().operation, "service");
    let mut server = codec(&ledger, Side::Server);
    let bytes = b"000023PAY     Q00000042000ab\x03";
    let mut request = decode(&mut *server, bytes);
    assert_eq!(
        (request.head.kind, request.head.id),
        (Kind::Request, Some(42))
    );
    assert_eq!(value(&ledger, &request, "service").as_deref(), Some("PAY"));
    let to = server.receipt(&request);
    request.set_id(99_999_999);
    assert_eq!(
        encoded(&ledger, &request),
        b"000023PAY     Q99999999000ab\x03"
    );
    request.set_id(100_000_000);
    assert!(
        codec(&ledger, Side::Client)
            .encode(&request, &mut Output::new())
            .is_err()
    );

    let mut out = Output::new();
    server
        .synthesize(
            LocalMessage::Failure {
                to: &to,
                reason: Reason::Timeout,
                text: "",
            },
            &mut out,
        )
        .unwrap();
    assert_eq!(out.drain(), b"000021        R00000042408\x03"[..]);

    let marker = server
        .decode(b"000023PAY     Q00000042000ab\x04", Interest::Route)
        .unwrap_err();
    assert!(matches!(
        marker,
        DecodeError::Connection {
            answer: Some(_),
            ..
        }
    ));
    let length = server
        .decode(b"00002xPAY     Q00000042000ab\x03", Interest::Route)
        .unwrap_err();
    assert!(matches!(
        length,
        DecodeError::Connection {
            violation: Violation::Length { .. },
            ..
        }
    ));
    assert_eq!(
        ledger.detect(bytes),
        Detect::No,
        "nothing tells it from others"
    );
}

/// A header-inclusive little-endian length, counted entries, a section that may be absent.
const BOXES: &str = r#"
name: boxes
byteOrder: little
variants:
  - name: box
    magic: [{text: BX}]
    headerLength: 12
    fields:
      reply: {offset: 2, size: 1, mask: 0x80}
      traced: {offset: 2, size: 1, mask: 0x01}
      code: {offset: 3, size: 1, signed: true}
      length: {offset: 4, size: 4}
      id: {offset: 8, size: 2}
      seconds: {offset: 10, size: 2}
    length: {total: length, counts: body, adjust: -2}
    sections:
      - {name: trace, prefix: 1, when: {traced: 1}}
      - {name: tags, entries: {keyLength: 1, valueLength: 1, count: 2}}
      - {name: action, prefix: 2}
    trailer: {checksum: crc32}
kinds: [{kind: request, when: {reply: 0}}, {kind: response, when: {reply: 1}}]
id: id
replyOrder: requests
sharing: pipelined
timeout: {field: seconds, unit: seconds}
status: {field: code, ok: 0, faults: {timeout: -5}, reasons: {timeout: -5, internal: -1}}
attributes: [{name: action, section: action}, {name: trace, section: trace}, {name: color, entry: color}]
open: {prefix: tag., section: tags, edit: both}
operation: action
replies: {failure: [{variant: box, set: {reply: 1}, text: action}]}
"#;

fn boxed(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'B', b'X', flags, 0];
    bytes.extend(u32::try_from(body.len() + 2).unwrap().to_le_bytes());
    bytes.extend([7, 0, 3, 0]);
    bytes.extend(body);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

#[test]
fn counted_entries_conditional_sections_and_checksums() {
    let boxes = described(BOXES);
    let mut server = codec(&boxes, Side::Server);
    let body = b"\x02\0\x05color\x03red\x01z\x00\x04\0openrest";
    let plain = boxed(0, body);
    let mut request = decode(&mut *server, &plain);
    assert_eq!(request.head.timeout, Some(Duration::from_secs(3)));
    assert_eq!(value(&boxes, &request, "action").as_deref(), Some("open"));
    assert_eq!(value(&boxes, &request, "color").as_deref(), Some("red"));
    assert_eq!(value(&boxes, &request, "trace"), None);
    request.edit(Edit::Set("tag.color".into(), (*b"green").into()));
    request.edit(Edit::Add("tag.more".into(), (*b"1").into()));
    request.set_id(8);
    let edited = encoded(&boxes, &request);
    let mut again = boxed(
        0,
        b"\x03\0\x05color\x05green\x01z\x00\x04more\x011\x04\0openrest",
    );
    again[8] = 8;
    let cut = again.len() - 4;
    let sum = crc32fast::hash(&again[..cut]).to_le_bytes();
    again[cut..].copy_from_slice(&sum);
    assert_eq!(
        edited, again,
        "the count, the length and the checksum are right again"
    );

    let traced = boxed(1, b"\x02t1\0\0\x04\0open");
    let request = decode(&mut *server, &traced);
    assert_eq!(value(&boxes, &request, "trace").as_deref(), Some("t1"));
    assert_eq!(value(&boxes, &request, "action").as_deref(), Some("open"));

    let mut broken = traced.clone();
    broken[14] ^= 1;
    for want in [Interest::Route, Interest::Headers, Interest::Body] {
        let error = server.decode(&broken, want).unwrap_err();
        assert!(
            matches!(
                error,
                DecodeError::Message {
                    answer: Some(_),
                    ..
                }
            ),
            "{error}"
        );
    }
    let bomb = boxed(0, b"\xff\xff");
    let error = server.decode(&bomb, Interest::Route).unwrap_err();
    assert_eq!(error.violation(), &Violation::Entries { limit: 512 });
}

/// A damaged response costs one call, not the connection that others share.
#[test]
fn what_is_damaged_is_not_forwarded() {
    let boxes = described(BOXES);
    let damaged = {
        let mut bytes = boxed(0, b"\0\0\x04\0openrest");
        bytes[20] ^= 0x10;
        bytes
    };
    let good = boxed(0, b"\0\0\x04\0openrest");
    let mut server = codec(&boxes, Side::Server);
    let both = [&damaged[..], &good].concat();
    let error = server.decode(&both, Interest::Route).unwrap_err();
    assert_eq!(
        error.violation(),
        &Violation::Invalid("the checksum is wrong")
    );
    let DecodeError::Message { length, .. } = error else {
        panic!("its length is known");
    };
    assert_eq!(length, damaged.len());
    let Ok(Decoded::Message(next, _)) = server.decode(&both[length..], Interest::Route) else {
        panic!("the next message is served");
    };
    assert_eq!(next.wire(), good);
}

/// A response over the limit flows through in pieces, and its checksum follows the new id.
#[test]
fn a_large_response_with_a_checksum_flows_with_another_id() {
    let bolt = meltemi_declarative::bolt().unwrap();
    let content = vec![7u8; 100_000];
    let mut bytes = vec![2, 2, 0, 0, 2, 1, 0, 0, 0, 9, 1, 1, 0, 0, 0, 1, 0, 0];
    bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    bytes.push(b'C');
    bytes.extend(&content);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());

    let limits = Limits {
        frame: 4096,
        hold: 1024,
        ..Limits::default()
    };
    let mut client = bolt.codec(Side::Client, &limits, &Session::default());
    let mut server = bolt.codec(Side::Server, &limits, &Session::default());
    let (mut at, mut pieces, mut out) = (0, 0, Output::new());
    while at < bytes.len() {
        let Decoded::Message(mut message, taken) =
            client.decode(&bytes[at..], Interest::Headers).unwrap()
        else {
            panic!("more is asked for at {at}");
        };
        assert_eq!(message.head.id, Some(9));
        message.set_id(0x0102_0304);
        server.encode(&message, &mut out).unwrap();
        (at, pieces) = (at + taken, pieces + 1);
    }
    assert!(pieces > 5);
    let out = out.drain();
    let whole = Limits::default().holding_all();
    let mut reader = bolt.codec(Side::Client, &whole, &Session::default());
    let Decoded::Message(message, taken) = reader.decode(&out, Interest::Body).unwrap() else {
        panic!("it is not whole");
    };
    assert_eq!((message.head.id, taken), (Some(0x0102_0304), bytes.len()));
}

#[test]
fn a_request_over_the_limit_is_told_before_the_connection_closes() {
    let bolt = meltemi_declarative::bolt().unwrap();
    let mut server = codec(&bolt, Side::Server);
    let mut header = vec![1, 1, 0, 1, 1, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend(0x4000_0000u32.to_be_bytes());
    let error = server.decode(&header, Interest::Route).unwrap_err();
    let DecodeError::Connection {
        violation: Violation::TooLarge { .. },
        answer: Some(to),
    } = error
    else {
        panic!("{error}");
    };
    let mut out = Output::new();
    server
        .synthesize(
            LocalMessage::Failure {
                to: &to,
                reason: Reason::BadRequest,
                text: "too large",
            },
            &mut out,
        )
        .unwrap();
    let bytes = out.drain();
    assert_eq!(
        bytes,
        b"\x01\0\0\x02\x01\0\0\0\x05\x01\0\x09\0\0\0\0\0\0\0\0"[..]
    );
}

/// The heartbeat of an upstream connection is in the version that the connection speaks.
#[test]
fn pings_are_in_the_manner_of_the_connection() {
    let bolt = meltemi_declarative::bolt().unwrap();
    let second = include_bytes!("../samples/bolt/p22_sync.server.bin");
    let mut server = codec(&bolt, Side::Server);
    let mut client = codec(&bolt, Side::Client);
    let mut out = Output::new();
    client
        .synthesize(LocalMessage::Ping { id: 3 }, &mut out)
        .unwrap();
    assert_eq!(out.drain()[..2], [1, 1]);
    let request = decode(&mut *server, second);
    client.encode(&request, &mut out).unwrap();
    out.drain();
    client
        .synthesize(LocalMessage::Ping { id: 3 }, &mut out)
        .unwrap();
    assert_eq!(out.drain()[..3], [2, 1, 1]);
}

#[test]
fn entries_are_walked_in_wire_order() {
    let bolt = meltemi_declarative::bolt().unwrap();
    let bytes = include_bytes!("../samples/bolt/sofarpc_headers.server.bin");
    let mut server = codec(&bolt, Side::Server);
    let request = decode(&mut *server, bytes);
    let mut names = Vec::new();
    request.attributes.walk(request.wire(), &mut |entry| {
        names.push(String::from_utf8_lossy(&entry.name).into_owned());
        ControlFlow::Continue(())
    });
    assert_eq!(names.first().map(String::as_str), Some("service"));
    assert_eq!(names.len(), 5);
}
