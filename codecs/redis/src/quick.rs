//! The fast path for common, complete messages: requests that are short arrays, and replies that
//! are one string, number or `+OK`. `request` and `reply` handle all other messages. They return
//! the same result for the messages that are accepted here.

use meltemi_frame::Span;

use crate::args::{Args, FRONT};
use crate::number::{self, Line, line};

/// Larger messages are rare, and scanning them twice would cost time.
const LARGE: usize = 64 << 10;

/// Returns the request at the front of `input`, if it is an array of one to nine arguments and
/// within the limit `frame`.
#[inline]
pub(crate) fn request(input: &[u8], frame: usize) -> Option<Args<'_>> {
    let input = input.get(..LARGE.min(frame)).unwrap_or(input);
    let [b'*', count @ b'1'..=b'9', b'\r', b'\n', ..] = input else {
        return None;
    };
    let count = usize::from(count - b'0');
    let mut front = [Span::default(); FRONT];
    let mut at = 4;
    for seen in 0..count {
        let (start, end) = string(input, at)?;
        if let Some(place) = front.get_mut(seen) {
            *place = Span::new(start, end);
        }
        at = end + 2;
    }
    Some(Args::scanned(input.get(..at)?, count, front, count))
}

/// Returns the type byte and the length of the reply at the front of `input`.
#[inline]
pub(crate) fn reply(input: &[u8]) -> Option<(u8, usize)> {
    match input {
        [b'+', b'O', b'K', b'\r', b'\n', ..] => Some((b'+', 5)),
        [b'$', b'-', b'1', b'\r', b'\n', ..] => Some((b'$', 5)),
        [b'$', ..] => string(input, 0).map(|(_, end)| (b'$', end + 2)),
        [b':', ..] => match line(input, 1) {
            Line::Number(_, end) => Some((b':', end)),
            Line::Short | Line::Bad => None,
        },
        _ => None,
    }
}

/// Returns the start and the end of the contents of the bulk string at `at`, if it is complete.
#[inline(always)]
fn string(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let (length, start) = match input.get(at..)? {
        [b'$', one @ b'0'..=b'9', b'\r', b'\n', ..] => (usize::from(one - b'0'), at + 4),
        [b'$', ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => (
            usize::from(ten - b'0') * 10 + usize::from(one - b'0'),
            at + 5,
        ),
        [b'$', number @ ..] => match number::any(number, at + 1) {
            // A string longer than the input is not complete.
            Line::Number(length, start) => (
                usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= input.len())?,
                start,
            ),
            Line::Short | Line::Bad => return None,
        },
        _ => return None,
    };
    let end = start + length;
    matches!(input.get(end..), Some([b'\r', b'\n', ..])).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::Bounds;
    use crate::{reply as replies, request as requests};

    /// Generates bytes that are a message, or nearly one.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "*1\r\n",
            "*2\r\n",
            "*3\r\n",
            "*9\r\n",
            "*12\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*1000\r\n",
            "$0\r\n\r\n",
            "$1\r\na\r\n",
            "$3\r\nGET\r\n",
            "$10\r\n0123456789\r\n",
            "$2\r\n\r\n\r\n",
            "$-1\r\n",
            "$-0\r\n",
            "$01\r\na\r\n",
            "$1\r\nab\r\n",
            "$536870913\r\n",
            "$123456789012345678\r\n",
            ":1\r\n",
            ":-17\r\n",
            ":x\r\n",
            ":\r\n",
            ":1234567890123456789\r\n",
            "+OK\r\n",
            "+OKAY\r\n",
            "+OK\n",
            "-ERR x\r\n",
            "_\r\n",
            "|1\r\n",
            "\r\n",
            "$",
        ]);
        let words =
            prop::collection::vec(word, 1..12).prop_map(|words| words.concat().into_bytes());
        let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        let cut = prop::option::weighted(0.3, any::<prop::sample::Index>());
        (words, change, cut).prop_map(|(mut bytes, change, cut)| {
            if let Some((at, byte)) = change {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        })
    }

    fn check_request(bytes: &[u8], frame: usize) -> Result<bool, TestCaseError> {
        let Some(args) = request(bytes, frame) else {
            return Ok(false);
        };
        let bounds = Bounds {
            request: frame,
            stranger: false,
        };
        let mut scan = requests::Scan::default();
        let step = scan.array(bytes, bounds);
        prop_assert_eq!(step, Ok(requests::Step::Whole(args.wire().len())));
        prop_assert_eq!(scan.count(), args.count());
        for position in 0..args.count() {
            let span = args.bytes(position);
            prop_assert!(span.is_some());
            if let Some(found) = scan.front.get(position) {
                prop_assert_eq!(found.of(bytes), span.as_deref());
            }
        }
        Ok(true)
    }

    fn check_reply(bytes: &[u8]) -> Result<bool, TestCaseError> {
        let Some((kind, length)) = reply(bytes) else {
            return Ok(false);
        };
        let mut scan = replies::Scan::default();
        prop_assert_eq!(scan.scan(bytes, 8), Ok(replies::Step::Whole(length)));
        prop_assert_eq!(scan.proper(), Some((kind, 0)));
        Ok(true)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_told_at_one_look_is_what_a_scan_tells(bytes in messages(), frame in 0..100_usize) {
            check_request(&bytes, 1 << 20)?;
            check_request(&bytes, frame)?;
            check_reply(&bytes)?;
        }
    }

    /// Truncates at every length: the fast path accepts a message only when it is complete.
    #[test]
    fn common_messages_are_told_at_one_look() {
        for length in (0..1030).chain([9_999, 60_000]) {
            let value = "v".repeat(length);
            let reply = format!("${length}\r\n{value}\r\n");
            let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n{reply}");
            assert!(check_reply(reply.as_bytes()).unwrap());
            assert!(check_request(request.as_bytes(), 1 << 20).unwrap());
            assert!(check_request(request.as_bytes(), request.len()).unwrap());
            assert!(!check_request(request.as_bytes(), request.len() - 1).unwrap());
            assert!(!check_reply(&reply.as_bytes()[..reply.len() - 1]).unwrap());
            assert!(!check_request(&request.as_bytes()[..request.len() - 1], 1 << 20).unwrap());
        }
        for reply in ["+OK\r\n", "$-1\r\n", ":0\r\n", ":-1\r\n", ":123456\r\n"] {
            assert!(check_reply(reply.as_bytes()).unwrap());
        }
    }
}
