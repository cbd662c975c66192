//! Reads and writes the B3 propagation of Zipkin (<https://github.com/openzipkin/b3-propagation>),
//! with a single header or several headers.

use super::context::{Parent, digits};

/// The content of B3 headers: a parent, or only a sampling decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Parent(Parent),
    Decision { sampled: bool, debug: bool },
}

/// The values of the separate headers. `None` if a header is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Several<'a> {
    pub(super) trace: Option<&'a [u8]>,
    pub(super) span: Option<&'a [u8]>,
    pub(super) parent: Option<&'a [u8]>,
    pub(super) sampled: Option<&'a [u8]>,
    pub(super) flags: Option<&'a [u8]>,
}

/// Reads the single header `b3`: `{trace}-{span}[-{decision}[-{parent}]]`, or a decision alone.
pub(super) fn read_single(value: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let (first, second) = (parts.next()?, parts.next());
    let Some(second) = second else {
        let (sampled, debug) = decision(first)?;
        return Some(Said::Decision { sampled, debug });
    };
    let decided = match parts.next() {
        Some(text) => Some(decision(text)?),
        None => None,
    };
    if let Some(parent) = parts.next() {
        digits(parent, 16)?;
    }
    if parts.next().is_some() {
        return None;
    }
    parent(first, second, decided).map(Said::Parent)
}

/// Reads the separate headers. `None` if they are malformed or contain nothing.
pub(super) fn read_several(headers: &Several<'_>) -> Option<Said> {
    let text = |value: Option<&'_ [u8]>| match value {
        Some(value) => std::str::from_utf8(value).ok().map(str::to_owned).map(Some),
        None => Some(None),
    };
    let debug = text(headers.flags)?.is_some_and(|flags| flags == "1");
    let decided = match text(headers.sampled)?.as_deref() {
        _ if debug => Some((true, true)),
        // Older tracers write words.
        Some("1" | "true") => Some((true, false)),
        Some("0" | "false") => Some((false, false)),
        Some(_) => return None,
        None => None,
    };
    if let Some(parent) = text(headers.parent)? {
        digits(&parent, 16)?;
    }
    match (text(headers.trace)?, text(headers.span)?) {
        (Some(trace), Some(span)) => parent(&trace, &span, decided).map(Said::Parent),
        (None, None) => decided.map(|(sampled, debug)| Said::Decision { sampled, debug }),
        _ => None,
    }
}

fn decision(text: &str) -> Option<(bool, bool)> {
    match text {
        "1" => Some((true, false)),
        "0" => Some((false, false)),
        "d" => Some((true, true)),
        _ => None,
    }
}

fn parent(trace: &str, span: &str, decided: Option<(bool, bool)>) -> Option<Parent> {
    let short = trace.len() == 16;
    let trace = digits(trace, if short { 16 } else { 32 })?;
    let span = u64::try_from(digits(span, 16)?).ok()?;
    (trace != 0 && span != 0).then_some(Parent {
        trace,
        span,
        sampled: decided.map(|(sampled, _)| sampled),
        debug: decided.is_some_and(|(_, debug)| debug),
        short,
    })
}

/// Returns a trace id with as many digits as its tracer writes.
pub(super) fn trace(trace: u128, short: bool) -> String {
    if short {
        format!("{trace:016x}")
    } else {
        format!("{trace:032x}")
    }
}

/// Writes the single header.
pub(super) fn write_single(
    id: &str,
    span: u64,
    sampled: bool,
    debug: bool,
    parent: Option<u64>,
) -> String {
    let decision = match (sampled, debug) {
        (_, true) => "d",
        (true, _) => "1",
        (false, _) => "0",
    };
    match parent {
        Some(parent) => format!("{id}-{span:016x}-{decision}-{parent:016x}"),
        None => format!("{id}-{span:016x}-{decision}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";

    fn single(text: &str) -> Option<Said> {
        read_single(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_specification() {
        let Some(Said::Parent(parent)) = single(EXAMPLE) else {
            panic!("not read");
        };
        assert_eq!(parent.trace, 0x80f1_98ee_5634_3ba8_64fe_8b2a_57d3_eff7);
        assert_eq!(parent.span, 0xe457_b5a2_e4d8_6bd1);
        assert_eq!(
            (parent.sampled, parent.debug, parent.short),
            (Some(true), false, false)
        );
        let several = Several {
            trace: Some(b"80f198ee56343ba864fe8b2a57d3eff7"),
            span: Some(b"e457b5a2e4d86bd1"),
            parent: Some(b"05e3ac9a4f6e3b90"),
            sampled: Some(b"1"),
            flags: None,
        };
        assert_eq!(read_several(&several), Some(Said::Parent(parent)));
    }

    #[test]
    fn a_decision_may_be_missing_or_alone() {
        let decision = |sampled, debug| Some(Said::Decision { sampled, debug });
        assert_eq!(single("0"), decision(false, false));
        assert_eq!(single("d"), decision(true, true));
        let Some(Said::Parent(parent)) = single("64fe8b2a57d3eff7-e457b5a2e4d86bd1") else {
            panic!("not read");
        };
        assert_eq!((parent.sampled, parent.short), (None, true));
        let flags = Several {
            flags: Some(b"1"),
            ..Several::default()
        };
        assert_eq!(read_several(&flags), decision(true, true));
        let words = Several {
            sampled: Some(b"false"),
            ..Several::default()
        };
        assert_eq!(read_several(&words), decision(false, false));
    }

    #[test]
    fn malformed_ones_are_ignored() {
        for bad in [
            "",
            "2",
            "-",
            "1-1",
            "d-",
            "80f198ee56343ba8-",
            "80f198ee56343ba8-e457b5a2e4d86bd1-",
            "80f198ee56343ba8-e457b5a2e4d86bd1-1-",
            "80f198ee56343ba8-e457b5a2e4d86bd1-1-05e3",
            "0000000000000000-e457b5a2e4d86bd1-1",
            "80f198ee56343ba8-0000000000000000-1",
            "80f198ee56343ba8é-e457b5a2e4d86bd1",
        ] {
            assert_eq!(single(bad), None, "{bad}");
        }
        assert_eq!(single(&format!("{EXAMPLE}-1")), None);
        let half = Several {
            trace: Some(b"80f198ee56343ba8"),
            ..Several::default()
        };
        assert_eq!(read_several(&half), None);
        let odd = Several {
            sampled: Some(b"yes"),
            ..Several::default()
        };
        assert_eq!(read_several(&odd), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id in 1_u128.., span in 1_u64.., sampled: bool, debug: bool, before: Option<u64>
        ) {
            let short = id <= u128::from(u64::MAX);
            let written = write_single(&trace(id, short), span, sampled || debug, debug, before);
            let expected = Parent {
                trace: id, span, sampled: Some(sampled || debug), debug, short,
            };
            prop_assert_eq!(single(&written), Some(Said::Parent(expected)));
        }

        #[test]
        fn whatever_comes_is_read_or_ignored(bytes: Vec<u8>, text in "[0-9a-fd-]{0,80}") {
            let _ = read_single(&bytes);
            let _ = single(&text);
            let several = Several {
                trace: Some(&bytes), span: Some(text.as_bytes()), ..Several::default()
            };
            let _ = read_several(&several);
        }
    }
}
