//! Exceptions in every dialect, read back as a client would.

use meltemi_frame::{Fault, Interest, Kind, Side, Status};

use super::*;
use crate::testing::*;

fn failure(input: &[u8], reason: Reason, text: &str) -> Vec<u8> {
    let mut codec = codec(Side::Server);
    let (message, _) = one(&mut *codec, input, Interest::Route);
    let to = codec.receipt(&message);
    let mut out = Output::new();
    codec
        .synthesize(
            LocalMessage::Failure {
                to: &to,
                reason,
                text,
            },
            &mut out,
        )
        .unwrap();
    out.drain().to_vec()
}

#[test]
fn failures_are_the_bytes_that_envoy_writes() {
    let call = b"\0\0\0\x10\x80\x01\x00\x01\x00\x00\x00\x03zzz\x00\x00\x00\x07\x00";
    let expected = b"\0\0\0\x37\x80\x01\x00\x03\x00\x00\x00\x03zzz\x00\x00\x00\x07\
        \x0b\x00\x01\x00\x00\x00\x19no route for method 'zzz'\x08\x00\x02\x00\x00\x00\x01\x00";
    assert_eq!(
        failure(call, Reason::NotFound, "no route for method 'zzz'"),
        expected
    );

    let call = b"\0\0\0\x08\x82\x21\x07\x03zzz\x00";
    let expected = b"\0\0\0\x25\x82\x61\x07\x03zzz\x18\x19no route for method 'zzz'\x15\x02\x00";
    assert_eq!(
        failure(call, Reason::NotFound, "no route for method 'zzz'"),
        expected
    );
}

#[test]
fn failures_are_in_the_callers_own_dialect() {
    let lax = b"\0\0\0\x03add\x01\0\0\0\x07\0";
    let expected = b"\0\0\0\x03add\x03\0\0\0\x07\x0b\0\x01\0\0\0\x02no\x08\0\x02\0\0\0\x07\0";
    assert_eq!(failure(lax, Reason::BadRequest, "no"), expected);

    let json = br#"[1,"a\"b",1,-7,{}]"#;
    let expected = br#"[1,"a\"b",3,-7,{"1":{"str":"\"\u000a"},"2":{"i32":6}}]"#;
    assert_eq!(failure(json, Reason::Internal, "\"\n"), expected);

    // The service of a multiplexed name is not repeated.
    let reply = failure(&frame(ADD), Reason::Timeout, "");
    assert_eq!(
        &reply[4..19],
        b"\x80\x01\x00\x03\x00\x00\x00\x03add\x00\x00\x00\x07"
    );

    let header = b"\x0f\xff\0\0\0\0\0\x09\0\x01\x02\0\0\0\x82\x21\x09\x03add\x15\x02\x00";
    let header = &frame(header);
    let reply = failure(header, Reason::Internal, "x");
    assert_eq!(
        &reply[4..25],
        b"\x0f\xff\0\0\0\0\0\x09\0\x01\x02\0\0\0\x82\x61\x09\x03add"
    );
    assert_eq!(reply.len(), 4 + reply[3] as usize);
}

#[test]
fn finagles_upgrade_is_declined_so_that_the_client_goes_on_in_plain_thrift() {
    let call = include_bytes!("../../samples/ttwitter_upgrade.server.bin");
    let mut server = codec(Side::Server);
    let (message, _) = one(&mut *server, call, Interest::Route);
    assert_eq!(message.head.kind, Kind::Local);
    let to = server.receipt(&message);
    let mut out = Output::new();
    server
        .synthesize(LocalMessage::CodecReply { to: &to }, &mut out)
        .unwrap();
    let reply = out.drain();
    let (reply, _) = one(&mut *codec(Side::Client), &reply, Interest::Body);
    assert_eq!(reply.head.status, Status::Failed(Fault::NoRoute));
    assert_eq!(
        attribute(&reply, "exception").as_deref(),
        Some("unknown_method")
    );
}

#[test]
fn one_way_calls_are_never_answered() {
    let mut server = codec(Side::Server);
    let call = b"\x82\x81\x00\x04fire\x00";
    let (message, _) = one(&mut *server, call, Interest::Route);
    assert_eq!(message.head.kind, Kind::OneWay);
    let to = &server.receipt(&message);
    let mut out = Output::new();
    let say = LocalMessage::Failure {
        to,
        reason: Reason::Timeout,
        text: "",
    };
    assert!(server.synthesize(say, &mut out).is_err() && out.is_empty());
}
