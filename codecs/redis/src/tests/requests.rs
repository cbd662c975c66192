//! What is told of requests, and how large ones pass.

use meltemi_frame::{
    Bind, Decoded, Edit, Interest, Kind, Limits, LocalMessage, Message, Output, Protocol, Reason,
    Safety, Session, Side,
};
use proptest::prelude::*;

use super::lost;
use crate::Redis;

fn with<T>(bytes: &[u8], look: impl FnOnce(&Message<'_>) -> T) -> T {
    let mut codec = Redis::new().codec(Side::Server, &Limits::default(), &Session::default());
    match codec.decode(bytes, Interest::Route) {
        Ok(Decoded::Message(message, _)) => look(&message),
        other => panic!("{other:?}"),
    }
}

fn attribute(bytes: &[u8], name: &str) -> Option<String> {
    let lookup = Redis::new().spec().lookup(name).unwrap().0;
    with(bytes, |message| {
        message
            .attribute(&lookup)
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    })
}

#[test]
fn attributes_are_told() {
    let told = |line: &str, name: &str| attribute(line.as_bytes(), name).unwrap_or_default();
    for (line, command, subcommand, key, category) in [
        ("GET k\r\n", "get", "", "k", "read"),
        ("*2\r\n$3\r\nGeT\r\n$1\r\nk\r\n", "get", "", "k", "read"),
        ("SET k v\n", "set", "", "k", "write"),
        ("BITOP AND d a b\r\n", "bitop", "", "d", "write"),
        (
            "CLIENT SETNAME x\r\n",
            "client",
            "setname",
            "",
            "connection",
        ),
        (
            "CLIENT Maint_Notifications ON\r\n",
            "client",
            "maint_notifications",
            "",
            "connection",
        ),
        ("OBJECT ENCODING k\r\n", "object", "encoding", "k", "read"),
        ("FLUSHALL\r\n", "flushall", "", "", "write"),
        ("CONFIG GET *\r\n", "config", "get", "", "admin"),
        ("PUBLISH c m\r\n", "publish", "", "", "pubsub"),
        ("EVAL s 1 k\r\n", "eval", "", "k", "scripting"),
        ("MULTI\r\n", "multi", "", "", "transaction"),
        ("BLPOP k 0\r\n", "blpop", "", "k", "blocking"),
        ("XREAD STREAMS s 0\r\n", "xread", "", "s", "read"),
        (
            "XREAD BLOCK 1 STREAMS s 0\r\n",
            "xread",
            "",
            "s",
            "blocking",
        ),
        ("INFO\r\n", "info", "", "", "server"),
        ("JSON.Get \"d\\x41\" $\r\n", "json.get", "", "dA", "read"),
        ("nosuch\r\n", "nosuch", "", "", "unknown"),
    ] {
        let all = ["command", "subcommand", "key", "category"].map(|name| told(line, name));
        assert_eq!(all, [command, subcommand, key, category], "{line}");
    }
    assert_eq!(attribute(b"MGET a b\r\n", "keys").as_deref(), Some("a"));
    assert_eq!(attribute(b"PING\r\n", "keys"), None);
}

#[test]
fn keys_that_a_server_may_touch_besides_are_undetermined() {
    for (line, undetermined) in [
        ("GET k\r\n", false),
        ("MGET a b\r\n", false),
        ("PING\r\n", false),
        ("SORT l BY nosort\r\n", false),
        ("JSON.MGET a b $\r\n", false),
        ("SORT l BY nosort GET secret:*\r\n", true),
        ("EVAL s 0\r\n", true),
        ("ZUNION +1 k\r\n", true),
        ("CLUSTER NOSUCH\r\n", true),
        ("NOSUCH k\r\n", true),
    ] {
        for name in ["key", "keys"] {
            let lookup = Redis::new().spec().lookup(name).unwrap().0;
            let found = with(line.as_bytes(), |message| {
                message.attributes.is_undetermined(&lookup)
            });
            assert_eq!(found, undetermined, "{name} of {line}");
        }
    }
}

#[test]
fn safety_is_told() {
    for (line, safety) in [
        ("GET k\r\n", Safety::Read),
        ("PING\r\n", Safety::Read),
        ("SET k v\r\n", Safety::Idempotent),
        ("SET k v EX 10\r\n", Safety::Idempotent),
        ("SET k v NX\r\n", Safety::Unknown),
        ("SET k v PX 5 get\r\n", Safety::Unknown),
        ("DEL k\r\n", Safety::Idempotent),
        ("INCR k\r\n", Safety::Unknown),
        ("EVAL s 0\r\n", Safety::Unknown),
        ("EVAL_RO s 0\r\n", Safety::Read),
        ("nosuch\r\n", Safety::Unknown),
    ] {
        assert_eq!(
            with(line.as_bytes(), |message| message.head.safety),
            safety,
            "{line}"
        );
    }
}

#[test]
fn a_web_page_is_not_let_in() {
    for line in [
        &b"POST / HTTP/1.1\r\nHost: x\r\n"[..],
        b"Host: x\r\n",
        b"*1\r\n$4\r\npost\r\n",
    ] {
        let mut codec = Redis::new().codec(Side::Server, &Limits::default(), &Session::default());
        let error = lost(codec.decode(line, Interest::Route));
        assert!(matches!(
            error,
            meltemi_frame::DecodeError::Connection { answer: None, .. }
        ));
    }
}

#[test]
fn broken_framing_is_answered_as_redis_does() {
    let mut codec = Redis::new().codec(Side::Server, &Limits::default(), &Session::default());
    let error = lost(codec.decode(b"*1\r\n:1\r\n", Interest::Route));
    let meltemi_frame::DecodeError::Connection {
        answer: Some(to), ..
    } = error
    else {
        panic!()
    };
    let mut out = Output::new();
    codec
        .synthesize(
            LocalMessage::Failure {
                to: &to,
                reason: Reason::BadRequest,
                text: "x",
            },
            &mut out,
        )
        .unwrap();
    assert_eq!(
        &out.drain()[..],
        b"-ERR Protocol error: expected '$', got ':'\r\n"
    );
}

fn large(command: &str, front: &str, size: usize) -> Vec<u8> {
    let words = front.split_whitespace();
    let mut bytes = format!(
        "*{}\r\n${}\r\n{command}\r\n",
        words.clone().count() + 2,
        command.len()
    )
    .into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes.extend_from_slice(format!("${size}\r\n").as_bytes());
    bytes.extend(std::iter::repeat_n(b'v', size));
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Feeds bytes in pieces; the lengths and kinds of what comes out.
fn pieces(bytes: &[u8], size: usize, limits: &Limits, want: Interest) -> Vec<(Kind, bool, usize)> {
    let mut codec = Redis::new().codec(Side::Server, limits, &Session::default());
    let (mut at, mut have, mut all) = (0, 0, Vec::new());
    while have < bytes.len() || at < have {
        have = (have + size).min(bytes.len());
        while at < have {
            match codec.decode(&bytes[at..have], want).unwrap() {
                Decoded::Message(message, taken) => {
                    all.push((message.head.kind, message.head.end, taken));
                    at += taken;
                }
                Decoded::Incomplete(need) => {
                    assert!(need > have - at && have < bytes.len());
                    break;
                }
                Decoded::Skip(_) => panic!(),
            }
        }
    }
    all
}

#[test]
fn large_requests_stream_once_their_keys_are_known() {
    let limits = Limits {
        hold: 1000,
        ..Limits::default()
    };
    for bytes in [
        large("SET", "k", 5000),
        large("EVAL", "s 1 k", 5000),
        large("PUBLISH", "c", 5000),
        large("json.set", "k $", 5000),
        large("MSET", "a 1 b", 5000),
    ] {
        let whole = pieces(&bytes, usize::MAX / 2, &limits, Interest::Route);
        assert_eq!((whole[0].0, whole[0].1), (Kind::Request, false));
        for size in [1, 7, 999, 1000, 1001] {
            let some = pieces(&bytes, size, &limits, Interest::Route);
            assert_eq!(some[0], whole[0], "the head is cut where it is cut");
            assert_eq!(some.iter().map(|piece| piece.2).sum::<usize>(), bytes.len());
            assert_eq!(some.iter().filter(|piece| piece.1).count(), 1);
            assert!(some.last().unwrap().1 && some[1..].iter().all(|piece| piece.0 == Kind::Data));
        }
        assert_eq!(pieces(&bytes, 700, &limits, Interest::Body).len(), 1);
    }
    // Every argument may matter to these.
    for bytes in [
        large("DEL", "a b", 5000),
        large("SORT", "k", 5000),
        large("SUBSCRIBE", "a", 5000),
        large("GET", "", 5000),
    ] {
        assert_eq!(
            pieces(&bytes, 700, &limits, Interest::Route),
            [(Kind::Request, true, bytes.len())]
        );
    }
}

#[test]
fn the_head_of_a_large_request_has_its_keys() {
    let limits = Limits {
        hold: 64,
        ..Limits::default()
    };
    let bytes = large("MSET", &format!("a {} b", "x".repeat(100)), 5000);
    let mut codec = Redis::new().codec(Side::Server, &limits, &Session::default());
    let Ok(Decoded::Message(message, _)) = codec.decode(&bytes, Interest::Route) else {
        panic!()
    };
    let mut keys = Vec::new();
    message.attributes.walk(message.wire(), &mut |entry| {
        keys.push(entry.value.into_owned());
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(keys, [b"a", b"b"]);
    assert_eq!(message.head.bind, Bind::Free);
}

#[test]
fn a_request_that_streams_may_be_as_large_as_redis_allows() {
    let limits = Limits {
        frame: 10_000,
        hold: 1000,
        ..Limits::default()
    };
    for bytes in [large("SET", "k", 20_000), large("MSET", "a 1 b", 20_000)] {
        assert!(pieces(&bytes, 999, &limits, Interest::Route).len() > 1);
    }
    let codec = || Redis::new().codec(Side::Server, &limits, &Session::default());
    let mut huge = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n".to_vec();
    huge.resize(2000, b'x');
    let mut server = codec();
    let decoded = server.decode(&huge, Interest::Route);
    assert!(matches!(decoded, Ok(Decoded::Message(ref head, 1000)) if !head.head.end));
    // What is held is not.
    for (bytes, want) in [
        (large("CLIENT", "SETNAME", 20_000), Interest::Route),
        (large("GET", "", 20_000), Interest::Route),
        (large("SET", "k", 20_000), Interest::Body),
    ] {
        let error = lost(codec().decode(&bytes[..2000], want));
        assert!(error.violation().is_limit());
    }
}

#[test]
fn requests_over_the_limit_are_refused_at_once() {
    let limits = Limits {
        frame: 10_000,
        request: Some(10_000),
        hold: 1000,
        ..Limits::default()
    };
    for bytes in [
        &b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9990\r\n"[..],
        b"*9999\r\n",
    ] {
        let mut codec = Redis::new().codec(Side::Server, &limits, &Session::default());
        assert!(
            lost(codec.decode(bytes, Interest::Route))
                .violation()
                .is_limit()
        );
    }
    // So are those that stream, wherever the limit is reached.
    let bytes = large(
        "MSET",
        &format!("a {} b {} c", "x".repeat(4000), "y".repeat(4000)),
        4000,
    );
    let mut codec = Redis::new().codec(Side::Server, &limits, &Session::default());
    let mut at = 0;
    loop {
        match codec.decode(&bytes[at..], Interest::Route) {
            Ok(Decoded::Message(_, taken)) => at += taken,
            other => {
                assert!(lost(other).violation().is_limit());
                break;
            }
        }
    }
}

fn edited(bytes: &[u8], edits: &[Edit]) -> Result<Vec<u8>, meltemi_frame::EncodeError> {
    with(bytes, |message| {
        let mut message = message.clone();
        edits.iter().for_each(|edit| message.edit(edit.clone()));
        let mut out = Output::new();
        let mut client = Redis::new().codec(Side::Client, &Limits::default(), &Session::default());
        client
            .encode(&message, &mut out)
            .map(|()| out.drain().to_vec())
    })
}

#[test]
fn the_one_key_can_be_set() {
    let set = |value: &[u8]| Edit::Set("key".into(), value.into());
    assert_eq!(
        edited(
            b"*3\r\n$3\r\nSET\r\n$5\r\na:key\r\n$1\r\nv\r\n",
            &[set(b"x"), set(b"key")]
        )
        .unwrap(),
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1\r\nv\r\n"
    );
    assert_eq!(
        edited(b"get \"a b\"\r\n", &[set(b"")]).unwrap(),
        b"*2\r\n$3\r\nget\r\n$0\r\n\r\n"
    );
    assert!(
        edited(b"OBJECT FREQ k\r\n", &[set(b"key")])
            .unwrap()
            .ends_with(b"$3\r\nkey\r\n")
    );
    for bytes in [&b"MGET a b\r\n"[..], b"PING\r\n", b"RENAME a b\r\n"] {
        edited(bytes, &[set(b"x")]).unwrap_err();
    }
    for edit in [
        Edit::Remove("key".into()),
        Edit::Add("key".into(), (*b"x").into()),
        Edit::Set("command".into(), (*b"x").into()),
    ] {
        edited(b"GET k\r\n", &[set(b"x"), edit]).unwrap_err();
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'"'), Just(b'3'), any::<u8>()], 0..200), hold in 1usize..100) {
        let limits = Limits { hold, frame: 1 << 16, request: Some(1 << 16), ..Limits::default() };
        for side in [Side::Server, Side::Client] {
            let mut codec = Redis::new().codec(side, &limits, &Session::default());
            let mut at = 0;
            while at < bytes.len() {
                match codec.decode(&bytes[at..], Interest::Route) {
                    Ok(Decoded::Message(_, taken) | Decoded::Skip(taken)) => {
                        prop_assert!(taken > 0 && at + taken <= bytes.len());
                        at += taken;
                    }
                    Ok(Decoded::Incomplete(need)) => {
                        prop_assert!(need > bytes.len() - at);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }

    #[test]
    fn arrays_and_lines_are_read_alike(words in prop::collection::vec("[a-zA-Z0-9:{}]{1,12}", 1..8)) {
        prop_assume!(!words[0].eq_ignore_ascii_case("post") && !words[0].eq_ignore_ascii_case("host:"));
        let line = format!("{}\r\n", words.join(" "));
        let mut array = Vec::new();
        crate::state::write(&mut array, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        let all = |bytes: &[u8]| with(bytes, |message| {
            let spec = Redis::new().spec().clone();
            let names = spec.keys.iter().map(|key| spec.lookup(&key.name).unwrap().0);
            let values: Vec<_> = names.map(|name| message.attribute(&name).map(|value| value.into_owned())).collect();
            (message.head, values)
        });
        prop_assert_eq!(all(line.as_bytes()), all(&array));
    }
}

#[test]
fn the_commands_that_a_script_calls_are_undetermined() {
    for (line, undetermined) in [
        ("EVAL x 0", true),
        ("eval_ro x 1 k", true),
        ("EVALSHA x 0", true),
        ("EVALSHA_RO x 0", true),
        ("FCALL f 0", true),
        ("FCALL_RO f 0", true),
        ("SCRIPT LOAD x", false),
        ("GET k", false),
        ("NOSUCH k", false),
    ] {
        let protocol = Redis::new();
        let (lookup, _) = protocol.spec().lookup("script.command").unwrap();
        let mut codec = protocol.codec(Side::Server, &Limits::default(), &Session::default());
        let bytes = format!("{line}\r\n");
        let Ok(Decoded::Message(message, _)) = codec.decode(bytes.as_bytes(), Interest::Route)
        else {
            panic!()
        };
        let found = message.attributes.is_undetermined(&lookup);
        assert_eq!(found, undetermined, "{line}");
    }
}
