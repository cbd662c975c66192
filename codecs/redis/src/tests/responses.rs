//! What is told of replies, and how large ones pass.

use meltemi_frame::{Decoded, Fault, Interest, Limits, Message, Protocol, Session, Side, Status};

use super::lost;
use crate::Redis;

fn with<T>(bytes: &[u8], look: impl FnOnce(&Message<'_>) -> T) -> T {
    let mut codec = Redis::new().codec(Side::Client, &Limits::default(), &Session::default());
    match codec.decode(bytes, Interest::Route) {
        Ok(Decoded::Message(message, taken)) => {
            assert_eq!(taken, bytes.len());
            look(&message)
        }
        other => panic!("{other:?}"),
    }
}

fn told(bytes: &[u8], name: &str) -> Option<String> {
    let lookup = Redis::new().spec().lookup(name).unwrap().0;
    with(bytes, |message| {
        message
            .attribute(&lookup)
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    })
}

#[test]
fn types_are_told() {
    for (reply, name) in [
        ("+OK\r\n", "simple"),
        ("-ERR\r\n", "error"),
        (":1\r\n", "integer"),
        ("$1\r\nx\r\n", "bulk"),
        ("$-1\r\n", "null"),
        ("*0\r\n", "array"),
        ("*-1\r\n", "null"),
        ("_\r\n", "null"),
        ("#t\r\n", "bool"),
        (",1.5\r\n", "double"),
        ("(1\r\n", "bignum"),
        ("!3\r\nERR\r\n", "error"),
        ("=5\r\ntxt:x\r\n", "verbatim"),
        ("~0\r\n", "set"),
        ("%0\r\n", "map"),
        (">1\r\n+x\r\n", "push"),
        ("|1\r\n+a\r\n:1\r\n~0\r\n", "set"),
    ] {
        assert_eq!(
            told(reply.as_bytes(), "type").as_deref(),
            Some(name),
            "{reply:?}"
        );
    }
}

#[test]
fn errors_are_told() {
    let failed = Status::Failed;
    for (reply, code, status) in [
        ("-ERR no such key\r\n", "ERR", failed(Fault::Application)),
        (
            "-WRONGTYPE Operation\r\n",
            "WRONGTYPE",
            failed(Fault::Application),
        ),
        (
            "!21\r\nSYNTAX invalid syntax\r\n",
            "SYNTAX",
            failed(Fault::Application),
        ),
        (
            "|1\r\n+a\r\n:1\r\n-LOADING x\r\n",
            "LOADING",
            failed(Fault::Server),
        ),
        ("-CLUSTERDOWN\r\n", "CLUSTERDOWN", failed(Fault::Server)),
        ("-NOPERM x\r\n", "NOPERM", failed(Fault::Denied)),
        ("-OOM x\r\n", "OOM", failed(Fault::Overload)),
        ("-MOVED x\r\n", "MOVED", failed(Fault::BadResponse)),
        ("-MOVED 1 host\r\n", "MOVED", failed(Fault::BadResponse)),
    ] {
        assert_eq!(
            told(reply.as_bytes(), "error").as_deref(),
            Some(code),
            "{reply:?}"
        );
        assert_eq!(
            with(reply.as_bytes(), |message| message.head.status),
            status,
            "{reply:?}"
        );
    }
    assert_eq!(told(b"+OK\r\n", "error"), None);
}

#[test]
fn redirects_point_somewhere() {
    for (reply, address, once) in [
        ("-MOVED 3999 127.0.0.1:6381\r\n", "127.0.0.1:6381", false),
        ("-ASK 5061 ::1:17402\r\n", "::1:17402", true),
        ("-MOVED 3999 :6381\r\n", ":6381", false),
        ("-MOVED 3999 ?:6381\r\n", ":6381", false),
        (
            "-MOVED 3999 node.example:6381\r\n",
            "node.example:6381",
            false,
        ),
    ] {
        with(reply.as_bytes(), |message| {
            let Status::Redirect(to) = message.head.status else {
                panic!("{reply:?}")
            };
            assert_eq!(to.address.of(message.wire()), Some(address.as_bytes()));
            assert_eq!(to.once, once);
        });
    }
}

#[test]
fn large_replies_stream_in_linear_pieces() {
    let limits = Limits {
        hold: 100,
        frame: 1000,
        ..Limits::default()
    };
    let bulk = format!("${}\r\n{}\r\n", 5000, "x".repeat(5000));
    let array = format!("*2000\r\n{}", ":1\r\n".repeat(2000));
    let nested = format!("|1\r\n+a\r\n:1\r\n*2\r\n{bulk}{array}");
    for bytes in [bulk, array, nested] {
        for size in [1, 13, 99, 100, 101, 100_000] {
            let bytes = bytes.as_bytes();
            let mut codec = Redis::new().codec(Side::Client, &limits, &Session::default());
            let (mut at, mut have, mut ends, mut messages) = (0, 0, 0, 0);
            while at < bytes.len() {
                have = (have + size).min(bytes.len());
                while at < have {
                    match codec.decode(&bytes[at..have], Interest::Route).unwrap() {
                        Decoded::Message(message, taken) => {
                            ends += usize::from(message.head.end);
                            messages += 1;
                            at += taken;
                        }
                        Decoded::Incomplete(need) => {
                            assert!(need > have - at);
                            break;
                        }
                        Decoded::Skip(_) => panic!(),
                    }
                }
            }
            assert!(ends == 1 && messages > 1);
        }
        // Held whole, it is over the limit.
        let mut codec = Redis::new().codec(Side::Client, &limits, &Session::default());
        assert!(
            lost(
                codec
                    .decode(&bytes.as_bytes()[..900], Interest::Body)
                    .and_then(|decoded| match decoded {
                        Decoded::Incomplete(_) => codec_again(&limits, bytes.as_bytes()),
                        other => Ok(other),
                    })
            )
            .violation()
            .is_limit()
        );
    }
}

fn codec_again<'b>(
    limits: &Limits,
    bytes: &'b [u8],
) -> Result<Decoded<'b>, meltemi_frame::DecodeError> {
    let mut codec = Redis::new().codec(Side::Client, limits, &Session::default());
    codec.decode(&bytes[..bytes.len() - 1], Interest::Body)
}

#[test]
fn deep_replies_and_long_lines_pass() {
    let mut dialogue = super::Dialogue::new();
    for reply in [
        format!("{}:1\r\n", "*1\r\n".repeat(10_000)),
        format!("+{}\r\n", "x".repeat(40 << 20)),
        format!("*1\r\n-{}\r\n", "x".repeat(200_000)),
    ] {
        dialogue.ask("EVAL s 0\r\n");
        dialogue.ask("GET neighbour\r\n");
        let wire = format!("{reply}$1\r\nn\r\n");
        let mut rest = wire.as_bytes();
        let mut responses = 0;
        while !rest.is_empty() {
            let decoded = dialogue.client.decode(rest, Interest::Route);
            let Ok(Decoded::Message(message, taken)) = decoded else {
                panic!("{decoded:?}")
            };
            responses += usize::from(message.head.kind == meltemi_frame::Kind::Response);
            rest = &rest[taken..];
        }
        assert_eq!(responses, 2);
    }
}
