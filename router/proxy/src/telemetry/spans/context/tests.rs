//! Trace contexts from peers: which are read, which are propagated, and which are ignored.

use proptest::prelude::*;

use super::super::keys::Carried;
use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const RANDOM: [u64; 3] = [0x11, 0x22, 0x33];

fn carrier(entries: &[(&str, &str)]) -> Carrier {
    let mut carrier = Carrier::default();
    for (name, value) in entries {
        let known = |known: &&str| known.eq_ignore_ascii_case(name);
        let at = NAMES.iter().position(known).unwrap();
        let again = carrier[at].is_some();
        carrier[at] = Some(Carried {
            name: (*name).into(),
            value: value.as_bytes().into(),
            again,
        });
    }
    carrier
}

/// Returns the context, and the entries of the request afterwards.
fn through(entries: &[(&str, &str)], draw: bool) -> (Context, Vec<(String, String)>) {
    let carrier = carrier(entries);
    let incoming = Incoming::read(&carrier);
    let context = incoming.context(RANDOM, draw);
    let mut after: Vec<(String, String)> = entries
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    for write in incoming.writes(&context) {
        after.retain(|(name, _)| **name != *write.name);
        after.extend(write.value.map(|value| (write.name.to_string(), value)));
    }
    after.sort();
    (context, after)
}

fn after(entries: &[(&str, &str)], draw: bool) -> Vec<(String, String)> {
    through(entries, draw).1
}

fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    entries.iter().map(owned).collect()
}

#[test]
fn a_trace_begins_where_none_is() {
    for (draw, flags) in [(true, "01"), (false, "00")] {
        let (context, after) = through(&[], draw);
        assert_eq!((context.parent, context.sampled), (None, draw));
        let expected = format!("00-00000000000000110000000000000022-0000000000000033-{flags}");
        assert_eq!(after, pairs(&[("traceparent", &expected)]));
    }
}

#[test]
fn a_recorded_trace_goes_on_with_a_new_span() {
    let came = format!("00-{TRACE}-{SPAN}-01");
    let entries = [("Traceparent", came.as_str()), ("tracestate", "a=1,b=2")];
    let (context, after) = through(&entries, false);
    assert_eq!(context.parent, Some(0x00f0_67aa_0ba9_02b7));
    assert!(context.sampled);
    let child = format!("00-{TRACE}-0000000000000033-01");
    // The name has the client's spelling, and occurs only once.
    let expected = pairs(&[("Traceparent", &child), ("tracestate", "a=1,b=2")]);
    assert_eq!(after, expected);
}

#[test]
fn a_trace_that_is_not_recorded_passes_as_it_is() {
    let came = format!("00-{TRACE}-{SPAN}-00");
    let entries = [("traceparent", came.as_str()), ("tracestate", "a=1")];
    let (context, after) = through(&entries, true);
    assert!(!context.sampled);
    assert_eq!(after, pairs(&entries));
    let unreadable = [("traceparent", came.as_str()), ("tracestate", "nonsense")];
    let after = self::after(&unreadable, true);
    assert_eq!(after, pairs(&[("traceparent", &came)]));
}

#[test]
fn what_is_malformed_is_not_handed_on() {
    let came = format!("00-{TRACE}-{SPAN}-01");
    let upper = came.to_uppercase();
    let fresh = "00-00000000000000110000000000000022-0000000000000033-01";
    for bad in [upper.as_str(), "", "nonsense"] {
        let entries = [("traceparent", bad), ("tracestate", "a=1")];
        assert_eq!(after(&entries, true), pairs(&[("traceparent", fresh)]));
    }
    let twice = [
        ("traceparent", came.as_str()),
        ("traceparent", came.as_str()),
    ];
    assert_eq!(after(&twice, true), pairs(&[("traceparent", fresh)]));
    let b3 = "00000000000000110000000000000022-0000000000000033-1";
    let expected = pairs(&[("b3", b3), ("traceparent", fresh)]);
    assert_eq!(after(&[("b3", "nonsense")], true), expected);
}

#[test]
fn b3_goes_on_in_the_form_in_which_it_came() {
    let came = format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90");
    let b3 = format!("{TRACE}-0000000000000033-1-{SPAN}");
    let parent = format!("00-{TRACE}-0000000000000033-01");
    let expected = pairs(&[("b3", &b3), ("traceparent", &parent)]);
    assert_eq!(after(&[("b3", &came)], false), expected);

    let entries = [
        ("X-B3-Sampled", "0"),
        ("X-B3-SpanId", SPAN),
        ("X-B3-TraceId", "a3ce929d0e0e4736"),
    ];
    let expected = pairs(&[
        ("X-B3-ParentSpanId", SPAN),
        ("X-B3-Sampled", "0"),
        ("X-B3-SpanId", "0000000000000033"),
        ("X-B3-TraceId", "a3ce929d0e0e4736"),
        (
            "traceparent",
            "00-0000000000000000a3ce929d0e0e4736-0000000000000033-00",
        ),
    ]);
    assert_eq!(after(&entries, true), expected);
}

#[test]
fn lower_case_and_debug_stay_what_they_are() {
    let entries = [
        ("x-b3-flags", "1"),
        ("x-b3-spanid", SPAN),
        ("x-b3-traceid", TRACE),
    ];
    let (context, after) = through(&entries, false);
    assert!(context.sampled);
    let parent = format!("00-{TRACE}-0000000000000033-01");
    let expected = pairs(&[
        ("traceparent", &parent),
        ("x-b3-flags", "1"),
        ("x-b3-parentspanid", SPAN),
        ("x-b3-spanid", "0000000000000033"),
        ("x-b3-traceid", TRACE),
    ]);
    assert_eq!(after, expected);
}

#[test]
fn a_decision_alone_decides_a_trace_that_begins() {
    assert!(!through(&[("b3", "0")], true).0.sampled);
    assert!(through(&[("b3", "d")], false).0.sampled);
    assert!(through(&[("X-B3-Sampled", "1")], false).0.sampled);
    // With ids but no decision, the proxy decides.
    let ids = format!("{TRACE}-{SPAN}");
    assert!(through(&[("b3", &ids)], true).0.sampled);
    assert!(!through(&[("b3", &ids)], false).0.sampled);
}

#[test]
fn w3c_goes_before_b3() {
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = "00000000000000aa00000000000000bb-00000000000000cc-0";
    let (context, after) = through(&[("b3", b3), ("traceparent", &w3c)], false);
    assert_eq!(format!("{:032x}", context.trace), TRACE);
    assert!(context.sampled);
    let b3 = format!("{TRACE}-0000000000000033-1-{SPAN}");
    let parent = format!("00-{TRACE}-0000000000000033-01");
    assert_eq!(after, pairs(&[("b3", &b3), ("traceparent", &parent)]));
}

proptest! {
    #[test]
    fn whatever_comes_one_context_goes_on(
        values in proptest::collection::vec((0..NAMES.len(), "[0-9a-f-]{0,60}"), 0..6),
        good: bool,
        random: [u64; 3],
        draw: bool,
    ) {
        let w3c = format!("00-{TRACE}-{SPAN}-01");
        let mut entries: Vec<(&str, &str)> =
            values.iter().map(|(at, value)| (NAMES[*at], value.as_str())).collect();
        if good {
            entries.retain(|(name, _)| *name != "traceparent");
            entries.push(("traceparent", &w3c));
        }
        let carrier = carrier(&entries);
        let incoming = Incoming::read(&carrier);
        let context = incoming.context(random, draw);
        prop_assert!(context.trace != 0 && context.span != 0);
        if good {
            prop_assert_eq!(format!("{:032x}", context.trace), TRACE);
        }
        let writes = incoming.writes(&context);
        let mut names: Vec<_> = writes.iter().map(|write| write.name.to_ascii_lowercase()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        prop_assert_eq!(names.len(), count, "a name is written twice");
        // The propagated context must read as the same context.
        let mut next = carrier.clone();
        for write in writes {
            let known = |known: &&str| known.eq_ignore_ascii_case(&write.name);
            let at = NAMES.iter().position(known).unwrap();
            next[at] = write.value.map(|value| Carried {
                name: write.name.clone(), value: value.into_bytes().into(), again: false,
            });
        }
        let next = Incoming::read(&next).context([1, 2, 3], !context.sampled);
        prop_assert_eq!(next.trace, context.trace);
        prop_assert_eq!(next.sampled, context.sampled);
        if context.sampled {
            prop_assert_eq!(next.parent, Some(context.span));
        }
    }
}
