//! Transactions, and what else keeps an upstream connection for a client.

use meltemi_frame::{Bind, Decoded, Interest, Kind, Safety};

use super::{Dialogue, ERR, FREE, OK};

#[test]
fn a_transaction_holds_its_connection_until_exec_is_answered() {
    let mut dialogue = Dialogue::new();
    assert_eq!(dialogue.ask("MULTI\r\n").bind, Bind::Pin);
    assert!(dialogue.pinned());
    dialogue.say(OK);
    assert!(dialogue.pinned());
    let head = dialogue.exchange("GET k\r\n", "+QUEUED\r\n");
    assert_eq!((head.bind, head.safety), (Bind::Pin, Safety::Unknown));
    dialogue.ask("EXEC\r\n");
    assert!(dialogue.pinned());
    dialogue.say("*1\r\n$-1\r\n");
    assert!(!dialogue.pinned());
    assert_eq!(dialogue.ask("GET k\r\n").bind, FREE);
}

#[test]
fn every_end_of_a_transaction_is_one() {
    for (end, reply) in [
        ("EXEC\r\n", "-EXECABORT x\r\n"),
        ("EXEC\r\n", "*-1\r\n"),
        ("EXEC\r\n", "_\r\n"),
        ("DISCARD\r\n", OK),
    ] {
        let mut dialogue = Dialogue::new();
        dialogue.exchange("WATCH a b\r\n", OK);
        assert!(dialogue.pinned());
        dialogue.exchange("MULTI\r\n", OK);
        dialogue.exchange(end, reply);
        assert!(!dialogue.pinned(), "{end} {reply}");
    }
}

#[test]
fn a_transaction_that_does_not_begin_holds_nothing() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", ERR);
    assert!(!dialogue.pinned());
    assert_eq!(dialogue.ask("BLPOP k 0\r\n").bind, Bind::Dedicated);

    let mut dialogue = Dialogue::new();
    dialogue.ask("MULTI\r\n");
    dialogue.fail();
    assert!(!dialogue.pinned());
}

#[test]
fn a_nested_multi_and_a_failed_discard_change_nothing() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.exchange("MULTI\r\n", ERR);
    assert!(dialogue.pinned());
    dialogue.exchange("DISCARD\r\n", OK);
    assert!(!dialogue.pinned());

    dialogue.exchange("WATCH k\r\n", OK);
    dialogue.exchange("DISCARD\r\n", ERR);
    assert!(
        dialogue.pinned(),
        "a DISCARD without MULTI leaves the keys watched"
    );
    dialogue.exchange("UNWATCH\r\n", OK);
    assert!(!dialogue.pinned());
}

#[test]
fn pipelined_transactions_hold_until_the_last_ends() {
    let mut dialogue = Dialogue::new();
    for request in [
        "MULTI\r\n",
        "INCR a\r\n",
        "EXEC\r\n",
        "GET a\r\n",
        "MULTI\r\n",
        "EXEC\r\n",
    ] {
        dialogue.ask(request);
    }
    for reply in [OK, "+QUEUED\r\n", "*1\r\n:1\r\n", "$1\r\n1\r\n", OK] {
        dialogue.say(reply);
        assert!(dialogue.pinned(), "{reply}");
    }
    dialogue.say("*0\r\n");
    assert!(!dialogue.pinned());
}

#[test]
fn a_session_changed_within_a_transaction_keeps_the_connection() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", OK);
    assert_eq!(
        dialogue.exchange("SELECT 5\r\n", "+QUEUED\r\n").bind,
        Bind::Pin
    );
    dialogue.exchange("EXEC\r\n", "*1\r\n+OK\r\n");
    assert!(
        dialogue.pinned(),
        "the connection is in database 5 now, and the client with it"
    );
    assert_eq!(dialogue.session(), "");

    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.exchange("SELECT 5\r\n", "+QUEUED\r\n");
    dialogue.exchange("EXEC\r\n", "-EXECABORT x\r\n");
    assert!(!dialogue.pinned(), "nothing was done");
}

#[test]
fn asking_holds_for_exactly_one_command() {
    let mut dialogue = Dialogue::new();
    assert_eq!(dialogue.exchange("ASKING\r\n", OK).bind, Bind::Pin);
    assert!(dialogue.pinned());
    let head = dialogue.ask("GET k\r\n");
    assert_eq!((head.bind, head.safety), (Bind::Pin, Safety::Unknown));
    assert!(dialogue.pinned());
    dialogue.say("$-1\r\n");
    assert!(!dialogue.pinned());
    assert_eq!(dialogue.ask("GET k\r\n").bind, FREE);
}

#[test]
fn commands_that_wait_get_a_connection_for_themselves() {
    let mut dialogue = Dialogue::new();
    for request in [
        "BLPOP k 0\r\n",
        "BRPOP a b 1\r\n",
        "BLMOVE a b LEFT LEFT 0\r\n",
        "BRPOPLPUSH a b 0\r\n",
        "BZPOPMIN k 0\r\n",
        "BZPOPMAX k 0\r\n",
        "BLMPOP 0 1 k LEFT\r\n",
        "BZMPOP 0 1 k MIN\r\n",
        "XREAD BLOCK 0 STREAMS s $\r\n",
        "XREADGROUP GROUP g c COUNT 1 block 5 STREAMS s >\r\n",
        "SHUTDOWN\r\n",
    ] {
        assert_eq!(dialogue.ask(request).bind, Bind::Dedicated, "{request}");
        dialogue.say("*-1\r\n");
        assert!(!dialogue.pinned());
    }
    for request in [
        "XREAD STREAMS block 0\r\n",
        "XREADGROUP GROUP block c STREAMS s >\r\n",
        "LPOP k\r\n",
    ] {
        assert_eq!(dialogue.ask(request).bind, FREE, "{request}");
        dialogue.say("*-1\r\n");
    }
    dialogue.exchange("MULTI\r\n", OK);
    assert_eq!(
        dialogue.ask("BLPOP k 0\r\n").bind,
        Bind::Pin,
        "within MULTI nothing waits"
    );
}

#[test]
fn a_connection_made_different_is_kept_if_it_worked() {
    for request in [
        "CLIENT TRACKING ON\r\n",
        "CLIENT CACHING yes\r\n",
        "CLIENT MAINT_NOTIFICATIONS ON\r\n",
        "MONITOR\r\n",
        "SCRIPT DEBUG YES\r\n",
    ] {
        let mut dialogue = Dialogue::new();
        assert_eq!(dialogue.exchange(request, ERR).bind, Bind::Pin, "{request}");
        assert!(!dialogue.pinned(), "{request}");
        dialogue.exchange(request, OK);
        assert!(dialogue.pinned(), "{request}");
        dialogue.exchange("GET k\r\n", "$-1\r\n");
        assert!(dialogue.pinned(), "{request}");
    }
    let mut dialogue = Dialogue::new();
    for request in [
        "CLIENT LIST\r\n",
        "CLIENT GETNAME\r\n",
        "CLIENT KILL ID 3\r\n",
        "CLIENT PAUSE 1\r\n",
    ] {
        assert_eq!(dialogue.exchange(request, OK).bind, FREE, "{request}");
        assert!(!dialogue.pinned());
    }
}

#[test]
fn a_client_that_asks_about_its_connection_keeps_none() {
    let number = |text: &str| -> u64 {
        let text = text.trim_start_matches(':');
        let digits = text.split_once("id=").map_or(text, |(_, rest)| rest);
        let (digits, _) = digits.split_once([' ', '\r']).unwrap();
        digits.parse().unwrap()
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let mut dialogue = Dialogue::new();
        assert_eq!(dialogue.exchange("CLIENT ID\r\n", ":7\r\n").bind, FREE);
        let text = std::mem::take(&mut dialogue.downstream);
        let own = number(std::str::from_utf8(&text).unwrap());
        assert!(own >= 1 << 52 && seen.insert(own));
        for (reply, before) in [
            ("$16\r\nid=7 addr=1:2 x\n\r\n", "$"),
            ("=20\r\ntxt:id=7 addr=1:2 x\n\r\n", "="),
        ] {
            assert_eq!(dialogue.exchange("CLIENT INFO\r\n", reply).bind, FREE);
            let text = String::from_utf8(std::mem::take(&mut dialogue.downstream)).unwrap();
            assert_eq!(number(&text), own);
            let (length, rest) = text.split_once("\r\n").unwrap();
            assert_eq!(length, format!("{before}{}", rest.len() - 2));
            assert!(rest.ends_with(" addr=1:2 x\n\r\n"));
        }
        for request in ["TRACKINGINFO", "GETREDIR", "TRACKING OFF"] {
            let request = format!("CLIENT {request}\r\n");
            assert_eq!(dialogue.exchange(&request, ":-1\r\n").bind, FREE);
        }
        dialogue.exchange("CLIENT ID\r\n", ERR);
        assert!(dialogue.downstream.ends_with(ERR.as_bytes()) && !dialogue.pinned());
        // On a connection of its own the number is that of the connection.
        dialogue.exchange("CLIENT TRACKING ON\r\n", OK);
        dialogue.exchange("CLIENT ID\r\n", ":9\r\n");
        assert!(dialogue.downstream.ends_with(b":9\r\n"));
    }
}

#[test]
fn eviction_is_part_of_the_session() {
    let mut dialogue = Dialogue::new();
    assert_eq!(
        dialogue.exchange("CLIENT NO-EVICT on\r\n", OK).bind,
        Bind::Session
    );
    dialogue.exchange("CLIENT NO-TOUCH on\r\n", OK);
    assert_eq!(dialogue.session(), "CLIENT NO-EVICT ON\nCLIENT NO-TOUCH ON");
    dialogue.exchange("CLIENT NO-EVICT off\r\n", OK);
    assert_eq!(dialogue.session(), "CLIENT NO-TOUCH ON");
}

#[test]
fn reset_is_answered_here_and_ends_everything() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("SELECT 5\r\n", OK);
    dialogue.exchange("CLIENT TRACKING ON\r\n", OK);
    dialogue.exchange("WATCH k\r\n", OK);
    dialogue.exchange("MULTI\r\n", OK);
    assert_eq!(dialogue.local("RESET\r\n"), "+RESET\r\n");
    assert!(!dialogue.pinned());
    assert_eq!(dialogue.session(), "");
    assert_eq!(dialogue.ask("GET k\r\n").bind, FREE);
}

#[test]
fn replies_that_are_switched_off_are_dropped() {
    let mut dialogue = Dialogue::new();
    assert_eq!(dialogue.local("CLIENT REPLY SKIP\r\n"), "");
    dialogue.exchange("SET a b\r\n", OK);
    assert_eq!(dialogue.local("client reply off\r\n"), "");
    for (request, reply) in [
        ("SET a b\r\n", OK),
        ("MULTI\r\n", OK),
        ("GET a\r\n", "+QUEUED\r\n"),
        ("EXEC\r\n", "*1\r\n$1\r\nb\r\n"),
        ("NOSUCH\r\n", ERR),
        ("CLIENT REPLY x\r\n", ERR),
        ("SELECT 5\r\n", OK),
    ] {
        dialogue.exchange(request, reply);
    }
    assert_eq!(dialogue.local("CLIENT REPLY SKIP\r\n"), "");
    assert_eq!(dialogue.local("SYNC\r\n"), "");
    assert_eq!(dialogue.local("CLIENT REPLY ON\r\n"), OK);
    dialogue.exchange("GET a\r\n", "$1\r\nb\r\n");
    assert_eq!(dialogue.downstream, b"+OK\r\n$1\r\nb\r\n");
    assert!(!dialogue.pinned());
    assert_eq!(dialogue.session(), "SELECT 5");
    let sent = String::from_utf8(dialogue.upstream).unwrap();
    assert!(!sent.to_lowercase().contains("client reply s") && !sent.contains("REPLY O"));
}

/// `SKIP` is for the next request, whoever answers it.
#[test]
fn a_skipped_reply_is_that_of_the_next_request() {
    for request in ["SYNC\r\n", "HELLO 9\r\n", "RESET\r\n", "QUIT\r\n"] {
        let mut dialogue = Dialogue::new();
        dialogue.local("CLIENT REPLY SKIP\r\n");
        assert_eq!(dialogue.local(request), "", "{request}");
        dialogue.exchange("GET k\r\n", "$1\r\nv\r\n");
        assert_eq!(dialogue.downstream, b"$1\r\nv\r\n");
    }
    let mut dialogue = Dialogue::new();
    dialogue.exchange("GET k\r\n", "$1\r\nv\r\n");
    dialogue.local("CLIENT REPLY SKIP\r\n");
    dialogue
        .server
        .decode(b"GET denied\r\n", Interest::Route)
        .unwrap();
    dialogue.fail();
    dialogue.exchange("GET l\r\n", "$1\r\nw\r\n");
    assert_eq!(dialogue.downstream, b"$1\r\nw\r\n");
    // As in Redis, `RESET` switches replies on again, and has one.
    dialogue.local("CLIENT REPLY OFF\r\n");
    assert_eq!(dialogue.local("RESET\r\n"), "+RESET\r\n");
}

#[test]
fn a_silent_transaction_that_misses_a_command_is_aborted() {
    for mute in ["OFF", "SKIP"] {
        let mut dialogue = Dialogue::new();
        dialogue.local(&format!("CLIENT REPLY {mute}\r\n"));
        dialogue.exchange("MULTI\r\n", OK);
        dialogue.exchange("SET k v\r\n", "+QUEUED\r\n");
        let head = match dialogue.server.decode(b"SET l v\r\n", Interest::Route) {
            Ok(Decoded::Message(message, _)) => message.head,
            other => panic!("{other:?}"),
        };
        assert_eq!(head.bind, Bind::Pin);
        dialogue.fail();
        assert!(dialogue.server.spoiled());
        dialogue.downstream.clear();
        dialogue.exchange("EXEC\r\n", OK);
        assert!(dialogue.upstream.ends_with(b"*1\r\n$7\r\nDISCARD\r\n"));
        assert_eq!(dialogue.downstream.is_empty(), mute == "OFF");
        assert!(!dialogue.pinned());
    }
}

/// What the proxy refuses in a transaction is missing there, too.
#[test]
fn a_transaction_with_a_local_refusal_is_aborted() {
    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.local("SYNC\r\n");
    dialogue.exchange("EXEC\r\n", OK);
    assert!(dialogue.upstream.ends_with(b"*1\r\n$7\r\nDISCARD\r\n"));
    assert!(defer(&mut dialogue, "MULTI\r\n"));
    dialogue.local("SYNC\r\n");
    assert!(dialogue.local("EXEC\r\n").starts_with("-EXECABORT "));
    assert!(!dialogue.pinned());
}

#[test]
fn what_makes_no_sense_here_is_refused_here() {
    let mut dialogue = Dialogue::new();
    for request in [
        "SYNC\r\n",
        "PSYNC ? -1\r\n",
        "REPLCONF listening-port 1\r\n",
    ] {
        assert!(
            dialogue
                .local(request)
                .starts_with("-ERR this command is not supported through a proxy: ")
        );
    }
    dialogue.exchange("MULTI\r\n", OK);
    assert!(dialogue.local("CLIENT REPLY OFF\r\n").starts_with("-ERR "));
}

#[test]
fn quit_is_answered_here_and_closes() {
    let mut dialogue = Dialogue::new();
    let head = dialogue.ask("*1\r\n$4\r\nQUIT\r\n");
    assert!(head.close && head.kind == Kind::Local);
    assert_eq!(dialogue.downstream, b"+OK\r\n");
    assert!(dialogue.upstream.is_empty());
}

#[test]
fn a_wait_counts_from_the_end_of_what_was_written() {
    for (request, before) in [
        ("WAIT 1 500\r\n", "WAIT 0 0"),
        ("waitaof 1 1 500\r\n", "WAITAOF 0 0 0"),
    ] {
        let mut dialogue = Dialogue::new();
        dialogue.ask("GET k\r\n");
        dialogue.upstream.clear();
        assert_eq!(dialogue.ask(request).bind, Bind::Dedicated);
        let wire = std::mem::take(&mut dialogue.upstream);
        assert!(wire.ends_with(request.as_bytes()));
        let added = wire.len() - request.len();
        assert_eq!(super::commands(&wire[..added]), before);
        dialogue.say("$-1\r\n");
        let decoded = dialogue.client.decode(b":0\r\n:1\r\n", Interest::Route);
        assert!(matches!(decoded, Ok(Decoded::Skip(4))), "{decoded:?}");
        assert_eq!(dialogue.say(":1\r\n"), Kind::Response);
        dialogue.exchange("GET k\r\n", ":7\r\n");
    }
    // In a transaction it does not wait.
    let mut dialogue = Dialogue::new();
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.exchange("WAIT 1 500\r\n", "+QUEUED\r\n");
    assert!(dialogue.upstream.ends_with(b"MULTI\r\nWAIT 1 500\r\n"));
}

/// The router keeps the request back, if the codec agrees.
fn defer(dialogue: &mut Dialogue, request: &str) -> bool {
    let decoded = dialogue
        .server
        .decode(request.as_bytes(), Interest::Route)
        .unwrap();
    let Decoded::Message(message, _) = decoded else {
        panic!()
    };
    let Some(to) = dialogue.server.defer(&message) else {
        return false;
    };
    let mut out = meltemi_frame::Output::new();
    let say = meltemi_frame::LocalMessage::CodecReply { to: &to };
    dialogue.server.synthesize(say, &mut out).unwrap();
    assert_eq!(&*out.drain(), OK.as_bytes());
    true
}

#[test]
fn a_transaction_begins_with_the_command_that_decides_where() {
    let mut dialogue = Dialogue::new();
    assert!(!defer(&mut Dialogue::new(), "PING\r\n"));
    assert!(defer(&mut dialogue, "MULTI\r\n") && dialogue.pinned());
    let head = dialogue.ask("SET k v\r\n");
    assert!(head.bind == Bind::Pin && !head.follows);
    assert!(dialogue.ask("EXEC\r\n").follows);
    assert_eq!(
        dialogue.upstream,
        b"*1\r\n$5\r\nMULTI\r\nSET k v\r\nEXEC\r\n"
    );
    let decoded = dialogue
        .client
        .decode(b"+OK\r\n+QUEUED\r\n", Interest::Route);
    assert!(matches!(decoded, Ok(Decoded::Skip(5))));
    dialogue.say("+QUEUED\r\n");
    dialogue.say("*1\r\n+OK\r\n");
    assert!(!dialogue.pinned());
    // Nothing was sent, and nothing is.
    dialogue.upstream.clear();
    assert!(defer(&mut dialogue, "MULTI\r\n"));
    assert_eq!(dialogue.local("DISCARD\r\n"), OK);
    assert!(dialogue.upstream.is_empty() && !dialogue.pinned());
    // A server that refuses it must not be asked for the rest.
    assert!(defer(&mut dialogue, "MULTI\r\n"));
    dialogue.ask("SET k v\r\n");
    super::lost(dialogue.client.decode(b"-NOPERM\r\n", Interest::Route));
}

#[test]
fn a_transaction_that_misses_a_command_is_aborted() {
    // Nothing of it was sent.
    let mut dialogue = Dialogue::new();
    assert!(defer(&mut dialogue, "MULTI\r\n"));
    let decoded = dialogue.server.decode(b"SET k v\r\n", Interest::Route);
    assert!(matches!(decoded, Ok(Decoded::Message(..))));
    dialogue.fail();
    assert!(dialogue.server.spoiled());
    assert_eq!(dialogue.local("SET l v\r\n"), "+QUEUED\r\n");
    assert!(dialogue.local("EXEC\r\n").starts_with("-EXECABORT "));
    assert!(!dialogue.pinned() && dialogue.upstream.is_empty());
    // Some of it was sent.
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.exchange("SET k v\r\n", "+QUEUED\r\n");
    let decoded = dialogue.server.decode(b"SET l v\r\n", Interest::Route);
    assert!(matches!(decoded, Ok(Decoded::Message(..))));
    dialogue.fail();
    assert!(dialogue.server.spoiled());
    dialogue.downstream.clear();
    dialogue.exchange("EXEC\r\n", OK);
    assert!(dialogue.upstream.ends_with(b"*1\r\n$7\r\nDISCARD\r\n"));
    assert!(dialogue.downstream.starts_with(b"-EXECABORT ") && !dialogue.pinned());
    // Its end is on its way already.
    dialogue.exchange("MULTI\r\n", OK);
    dialogue.ask("SET k v\r\n");
    dialogue.ask("EXEC\r\n");
    assert!(!dialogue.server.spoiled());
}
