//! The reply scanner: where a reply ends, however it is cut and however deep it nests.

use super::*;

fn whole(input: &[u8]) -> Result<Step, Violation> {
    Scan::default().scan(input, 8)
}

#[test]
fn every_type_ends_where_it_ends() {
    for reply in [
        "+OK\r\n",
        "-ERR x\r\n",
        ":-1\r\n",
        "$3\r\na\r\n\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
        "(12345678901234567890\r\n",
        "!5\r\nERR x\r\n",
        "=5\r\ntxt:x\r\n",
        "~1\r\n+a\r\n",
        "%1\r\n+a\r\n:1\r\n",
        "%0\r\n",
        ">1\r\n+a\r\n",
        "|1\r\n+ttl\r\n:1\r\n+OK\r\n",
        "|0\r\n+OK\r\n",
        "*2\r\n|1\r\n+a\r\n:1\r\n:1\r\n:2\r\n",
        "$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n",
        "*?\r\n:1\r\n*0\r\n.\r\n",
        "*1\r\n%?\r\n+a\r\n:1\r\n.\r\n",
    ] {
        let bytes = [reply.as_bytes(), b"+next\r\n"].concat();
        assert_eq!(whole(&bytes), Ok(Step::Whole(reply.len())), "{reply:?}");
        let mut scan = Scan::default();
        for cut in 0..reply.len() {
            let step = scan.scan(&bytes[..cut], 8);
            assert!(
                matches!(step, Ok(Step::Short(need)) if need > cut && need <= reply.len()),
                "{reply:?} {cut} {step:?}"
            );
        }
        assert_eq!(scan.scan(&bytes, 8), Ok(Step::Whole(reply.len())));
    }
}

#[test]
fn the_reply_proper_stands_behind_its_attributes() {
    let mut scan = Scan::default();
    scan.scan(b"|1\r\n+a\r\n*1\r\n:1\r\n-ERR\r\n", 8).unwrap();
    assert_eq!(scan.proper(), Some((b'-', 16)));
}

#[test]
fn nonsense_is_refused() {
    for bad in [
        "x\r\n",
        "$-2\r\n",
        "*x\r\n",
        "$1\r\nab\r\n",
        "+a\n",
        "%-1\r\n",
        ";1\r\na\r\n",
        "$?\r\n+a\r\n",
        "$?\r\n$1\r\n",
        ".\r\n",
        "=?\r\n",
        "*?x\r\n",
    ] {
        let result = whole(bad.as_bytes());
        assert!(result.is_err(), "{bad:?} {result:?}");
    }
}

#[test]
fn nesting_and_counts_take_no_memory() {
    let depth = 100_000;
    for (level, leaf) in [
        ("*1\r\n", ":1\r\n"),
        ("*2\r\n:1\r\n", "*0\r\n"),
        ("%1\r\n+k\r\n", "$1\r\nx\r\n"),
    ] {
        let bytes = [level.repeat(depth), leaf.to_owned()].concat();
        let mut scan = Scan::default();
        let step = scan.scan(format!("{bytes}+next\r\n").as_bytes(), 8);
        assert_eq!(step, Ok(Step::Whole(bytes.len())), "{level:?}");
        assert_eq!(scan.streams.capacity(), 0);
    }
    // What comes behind the inner ones is counted, too.
    let bytes = ["*2\r\n".repeat(depth), ":1\r\n".repeat(depth + 1)].concat();
    assert_eq!(whole(bytes.as_bytes()), Ok(Step::Whole(bytes.len())));
    assert!(matches!(
        whole(b"*2147483647\r\n:1\r\n"),
        Ok(Step::Short(_))
    ));
}

#[test]
fn what_has_no_count_is_bounded() {
    assert_eq!(
        whole("*?\r\n".repeat(9).as_bytes()),
        Err(Violation::Depth { limit: 8 })
    );
    let most = b"%9223372036854775807\r\n".repeat(3);
    assert!(matches!(whole(&most), Err(Violation::Invalid(_))));
}

#[test]
fn long_lines_are_passed_on() {
    let line = format!("*2\r\n+{}\r\n:1\r\n", "x\r".repeat(LONG_LINE));
    let bytes = line.as_bytes();
    for size in [1000, LONG_LINE - 1, LONG_LINE + 1, bytes.len() - 1] {
        let mut scan = Scan::default();
        let (mut from, mut have) = (0, 0);
        loop {
            have = (have + size).min(bytes.len());
            match scan.scan(&bytes[from..have], 8).unwrap() {
                Step::Whole(length) => break assert_eq!(from + length, bytes.len()),
                Step::Short(_) => {
                    from += scan.at();
                    scan.rebase();
                }
            }
            assert!(have < bytes.len() && have - from <= LONG_LINE + size);
        }
    }
    let bad = format!("+{}\n", "x".repeat(LONG_LINE + 1));
    let mut scan = Scan::default();
    assert!(scan.scan(&bad.as_bytes()[..bad.len() - 1], 8).is_ok());
    assert!(scan.scan(bad.as_bytes(), 8).is_err());
}
