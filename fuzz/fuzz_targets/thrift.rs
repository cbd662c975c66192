//! Whatever bytes a Thrift peer sends: no panic, the same however they are cut, and they leave as they came.
//! A name is seen alike in every encoding that carries it.
#![no_main]

use std::sync::LazyLock;

use meltemi_frame::{Decoded, Interest, Limits, Protocol as _, Session, Side};

static PROTOCOL: LazyLock<meltemi_thrift::Thrift> = LazyLock::new(meltemi_thrift::Thrift::new);

/// Service and method as authorization sees them; `None` where they are undetermined.
fn seen(payload: &[u8]) -> Option<[Option<Vec<u8>>; 2]> {
    let wire = [&(payload.len() as u32).to_be_bytes()[..], payload].concat();
    let mut codec = PROTOCOL.codec(Side::Server, &Limits::default(), &Session::default());
    let Ok(Decoded::Message(message, _)) = codec.decode(&wire, Interest::Body) else {
        panic!("a call is a message");
    };
    let value = |name: &str| {
        let (lookup, _) = PROTOCOL.spec().lookup(name)?;
        if message.attributes.is_undetermined(&lookup) {
            return None;
        }
        Some(message.attribute(&lookup).map(std::borrow::Cow::into_owned))
    };
    Some([value("service")?, value("method")?])
}

fn alike(name: &[u8]) {
    let name = &name[..name.len().min(100)];
    let length = (name.len() as u32).to_be_bytes();
    let strict = [&b"\x80\x01\0\x01"[..], &length, name, b"\0\0\0\x07\0"].concat();
    let lax = [&length[..], name, b"\x01\0\0\0\x07\0"].concat();
    let compact = [&[0x82, 0x21, 7, name.len() as u8], name, &[0]].concat();
    let first = seen(&strict);
    assert_eq!(seen(&lax), first);
    assert_eq!(seen(&compact), first);
    if let Ok(text) = std::str::from_utf8(name) {
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        let json = format!("[1,\"{}\",1,7,{{}}]", units.collect::<String>());
        assert_eq!(seen(json.as_bytes()), first);
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meltemi_testkit::fuzz::all(&*PROTOCOL, data);
    alike(data);
});
