//! THeader and TTHeader: what is read of them, and what is refused.

use super::*;

#[test]
fn numbers_have_one_name() {
    for number in [0, 3, 9, 10, 22, 49, 50, 65535] {
        let name = decimal(number);
        assert_eq!(&*name, number.to_string().as_bytes());
        assert_eq!(super::number(&name), Some(number));
    }
    assert_eq!(super::number(b"03"), None);
    assert_eq!(super::number(b"x"), None);
    assert_eq!(super::number(b"65536"), None);
}

#[test]
fn entries_of_every_block_are_read_and_unknown_blocks_are_left() {
    let block = b"\x02\x00\x01\x01\x01k\x01v\x02\x01\x01p\x01q\x09?";
    let frame = [
        b"\0\0\0\x1d\x0f\xff\0\0\0\0\0\x07\0\x04",
        &block[..],
        b"pay",
    ]
    .concat();
    let header = read(&frame, frame.len(), Transport::Header).unwrap();
    assert_eq!((header.seqid, header.protocol, header.end), (7, 2, 30));
    let mut pairs = Pairs::new(&frame, Transport::Header, header.entries, header.end);
    let mut found = Vec::new();
    while let Some(pair) = pairs.next().unwrap() {
        found.push((pair.block, pair.name, pair.value.to_vec()));
    }
    let expected = [
        (1, Name::Text(b"k"), b"v".to_vec()),
        (2, Name::Text(b"p"), b"q".to_vec()),
    ];
    assert_eq!(found, expected);
    assert_eq!(pairs.rest(), Some(28));
    for length in 0..header.end {
        assert!(matches!(
            read(&frame[..length], frame.len(), Transport::Header),
            Err(Stop::Short(_))
        ));
    }
    assert!(matches!(
        read(&frame, 29, Transport::Header),
        Err(Stop::Bad(_))
    ));
}

#[test]
fn entries_are_counted_and_checked() {
    let frame =
        b"\0\0\0\x15\x10\0\0\0\0\0\0\x07\0\x03\x00\x00\x10\x00\x02\x00\x09\x00\x01a\x00\x06";
    let header = read(frame, frame.len(), Transport::TtHeader).unwrap();
    let check = |entries| {
        let limits = Limits {
            entries,
            ..Limits::default()
        };
        check(frame, &header, &limits, &mut |_| {})
    };
    assert!(matches!(check(512), Err(Violation::Invalid(_))));
    assert_eq!(check(0), Err(Violation::Entries { limit: 0 }));
}
