//! Sessions, logins and guards.

use std::sync::Arc;

use meltemi_frame::{Bind, Decoded, Interest, Kind, Limits, Protocol, Session, Side};

use super::{Dialogue, ERR, FREE, OK, lost};
use crate::Redis;

#[test]
fn a_session_changes_when_the_reply_says_so() {
    let mut dialogue = Dialogue::new();
    assert_eq!(dialogue.ask("SELECT 5\r\n").bind, Bind::Session);
    assert_eq!(dialogue.session(), "");
    dialogue.say(OK);
    assert_eq!(dialogue.session(), "SELECT 5");
    assert!(!dialogue.pinned());
    dialogue.exchange("SELECT 99\r\n", ERR);
    assert_eq!(dialogue.session(), "SELECT 5");
    dialogue.exchange(
        "*3\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$0\r\n\r\n"
            .replace("*3", "*2")
            .trim_end_matches("$0\r\n\r\n"),
        "%0\r\n",
    );
    dialogue.exchange("AUTH u p\r\n", OK);
    dialogue.exchange("CLIENT SETNAME app\r\n", OK);
    dialogue.exchange("CLIENT SETINFO LIB-NAME lib\r\n", ERR);
    dialogue.exchange("CLIENT SETINFO LIB-VER 1\r\n", OK);
    dialogue.exchange("READONLY\r\n", OK);
    assert_eq!(
        dialogue.session(),
        "HELLO 3\nSELECT 5\nAUTH u p\nCLIENT SETNAME app\nCLIENT SETINFO LIB-VER 1\nREADONLY"
    );
    assert_eq!(dialogue.server.session().replies(), 6);
    dialogue.exchange("SELECT 0\r\n", OK);
    dialogue.exchange("READWRITE\r\n", OK);
    assert!(!dialogue.session().contains("SELECT") && !dialogue.session().contains("READONLY"));
}

#[test]
fn the_reply_that_counts_is_that_of_the_request() {
    let mut dialogue = Dialogue::new();
    for request in ["GET a\r\n", "SELECT 1\r\n", "GET b\r\n", "SELECT 2\r\n"] {
        dialogue.ask(request);
    }
    for (reply, session) in [
        (ERR, ""),
        (OK, "SELECT 1"),
        ("$-1\r\n", "SELECT 1"),
        (ERR, "SELECT 1"),
    ] {
        dialogue.say(reply);
        assert_eq!(dialogue.session(), session);
    }
    dialogue.ask("SELECT 3\r\n");
    dialogue.fail();
    assert_eq!(dialogue.session(), "SELECT 1");
}

#[test]
fn a_large_reply_counts_when_it_ends() {
    let mut dialogue = Dialogue::new();
    dialogue.ask("ECHO x\r\n");
    dialogue.ask("SELECT 1\r\n");
    let large = format!("$200000\r\n{}\r\n", "x".repeat(200_000));
    let mut rest = large.as_bytes();
    let mut pieces = 0;
    while !rest.is_empty() {
        let Ok(Decoded::Message(message, taken)) = dialogue.client.decode(rest, Interest::Route)
        else {
            panic!()
        };
        let kind = if pieces == 0 {
            Kind::Response
        } else {
            Kind::Data
        };
        assert_eq!(
            (message.head.kind, message.head.end),
            (kind, taken == rest.len())
        );
        let mut out = meltemi_frame::Output::new();
        dialogue.server.encode(&message, &mut out).unwrap();
        rest = &rest[taken..];
        pieces += 1;
        assert_eq!(dialogue.session(), "");
    }
    assert!(pieces > 1);
    dialogue.say(OK);
    assert_eq!(dialogue.session(), "SELECT 1");
}

#[test]
fn what_changes_nothing_is_free() {
    let mut dialogue = Dialogue::new();
    for request in ["HELLO\r\n", "AUTH\r\n"] {
        assert_eq!(dialogue.ask(request).bind, FREE);
        dialogue.say(ERR);
    }
    assert_eq!(dialogue.exchange("SELECT x\r\n", ERR).bind, Bind::Pin);
    assert!(!dialogue.pinned());
    assert_eq!(
        dialogue.exchange("AUTH u p\r\n", "+QUEUED\r\n").bind,
        Bind::Login
    );
    assert!(dialogue.pinned(), "a transaction that was not seen");
}

#[test]
fn a_hello_changes_all_or_nothing() {
    let mut dialogue = Dialogue::new();
    assert_eq!(
        dialogue.local("HELLO 4\r\n"),
        "-NOPROTO unsupported protocol version\r\n"
    );
    assert!(
        dialogue
            .local("HELLO x\r\n")
            .starts_with("-ERR Protocol version is not an integer")
    );
    assert!(
        dialogue
            .local("HELLO 3 SETNAME a NOSUCH\r\n")
            .starts_with("-ERR Syntax error in HELLO")
    );
    assert!(
        dialogue
            .local("HELLO 3 SETNAME 'a b'\r\n")
            .starts_with("-ERR Client names cannot")
    );
    dialogue.ask("HELLO 3 SETNAME a AUTH u p\r\n");
    let wire = String::from_utf8(dialogue.upstream.clone()).unwrap();
    assert!(
        wire.find("AUTH") < wire.find("SETNAME"),
        "else a refused AUTH leaves the name"
    );
    dialogue.say("%0\r\n");
    assert_eq!(dialogue.session(), "HELLO 3 AUTH u p SETNAME a");
}

#[test]
fn every_client_starts_with_the_session_given() {
    let protocol = Redis::new();
    let mut preamble = Vec::new();
    crate::state::write(&mut preamble, &[b"SELECT", b"3"]);
    let session = Session::new(preamble, 1);
    let mut dialogue = Dialogue::new();
    dialogue.server = protocol.codec(Side::Server, &Limits::default(), &session);
    assert_eq!(dialogue.session(), "SELECT 3");
    dialogue.exchange("CLIENT SETNAME a\r\n", OK);
    assert_eq!(dialogue.session(), "SELECT 3\nCLIENT SETNAME a");
    dialogue.local("RESET\r\n");
    assert_eq!(dialogue.session(), "SELECT 3");
}

#[test]
fn replies_to_the_preamble_are_taken() {
    let login = Redis::new().login(Some("u"), "p").unwrap();
    assert_eq!(super::commands(login.preamble()), "AUTH u p");
    let mut codec = Redis::new().codec(Side::Client, &Limits::default(), &login);
    assert!(matches!(
        codec.decode(b"+OK\r\n+PONG\r\n", Interest::Route),
        Ok(Decoded::Skip(5))
    ));
    assert!(matches!(
        codec.decode(b"+PONG\r\n", Interest::Route),
        Ok(Decoded::Message(..))
    ));

    let mut codec = Redis::new().codec(Side::Client, &Limits::default(), &login);
    lost(codec.decode(b"-WRONGPASS no\r\n", Interest::Route));
    assert!(Redis::new().login(None, "").is_err());
}

fn guarded() -> Dialogue {
    let protocol: Arc<dyn Protocol> = Redis::new().guarded(None, "secret").unwrap();
    Dialogue::with(&*protocol, &Session::default())
}

#[test]
fn a_guarded_server_lets_nobody_in_without_the_password() {
    let mut dialogue = guarded();
    for request in [
        "GET k\r\n",
        "MULTI\r\n",
        "SUBSCRIBE a\r\n",
        "NOSUCH\r\n",
        "PING\r\n",
        "SYNC\r\n",
    ] {
        assert_eq!(
            dialogue.local(request),
            "-NOAUTH Authentication required.\r\n",
            "{request}"
        );
        assert!(!dialogue.pinned());
    }
    for request in ["HELLO\r\n", "HELLO 3\r\n"] {
        assert!(
            dialogue
                .local(request)
                .starts_with("-NOAUTH HELLO must be called")
        );
    }
    for request in [
        "AUTH x\r\n",
        "AUTH default x\r\n",
        "AUTH u secret\r\n",
        "HELLO 3 AUTH default x\r\n",
    ] {
        assert!(dialogue.local(request).starts_with("-WRONGPASS "));
    }
    assert_eq!(dialogue.local("RESET\r\n"), "+RESET\r\n");
    assert!(dialogue.upstream.is_empty());
    assert_eq!(dialogue.local("AUTH secret\r\n"), OK);
    dialogue.exchange("GET k\r\n", "$-1\r\n");
    assert_eq!(dialogue.session(), "", "the credentials are the proxy's");
    assert!(dialogue.local("AUTH x\r\n").starts_with("-WRONGPASS "));
    dialogue.exchange("GET k\r\n", "$-1\r\n");
    dialogue.local("RESET\r\n");
    assert!(dialogue.local("GET k\r\n").starts_with("-NOAUTH"));
}

#[test]
fn a_hello_reaches_the_server_without_the_credentials() {
    let mut dialogue = guarded();
    dialogue.exchange("HELLO 3 AUTH default secret SETNAME app\r\n", "%0\r\n");
    assert_eq!(super::commands(&dialogue.upstream), "HELLO 3 SETNAME app");
    assert_eq!(dialogue.session(), "HELLO 3 SETNAME app");
    assert_eq!(dialogue.exchange("GET k\r\n", "_\r\n").bind, FREE);
}

#[test]
fn strangers_cannot_make_the_proxy_hold_much() {
    let limits = Limits::default();
    let protocol = Redis::new().guarded(None, "secret").unwrap();
    let mut codec = protocol.codec(Side::Server, &limits, &Session::default());
    lost(codec.decode(b"*11\r\n", Interest::Route));
    let mut codec = protocol.codec(Side::Server, &limits, &Session::default());
    lost(codec.decode(b"*2\r\n$3\r\nGET\r\n$20000\r\n", Interest::Route));
}

#[test]
fn a_guard_tells_nothing_of_its_password() {
    assert_eq!(
        format!("{:?}", Redis::new()),
        "Redis { guarded: false, .. }"
    );
    assert!(
        Redis::new().guarded(Some(""), "p").is_err() && Redis::new().guarded(None, "").is_err()
    );
}

#[test]
fn who_was_refused_by_the_server_is_a_stranger() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    assert!(matches!(
        dialogue.server.decode(b"*10\r\n", Interest::Route),
        Ok(Decoded::Incomplete(_))
    ));
    let mut dialogue = Dialogue::new();
    dialogue.exchange("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    lost(dialogue.server.decode(b"*11\r\n", Interest::Route));
    let mut dialogue = Dialogue::new();
    dialogue.exchange("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    dialogue.exchange("AUTH p\r\n", OK);
    assert!(matches!(
        dialogue.server.decode(b"*11\r\n", Interest::Route),
        Ok(Decoded::Incomplete(_))
    ));
}

#[test]
fn long_names_and_credentials_are_not_kept() {
    let (name, secret) = ("n".repeat(1025), "s".repeat((16 << 10) + 1));
    for request in [
        format!("CLIENT SETNAME {name}\r\n"),
        format!("CLIENT SETINFO lib-name {name}\r\n"),
        format!("CLIENT SETINFO lib-ver {name}\r\n"),
        format!("HELLO 3 SETNAME {name}\r\n"),
        format!("AUTH {secret}\r\n"),
        format!("AUTH {secret} p\r\n"),
        format!("HELLO 3 AUTH u {secret}\r\n"),
    ] {
        let mut dialogue = Dialogue::new();
        let said = dialogue.local(&request);
        assert!(said.starts_with("-ERR a "), "{said}");
        assert!(dialogue.session().is_empty() && !dialogue.pinned());
    }
    let mut dialogue = Dialogue::new();
    let name = name.get(1..).unwrap_or_default();
    dialogue.exchange(&format!("CLIENT SETNAME {name}\r\n"), OK);
    assert_eq!(dialogue.session(), format!("CLIENT SETNAME {name}"));
}
