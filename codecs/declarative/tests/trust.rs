//! What rules see of described protocols is what servers act on, or it is undetermined; and what is damaged
//! does not reach a connection that others share.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

use meltemi_declarative::{Declarative, bolt, quill};
use meltemi_frame::{
    DecodeError, Decoded, Interest, Limits, Message, Protocol as _, Session, Side, Violation,
};

const SOFA_REQUEST: &str = "com.alipay.sofa.rpc.core.request.SofaRequest";

/// A request of SOFABolt 1 with this serialization, class, header map and content.
fn request(codec: u8, class: &str, entries: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let mut map = Vec::new();
    for text in entries.iter().flat_map(|(name, value)| [name, value]) {
        map.extend((text.len() as u32).to_be_bytes());
        map.extend(text.as_bytes());
    }
    let front = [
        &b"\x01\x01\0\x01\x01\0\0\0\x4d"[..],
        &[codec],
        b"\0\0\x0b\xb8",
    ]
    .concat();
    let lengths = [
        &(class.len() as u16).to_be_bytes()[..],
        &(map.len() as u16).to_be_bytes(),
        &(content.len() as u32).to_be_bytes(),
    ];
    [&front, &lengths.concat(), class.as_bytes(), &map, content].concat()
}

/// The object that SOFARPC writes (sofa-hessian 3.5.5).
fn object(service: &str, method: &str) -> Vec<u8> {
    let mut out = b"O\xbc".to_vec();
    out.extend(SOFA_REQUEST.as_bytes());
    out.extend(b"\x95\x0dtargetAppName\x0amethodName\x17targetServiceUniqueName");
    out.extend(b"\x0crequestProps\x0dmethodArgSigso\x90\x03app");
    for text in [method, service] {
        out.push(text.len() as u8);
        out.extend(text.as_bytes());
    }
    out.extend(b"M\x01k\x01vzVt\0\x07[stringn\x01\x10java.lang.Stringz\x01x");
    out
}

fn with<T>(
    protocol: &Declarative,
    side: Side,
    bytes: &[u8],
    want: Interest,
    look: impl FnOnce(Result<Message<'_>, DecodeError>) -> T,
) -> T {
    let mut codec = protocol.codec(side, &Limits::default(), &Session::default());
    look(codec.decode(bytes, want).map(|decoded| match decoded {
        Decoded::Message(message, taken) => {
            assert_eq!(taken, bytes.len());
            message
        }
        other => panic!("{other:?}"),
    }))
}

/// The value that authorization sees, or `?` if it is undetermined.
fn seen(protocol: &Declarative, bytes: &[u8], name: &str) -> String {
    let (lookup, interest) = protocol.spec().authoritative(name).unwrap();
    with(protocol, Side::Server, bytes, interest, |message| {
        let message = message.unwrap();
        if message.attributes.is_undetermined(&lookup) {
            return "?".to_owned();
        }
        let value = message.attribute(&lookup).unwrap_or_default();
        String::from_utf8(value.into_owned()).unwrap()
    })
}

#[test]
fn a_service_and_method_that_the_content_denies_are_undetermined() {
    let bolt = bolt().unwrap();
    let header = |method| {
        [
            ("service", "Orders:1.0"),
            ("sofa_head_target_service", "Orders:1.0"),
            ("sofa_head_method_name", method),
        ]
    };
    let sent = |entries: &[(&str, &str)], method| {
        let bytes = request(1, SOFA_REQUEST, entries, &object("Orders:1.0", method));
        (
            seen(&bolt, &bytes, "service"),
            seen(&bolt, &bytes, "method"),
        )
    };
    let both = |service: &str, method: &str| (service.to_owned(), method.to_owned());
    assert_eq!(sent(&header("greet"), "greet"), both("Orders:1.0", "greet"));
    assert_eq!(sent(&header("greet"), "secret"), both("Orders:1.0", "?"));
    assert_eq!(sent(&[], "secret"), both("Orders:1.0", "secret"));
    let other = [
        ("service", "Greeter:1.0"),
        ("sofa_head_method_name", "secret"),
    ];
    assert_eq!(sent(&other, "secret"), both("?", "secret"));
    // The second of two is what the server takes.
    let twice = [
        ("sofa_head_method_name", "greet"),
        ("sofa_head_method_name", "secret"),
    ];
    assert_eq!(sent(&twice, "secret"), both("Orders:1.0", "?"));
}

#[test]
fn contents_that_cannot_be_read_are_undetermined() {
    let bolt = bolt().unwrap();
    let entries = [
        ("service", "Orders:1.0"),
        ("sofa_head_method_name", "greet"),
    ];
    let method = |codec, class, content: &[u8]| {
        seen(&bolt, &request(codec, class, &entries, content), "method")
    };
    let good = object("Orders:1.0", "greet");
    assert_eq!(method(1, SOFA_REQUEST, &good), "greet");
    assert_eq!(method(1, SOFA_REQUEST, &good[..90]), "?");
    assert_eq!(method(1, SOFA_REQUEST, b""), "?");
    for unknown in [0, 2, 13, 22] {
        assert_eq!(method(unknown, SOFA_REQUEST, &good), "?");
    }
    // Protobuf and JSON leave service and method to the header; so does who uses Bolt without SOFARPC.
    for header_alone in [11, 12] {
        assert_eq!(method(header_alone, SOFA_REQUEST, b"{}"), "greet");
    }
    assert_eq!(method(1, "demo.Order", b"?"), "greet");
}

#[test]
fn an_entry_with_two_values_is_undetermined() {
    let quill = quill().unwrap();
    let sample = std::fs::read("samples/quill/call_tenants.server.bin").unwrap();
    assert_eq!(seen(&quill, &sample, "tenant"), "?");
    let one = std::fs::read("samples/quill/call_old_tenant.server.bin").unwrap();
    assert_ne!(seen(&quill, &one, "tenant"), "?");
    let unreadable = std::fs::read("samples/quill/metadata_unreadable.server.bin").unwrap();
    let (lookup, _) = quill.spec().lookup("tenant").unwrap();
    let (open, _) = quill.spec().lookup("meta.x").unwrap();
    with(
        &quill,
        Side::Server,
        &unreadable,
        Interest::Route,
        |message| {
            let message = message.unwrap();
            assert!(message.attributes.is_undetermined(&lookup));
            assert!(message.attributes.is_undetermined(&open));
        },
    );
}

#[test]
fn a_wrong_checksum_costs_its_message_alone() {
    let bolt = bolt().unwrap();
    let good = std::fs::read("samples/bolt/v2_headers_crc.server.bin").unwrap();
    for want in [Interest::Route, Interest::Headers, Interest::Body] {
        with(&bolt, Side::Server, &good, want, |message| {
            message.unwrap();
        });
        for at in good.len() - 6..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            let refused = with(&bolt, Side::Server, &bad, want, |message| {
                message.unwrap_err()
            });
            let DecodeError::Message {
                violation,
                length,
                answer,
            } = refused
            else {
                panic!("{refused:?}");
            };
            assert_eq!(violation, Violation::Invalid("the checksum is wrong"));
            assert_eq!(length, bad.len());
            assert!(answer.is_some());
        }
    }
}

proptest::proptest! {
    /// What servers of SOFARPC act on: the method of the content; the service of the content (old servers), or
    /// that of the last header entry (new ones).
    #[test]
    fn what_is_seen_is_what_sofarpc_acts_on(
        entries in proptest::collection::vec((0usize..4, 0usize..3), 0..5),
        service in 0usize..3,
        method in 0usize..3,
    ) {
        let names = ["service", "sofa_head_target_service", "sofa_head_method_name", "other"];
        let values = ["a", "b", ""];
        let entries: Vec<(&str, &str)> =
            entries.iter().map(|(name, value)| (names[*name], values[*value])).collect();
        let last = |name: &str| {
            let found = entries.iter().rev().find(|(other, _)| *other == name);
            found.map(|(_, value)| *value)
        };
        let (service, method) = (values[service], values[method]);
        let newer = last("service").or(last("sofa_head_target_service"));
        let newer = newer.filter(|value| !value.is_empty()).unwrap_or(service);
        let bytes = request(1, SOFA_REQUEST, &entries, &object(service, method));
        let bolt = bolt().unwrap();
        let seen_method = seen(&bolt, &bytes, "method");
        proptest::prop_assert!(seen_method == "?" || seen_method == method);
        let seen_service = seen(&bolt, &bytes, "service");
        proptest::prop_assert!(seen_service == "?" || (seen_service == service && service == newer));
    }

    /// Every entry twice, or the entries in another order, are the same call.
    #[test]
    fn a_call_is_seen_alike_in_every_encoding(
        entries in proptest::collection::vec((0usize..4, 0usize..3), 0..6),
        codec in proptest::sample::select(&[1_u8, 11, 12][..]),
        method in 0usize..3,
    ) {
        let names = ["service", "sofa_head_target_service", "sofa_head_method_name", "other"];
        let values = ["a", "b", ""];
        let entries: Vec<(&str, &str)> =
            entries.iter().map(|(name, value)| (names[*name], values[*value])).collect();
        let bolt = bolt().unwrap();
        let content = object("a", values[method]);
        let sent = |entries: &[(&str, &str)]| {
            let bytes = request(codec, SOFA_REQUEST, entries, &content);
            ["service", "method"].map(|name| seen(&bolt, &bytes, name))
        };
        let first = sent(&entries);
        let twice = [&entries[..], &entries].concat();
        proptest::prop_assert_eq!(sent(&twice), first.clone());
        let reversed: Vec<_> = entries.iter().rev().copied().collect();
        proptest::prop_assert_eq!(sent(&reversed), first);
    }
}
