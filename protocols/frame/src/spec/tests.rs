//! Names, lookups and edits of a small protocol.

use super::*;

fn spec() -> Spec {
    Spec::new("test", "method", Correlation::Id { bits: 32 })
        .heartbeat(true)
        .keys([
            KeySpec::request("method", "m"),
            KeySpec::request("keys", "k").many(),
            KeySpec::request("note", "n")
                .editable()
                .at(Interest::Headers),
        ])
        .open([OpenKeys::new("header.", "h")
            .editable(true, false)
            .blind("the header block is compressed")])
        .replies(Reason::ALL)
}

#[test]
fn names_become_lookups() {
    let spec = spec();
    assert_eq!(
        spec.lookup("method"),
        Some((Lookup::Slot(KeyId(0)), Interest::Route))
    );
    assert_eq!(
        spec.lookup("keys"),
        Some((Lookup::Open("keys".into()), Interest::Route))
    );
    assert_eq!(
        spec.lookup("note"),
        Some((Lookup::Slot(KeyId(2)), Interest::Headers))
    );
    assert_eq!(
        spec.lookup("header.x"),
        Some((Lookup::Open("x".into()), Interest::Headers))
    );
    assert_eq!(spec.lookup("header."), None);
    assert_eq!(spec.lookup("x"), None);
}

#[test]
fn authorization_may_look_deeper_than_routes() {
    let mut spec = spec();
    spec.keys[0] = KeySpec::request("method", "m").authoritative_at(Interest::Body);
    let slot = Lookup::Slot(KeyId(0));
    assert_eq!(spec.lookup("method"), Some((slot.clone(), Interest::Route)));
    assert_eq!(spec.authoritative("method"), Some((slot, Interest::Body)));
    let header = (Lookup::Open("x".into()), Interest::Headers);
    assert_eq!(spec.authoritative("header.x"), Some(header));
    assert_eq!(spec.authoritative("x"), None);
    assert_eq!(
        spec.blind("header.x"),
        Some("the header block is compressed")
    );
    assert_eq!(spec.blind("method"), None);
}

#[test]
fn values_are_normalised_where_case_is_ignored() {
    let mut spec = spec();
    spec.keys[0] = KeySpec::request("method", "m").ignore_case();
    assert_eq!(spec.normalise("method", "FlushAll"), "flushall");
    assert_eq!(spec.normalise("note", "FlushAll"), "FlushAll");
    assert_eq!(spec.normalise("header.x", "A"), "A");
}

#[test]
fn the_longest_prefix_wins() {
    let mut spec = spec();
    let mut any = spec.open[0].clone();
    any.prefix = "".into();
    spec.open.insert(0, any);
    let open = |name: &str| spec.open_name(name).map(str::to_owned);
    assert_eq!(open("header.x").as_deref(), Some("x"));
    assert_eq!(open("x").as_deref(), Some("x"));
    assert_eq!(open("header.").as_deref(), Some("header."));
}

#[test]
fn edits_are_refused_where_the_protocol_cannot_carry_them() {
    let spec = spec();
    assert!(spec.editable("note", false) && !spec.editable("note", true));
    assert!(spec.editable("header.x", false) && !spec.editable("header.x", true));
    assert!(!spec.editable("method", false) && !spec.editable("y", false));
    assert_eq!(
        spec.editable_names(false),
        "it can change note, header.<name>"
    );
    assert_eq!(spec.editable_names(true), "nothing in it can be changed");
}
