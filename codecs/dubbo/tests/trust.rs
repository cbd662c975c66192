//! What rules see is what a provider acts on, or it is undetermined.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a panic here is a failed test"
)]

use meltemi_dubbo::Dubbo;
use meltemi_frame::{
    Decoded, Edit, Interest, Limits, Message, Output, Protocol, Session, Side, describe,
};

const NAMES: [&str; 7] = [
    "interface",
    "path",
    "version",
    "group",
    "method",
    "generic.method",
    "tenant",
];
const STRING: &str = "Ljava/lang/String;";
const GENERIC: &str = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;";

fn text(text: &str) -> Vec<u8> {
    match u8::try_from(text.len()) {
        Ok(length) if length < 32 => [&[length], text.as_bytes()].concat(),
        _ => [&[b'S', 0, text.len() as u8], text.as_bytes()].concat(),
    }
}

fn map(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries
        .iter()
        .flat_map(|(name, value)| [text(name), text(value)].concat());
    [b"H".to_vec(), entries.collect(), b"Z".to_vec()].concat()
}

fn body(fields: [&str; 4], arguments: &[u8], attachments: &[u8]) -> Vec<u8> {
    let front = std::iter::once("2.0.2")
        .chain(fields)
        .flat_map(text)
        .collect();
    [front, arguments.to_vec(), attachments.to_vec()].concat()
}

fn frame(serialization: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xda, 0xbb, 0xc0 | serialization, 0];
    bytes.extend_from_slice(&7_i64.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn with<R>(bytes: &[u8], limits: Limits, look: impl FnOnce(&mut Message<'_>) -> R) -> R {
    let mut codec = Dubbo::new().codec(Side::Server, &limits, &Session::default());
    match codec.decode(bytes, Interest::Headers) {
        Ok(Decoded::Message(mut message, _)) => look(&mut message),
        other => panic!("{other:?}"),
    }
}

/// `name=value` for each attribute that there is, `?name=value` where it is undetermined.
fn seen_within(bytes: &[u8], limits: Limits) -> String {
    let dubbo = Dubbo::new();
    with(bytes, limits, |message| {
        let all = describe::attributes(dubbo.spec(), message);
        let shown = NAMES.iter().filter_map(|name| {
            let (lookup, _) = dubbo.spec().lookup(name).unwrap();
            let hidden = message.attributes.is_undetermined(&lookup);
            let values = all.get(*name).into_iter().flatten();
            let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value)).collect();
            let mark = if hidden { "?" } else { "" };
            (hidden || !values.is_empty()).then(|| format!("{mark}{name}={}", values.join("+")))
        });
        shown.collect::<Vec<_>>().join(" ")
    })
}

fn seen(bytes: &[u8]) -> String {
    seen_within(bytes, Limits::default())
}

/// A call of `secret(String)` with these attachments.
fn call(attachments: &[u8]) -> String {
    seen(&frame(
        2,
        &body(["a.B", "1.0", "secret", STRING], b"\x01x", attachments),
    ))
}

#[test]
fn attachments_override_the_fields_of_the_body() {
    let plain = "interface=a.B path=a.B version=1.0 method=secret";
    assert_eq!(call(b"N"), plain);
    assert_eq!(call(b"HZ"), plain);
    for (entries, wanted) in [
        (&[("interface", "c.D")] as &[_], plain),
        (
            &[("path", "c.D")],
            "interface=c.D path=c.D version=1.0 method=secret",
        ),
        (
            &[("version", "2.0")],
            "interface=a.B path=a.B version=2.0 method=secret",
        ),
        (
            &[("version", "")],
            "interface=a.B path=a.B version=0.0.0 method=secret",
        ),
        (
            &[("group", "")],
            "interface=a.B path=a.B version=1.0 group= method=secret",
        ),
        (
            &[("group", "g")],
            "interface=a.B ?path=a.B version=1.0 group=g method=secret",
        ),
        (
            &[("path", "g/a.B")],
            "?interface=g/a.B ?path=g/a.B version=1.0 ?group= method=secret",
        ),
        (
            &[("path", "a.B:2.0"), ("version", "0.0.0")],
            "?interface=a.B:2.0 ?path=a.B:2.0 ?version=0.0.0 ?group= method=secret",
        ),
        (
            &[("dubbo.stub.event", "true")],
            "interface=a.B path=a.B ?version=1.0 method=secret",
        ),
    ] {
        assert_eq!(call(&map(entries)), wanted, "{entries:?}");
    }
    let null = b"H\x07versionNZ";
    assert_eq!(
        call(null),
        "interface=a.B path=a.B version=0.0.0 method=secret"
    );
    let number = b"H\x04path\x91Z";
    assert_eq!(
        call(number),
        "?interface=a.B ?path=a.B version=1.0 method=secret"
    );
}

#[test]
fn the_last_of_two_attachments_counts() {
    let wanted = "interface=c.D path=c.D version=1.0 method=secret tenant=evil";
    let twice = [
        ("path", "x.Y"),
        ("tenant", "good"),
        ("path", "c.D"),
        ("tenant", "evil"),
    ];
    assert_eq!(call(&map(&twice)), wanted);
    // A structured value does not change that, nor does the spelling of the second.
    let structured =
        b"H\x06tenant\x04good\x01ly\x91\x06tenantS\x00\x04evil\x04pathR\x00\x02c.S\x00\x01DZ";
    assert_eq!(call(structured), wanted);
    assert_eq!(
        call(b"H\x06tenant\x04good\x06tenantNZ"),
        "interface=a.B path=a.B version=1.0 method=secret"
    );
    let many: Vec<_> = (0..500).map(|at| format!("name-{at}")).collect();
    let mut entries: Vec<_> = many.iter().map(|name| (&**name, "x")).collect();
    entries.push(("path", "c.D"));
    entries.push(("tenant", "evil"));
    assert_eq!(call(&map(&entries)), wanted);
}

#[test]
fn what_only_java_decodes_is_decoded_and_not_trusted() {
    // `c.D` and `tenant` with a letter in two bytes where one is enough.
    let overlong = "?interface=c.D ?path=c.D ?version=1.0 ?group= method=secret ?tenant=";
    assert_eq!(call(b"H\x04path\x03\xc1\xa3.DZ"), overlong);
    assert_eq!(call(b"H\x04p\xc1\xa1th\x03c.DZ"), overlong);
    let bytes = frame(2, &body(["a.B", "1.0", "", ""], b"", b"HZ"));
    let method = bytes.len() - 4;
    let bytes = [&bytes[..method], b"\x06s\xc1\xa5cret\x00HZ"].concat();
    let bytes = frame(2, &bytes[16..]);
    assert_eq!(
        seen(&bytes),
        "interface=a.B path=a.B version=1.0 ?method=secret"
    );
}

/// A field of fastjson2: its length, and JSONB.
fn field(value: &[u8]) -> Vec<u8> {
    [&(value.len() as u32).to_be_bytes()[..], value].concat()
}

#[test]
fn strings_that_fastjson2_makes_unequal_to_all_others_are_not_trusted() {
    let call = |method: &[u8], attachments: &[u8]| {
        let map = [b"\xa6", attachments, b"\xa5"].concat();
        let parts = [b"N2.0.2" as &[u8], b"La.B", b"L1.0", method, b"I", &map];
        let body: Vec<u8> = parts.into_iter().flat_map(field).collect();
        seen(&frame(23, &body))
    };
    let plain = "interface=a.B path=a.B version=1.0 method=secret";
    let hidden = "?interface=c.D ?path=c.D ?version=1.0 ?group= method=secret ?tenant=";
    assert_eq!(call(b"Osecret", b""), plain);
    // `path` in UTF-8 and in little-endian UTF-16 is another name to a provider; in others it is not.
    assert_eq!(call(b"Osecret", b"z\x04pathLc.D"), hidden);
    assert_eq!(call(b"Osecret", b"|\x08p\0a\0t\0h\0Lc.D"), hidden);
    assert_eq!(call(b"Osecret", b"Mpathz\x03c.D"), hidden);
    let sure = "interface=c.D path=c.D version=1.0 method=secret";
    for name in [b"y\x04path" as &[u8], b"}\x08\0p\0a\0t\0h"] {
        assert_eq!(call(b"Osecret", &[name, b"Lc.D"].concat()), sure);
    }
    let wide = "interface=a.B path=a.B version=1.0 method=secret tenant=中";
    let tenant = [b"Otenantz\x03" as &[u8], "中".as_bytes()].concat();
    assert_eq!(call(b"Osecret", &tenant), wide);
    assert_eq!(
        call(b"z\x06secret", b""),
        "interface=a.B path=a.B version=1.0 ?method=secret"
    );
}

#[test]
fn attachments_in_forms_that_only_java_reads_are_undetermined() {
    let hidden = "?interface=a.B ?path=a.B ?version=1.0 ?group= method=secret ?tenant=";
    // A reference, an object, a map that keeps names twice.
    for attachments in [
        b"Q\x90" as &[u8],
        b"C\x11java.util.HashMap\x91\x04path\x60\x03c.D",
        b"M\x1ajava.util.IdentityHashMapX\x04path\x03a.BZ",
    ] {
        assert_eq!(call(attachments), hidden, "{}", attachments.escape_ascii());
    }
}

fn generic(name: &[u8], types: &[u8]) -> String {
    let arguments = [&[name.len() as u8], name, types, b"q\x07[object\x01x"].concat();
    let seen = seen(&frame(
        2,
        &body(["a.B", "1.0", "$invoke", GENERIC], &arguments, b"HZ"),
    ));
    seen.split("method=$invoke ").last().unwrap().to_owned()
}

#[test]
fn the_method_of_a_generic_call_is_what_the_provider_finds() {
    let types = [b"q\x07[string".to_vec(), text("java.lang.String")].concat();
    assert_eq!(generic(b"secret", &types), "generic.method=secret");
    assert_eq!(generic(b"\t secret\n ", &types), "generic.method=secret");
    assert_eq!(generic(b"secret", b"N"), "generic.method=secret");
    assert_eq!(generic(b"secret", b"x"), "generic.method=secret");
    let own = [b"y".to_vec(), text("a.User")].concat();
    assert_eq!(generic(b"secret", &own), "generic.method=secret");
    // Dubbo 2.7 joins the name and the types.
    let cut = [b"y".to_vec(), text("retjava.lang.String")].concat();
    assert_eq!(generic(b"sec", &cut), "?generic.method=sec");
    for (name, types) in [
        (b"secretjava.lang.String" as &[u8], b"x" as &[u8]),
        (b"secret(java.lang.String)", b"N"),
        (b"secretint", b"N"),
        (b"secret", b"\x01x"),
    ] {
        assert!(generic(name, types).starts_with("?generic.method="));
    }
}

#[test]
fn the_front_of_other_serializations_is_read_and_what_attachments_decide_is_not() {
    let read = "?interface=demo.Admin ?path=demo.Admin ?version=1.0 ?group= method=secret ?tenant=";
    for (serialization, front) in [
        (
            7,
            "aced000577340005322e302e32000a64656d6f2e41646d696e0003312e30000673656372657400124c6a6176612f6c616e672f537472696e673b",
        ),
        (
            3,
            "aced00057749000000050005322e302e320000000a000a64656d6f2e41646d696e000000030003312e300000000600067365637265740000001200124c6a6176612f6c616e672f537472696e673b",
        ),
        (
            8,
            "322e302eb264656d6f2e41646d69ee312eb07365637265f44c6a6176612f6c616e672f537472696e67bb0301",
        ),
        (
            9,
            "05322e302e320a64656d6f2e41646d696e03312e3006736563726574124c6a6176612f6c616e672f537472696e673bfc",
        ),
        (
            10,
            "05322e302e320a64656d6f2e41646d696e03312e3006736563726574124c6a6176612f6c616e672f537472696e673b",
        ),
        (
            11,
            "0a322e302e321464656d6f2e41646d696e06312e300c736563726574244c6a6176612f6c616e672f537472696e673b",
        ),
        (
            12,
            "00000005322e302e320000000a64656d6f2e41646d696e00000003312e3000000006736563726574000000124c6a6176612f6c616e672f537472696e673b",
        ),
        (
            16,
            "22322e302e32220a2264656d6f2e41646d696e220a22312e30220a22736563726574220a224c6a6176612f6c616e672f537472696e673b220a",
        ),
        (
            27,
            "a5322e302e32aa64656d6f2e41646d696ea3312e30a6736563726574b24c6a6176612f6c616e672f537472696e673b",
        ),
    ] {
        let front: Vec<u8> = (0..front.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&front[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(seen(&frame(serialization, &front)), read, "{serialization}");
        for end in 0..front.len() {
            seen(&frame(serialization, &front[..end]));
        }
    }
    let nothing = "?interface= ?path= ?version= ?group= ?method= ?generic.method= ?tenant=";
    assert_eq!(seen(&frame(22, b"\x07\x0a\x052.0.2")), nothing);
    assert_eq!(seen(&frame(8, b"2.0.\xb2\xc8")), nothing);
}

#[test]
fn what_is_over_a_limit_is_undetermined_and_passes() {
    let limits = Limits {
        depth: 4,
        entries: 3,
        ..Limits::default()
    };
    let deep = [&[0x79_u8; 10] as &[u8], b"N"].concat();
    let hidden = "?interface=a.B ?path=a.B ?version=1.0 ?group= method=m ?tenant=";
    let many = map(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    for (arguments, attachments) in [(deep, map(&[])), (b"N".to_vec(), many)] {
        let types = "Ljava/lang/Object;";
        let bytes = frame(
            2,
            &body(["a.B", "1.0", "m", types], &arguments, &attachments),
        );
        assert_eq!(seen_within(&bytes, limits), hidden);
        with(&bytes, limits, |message| {
            let mut codec = Dubbo::new().codec(Side::Client, &limits, &Session::default());
            let mut out = Output::new();
            codec.encode(message, &mut out).unwrap();
            assert_eq!(out.drain(), &bytes[..]);
            message.edit(Edit::Set("group".into(), b"g".as_slice().into()));
            assert!(codec.encode(message, &mut out).is_err());
        });
    }
}
