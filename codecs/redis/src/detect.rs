//! Detects the Redis protocol from the first bytes of a client. It must depend only on command
//! names.

use meltemi_frame::Detect;

use crate::command::find;
use crate::table::COMMANDS;

/// The longest name that detection waits for.
const NAME_MAX: usize = 20;

pub(crate) fn detect(prefix: &[u8]) -> Detect {
    match prefix {
        [b'*'] => Detect::Need(2),
        [b'*', b'0'..=b'9', ..] => Detect::Yes,
        [b'*', ..] => Detect::No,
        _ => inline(prefix),
    }
}

/// Detects an inline command: a known name, then a space or the end of the line.
fn inline(prefix: &[u8]) -> Detect {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let length = prefix.iter().take_while(|byte| is_name(byte)).count();
    let (name, behind) = prefix.split_at_checked(length).unwrap_or_default();
    if name.is_empty() || length > NAME_MAX {
        return Detect::No;
    }
    match behind {
        [] => {
            let starts = |whole: &str| {
                whole
                    .as_bytes()
                    .get(..length)
                    .is_some_and(|front| front.eq_ignore_ascii_case(name))
            };
            if COMMANDS.iter().any(|command| starts(command.name)) {
                Detect::Need(length + 1)
            } else {
                Detect::No
            }
        }
        [b'\r' | b'\n', ..] if find(name).is_some() => Detect::Yes,
        [b' ', rest @ ..] if find(name).is_some() => match rest {
            // `GET /` comes from a web client.
            [] if name == b"GET" => Detect::Need(length + 2),
            [b'/', ..] if name == b"GET" => Detect::No,
            _ => Detect::Yes,
        },
        _ => Detect::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        for yes in [
            &b"*1\r\n"[..],
            b"*3",
            b"PING\r\n",
            b"ping\n",
            b"SET k v",
            b"GET k",
            b"hello 3\r\n",
        ] {
            assert_eq!(detect(yes), Detect::Yes, "{yes:?}");
        }
        for no in [
            &b"\x16\x03\x01"[..],
            b"GET / HTTP/1.1\r\n",
            b"POST / HTTP/1.1",
            b"HEAD / ",
            b"PRI * HTTP/2.0",
            b"\xda\xbb",
            b"*x",
            b"PUT ",
            b"+OK\r\n",
            b"ping\0",
            b"\r\n",
        ] {
            assert_eq!(detect(no), Detect::No, "{no:?}");
        }
        for (need, bytes) in [
            (&b"*"[..], 2),
            (b"P", 2),
            (b"GET", 4),
            (b"GET ", 5),
            (b"PIN", 4),
        ] {
            assert_eq!(detect(need), Detect::Need(bytes), "{need:?}");
        }
    }
}
