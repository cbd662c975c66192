//! The JSONB scanner, value by value: what is skipped, what is refused, what needs more bytes.

use meltemi_frame::Output;
use proptest::prelude::*;

use super::*;
use crate::jsonb::{put_text, rebuild};

const DEPTH: usize = 64;

fn length(bytes: &[u8]) -> Result<usize, Bad> {
    let mut cursor = Cursor::new(bytes, 0);
    skip(&mut cursor, &mut Scratch::default(), DEPTH)?;
    Ok(cursor.at)
}

fn read(bytes: &[u8]) -> Vec<u8> {
    match leaf(&mut Cursor::new(bytes, 0)) {
        Ok(Some(Value::Text(Text::Plain(range)))) => bytes[range].to_vec(),
        Ok(Some(Value::Text(Text::Coded(range)))) => rebuild(&bytes[range]),
        other => panic!("{other:?}"),
    }
}

/// One of each, with what fastjson2 2.0.53 wrote where it is longer than a few bytes.
const VALUES: &[&[u8]] = &[
    b"\xaf",
    b"\xb0",
    b"\xb1",
    b"\x00",
    b"\xf0",
    b"\x38\xff",
    b"\x44\x01\x00",
    b"\x48\x7f\xff\xff\xff",
    b"\xe0",
    b"\xd0\x01",
    b"\xc4\x00\x01",
    b"\xbf\x00\x00\x00\x01",
    b"\xbe\x00\x00\x01\x00\x00\x00\x00\x00",
    b"\xbc\x01\x02",
    b"\xbd\x04",
    b"\x90\x38\x41",
    b"\x91\x02ab",
    b"\xb2",
    b"\xb3",
    b"\xb4\x05",
    b"\xb5\x40\x04\x00\x00\x00\x00\x00\x00",
    b"\xb6\x05",
    b"\xb7\x3f\xc0\x00\x00",
    b"\xb8\x05",
    b"\xb9\x02\x38\xff",
    b"\xb9\x02\xba\xe5",
    b"\xb9\x02\xbb\x01\x05",
    b"\xba\x05",
    b"\xbb\x02\x01\x02",
    b"\xa7\x01\x02\x03\x00",
    b"\xa8\x07\xe7\x01\x02\x03\x04\x05\x00",
    b"\xa9\x07\xe7\x01\x02",
    b"\xaa\x07\xe7\x01\x02\x03\x04\x05\x00\x4cUTC",
    b"\xab\x00\x00\x00\x00\x00\x00\x00\x01",
    b"\xac\x00\x00\x00\x01",
    b"\xad\x00\x00\x00\x01",
    b"\xae\xe1\x05",
    b"\x49",
    b"\x4aa",
    b"\x79\x03abc",
    b"\x7a\x02\xc3\xa9",
    b"\x7c\x02\x60\x4f",
    b"\x94",
    b"\x96\x01\x02",
    b"\xa4\x02\x01\x02",
    b"\xa6\xa5",
    b"\xa6\x4ba1\x01\x05\xaf\xa5",
    b"\x92\x4b[O\x00\x96\x01\x02",
    b"\x92\x56demo.Cap$User\x00\xa6\x7fLage\x01\x03\x7fMname\x02JD\x7fMtags\x03\x96JaJb\xa5",
    b"\x93\x4c$.a",
];

#[test]
fn every_kind_of_value_is_passed_over() {
    for value in VALUES {
        let shown = value.escape_ascii();
        let behind = [value, &b"\xaf\xaf"[..]].concat();
        assert_eq!(length(&behind), Ok(value.len()), "{shown}");
        for cut in 0..value.len() {
            assert_eq!(length(&value[..cut]), Err(Bad::End), "{shown} cut at {cut}");
        }
    }
}

#[test]
fn strings_are_read_in_each_encoding() {
    for (bytes, text) in [
        (&b"\x49"[..], ""),
        (b"\x4aa", "a"),
        (b"\x4dcaf\xe9", "café"),
        (b"\x79\x04caf\xe9", "café"),
        (b"\x7a\x02\xc3\xa9", "é"),
        (b"\x7b\x04\xfe\xff\x4f\x60", "你"),
        (b"\x7b\x04\xff\xfe\x60\x4f", "你"),
        (b"\x7c\x04\x3d\xd8\x00\xde", "\u{1f600}"),
        (b"\x7d\x02\x4f\x60", "你"),
    ] {
        assert_eq!(read(bytes), text.as_bytes(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn nesting_and_counts_are_bounded() {
    assert_eq!(length(&vec![0x95; 1 << 20]), Err(Bad::Depth));
    assert_eq!(length(b"\xa4\x48\x7f\xff\xff\xff\x01"), Err(Bad::End));
    assert!(matches!(length(b"\xa4\xff"), Err(Bad::Invalid(_))));
    assert!(matches!(length(b"\xa5"), Err(Bad::Invalid(_))));
}

proptest! {
    #[test]
    fn text_comes_back(text: String, times in 1usize..300) {
        let text = text.repeat(times);
        let mut out = Output::new();
        put_text(text.as_bytes(), &mut out).unwrap();
        let bytes = out.drain();
        prop_assert_eq!(read(&bytes), text.as_bytes());
        prop_assert_eq!(length(&bytes), Ok(bytes.len()));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(length) = length(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}
