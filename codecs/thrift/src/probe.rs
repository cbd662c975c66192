//! A call without arguments, which asks a server whether its service answers, in the dialect that
//! its connections speak.

use meltemi_frame::{Output, Unsupported};

use crate::dialect::{Dialect, Encoding, MessageType, Transport};
use crate::envelope::{self, MAX_NAME};
use crate::present::FINAGLE_UPGRADE;
use crate::{json, reply, write};

/// What is spoken where nobody says otherwise: what every server reads that has frames at all.
const ORDINARY: Dialect = Dialect {
    transport: Transport::Framed,
    encoding: Encoding::Strict,
    framed_payload: false,
};

/// The dialect that a session names ([`crate::codec`] makes them), or the ordinary one.
pub(crate) fn dialect(spoken: u32) -> Dialect {
    spoken.checked_sub(1).map_or(ORDINARY, Dialect::from_bits)
}

/// Appends a call of `operation`: the method's name, behind the service's and a colon where several
/// services share a port.
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
        return Err(reply::unsupported("a call of that name"));
    }
    let seqid = id as i32;
    let put = |name: &[u8], out: &mut Output| {
        let kind = MessageType::Call;
        write::message(dialect, kind, name, (seqid, seqid), out, |out| {
            out.put(match dialect.encoding {
                Encoding::Json => b"{}",
                // The end of the struct is all that there is of it.
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
    use meltemi_frame::{Interest, Kind, Limits, Protocol as _, Say, Session, Side, Status};

    use super::*;
    use crate::Thrift;
    use crate::testing::*;

    fn probe(session: &Session, id: i64, operation: &str) -> Vec<u8> {
        let mut client = Thrift::new().codec(Side::Client, &Limits::default(), session);
        let mut out = Output::new();
        client
            .synthesize(Say::Probe { id, operation }, &mut out)
            .unwrap();
        out.drain().to_vec()
    }

    /// The session of a client that spoke like this.
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
        let say = Say::Probe {
            id: 7,
            operation: "ping",
        };
        client.synthesize(say, &mut Output::new()).unwrap();
        let reply = b"\x80\x01\0\x02\0\0\0\x04ping\0\0\0\x07\0";
        let (message, _) = one(&mut *client, reply, Interest::Route);
        assert_eq!(message.head.status, Status::Ok);
        // A frame where the connection has none.
        assert!(client.decode(&frame(reply), Interest::Route).is_err());
    }

    #[test]
    fn what_names_no_method_is_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for operation in ["", ":", "Demo:", "__can__finagle__trace__v3__", &long] {
            let mut out = Output::new();
            let said = codec(Side::Client).synthesize(Say::Probe { id: 0, operation }, &mut out);
            assert!(said.is_err() && out.is_empty(), "{operation}");
        }
        let mut out = Output::new();
        let to_a_client = Say::Probe {
            id: 0,
            operation: "ping",
        };
        assert!(
            codec(Side::Server)
                .synthesize(to_a_client, &mut out)
                .is_err()
        );
    }
}
