//! What rules see is what servers carry out, or it is undetermined.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

use meltemi_frame::{
    Codec, DecodeError, Decoded, Interest, Limits, Message, Protocol as _, Session, Side,
};
use meltemi_thrift::Thrift;
use miniz_oxide::deflate::compress_to_vec_zlib;

fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[..], payload].concat()
}

/// A call without arguments, in the strict binary encoding.
fn call(name: &[u8]) -> Vec<u8> {
    let length = (name.len() as u32).to_be_bytes();
    [&b"\x80\x01\0\x01"[..], &length, name, b"\0\0\0\x07\0"].concat()
}

/// A frame of `THeader` with these transforms, these bytes as info headers, and this payload.
fn headed(transforms: &[u8], info: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut block = [&[0, transforms.len() as u8], transforms, info].concat();
    block.resize(block.len().next_multiple_of(4), 0);
    let words = ((block.len() / 4) as u16).to_be_bytes();
    let front = [&b"\x0f\xff\0\0\0\0\0\x07"[..], &words].concat();
    frame(&[&front[..], &block, payload].concat())
}

fn decode<'b>(
    codec: &mut dyn Codec,
    input: &'b [u8],
    want: Interest,
) -> Result<Message<'b>, DecodeError> {
    match codec.decode(input, want)? {
        Decoded::Message(message, taken) => {
            assert_eq!(taken, input.len());
            Ok(message)
        }
        other => panic!("{other:?}"),
    }
}

/// The values of service and method as authorization sees them: `None` for what is undetermined.
fn seen(input: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let thrift = Thrift::new();
    let mut codec = thrift.codec(Side::Server, &Limits::default(), &Session::default());
    let message = decode(&mut *codec, input, Interest::Body).unwrap();
    let value = |name: &str| {
        let (lookup, interest) = thrift.spec().authoritative(name).unwrap();
        assert_eq!(interest, Interest::Body);
        if message.attributes.is_undetermined(&lookup) {
            return None;
        }
        let value = message.attribute(&lookup);
        Some(value.map(|value| String::from_utf8(value.into_owned()).unwrap()))
    };
    let (service, method) = (value("service"), value("method"));
    assert_eq!(service.is_none(), method.is_none(), "both or none");
    Some((service?, method?))
}

fn known(service: &str, method: &str) -> Option<(Option<String>, Option<String>)> {
    Some((Some(service.into()), Some(method.into())))
}

/// The best guess, which routes use.
fn guess(input: &[u8]) -> Option<String> {
    let thrift = Thrift::new();
    let mut codec = thrift.codec(Side::Server, &Limits::default(), &Session::default());
    let message = decode(&mut *codec, input, Interest::Route).unwrap();
    let (lookup, _) = thrift.spec().lookup("method").unwrap();
    let value = message.attribute(&lookup)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

#[test]
fn names_that_servers_split_differently_are_undetermined() {
    assert_eq!(seen(&frame(&call(b"Calc:secret"))), known("Calc", "secret"));
    let bare = Some((None, Some("secret".to_owned())));
    assert_eq!(seen(&frame(&call(b"secret"))), bare);
    for name in [
        &b"Calc::secret"[..],
        b"Calc:secret:",
        b"::Admin:add",
        b":secret",
        b"secret:",
        b"Calc:secret\0x",
        b"secret\xff",
    ] {
        for input in [
            frame(&call(name)),
            call(name),
            headed(&[], b"", &call(name)),
        ] {
            assert_eq!(seen(&input), None, "{}", name.escape_ascii());
            assert!(guess(&input).is_some());
        }
    }
    assert_eq!(guess(&frame(&call(b"Calc::secret"))).unwrap(), ":secret");
}

/// The short way through the codec gives the same.
#[test]
fn routes_and_authorization_agree_on_plain_names() {
    let thrift = Thrift::new();
    let mut codec = thrift.codec(Side::Server, &Limits::default(), &Session::default());
    let input = frame(&call(b"Calc::secret"));
    let message = decode(&mut *codec, &input, Interest::Route).unwrap();
    for name in ["method", "service"] {
        let (lookup, _) = thrift.spec().lookup(name).unwrap();
        assert!(message.attributes.is_undetermined(&lookup));
    }
}

#[test]
fn names_in_json_are_split_behind_their_escapes() {
    let json = |name: &str| format!("[1,\"{name}\",1,7,{{}}]").into_bytes();
    for name in [
        r"Calc:secret",
        r"Calc\u003asecret",
        r"C\u0061lc\u003A\u0073ecret",
    ] {
        assert_eq!(seen(&frame(&json(name))), known("Calc", "secret"), "{name}");
        assert_eq!(seen(&json(name)), known("Calc", "secret"), "{name}");
    }
    for name in [r"Calc\u003a\u003asecret", r"\q", r"\ud83d", r"secret\u0000"] {
        assert_eq!(seen(&frame(&json(name))), None, "{name}");
    }
}

#[test]
fn compressed_payloads_are_read_whole_or_undetermined() {
    let plain = call(b"Calc:secret");
    let zipped = compress_to_vec_zlib(&plain, 6);
    assert_eq!(seen(&headed(&[1], b"", &zipped)), known("Calc", "secret"));
    // Five kilobytes of empty stored blocks in front.
    let blocks = b"\0\0\0\xff\xff".repeat(1000);
    let padded = [&zipped[..2], &blocks, &zipped[2..]].concat();
    assert_eq!(seen(&headed(&[1], b"", &padded)), known("Calc", "secret"));
    let twice = compress_to_vec_zlib(&zipped, 6);
    assert_eq!(seen(&headed(&[1, 1], b"", &twice)), None);
    // A stream without an end is carried out by servers in Python.
    let open = &zipped[..zipped.len() - 4];
    assert_eq!(seen(&headed(&[1], b"", open)), None);
    let mut large = plain.clone();
    large.pop();
    large.extend_from_slice(b"\x0b\0\x01\0\x20\0\0");
    large.resize(large.len() + (2 << 20), b'x');
    large.push(0);
    let bomb = compress_to_vec_zlib(&large, 6);
    assert_eq!(seen(&headed(&[1], b"", &bomb)), None);
    assert_eq!(guess(&headed(&[1], b"", &bomb)).unwrap(), "secret");
}

#[test]
fn unknown_transforms_and_protocols_are_undetermined() {
    for transform in 2..8 {
        assert_eq!(seen(&headed(&[transform], b"", b"????")), None);
        assert_eq!(seen(&headed(&[1, transform], b"", b"????")), None);
    }
    assert_eq!(seen(&headed(&[], b"", b"")), None);
    let mut other = headed(&[], b"", &call(b"secret"));
    other[14] = 3;
    assert_eq!(seen(&other), None);
    // A header of TTHeader says one method and the unreadable payload may say another.
    let block = b"\0\x01\x03\x10\0\x02\0\x06\0\x04Calc\0\x09\0\x03add\0\0\0";
    let words = ((block.len() / 4) as u16).to_be_bytes();
    let tt = frame(&[&b"\x10\0\0\0\0\0\0\x07"[..], &words, block, b"????"].concat());
    assert_eq!(seen(&tt), None);
    assert_eq!(guess(&tt).unwrap(), "add");
}

/// Servers that read a buffered transport go on with what is left in the frame.
#[test]
fn a_second_call_in_a_frame_is_refused_where_authorization_looks() {
    let two = [call(b"add"), call(b"secret")].concat();
    let zipped = compress_to_vec_zlib(&two, 6);
    for input in [
        frame(&two),
        headed(&[], b"", &two),
        headed(&[1], b"", &zipped),
        frame(b"[1,\"add\",1,7,{}][1,\"secret\",1,7,{}]"),
    ] {
        let mut codec = Thrift::new().codec(Side::Server, &Limits::default(), &Session::default());
        let refused = decode(&mut *codec, &input, Interest::Body).unwrap_err();
        assert!(
            matches!(refused, DecodeError::Message { length, answer: Some(_), .. } if length == input.len()),
            "{refused:?}"
        );
    }
}

#[test]
fn entries_that_stay_for_the_connection_make_headers_undetermined() {
    let thrift = Thrift::new();
    let (lookup, _) = thrift.spec().lookup("header.user").unwrap();
    let user = b"\x04user\x05alice";
    for (block, sure) in [
        (&[b"\x01\x01", &user[..]].concat(), true),
        (&[b"\x02\x01", &user[..]].concat(), false),
        (
            &[b"\x01\x01", &user[..], b"\x07\x01\x04user\x03bob"].concat(),
            false,
        ),
    ] {
        let input = headed(&[], block, &call(b"add"));
        let mut codec = thrift.codec(Side::Server, &Limits::default(), &Session::default());
        let message = decode(&mut *codec, &input, Interest::Headers).unwrap();
        assert_eq!(message.attributes.is_undetermined(&lookup), !sure);
        assert_eq!(message.attribute(&lookup).as_deref(), Some(&b"alice"[..]));
    }
}

/// The same call in every encoding that there is, with these escapes in JSON and empty blocks in zlib.
fn encodings(name: &str, escaped: &[bool], blocks: usize) -> Vec<Vec<u8>> {
    let strict = call(name.as_bytes());
    let length = (name.len() as u32).to_be_bytes();
    let lax = [&length[..], name.as_bytes(), b"\x01\0\0\0\x07\0"].concat();
    let mut compact = vec![0x82, 0x21, 7, name.len() as u8];
    compact.extend(name.as_bytes());
    compact.push(0);
    let mut json = "[1,\"".to_owned();
    for (at, char) in name.chars().enumerate() {
        let plain = char >= ' ' && char != '"' && char != '\\';
        if plain && !escaped.get(at).copied().unwrap_or_default() {
            json.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                json.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    json.push_str("\",1,7,{}]");
    let zipped = compress_to_vec_zlib(&strict, 6);
    let padded = [
        &zipped[..2],
        &b"\0\0\0\xff\xff".repeat(blocks),
        &zipped[2..],
    ]
    .concat();
    vec![
        frame(&strict),
        frame(&lax),
        frame(&compact),
        frame(json.as_bytes()),
        headed(&[], b"", &strict),
        headed(&[1], b"", &padded),
        strict,
        json.into_bytes(),
    ]
}

proptest::proptest! {
    #[test]
    fn all_encodings_of_a_call_are_seen_alike(
        name in "[a-z:\\PC\0]{1,12}", escaped: Vec<bool>, blocks in 0usize..2000,
    ) {
        let all = encodings(&name, &escaped, blocks);
        let first = seen(&all[0]);
        for bytes in &all {
            proptest::prop_assert_eq!(seen(bytes), first.clone(), "{}", bytes.escape_ascii());
        }
        if let Some((service, method)) = first {
            let service = service.map(|service| format!("{service}:")).unwrap_or_default();
            proptest::prop_assert_eq!(service + &method.unwrap(), name);
        }
    }
}
