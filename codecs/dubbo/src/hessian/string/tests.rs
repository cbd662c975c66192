//! Strings of Hessian2: chunks, UTF-16 lengths, and the characters that Java writes as two.

use proptest::prelude::*;

use super::*;

/// What the value says, read as a codec does.
fn read(bytes: &[u8]) -> Result<Vec<u8>, Bad> {
    let mut cursor = Cursor::new(bytes, 0);
    let text = text(&mut cursor)?;
    assert_eq!(cursor.at, bytes.len());
    Ok(match text {
        Text::Null | Text::Hidden => panic!("no string is null"),
        Text::Plain(range) => bytes[range].to_vec(),
        Text::Coded(range) => rebuild(&bytes[range]),
    })
}

fn write(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Output::new();
    put_text(text, &mut out)?;
    Some(out.drain().to_vec())
}

#[test]
fn lengths_count_utf16_units() {
    let smile = "\u{1f600}".as_bytes();
    assert_eq!(read(b"\x02\xed\xa0\xbd\xed\xb8\x80").unwrap(), smile);
    assert_eq!(write(smile).unwrap(), b"\x02\xed\xa0\xbd\xed\xb8\x80");
    // Not Java's way, but some writers': four bytes for two units.
    assert_eq!(read(b"\x02\xf0\x9f\x98\x80").unwrap(), smile);
    assert!(matches!(
        read(b"\x01\xf0\x9f\x98\x80"),
        Err(Bad::Invalid(_))
    ));
    assert_eq!(read("\u{2}é中".as_bytes()).unwrap(), "é中".as_bytes());
}

#[test]
fn lone_surrogates_survive() {
    let text = b"\xed\xa0\xbd.\xed\xb8\x80";
    assert_eq!(read(b"\x03\xed\xa0\xbd.\xed\xb8\x80").unwrap(), text);
    assert_eq!(write(text).unwrap(), b"\x03\xed\xa0\xbd.\xed\xb8\x80");
}

#[test]
fn chunks_are_joined_even_within_a_pair() {
    assert_eq!(
        read(b"R\x00\x02a\xed\xa0\xbdS\x00\x02\xed\xb8\x80b").unwrap(),
        "a\u{1f600}b".as_bytes()
    );
    assert_eq!(read(b"R\x00\x00R\x00\x01a\x01b").unwrap(), b"ab");
}

#[test]
fn every_length_has_its_form() {
    for (length, head) in [
        (0, &b"\x00"[..]),
        (1, b"\x01"),
        (31, b"\x1f"),
        (32, b"\x30\x20"),
        (1023, b"\x33\xff"),
        (1024, b"S\x04\x00"),
        (0x8000, b"S\x80\x00"),
        (0x8001, b"R\x80\x00"),
    ] {
        let bytes = write(&vec![b'x'; length]).unwrap();
        assert!(bytes.starts_with(head), "{length}");
        assert_eq!(read(&bytes).unwrap().len(), length);
    }
}

#[test]
fn a_chunk_never_ends_within_a_pair() {
    let text = format!("{}\u{1f600}z", "x".repeat(0x7fff));
    let bytes = write(text.as_bytes()).unwrap();
    assert!(bytes.starts_with(b"R\x7f\xff"));
    assert_eq!(read(&bytes).unwrap(), text.as_bytes());
}

#[test]
fn what_is_no_text_is_refused() {
    for bytes in [
        &b"\xff"[..],
        b"a\x80",
        b"\xc3",
        b"\xed\xa0",
        b"\xf0\x9f\x98",
    ] {
        assert_eq!(write(bytes), None, "{}", bytes.escape_ascii());
    }
    assert!(matches!(read(b"\x01\x80"), Err(Bad::Invalid(_))));
    assert!(matches!(read(b"\x01\xff"), Err(Bad::Invalid(_))));
    assert_eq!(read(b"\x02\xc3\xa9"), Err(Bad::End));
}

proptest! {
    #[test]
    fn text_comes_back(text: String, times in 1usize..2000) {
        let text = text.repeat(times % 50 + 1);
        let bytes = write(text.as_bytes()).unwrap();
        prop_assert_eq!(read(&bytes).unwrap(), text.as_bytes());
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let part = &bytes[..cut.min(bytes.len() - 1)];
            let mut cursor = Cursor::new(part, 0);
            prop_assert_eq!(super::text(&mut cursor), Err(Bad::End));
        }
    }
}
