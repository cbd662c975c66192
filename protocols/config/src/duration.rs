//! Durations in Go's notation, as Istio, Aeraki and Kubernetes use it.

use std::time::Duration;

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::digit1;
use nom::combinator::{all_consuming, map_opt, opt, recognize, value};
use nom::multi::fold_many1;
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser as _};

/// Parses a duration such as `1.5s`, `100ms`, `1h30m` or `0`: a sequence of decimal numbers, each
/// with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`) (Go, `time.ParseDuration`). Returns `None` for any
/// other text, for negative durations, and for durations that are too long for [`Duration`].
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let sum = |total: Option<Duration>, part: Duration| total?.checked_add(part);
    let mut whole = all_consuming(fold_many1(part, || Some(Duration::ZERO), sum));
    let parsed: IResult<&str, Option<Duration>> = whole.parse(text);
    parsed.ok()?.1
}

/// Parses a number with its unit.
fn part(input: &str) -> IResult<&str, Duration> {
    map_opt(pair(number, unit), |(number, seconds)| {
        let number: f64 = number.parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    })
    .parse(input)
}

/// Parses `1`, `1.5`, `1.` or `.5`.
fn number(input: &str) -> IResult<&str, &str> {
    let fraction = || preceded(tag("."), digit1);
    alt((
        recognize(pair(digit1, fraction())),
        terminated(digit1, opt(tag("."))),
        recognize(fraction()),
    ))
    .parse(input)
}

/// Parses a unit and returns it in seconds. Longer names come before their prefixes.
fn unit(input: &str) -> IResult<&str, f64> {
    alt((
        value(1e-9, tag("ns")),
        value(1e-6, alt((tag("us"), tag("µs"), tag("μs")))),
        value(1e-3, tag("ms")),
        value(1.0, tag("s")),
        value(60.0, tag("m")),
        value(3600.0, tag("h")),
    ))
    .parse(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, millis) in [
            ("1.5s", 1500),
            (".5s", 500),
            ("1.s", 1000),
            ("100ms", 100),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1m1ms", 60_001),
            ("0", 0),
            ("0s", 0),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Some(duration), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            ".s",
            "1x",
            "-1s",
            "1.2.3s",
            "1s2",
            " 1s",
            "1s ",
            "1 s",
            "٣s",
            "9999999999999999999999h",
            "300000000000000h300000000000000000h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_a_duration_or_none(text in "\\PC{0,20}|([0-9]{1,4}(ns|us|ms|s|m|h)){1,4}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn milliseconds_are_read_back(millis in 0_u64..1_000_000_000) {
            let read = parse_duration(&format!("{millis}ms")).unwrap();
            prop_assert_eq!(read.as_millis(), u128::from(millis));
        }
    }
}
