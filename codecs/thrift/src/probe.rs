//! A call without arguments that checks if a server's service replies, in the dialect of its
//! connections.

use meltemi_frame::{Output, Unsupported};

use crate::dialect::{Dialect, Encoding, MessageType};
use crate::envelope::{self, MAX_NAME};
use crate::present::FINAGLE_UPGRADE;
use crate::{json, reply, write};

/// Appends a call of `operation`: the method name. If several services share a port, the service
/// name and a colon come before it.
pub(crate) fn call(
    dialect: Dialect,
    id: i64,
    operation: &str,
    out: &mut Output,
) -> Result<(), Unsupported> {
    let name = operation.as_bytes();
    let (_, (start, end)) = envelope::split_name(name, (0, name.len()));
    if start == end {
        return Err(reply::unsupported("a call without a method"));
    }
    if name.len() > MAX_NAME || name == FINAGLE_UPGRADE {
        return Err(reply::unsupported("a call with this name"));
    }
    let seqid = id as i32;
    let put = |name: &[u8], out: &mut Output| {
        let kind = MessageType::Call;
        write::message(dialect, kind, name, (seqid, seqid), out, |out| {
            out.put(match dialect.encoding {
                Encoding::Json => b"{}",
                // The struct consists only of its end.
                _ => b"\0",
            });
        });
    };
    match dialect.encoding {
        Encoding::Json => put(json::escape(operation).as_bytes(), out),
        _ => put(name, out),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use meltemi_frame::{
        Interest, Kind, Limits, LocalMessage, Protocol as _, Session, Side, Status,
    };

    use super::*;
    use crate::Thrift;
    use crate::testing::*;

    fn probe(session: &Session, id: i64, operation: &str) -> Vec<u8> {
        let mut client = Thrift::new().codec(Side::Client, &Limits::default(), session);
        let mut out = Output::new();
        client
            .synthesize(LocalMessage::Probe { id, operation }, &mut out)
            .unwrap();
        out.drain().to_vec()
    }

    /// Returns the session of a client that sent this call.
    fn session_of(call: &[u8]) -> Session {
        let mut server = codec(Side::Server);
        one(&mut *server, call, Interest::Route);
        server.session()
    }

    #[test]
    fn a_probe_is_a_framed_strict_call_with_an_empty_struct() {
        let expected = b"\0\0\0\x11\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x07\0";
        assert_eq!(probe(&Session::default(), 7, "ping"), expected);
        let service = b"\0\0\0\x16\x80\x01\0\x01\0\0\0\x09Demo:ping\0\0\0\x07\0";
        assert_eq!(probe(&Session::default(), 7, "Demo:ping"), service);
    }

    #[test]
    fn a_probe_is_in_the_dialect_of_its_session() {
        let cases: [(&[u8], &[u8]); 6] = [
            (
                b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\0\0",
                b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x07\0",
            ),
            (b"\0\0\0\x01a\x01\0\0\0\0\0", b"\0\0\0\x04ping\x01\0\0\0\x07\0"),
            (b"\x82\x21\0\x01a\0", b"\x82\x21\x07\x04ping\0"),
            (b"[1,\"a\",1,0,{}]", b"[1,\"ping\",1,7,{}]"),
            (
                b"\0\0\0\x14\x0f\xff\0\0\0\0\0\0\0\x01\x02\0\0\0\x82\x21\0\x01a\0",
                b"\0\0\0\x17\x0f\xff\0\0\0\0\0\x07\0\x01\x02\0\0\0\x82\x21\x07\x04ping\0",
            ),
            (
                b"\0\0\0\x20\x10\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x0e\x80\x01\0\x01\0\0\0\x01a\0\0\0\0\0",
                b"\0\0\0\x23\x10\0\0\0\0\0\0\x07\0\x01\0\0\0\0\0\0\0\x11\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x07\0",
            ),
        ];
        for (call, expected) in cases {
            let sent = probe(&session_of(call), 7, "ping");
            assert_eq!(sent, expected, "{}", sent.escape_ascii());
            let (message, taken) = one(&mut *codec(Side::Server), &sent, Interest::Body);
            assert_eq!(
                (message.head.kind, message.head.id),
                (Kind::Request, Some(7))
            );
            assert_eq!(taken, sent.len());
        }
    }

    #[test]
    fn the_answer_to_a_probe_is_read_in_its_framing() {
        let session = session_of(b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\0\0");
        let mut client = Thrift::new().codec(Side::Client, &Limits::default(), &session);
        let say = LocalMessage::Probe {
            id: 7,
            operation: "ping",
        };
        client.synthesize(say, &mut Output::new()).unwrap();
        let reply = b"\x80\x01\0\x02\0\0\0\x04ping\0\0\0\x07\0";
        let (message, _) = one(&mut *client, reply, Interest::Route);
        assert_eq!(message.head.status, Status::Ok);
        // A frame on a connection without frames.
        assert!(client.decode(&frame(reply), Interest::Route).is_err());
    }

    #[test]
    fn what_names_no_method_is_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for operation in ["", ":", "Demo:", "__can__finagle__trace__v3__", &long] {
            let mut out = Output::new();
            let said =
                codec(Side::Client).synthesize(LocalMessage::Probe { id: 0, operation }, &mut out);
            assert!(said.is_err() && out.is_empty(), "{operation}");
        }
        let mut out = Output::new();
        let to_a_client = LocalMessage::Probe {
            id: 0,
            operation: "ping",
        };
        assert!(
            codec(Side::Server)
                .synthesize(to_a_client, &mut out)
                .is_err()
        );
    }

    #[test]
    fn dialects_have_names() {
        let thrift = Thrift::new();
        for (name, like) in [
            ("framed", frame(ADD)),
            ("binary", frame(ADD)),
            ("framed-binary", frame(ADD)),
            ("unframed", ADD.to_vec()),
            ("compact", frame(b"\x82\x21\0\x01a\0")),
            ("unframed-compact", b"\x82\x21\0\x01a\0".to_vec()),
            ("lax-unframed", b"\0\0\0\x01a\x01\0\0\0\0\0".to_vec()),
        ] {
            let session = thrift.dialect(name).unwrap();
            assert!(session.same(&session_of(&like)), "{name}");
        }
        for name in [
            "",
            "-",
            "framed-",
            "Framed",
            "http",
            "framed-unframed",
            "json-compact",
        ] {
            let refused = thrift.dialect(name).unwrap_err();
            assert!(refused.contains("`unframed-compact`"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn any_operation_is_refused_or_called(
            operation in "\\PC{0,20}|[a-zA-Z:\\\\\"\0\n]{0,12}",
            transport in prop::sample::select(vec!["framed", "unframed", "header", "ttheader"]),
            encoding in prop::sample::select(vec!["binary", "lax", "compact", "json"]),
            id: i32,
        ) {
            // A server takes the length of a name for that of a frame if the next bytes can start a
            // message.
            let named = operation.starts_with(|first: char| first.is_ascii_alphabetic());
            prop_assume!(named || transport != "unframed" || encoding != "lax");
            let thrift = Thrift::new();
            let session = thrift.dialect(&format!("{transport}-{encoding}")).unwrap();
            let mut client = thrift.codec(Side::Client, &Limits::default(), &session);
            let mut out = Output::new();
            let say = LocalMessage::Probe { id: id.into(), operation: &operation };
            if client.synthesize(say, &mut out).is_err() {
                prop_assert!(out.is_empty());
                prop_assert!(operation.is_empty() || operation.find(':') == Some(operation.len() - 1));
                return Ok(());
            }
            let sent = out.drain();
            let (message, taken) = one(&mut *codec(Side::Server), &sent, Interest::Body);
            prop_assert_eq!((message.head.id, taken), (Some(id.into()), sent.len()));
            let service = attribute(&message, "service").map(|service| format!("{service}:"));
            let method = attribute(&message, "method").unwrap();
            prop_assert_eq!(service.unwrap_or_default() + &method, operation);
            prop_assert_eq!(attribute(&message, "transport").unwrap(), transport);
            prop_assert_eq!(attribute(&message, "protocol").unwrap(), encoding);
        }
    }
}
