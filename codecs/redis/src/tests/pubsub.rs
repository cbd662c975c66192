//! Subscriptions, monitoring and pushes.

use meltemi_frame::{Bind, Decoded, Interest, Kind, Protocol, Session};

use super::{Dialogue, ERR, FREE, OK};
use crate::Redis;

fn confirmation(mark: char, word: &str, channel: &str, count: u32) -> String {
    format!(
        "{mark}3\r\n${}\r\n{word}\r\n${}\r\n{channel}\r\n:{count}\r\n",
        word.len(),
        channel.len()
    )
}

#[test]
fn the_first_confirmation_answers_and_the_others_are_pushed() {
    for (mark, session) in [('*', Session::default()), ('>', resp3())] {
        let mut dialogue = Dialogue::with(&Redis::new(), &session);
        let head = dialogue.ask("SUBSCRIBE a b\r\n");
        assert_eq!((head.kind, head.bind), (Kind::Request, Bind::Pin));
        assert_eq!(
            dialogue.say(&confirmation(mark, "subscribe", "a", 1)),
            Kind::Response
        );
        assert_eq!(
            dialogue.say(&confirmation(mark, "subscribe", "b", 2)),
            Kind::Push
        );
        assert_eq!(
            dialogue.say(&format!(
                "{mark}3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"
            )),
            Kind::Push
        );
        assert!(dialogue.pinned());
        dialogue.ask("PSUBSCRIBE c*\r\n");
        assert_eq!(
            dialogue.say(&confirmation(mark, "psubscribe", "c*", 3)),
            Kind::Response
        );
        assert_eq!(
            dialogue.say(&format!(
                "{mark}4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\ncc\r\n$1\r\nx\r\n"
            )),
            Kind::Push
        );
        dialogue.ask("UNSUBSCRIBE\r\n");
        assert_eq!(
            dialogue.say(&confirmation(mark, "unsubscribe", "a", 2)),
            Kind::Response
        );
        assert_eq!(
            dialogue.say(&confirmation(mark, "unsubscribe", "b", 1)),
            Kind::Push
        );
        assert!(dialogue.pinned());
        dialogue.ask("PUNSUBSCRIBE c*\r\n");
        assert_eq!(
            dialogue.say(&confirmation(mark, "punsubscribe", "c*", 0)),
            Kind::Response
        );
        assert!(!dialogue.pinned());
        assert_eq!(dialogue.ask("GET k\r\n").bind, FREE);
    }
}

fn resp3() -> Session {
    let mut preamble = Vec::new();
    crate::state::write(&mut preamble, &[b"HELLO", b"3"]);
    // The replies to the preamble are not what is tested here.
    Session::new(preamble, 0)
}

/// A pinned connection is often a new one: its preamble is still unanswered when it subscribes.
#[test]
fn the_reply_to_the_preamble_is_not_that_to_subscribe() {
    let mut preamble = Vec::new();
    crate::state::write(&mut preamble, &[b"HELLO", b"3"]);
    let mut dialogue = Dialogue::with(&Redis::new(), &Session::new(preamble, 1));
    dialogue.ask("SUBSCRIBE a\r\n");
    assert!(matches!(
        dialogue
            .client
            .decode(b"%1\r\n+proto\r\n:3\r\n", Interest::Route),
        Ok(Decoded::Skip(16))
    ));
    assert_eq!(
        dialogue.say(&confirmation('>', "subscribe", "a", 1)),
        Kind::Response
    );
}

#[test]
fn resp2_messages_are_told_from_replies() {
    let mut dialogue = Dialogue::new();
    dialogue.ask("SUBSCRIBE a\r\n");
    dialogue.ask("PING\r\n");
    dialogue.ask("GET k\r\n");
    assert_eq!(
        dialogue.say(&confirmation('*', "subscribe", "a", 1)),
        Kind::Response
    );
    assert_eq!(
        dialogue.say("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
        Kind::Push
    );
    assert_eq!(
        dialogue.say("*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        Kind::Response
    );
    assert_eq!(dialogue.say("-ERR Can't execute 'get'\r\n"), Kind::Response);
    assert!(dialogue.pinned());
}

#[test]
fn a_list_that_looks_like_a_message_is_a_reply_where_nobody_subscribed() {
    let mut dialogue = Dialogue::new();
    dialogue.ask("LRANGE l 0 -1\r\n");
    assert_eq!(
        dialogue.say("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
        Kind::Response
    );
    assert!(!dialogue.pinned());
    let mut dialogue = Dialogue::with(&Redis::new(), &resp3());
    dialogue.ask("SUBSCRIBE a\r\n");
    dialogue.ask("LRANGE l 0 -1\r\n");
    assert_eq!(
        dialogue.say(&confirmation('>', "subscribe", "a", 1)),
        Kind::Response
    );
    assert_eq!(
        dialogue.say("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
        Kind::Response
    );
}

#[test]
fn a_refused_subscription_is_answered_and_holds_nothing() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("SUBSCRIBE a\r\n", "-NOPERM no\r\n");
    assert!(!dialogue.pinned());
    dialogue.ask("SSUBSCRIBE a\r\n");
    dialogue.fail();
    assert!(!dialogue.pinned());
    dialogue.exchange("SUBSCRIBE\r\n", ERR);
    assert!(!dialogue.pinned());
}

#[test]
fn shards_are_counted_apart() {
    let mut dialogue = Dialogue::new();
    dialogue.ask("SSUBSCRIBE s\r\n");
    dialogue.say(&confirmation('*', "ssubscribe", "s", 1));
    dialogue.ask("SUBSCRIBE a\r\n");
    dialogue.say(&confirmation('*', "subscribe", "a", 1));
    dialogue.ask("UNSUBSCRIBE a\r\n");
    dialogue.say(&confirmation('*', "unsubscribe", "a", 0));
    assert!(dialogue.pinned());
    dialogue.ask("SUNSUBSCRIBE\r\n");
    dialogue.say(&confirmation('*', "sunsubscribe", "s", 0));
    assert!(!dialogue.pinned());
}

#[test]
fn an_unsubscription_without_any_is_confirmed_once() {
    let mut dialogue = Dialogue::new();
    assert_eq!(dialogue.ask("UNSUBSCRIBE\r\n").bind, Bind::Pin);
    assert!(dialogue.pinned());
    assert_eq!(
        dialogue.say("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"),
        Kind::Response
    );
    assert!(!dialogue.pinned());
}

#[test]
fn confirmations_come_even_without_replies() {
    let mut dialogue = Dialogue::new();
    dialogue.ask("CLIENT REPLY OFF\r\n");
    dialogue.ask("SUBSCRIBE a b\r\n");
    let (first, second) = (
        confirmation('*', "subscribe", "a", 1),
        confirmation('*', "subscribe", "b", 2),
    );
    assert_eq!(dialogue.say(&first), Kind::Response);
    assert_eq!(dialogue.say(&second), Kind::Push);
    assert_eq!(dialogue.downstream, (first + &second).as_bytes());
    dialogue.downstream.clear();
    dialogue.exchange("PING\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert!(dialogue.downstream.is_empty());
    assert_eq!(dialogue.local("CLIENT REPLY ON\r\n"), OK);
}

#[test]
fn a_subscription_within_a_transaction_keeps_the_connection() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.exchange("SUBSCRIBE a b\r\n", "+QUEUED\r\n");
    dialogue.exchange(
        "EXEC\r\n",
        &format!("*1\r\n{}", confirmation('*', "subscribe", "a", 1)),
    );
    assert_eq!(
        dialogue.say(&confirmation('*', "subscribe", "b", 2)),
        Kind::Push
    );
    dialogue.exchange("PING\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert!(dialogue.pinned());

    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.exchange("SUBSCRIBE\r\n", ERR);
    dialogue.exchange("SUBSCRIBE a b\r\n", "+QUEUED\r\n");
    dialogue.exchange("DISCARD\r\n", OK);
    assert!(
        dialogue.pinned(),
        "the client side still waits for confirmations there"
    );
}

#[test]
fn a_monitor_is_pushed_to() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("MONITOR\r\n", OK);
    dialogue.exchange("PING\r\n", "+PONG\r\n");
    assert_eq!(
        dialogue.say("+1795388629.055534 [0 127.0.0.1:44778] \"PING\"\r\n"),
        Kind::Push
    );
    assert!(dialogue.pinned());
}

#[test]
fn resp3_pushes_are_pushes_everywhere() {
    let mut dialogue = Dialogue::new();
    assert_eq!(
        dialogue.say(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"),
        Kind::Push
    );
    dialogue.ask("SUBSCRIBE a\r\n");
    assert_eq!(
        dialogue.say(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"),
        Kind::Push
    );
    assert_eq!(
        dialogue.say(&confirmation('>', "subscribe", "a", 1)),
        Kind::Response
    );
    assert_eq!(Redis::new().spec().name, "redis");
}
