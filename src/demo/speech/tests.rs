use meltemi_frame::{Decoded, Interest, Kind, Limits, Session, Side, Status};

use super::*;

fn ask() -> Ask {
    Ask {
        method: "get",
        name: "user:7".to_owned(),
        header: Some(("tenant", "beta")),
    }
}

/// Codecs understand every request, every reply belongs to its request, and the text comes back.
#[test]
fn what_is_said_is_understood() {
    let registry = crate::builtins::registry();
    for speech in [&DUBBO, &THRIFT, &REDIS, &QUILL] {
        let protocol = registry.find(speech.protocol).expect("it is built in");
        let codec = |side| protocol.codec(side, &Limits::default(), &Session::default());

        let bytes = (speech.request)(77, &ask());
        let mut server = codec(Side::Server);
        let Ok(Decoded::Message(request, taken)) = server.decode(&bytes, Interest::Headers) else {
            panic!("{}: the request is not understood", speech.protocol);
        };
        assert_eq!((request.head.kind, taken), (Kind::Request, bytes.len()));
        assert!(request.head.id.is_none_or(|id| id == 77));
        let named = ["method", "command"].into_iter();
        let named: Vec<_> = named
            .filter_map(|name| attribute(&request, protocol.spec(), name))
            .collect();
        assert_eq!(named, ["get"], "{}", speech.protocol);

        let reply = (speech.reply)(&request, protocol.spec(), "v9").expect("an answer");
        let mut client = codec(Side::Client);
        let mut out = meltemi_frame::Output::new();
        client
            .encode(&request, &mut out)
            .expect("it goes out as it came");
        let Ok(Decoded::Message(response, taken)) = client.decode(&reply, Interest::Headers) else {
            panic!("{}: the reply is not understood", speech.protocol);
        };
        assert_eq!((response.head.kind, taken), (Kind::Response, reply.len()));
        assert_eq!(
            (response.head.status, response.head.id),
            (Status::Ok, request.head.id)
        );
        assert_eq!(
            (speech.text)(&reply),
            Some(&b"hello user:7, this is v9"[..])
        );
    }
}

#[test]
fn attributes_that_routes_ask_for_are_there() {
    let registry = crate::builtins::registry();
    for (speech, name) in [(&DUBBO, "tenant"), (&QUILL, "tenant")] {
        let protocol = registry.find(speech.protocol).expect("it is built in");
        let mut codec = protocol.codec(Side::Server, &Limits::default(), &Session::default());
        let bytes = (speech.request)(1, &ask());
        let Ok(Decoded::Message(request, _)) = codec.decode(&bytes, Interest::Headers) else {
            panic!("{}: the request is not understood", speech.protocol);
        };
        assert_eq!(
            attribute(&request, protocol.spec(), name).as_deref(),
            Some("beta")
        );
    }
}

#[test]
fn long_and_foreign_names_are_answered() {
    let registry = crate::builtins::registry();
    let name = "Ünï𝄞".repeat(80);
    for speech in [&DUBBO, &THRIFT, &REDIS, &QUILL] {
        let protocol = registry.find(speech.protocol).expect("it is built in");
        let mut codec = protocol.codec(Side::Server, &Limits::default(), &Session::default());
        let bytes = (speech.request)(
            1,
            &Ask {
                name: name.clone(),
                ..ask()
            },
        );
        let Ok(Decoded::Message(request, _)) = codec.decode(&bytes, Interest::Headers) else {
            panic!("{}: the request is not understood", speech.protocol);
        };
        let reply = (speech.reply)(&request, protocol.spec(), "v1").expect("an answer");
        let text = (speech.text)(&reply).expect("a text");
        assert!(text.starts_with("hello Ünï".as_bytes()) && text.ends_with(b", this is v1"));
    }
}

#[test]
fn strange_bytes_have_no_text() {
    for speech in [&DUBBO, &THRIFT, &REDIS, &QUILL] {
        for bytes in [&b""[..], b"$", b"\xda\xbb\x02\x46", &[0xff; 40]] {
            // Any result is fine; no access may be out of bounds.
            let _ = (speech.text)(bytes);
        }
        assert_eq!((speech.text)(b"-ERR no\r\n"), None);
    }
}
