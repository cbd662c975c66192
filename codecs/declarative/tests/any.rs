//! Any description and any bytes: compiling never panics, and what compiles decodes without harm.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

use meltemi_declarative::Declarative;
use meltemi_frame::{
    DecodeError, Decoded, Interest, Kind, Limits, Output, Protocol, Session, Side,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn one_of(values: &[Value]) -> impl Strategy<Value = Value> + use<> {
    prop::sample::select(values.to_vec())
}

/// A field within four bytes from `from` on; now and then one that is wrong.
fn field(from: u32) -> impl Strategy<Value = Value> {
    let place = (0u32..4).prop_flat_map(move |skip| (Just(from + skip), 1..=4 - skip));
    let number = (
        place.clone(),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(1u64..16),
    );
    let number = number.prop_map(|((offset, size), little, signed, mask)| {
        let order = if little { "little" } else { "big" };
        json!({"offset": offset, "size": size, "byteOrder": order, "signed": signed, "mask": mask})
    });
    let encodings = one_of(&[json!("digits"), json!("text"), json!("integer")]);
    let other = (place, encodings).prop_map(
        |((offset, size), encoding)| json!({"offset": offset, "size": size, "encoding": encoding}),
    );
    let wrong =
        (0u32..20, 0u32..10).prop_map(|(offset, size)| json!({"offset": offset, "size": size}));
    prop_oneof![8 => number, 4 => other, 1 => wrong]
}

fn section() -> impl Strategy<Value = Value> {
    let entries = |count: Option<u32>| json!({"keyLength": 1, "valueLength": 2, "count": count});
    prop_oneof![
        Just(json!({"length": "len"})),
        Just(json!({"length": "len", "entries": entries(None)})),
        prop::sample::select(vec![1, 2, 4]).prop_map(|size| json!({"prefix": size})),
        prop::sample::select(vec![1, 2])
            .prop_map(move |size| json!({"prefix": size, "entries": entries(Some(1))})),
        Just(json!({"entries": entries(Some(2))})),
        Just(json!({"prefix": 1, "when": {"kind": [0, 1]}})),
        Just(json!({})),
    ]
}

/// Descriptions of which a good part compiles.
fn description() -> impl Strategy<Value = Value> {
    let shape = (
        field(5),
        field(9),
        prop::collection::vec(section(), 0..4),
        any::<[bool; 4]>(),
    );
    let numbers = (0u8..3, 0usize..4, -3i64..4);
    (shape, any::<[bool; 4]>(), numbers).prop_map(|((a, b, mut sections, shape), with, (kind, counts, adjust))| {
        for (at, section) in sections.iter_mut().enumerate() {
            section["name"] = json!(format!("s{at}"));
        }
        let mut attributes = vec![json!({"name": "method", "field": "a"})];
        attributes.extend((!sections.is_empty()).then(|| json!({"name": "other", "section": "s0"})));
        let entries = sections.iter().position(|section| section.get("entries").is_some());
        let open = entries.filter(|_| with[2]).map(|at| json!({"prefix": "h.", "section": format!("s{at}"), "edit": "both"}));
        let counts = ["message", "afterField", "afterHeader", "body"][counts];
        let length = match shape[0] {
            true => json!({"total": "len", "counts": counts, "adjust": adjust}),
            false => json!({"sum": ["len"], "adjust": adjust.max(0)}),
        };
        let trailer = match (shape[2], shape[3]) {
            (true, _) => json!({"checksum": "crc32", "when": {"kind": 1}}),
            (false, true) => json!({"bytes": "03"}),
            (false, false) => json!(null),
        };
        json!({
            "name": "any",
            "variants": [{
                "name": "only",
                "magic": if shape[1] { json!([{"bytes": ["01", "02"]}]) } else { json!([]) },
                "headerLength": 14,
                "fields": {"kind": {"offset": 0, "size": 1}, "len": {"offset": 1, "size": 2}, "id": {"offset": 3, "size": 2}, "a": a, "b": b},
                "length": length,
                "sections": sections,
                "trailer": trailer,
            }],
            "kinds": [{"kind": "request", "when": {"kind": kind}}, {"kind": "response", "when": {"kind": 2}}, {"kind": "oneWay"}],
            "id": with[0].then_some("id"),
            "timeout": with[1].then(|| json!({"field": "a"})),
            "attributes": attributes,
            "open": open,
            "replies": if with[3] { json!({"ping": [{"variant": "only", "set": {"kind": 2}}]}) } else { json!({}) },
        })
    })
}

/// Decodes as a connection does; unedited messages must leave as they came.
fn drive(protocol: &Declarative, side: Side, limits: &Limits, bytes: &[u8], want: Interest) {
    let mut codec = protocol.codec(side, limits, &Session::default());
    let mut encoder = protocol.codec(side, limits, &Session::default());
    let mut at = 0;
    while at < bytes.len() {
        let taken = match codec.decode(&bytes[at..], want) {
            Ok(Decoded::Message(message, taken)) => {
                let mut out = Output::new();
                encoder.encode(&message, &mut out).unwrap();
                assert_eq!(out.drain(), message.wire());
                let mut other = message.clone();
                other.set_id(5);
                if encoder.encode(&other, &mut out).is_ok()
                    && message.head.end
                    && message.head.kind != Kind::Data
                {
                    let bytes = out.drain();
                    let mut again = protocol.codec(side, limits, &Session::default());
                    let Ok(Decoded::Message(same, all)) = again.decode(&bytes, want) else {
                        panic!("with another id it is no message any more: {bytes:?}");
                    };
                    assert_eq!(
                        (same.head.id, all),
                        (message.head.id.map(|_| 5), bytes.len())
                    );
                    assert_eq!(same.head.kind, message.head.kind);
                }
                other.edit(meltemi_frame::Edit::Set("h.x".into(), (*b"y").into()));
                let _ = encoder.encode(&other, &mut out);
                if message.head.kind != Kind::Data {
                    let _ = codec.receipt(&message);
                }
                taken
            }
            Ok(Decoded::Skip(taken)) => taken,
            Ok(Decoded::Incomplete(need)) => {
                assert!(need > bytes.len() - at);
                return;
            }
            Err(DecodeError::Message { length, .. }) => length,
            Err(DecodeError::Connection { .. }) => return,
        };
        assert!(taken > 0);
        at = at.saturating_add(taken);
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![6 => 0u8..4, 2 => 10u8..24, 1 => any::<u8>()];
    prop::collection::vec(byte, 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_description_on_any_bytes(value in description(), bytes in bytes(), small: bool, want in 0..3) {
        let want = [Interest::Route, Interest::Headers, Interest::Body][want as usize];
        let limits = if small { Limits { frame: 48, hold: 24, depth: 2, entries: 3, ..Limits::default() } } else { Limits::default() };
        match Declarative::from_json_value(&value) {
            Ok(protocol) => {
                for side in [Side::Server, Side::Client] {
                    drive(&protocol, side, &limits, &bytes, want);
                }
                let _ = protocol.detect(&bytes);
            }
            Err(errors) => prop_assert!(!errors.as_slice().is_empty()),
        }
    }

    #[test]
    fn any_bytes_on_the_shipped_ones(bytes in bytes(), front in 0usize..4) {
        let fronts: [&[u8]; 4] = [b"", b"\x01\x01\0\x01\x01", b"\x02\x02\x01\0\x01\x01", b"\x71\x7e\x10\x01"];
        let bytes = [fronts[front], &bytes].concat();
        for protocol in [meltemi_declarative::bolt().unwrap(), meltemi_declarative::quill().unwrap()] {
            for side in [Side::Server, Side::Client] {
                drive(&protocol, side, &Limits::default(), &bytes, Interest::Body);
            }
        }
    }
}

/// The generator is worth something only if much of what it makes compiles.
#[test]
fn many_random_descriptions_compile() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let made = (0..1000).filter(|_| {
        let value = description().new_tree(&mut runner).unwrap().current();
        Declarative::from_json_value(&value).is_ok()
    });
    let made = made.count();
    assert!(made > 200, "{made} of 1000");
}
