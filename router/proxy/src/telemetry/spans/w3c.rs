//! Reads and writes `traceparent` of the W3C Trace Context, level 1
//! (<https://www.w3.org/TR/trace-context-1/>).

use super::context::{Parent, digits};

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// Reads a `traceparent` (section 3.2). `None` if it must be ignored.
pub(super) fn read(value: &[u8]) -> Option<Parent> {
    let text = std::str::from_utf8(value).ok()?;
    // Later versions may append more fields after another dash.
    let front = text.get(..LENGTH)?;
    let rest = text.get(LENGTH..)?;
    let mut parts = front.splitn(4, '-');
    let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let trace = hex(parts.next()?, 32)?;
    let span = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    let flags = hex(parts.next()?, 2)?;
    let fits = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    (fits && trace != 0 && span != 0).then_some(Parent {
        trace,
        span,
        sampled: Some(flags & 1 == 1),
        debug: false,
        short: false,
    })
}

/// Parses hexadecimal digits. Upper-case digits are not allowed here.
fn hex(text: &str, length: usize) -> Option<u128> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    lower.then(|| digits(text, length))?
}

/// Writes a `traceparent` of version 00.
pub(super) fn write(trace: u128, span: u64, sampled: bool) -> String {
    format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_recommendation() {
        let parent = read(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.span, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(parent.sampled, Some(true));
        assert_eq!(write(parent.trace, parent.span, true), GOOD);
    }

    #[test]
    fn later_versions_may_have_more() {
        for good in [
            GOOD.replacen("00", "01", 1),
            GOOD.replacen("00", "cc", 1) + "-what",
            GOOD.replace("-01", "-09"),
        ] {
            assert!(read(good.as_bytes()).is_some(), "{good}");
        }
        assert_eq!(
            read(GOOD.replace("-01", "-fe").as_bytes()).unwrap().sampled,
            Some(false)
        );
    }

    #[test]
    fn malformed_ones_are_ignored() {
        for bad in [
            String::new(),
            GOOD.to_uppercase(),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "0g", 1),
            format!("{GOOD}-what"),
            format!("{GOOD} "),
            GOOD.replacen("00", "cc", 1) + ".what",
            GOOD.replace('-', "_"),
            GOOD.replace("-01", "-1-"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("4bf9", "+bf9"),
            GOOD.replace("4bf9", "4bé"),
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let parent = read(write(trace, span, sampled).as_bytes()).unwrap();
            prop_assert_eq!((parent.trace, parent.span), (trace, span));
            prop_assert_eq!(parent.sampled, Some(sampled));
        }

        #[test]
        fn whatever_comes_is_read_or_ignored(bytes: Vec<u8>, text in "[0-9a-f-]{50,60}") {
            let _ = read(&bytes);
            if let Some(parent) = read(text.as_bytes()) {
                prop_assert!(parent.trace != 0 && parent.span != 0);
            }
        }
    }
}
