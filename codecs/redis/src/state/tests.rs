//! What is replayed of a connection, and in what order.

use super::*;
use crate::tests::commands;

fn after(lines: &[&str]) -> State {
    let mut state = State::default();
    for line in lines {
        let args = Args::read(line.as_bytes());
        if let Some(change) = change(resolve(&args).unwrap(), &args) {
            state.apply(change);
        }
    }
    state
}

#[test]
fn the_same_state_is_the_same_session() {
    let one = after(&[
        "AUTH u p",
        "HELLO 3",
        "CLIENT SETNAME app",
        "SELECT 5",
        "READONLY",
    ]);
    let other = after(&[
        "SELECT 7",
        "AUTH u p",
        "READONLY",
        "CLIENT SETNAME app",
        "select 5",
        "hello 3",
    ]);
    assert!(one.session().same(&other.session()));
    assert_eq!(one.session().replies(), 5);
    assert!(
        one.session()
            .preamble()
            .starts_with(b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n")
    );
}

#[test]
fn what_a_user_did_is_replayed_as_that_user() {
    for (lines, expected) in [
        (
            &["HELLO 3 AUTH u p SETNAME app"][..],
            "HELLO 3 AUTH u p SETNAME app",
        ),
        (&["SELECT 9", "AUTH u p"], "SELECT 9\nAUTH u p"),
        (
            &["AUTH a p", "SELECT 5", "AUTH b p", "CLIENT SETNAME n"],
            "AUTH a p\nSELECT 5\nAUTH b p\nCLIENT SETNAME n",
        ),
        (
            &["AUTH a p", "SELECT 5", "AUTH b p", "SELECT 6"],
            "AUTH b p\nSELECT 6",
        ),
        (
            &["AUTH a p", "SELECT 5", "AUTH b p", "SELECT 0"],
            "AUTH b p",
        ),
        (
            &["AUTH a p", "SELECT 5", "AUTH b p", "AUTH a p"],
            "AUTH a p\nSELECT 5",
        ),
        (
            &["HELLO 3", "AUTH u p", "HELLO 3 SETNAME n"],
            "AUTH u p\nHELLO 3 SETNAME n",
        ),
        (&["HELLO 3", "AUTH u p", "HELLO 2"], "AUTH u p"),
        (&["HELLO 2 AUTH u p"], "HELLO 2 AUTH u p"),
        (
            &["CLIENT NO-EVICT on", "CLIENT NO-TOUCH ON"],
            "CLIENT NO-EVICT ON\nCLIENT NO-TOUCH ON",
        ),
    ] {
        let session = after(lines).session();
        assert_eq!(commands(session.preamble()), expected, "{lines:?}");
        assert!(State::of(&session).session().same(&session), "{lines:?}");
    }
}

#[test]
fn a_new_password_takes_the_place_of_the_old_one() {
    for (lines, expected) in [
        (
            &["AUTH old", "SELECT 5", "AUTH new"][..],
            "AUTH new\nSELECT 5",
        ),
        (&["SELECT 5", "AUTH new"], "AUTH new\nSELECT 5"),
        (
            &[
                "AUTH a old",
                "SELECT 5",
                "AUTH b p",
                "CLIENT SETNAME n",
                "AUTH a new",
            ],
            "AUTH a new\nSELECT 5\nAUTH b p\nCLIENT SETNAME n\nAUTH a new",
        ),
    ] {
        assert_eq!(commands(after(lines).session().preamble()), expected);
    }
}

#[test]
fn what_is_for_show_may_fail() {
    let session = after(&[
        "AUTH u p",
        "SELECT 5",
        "CLIENT SETNAME n",
        "CLIENT SETINFO lib-name l",
        "CLIENT NO-TOUCH on",
        "READONLY",
    ])
    .session();
    let may: Vec<bool> = (0..6).map(|place| session.may_fail(place)).collect();
    assert_eq!(may, [false, false, true, true, true, false]);
}

#[test]
fn the_library_outlives_a_reset() {
    let state = after(&["AUTH u p", "CLIENT SETINFO lib-name l", "CLIENT SETNAME n"]);
    let session = state.reset(&Session::default()).session();
    assert_eq!(commands(session.preamble()), "CLIENT SETINFO LIB-NAME l");
}

#[test]
fn what_is_taken_back_is_plain() {
    let state = after(&[
        "HELLO 3",
        "SELECT 5",
        "CLIENT SETNAME a",
        "READONLY",
        "HELLO 2",
        "SELECT 0",
        "CLIENT SETNAME \"\"",
        "READWRITE",
    ]);
    assert!(state.session().is_plain());
    assert!(
        after(&[
            "HELLO",
            "SELECT x",
            "SELECT -1",
            "AUTH",
            "CLIENT SETINFO x y",
            "HELLO 9"
        ])
        .session()
        .is_plain()
    );
}

#[test]
fn a_session_is_read_back() {
    let state = after(&[
        "AUTH p",
        "HELLO 3",
        "SELECT 2",
        "CLIENT SETINFO lib-name l",
        "CLIENT SETINFO LIB-VER 1",
        "CLIENT SETNAME n",
        "READONLY",
    ]);
    let session = state.session();
    assert_eq!(session.replies(), 7);
    let again = State::of(&session);
    assert!(again.resp3 && again.session().same(&session));
}
