//! Whatever bytes a Bolt peer sends: no panic, the same however they are cut, and they leave as they came.
//! A call is seen alike in every encoding of it, or it is undetermined.
#![no_main]

use std::sync::LazyLock;

use meltemi_frame::{Decoded, Interest, Limits, Protocol as _, Session, Side};

static PROTOCOL: LazyLock<meltemi_declarative::Declarative> =
    LazyLock::new(|| meltemi_declarative::bolt().expect("a built-in description is valid"));

/// A name and a value of the header map.
type Pair<'d> = (&'d [u8], &'d [u8]);

const NAMES: [&[u8]; 4] = [
    b"service",
    b"sofa_head_target_service",
    b"sofa_head_method_name",
    b"x",
];
const CLASS: &[u8] = b"com.alipay.sofa.rpc.core.request.SofaRequest";

/// A request whose service and method stand in the header alone (its serialization is JSON).
fn request(version: u8, pairs: &[Pair<'_>]) -> Vec<u8> {
    let mut map = Vec::new();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        map.extend((text.len() as u32).to_be_bytes());
        map.extend(*text);
    }
    let front: &[u8] = match version {
        1 => b"\x01\x01\0\x01\x01\0\0\0\x4d\x0c\0\0\x0b\xb8",
        _ => b"\x02\x01\x01\0\x01\x01\0\0\0\x4d\x0c\0\0\0\x0b\xb8",
    };
    let lengths = [
        &(CLASS.len() as u16).to_be_bytes()[..],
        &(map.len() as u16).to_be_bytes(),
        &2_u32.to_be_bytes(),
    ]
    .concat();
    [front, &lengths, CLASS, &map, b"{}"].concat()
}

/// Service and method as authorization sees them; `None` where they are undetermined.
fn seen(wire: &[u8]) -> [Option<Option<Vec<u8>>>; 2] {
    let mut codec = PROTOCOL.codec(Side::Server, &Limits::default(), &Session::default());
    let Ok(Decoded::Message(message, _)) = codec.decode(wire, Interest::Body) else {
        panic!("a call is a message");
    };
    ["service", "method"].map(|name| {
        let (lookup, _) = PROTOCOL.spec().lookup(name)?;
        if message.attributes.is_undetermined(&lookup) {
            return None;
        }
        Some(message.attribute(&lookup).map(std::borrow::Cow::into_owned))
    })
}

fn alike(data: &[u8]) {
    let pairs: Vec<Pair<'_>> = data
        .chunks(6)
        .take(8)
        .map(|part| {
            let (name, value) = part.split_first().unwrap_or((&0, &[]));
            (NAMES[usize::from(name & 3)], value)
        })
        .collect();
    let first = seen(&request(1, &pairs));
    assert_eq!(
        seen(&request(2, &pairs)),
        first,
        "the version of the protocol"
    );
    let again: Vec<Pair<'_>> = pairs.iter().chain(&pairs).copied().collect();
    assert_eq!(seen(&request(1, &again)), first, "every entry twice");
    let reversed: Vec<Pair<'_>> = pairs.iter().rev().copied().collect();
    assert_eq!(seen(&request(1, &reversed)), first, "another order");
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meltemi_testkit::fuzz::all(&*PROTOCOL, data);
    alike(data);
});
