//! Slots, words and open metadata.

use super::*;

fn pairs<'b>(wire: &'b [u8], region: Span, visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>) {
    for pair in region.of(wire).unwrap_or_default().chunks_exact(2) {
        let entry = Entry {
            name: (&pair[..1]).into(),
            value: (&pair[1..]).into(),
        };
        if visit(entry).is_break() {
            return;
        }
    }
}

#[test]
fn slots_and_open_entries_are_found() {
    let wire = b"getk1k2v3";
    let mut attributes = Attributes::new();
    attributes.set_span(KeyId(0), Span::new(0, 3));
    attributes.set_static(KeyId(1), "read");
    attributes.set_kept(KeyId(2), b"rebuilt".to_vec());
    attributes.set_open(Open::Walk {
        region: Span::new(3, 9),
        walk: pairs,
    });

    let slot = |id| attributes.first(&Lookup::Slot(KeyId(id)), wire);
    assert_eq!(slot(0).as_deref(), Some(&b"get"[..]));
    assert_eq!(slot(1).as_deref(), Some(&b"read"[..]));
    assert_eq!(slot(2).as_deref(), Some(&b"rebuilt"[..]));
    assert_eq!(slot(3), None);
    assert_eq!(slot(99), None);

    let key = Lookup::Open("k".into());
    assert_eq!(attributes.first(&key, wire).as_deref(), Some(&b"1"[..]));
    assert!(attributes.any(&key, wire, &mut |value| value == b"2"));
    assert!(!attributes.any(&key, wire, &mut |value| value == b"3"));
    assert!(!attributes.any(&Lookup::Open("z".into()), wire, &mut |_| true));
}

#[test]
fn words_given_beforehand_are_those_set_one_by_one() {
    let words = [(KeyId(3), "a"), (KeyId(0), "b"), (KeyId(11), "c")];
    let mut set = Attributes::new();
    for (key, word) in words {
        set.set_static(key, word);
    }
    let mut given = Attributes::of_words(words);
    for attributes in [&mut set, &mut given] {
        for key in [1, 2, 4, 5] {
            attributes.set_static(KeyId(key), "later");
        }
    }
    assert_eq!(format!("{given:?}"), format!("{set:?}"));
    assert_eq!(given.slot(KeyId(11), b""), Some(&b"c"[..]));
    assert_eq!(given.slot(KeyId(5), b""), Some(&b"later"[..]));
    let walked = given.with_walk(Span::new(0, 2), pairs);
    let key = Lookup::Open("k".into());
    assert_eq!(walked.first(&key, b"kv").as_deref(), Some(&b"v"[..]));
}

#[test]
fn undetermined_attributes_are_marked_one_by_one() {
    let mut attributes = Attributes::new();
    let (first, last) = (KeyId(0), KeyId(MAX_KEYS as u8 - 1));
    let open = Lookup::Open("x".into());
    assert!(!attributes.has_undetermined());
    attributes.set_undetermined(last);
    assert!(attributes.is_undetermined(&Lookup::Slot(last)) && attributes.has_undetermined());
    assert!(!attributes.is_undetermined(&Lookup::Slot(first)));
    assert!(!attributes.is_undetermined(&open));
    attributes.set_open_undetermined();
    assert!(attributes.is_undetermined(&open));
    // A guess leaves the key undetermined, and other keys are not affected.
    attributes.set_static(last, "guess");
    assert!(attributes.is_undetermined(&Lookup::Slot(last)));
    attributes.set_undetermined(KeyId(u8::MAX));
    assert!(!attributes.is_undetermined(&Lookup::Slot(KeyId(u8::MAX))));
}

#[test]
fn a_span_outside_the_wire_is_absent() {
    let mut attributes = Attributes::new();
    attributes.set_span(KeyId(0), Span::new(2, 9));
    assert_eq!(attributes.slot(KeyId(0), b"abc"), None);
    assert_eq!(Span { start: 3, end: 1 }.of(b"abcdef"), None);
}
