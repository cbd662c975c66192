//! The struct scanner: where a struct ends, however slowly it comes, and how deep it may go.

use proptest::prelude::*;

use super::*;

fn scan(encoding: Encoding, bytes: &[u8]) -> Result<Progress, Violation> {
    let mut scanner = Scanner::default();
    scanner.start(encoding, 0, 64);
    scanner.advance(bytes)
}

/// A bool, a list of strings, a map of i32 to struct, a double, and the end.
const BINARY: &[u8] = b"\x02\x00\x01\x01\
    \x0f\x00\x02\x0b\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x00\
    \x0d\x00\x03\x08\x0c\x00\x00\x00\x01\x00\x00\x00\x07\x02\x00\x01\x00\x00\
    \x04\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00";

/// The same, with a long-form field id and an empty map.
const COMPACT: &[u8] = b"\x11\x19\x28\x01a\x00\x1b\x01\x5c\x0e\x12\x00\
    \x07\x14\x00\x00\x00\x00\x00\x00\x00\x00\x1b\x00\x00";

#[test]
fn the_end_is_found_and_every_front_asks_for_more() {
    for (encoding, bytes) in [(Encoding::Strict, BINARY), (Encoding::Compact, COMPACT)] {
        assert_eq!(scan(encoding, bytes), Ok(Progress::Done(bytes.len())));
        let mut dribble = Scanner::default();
        dribble.start(encoding, 0, 64);
        for length in 0..bytes.len() {
            let front = &bytes[..length];
            assert!(matches!(scan(encoding, front), Ok(Progress::More(need)) if need > length));
            assert!(matches!(dribble.advance(front), Ok(Progress::More(need)) if need > length));
        }
        assert_eq!(dribble.advance(bytes), Ok(Progress::Done(bytes.len())));
    }
}

#[test]
fn dropping_what_was_scanned_changes_nothing() {
    let mut scanner = Scanner::default();
    scanner.start(Encoding::Strict, 0, 64);
    assert!(matches!(
        scanner.advance(&BINARY[..10]),
        Ok(Progress::More(_))
    ));
    let drop = scanner.at().min(10);
    scanner.consumed(drop);
    let rest = &BINARY[drop..];
    assert_eq!(scanner.advance(rest), Ok(Progress::Done(rest.len())));
}

#[test]
fn nesting_is_bounded_in_every_encoding() {
    let bombs: [(Encoding, Vec<u8>); 4] = [
        (Encoding::Strict, b"\x0c\x00\x01".repeat(5000)),
        (Encoding::Compact, b"\x1c".repeat(5000)),
        (
            Encoding::Strict,
            [
                b"\x0f\x00\x01".to_vec(),
                b"\x0f\x00\x00\x00\x01".repeat(5000),
            ]
            .concat(),
        ),
        (Encoding::Json, b"[".repeat(5000)),
    ];
    for (encoding, bytes) in bombs {
        assert!(matches!(
            scan(encoding, &bytes),
            Err(Violation::Depth { .. })
        ));
    }
}

#[test]
fn absurd_sizes_are_refused_or_waited_for_without_work() {
    for bytes in [
        &b"\x0b\x00\x01\xff\xff\xff\xff"[..],
        b"\x0f\x00\x01\x08\xff\xff\xff\xff",
        b"\x0f\x00\x01\x63\x00\x00\x00\x01",
        b"\x63\x00\x01",
        b"\x01\x00\x01",
    ] {
        assert!(scan(Encoding::Strict, bytes).is_err(), "{bytes:02x?}");
    }
    let long = b"\x0f\x00\x01\x0a\x7f\xff\xff\xff";
    let need = 8 + 0x7fff_ffff * 8 + 1;
    assert_eq!(scan(Encoding::Strict, long), Ok(Progress::More(need)));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_end_the_same(
        bytes in prop::collection::vec(prop_oneof![0u8..16, any::<u8>()], 0..200),
        encoding in prop_oneof![
            Just(Encoding::Strict), Just(Encoding::Compact), Just(Encoding::Json)],
        step in 1usize..9,
    ) {
        let whole = scan(encoding, &bytes);
        let mut scanner = Scanner::default();
        scanner.start(encoding, 0, 64);
        let mut last = Ok(Progress::More(1));
        let mut length = 0;
        while matches!(last, Ok(Progress::More(_))) && length < bytes.len() {
            length = (length + step).min(bytes.len());
            last = scanner.advance(&bytes[..length]);
        }
        match (whole, last) {
            (Ok(Progress::More(_)), Ok(Progress::More(_))) => {}
            (whole, last) if bytes.is_empty() => prop_assert!(whole.is_ok() && last.is_ok()),
            (whole, last) => prop_assert_eq!(whole, last),
        }
    }
}
