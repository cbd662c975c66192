//! The decimal numbers of RESP headers, parsed as strictly as Redis parses them. It must not depend
//! on types.

/// The result of reading a number and its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The number, and the start of the next line.
    Number(i64, usize),
    /// The line end has not arrived yet.
    Short,
    /// The line is not a number.
    Bad,
}

/// More digits than any length has, and fewer than an `i64` holds.
const DIGITS: usize = 18;

/// Reads a number and `\r\n` at `at`. It reads at most 21 bytes, so a repeated call with more input
/// is cheap.
#[inline]
pub(crate) fn line(input: &[u8], at: usize) -> Line {
    let Some(rest) = input.get(at..) else {
        return Line::Short;
    };
    // Most numbers have one or two digits. This fast path returns the same as the general one.
    match rest {
        [one @ b'0'..=b'9', b'\r', b'\n', ..] => Line::Number(i64::from(one - b'0'), at + 3),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Line::Number(i64::from(ten - b'0') * 10 + i64::from(one - b'0'), at + 4)
        }
        _ => any(rest, at),
    }
}

/// Reads a number of any length and `\r\n` at the front of `rest`, which starts at `at`.
#[inline(never)]
pub(crate) fn any(mut rest: &[u8], at: usize) -> Line {
    let mut sign = 1;
    if let [b'-', behind @ ..] = rest {
        sign = -1;
        rest = behind;
    }
    let mut value: i64 = 0;
    for (count, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' if count < DIGITS => value = value * 10 + i64::from(byte - b'0'),
            // Redis refuses "", "-0" and "007". A number that two parsers could read differently
            // must not pass.
            b'\r' if count == 0 || (rest.first() == Some(&b'0') && (count > 1 || sign < 0)) => {
                return Line::Bad;
            }
            b'\r' => {
                let next = at + usize::from(sign < 0) + count + 2;
                return match rest.get(count + 1) {
                    Some(b'\n') => Line::Number(value * sign, next),
                    Some(_) => Line::Bad,
                    None => Line::Short,
                };
            }
            _ => return Line::Bad,
        }
    }
    Line::Short
}

/// Parses a whole argument as a number, with the same strictness.
pub(crate) fn whole(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let strict = match digits {
        [b'0'] => sign > 0,
        [b'1'..=b'9', ..] => digits.len() <= DIGITS && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let value = digits.iter().take(DIGITS).fold(0, |value: i64, digit| {
        value * 10 + i64::from(digit.wrapping_sub(b'0') % 10)
    });
    strict.then_some(value * sign)
}

/// Parses the number at the front of an argument, as lenient servers do (C's `strtoll`).
pub(crate) fn lenient(text: &[u8]) -> Option<usize> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let digits = digits.get(..length.count())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_redis_reads_them() {
        assert_eq!(line(b"*12\r\nx", 1), Line::Number(12, 5));
        assert_eq!(line(b"-1\r\n", 0), Line::Number(-1, 4));
        assert_eq!(line(b"0\r\n", 0), Line::Number(0, 3));
        for short in [&b""[..], b"1", b"-", b"1\r", b"-12\r"] {
            assert_eq!(line(short, 0), Line::Short, "{short:?}");
        }
        for bad in [
            &b"\r\n"[..],
            b"-\r\n",
            b"+1\r\n",
            b"01\r\n",
            b"-0\r\n",
            b"1 \r\n",
            b"1\rx",
            b"1\n",
            b"1234567890123456789",
        ] {
            assert_eq!(line(bad, 0), Line::Bad, "{bad:?}");
        }
        assert_eq!(line(b"1\r\n", 9), Line::Short);
    }

    /// The fast path for short numbers returns the same as the general path.
    #[test]
    fn short_numbers_are_read_as_any() {
        let bytes = *b"01289-\r\n:";
        let pick = |code: usize| -> Vec<u8> {
            (0..5)
                .map(|place| bytes[code / 9_usize.pow(place) % 9])
                .collect()
        };
        for text in (0..9_usize.pow(5)).map(pick) {
            for end in 0..=text.len() {
                let text = &text[..end];
                assert_eq!(line(text, 0), any(text, 0), "{text:?}");
            }
        }
        for number in -200..20_000 {
            let text = format!("*{number}\r\n");
            assert_eq!(line(text.as_bytes(), 1), Line::Number(number, text.len()));
        }
    }

    #[test]
    fn arguments_are_as_strict() {
        assert_eq!((whole(b"15"), whole(b"0")), (Some(15), Some(0)));
        assert_eq!(whole(b"-3"), Some(-3));
        for bad in [
            &b""[..],
            b"+1",
            b"007",
            b"-0",
            b"x",
            b"\xff",
            b"1234567890123456789",
        ] {
            assert_eq!(whole(bad), None);
        }
    }

    #[test]
    fn lenient_numbers_are_what_c_reads() {
        for one in [&b"1"[..], b"+1", b"01", b" 1", b"1 ", b"1x", b"\t+001\r"] {
            assert_eq!(lenient(one), Some(1), "{one:?}");
        }
        for none in [&b""[..], b"-1", b"x1", b"++1", b"99999999999999999999999"] {
            assert_eq!(lenient(none), None, "{none:?}");
        }
    }
}
