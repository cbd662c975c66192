//! The Hessian2 scanner, value by value: what is skipped, what is refused, what needs more bytes.

use proptest::prelude::*;

use super::*;

const DEPTH: usize = 64;

/// Passes over the value at the front; how many bytes it took.
fn length(bytes: &[u8]) -> Result<usize, Bad> {
    let mut cursor = Cursor::new(bytes, 0);
    skip(&mut cursor, &mut Scratch::default(), DEPTH)?;
    Ok(cursor.at)
}

fn int(bytes: &[u8]) -> Option<i64> {
    match leaf(&mut Cursor::new(bytes, 0)) {
        Ok(Some(Value::Int(number))) => Some(number),
        _ => None,
    }
}

/// The examples of the specification, and what Java libraries wrote.
const VALUES: &[&[u8]] = &[
    b"N",
    b"T",
    b"F",
    b"\x5b",
    b"\x5d\x80",
    b"\x5e\x80\x00",
    b"\x5f\x00\x00\x2f\x46",
    b"D\x40\x28\x80\x00\x00\x00\x00\x00",
    b"J\x00\x00\x00\xd0\x4b\x92\x84\xb8",
    b"K\x00\xe3\x83\x8f",
    b"\x20",
    b"\x23\x01\x02\x03",
    b"\x34\x02ab",
    b"A\x00\x02abB\x00\x01c",
    b"A\x00\x01a\x21b",
    b"\x05hello",
    b"S\x00\x05hello",
    b"R\x00\x02heS\x00\x03llo",
    b"\x57Z",
    b"\x57\x90\x91Z",
    b"\x55\x04[intZ",
    b"\x56\x04[int\x92\x90\x91",
    b"\x58\x92\x90\x91",
    b"\x72\x04[int\x90\x91",
    b"\x72\x90\x90\x91",
    b"\x7a\x90\x91",
    b"\x78",
    b"HZ",
    b"H\x91\x03fee\xa0\x03fieZ",
    b"HNNZ",
    b"M\x13com.caucho.test.Car\x05model\x06BeetleZ",
    b"Q\x90",
    b"C\x0bexample.Car\x92\x05color\x05model\x60\x03red\x08corvette",
    b"C\x0bexample.Car\x92\x05color\x05modelO\x90\x05green\x05civic",
    b"\x7aC\x05Color\x91\x04name\x60\x03RED\x60\x05GREEN",
    // A definition before a key, and an empty class.
    b"HC\x01E\x90\x60\x01xZ",
    // A list that holds itself.
    b"\x79Q\x90",
];

#[test]
fn every_kind_of_value_is_passed_over() {
    for value in VALUES {
        let shown = value.escape_ascii();
        let behind = [value, &b"NN"[..]].concat();
        assert_eq!(length(&behind), Ok(value.len()), "{shown}");
        for cut in 0..value.len() {
            assert_eq!(length(&value[..cut]), Err(Bad::End), "{shown} cut at {cut}");
        }
    }
}

#[test]
fn integers_have_the_values_of_the_specification() {
    for (bytes, value) in [
        (&b"\x90"[..], 0),
        (b"\x80", -16),
        (b"\xbf", 47),
        (b"\xc8\x00", 0),
        (b"\xc0\x00", -2048),
        (b"\xc7\x00", -256),
        (b"\xcf\xff", 2047),
        (b"\xd4\x00\x00", 0),
        (b"\xd0\x00\x00", -262_144),
        (b"\xd7\xff\xff", 262_143),
        (b"I\x00\x04\x00\x00", 262_144),
        (b"I\xff\xfb\xff\xff", -262_145),
        (b"\xe0", 0),
        (b"\xd8", -8),
        (b"\xef", 15),
        (b"\xf0\x00", -2048),
        (b"\xff\xff", 2047),
        (b"\x38\x00\x00", -262_144),
        (b"\x3f\xff\xff", 262_143),
        (b"\x59\x80\x00\x00\x00", i64::from(i32::MIN)),
        (b"L\x80\x00\x00\x00\x00\x00\x00\x00", i64::MIN),
    ] {
        assert_eq!(int(bytes), Some(value), "{}", bytes.escape_ascii());
    }
}

#[test]
fn more_than_sixteen_classes_are_told_apart() {
    let mut bytes = Vec::new();
    for fields in 0..18u8 {
        bytes.extend_from_slice(&[b'C', 1, b'a' + fields, 0x90 + fields]);
        for _ in 0..fields {
            bytes.extend_from_slice(b"\x01f");
        }
    }
    bytes.extend_from_slice(b"O\xa1");
    bytes.extend_from_slice(&[b'T'; 17]);
    assert_eq!(length(&bytes), Ok(bytes.len()));
}

#[test]
fn what_the_specification_reserves_is_refused() {
    for tag in [0x40, 0x45, 0x47, 0x50, b'Z'] {
        assert!(
            matches!(length(&[tag, 0, 0]), Err(Bad::Invalid(_))),
            "{tag:#x}"
        );
    }
    for bytes in [
        &b"\x60"[..],
        b"O\x95",
        b"O\x8f",
        b"O\x01a",
        b"H\x01kZ",
        b"\x58\x8f",
        b"\x55NZ",
        b"MTZ",
        b"C\x90\x90N",
        b"C\x01a\x91\x90N",
        b"R\x00\x01aN",
        b"A\x00\x01aN",
    ] {
        let shown = bytes.escape_ascii();
        assert!(matches!(length(bytes), Err(Bad::Invalid(_))), "{shown}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| [vec![0x79; levels], b"N".to_vec()].concat();
    assert_eq!(length(&nested(DEPTH)), Ok(DEPTH + 1));
    assert_eq!(length(&nested(DEPTH + 1)), Err(Bad::Depth));
    assert_eq!(length(&vec![0x79; 1 << 20]), Err(Bad::Depth));
}

#[test]
fn counts_allocate_nothing() {
    assert_eq!(length(b"\x58I\x7f\xff\xff\xffN"), Err(Bad::End));
    assert_eq!(length(b"C\x01aI\x7f\xff\xff\xff"), Err(Bad::End));
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop::sample::select(VALUES[..18].to_vec()).prop_map(<[u8]>::to_vec);
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| [
                b"\x57".to_vec(),
                items.concat(),
                b"Z".to_vec()
            ]
            .concat()),
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| {
                let count = u8::try_from(items.len()).unwrap();
                [vec![0x78 + count], items.concat()].concat()
            }),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(|pairs| {
                let pairs: Vec<u8> = pairs
                    .into_iter()
                    .flat_map(|(k, v)| [k, v].concat())
                    .collect();
                [b"M\x01t".to_vec(), pairs, b"Z".to_vec()].concat()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_written_is_passed_over(value in value(), behind: Vec<u8>) {
        let bytes = [&value[..], &behind].concat();
        prop_assert_eq!(length(&bytes), Ok(value.len()));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(length) = length(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}
