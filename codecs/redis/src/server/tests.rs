//! The short way of a reply beside the long way: both leave the same behind, whatever the client asked.

use meltemi_frame::Reason;
use proptest::prelude::*;

use super::*;
use crate::client::Client;
use crate::tests::{REPLIES, REQUESTS};

#[derive(Clone, Debug)]
enum Event {
    Ask(&'static str),
    /// The same, and the router keeps the request.
    Defer(&'static str),
    Say(&'static str),
    Fail,
    Spoil,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => prop::sample::select(REQUESTS).prop_map(Event::Ask),
        1 => prop::sample::select(REQUESTS).prop_map(Event::Defer),
        6 => prop::sample::select(REPLIES).prop_map(Event::Say),
        1 => Just(Event::Fail),
        1 => Just(Event::Spoil),
    ];
    prop::collection::vec(event, 0..40)
}

/// What one event leaves behind. `client` reads what the server says.
fn happen(server: &mut Server, client: &mut Client, event: &Event) -> String {
    let mut out = Output::new();
    let did = match event {
        Event::Ask(text) | Event::Defer(text) => {
            let decoded = server.decode(text.as_bytes(), Interest::Route);
            let said = format!("{decoded:?}");
            if let Ok(Decoded::Message(message, _)) = decoded {
                let to = server.receipt(&message);
                if matches!(event, Event::Defer(_)) {
                    let _ = server.defer(&message);
                } else if message.head.kind == Kind::Local {
                    server
                        .synthesize(LocalMessage::CodecReply { to: &to }, &mut out)
                        .unwrap();
                }
            }
            said
        }
        Event::Say(text) => match client.decode(text.as_bytes(), Interest::Route) {
            Ok(Decoded::Message(message, _)) => {
                format!("{:?}", server.encode(&message, &mut out))
            }
            other => format!("{other:?}"),
        },
        Event::Fail => {
            let say = LocalMessage::Failure {
                to: &ReplyContext::default(),
                reason: Reason::Unavailable,
                text: "",
            };
            format!("{:?}", server.synthesize(say, &mut out))
        }
        Event::Spoil => format!("{}", server.spoiled()),
    };
    // A client's number is new in every codec.
    let written = out.drain();
    let digit = |byte: &&u8| !byte.is_ascii_digit();
    let written: Vec<u8> = written.iter().filter(digit).copied().collect();
    let session = server.session();
    let preamble = String::from_utf8_lossy(session.preamble()).into_owned();
    let (pinned, stranger) = (server.pinned(), server.bounds().stranger);
    let written = String::from_utf8_lossy(&written);
    format!("{did} {written} {pinned} {preamble} {stranger}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn calm_servers_do_as_others(events in events()) {
        let limits = Limits::default();
        let made = || Server::new(&limits, &Session::default(), None);
        let (mut quick, mut slow) = (made(), made());
        let reader = || Client::new(&limits, &Session::default());
        let (mut one, mut other) = (reader(), reader());
        for event in &events {
            slow.calm = false;
            let left = happen(&mut quick, &mut one, event);
            prop_assert_eq!(left, happen(&mut slow, &mut other, event), "{:?}", event);
            prop_assert!(!quick.calm || quick.is_calm(), "{:?}", event);
        }
    }
}

#[test]
fn most_clients_are_calm() {
    let limits = Limits::default();
    let mut server = Server::new(&limits, &Session::default(), None);
    let mut client = Client::new(&limits, &Session::default());
    let mut calm = |event: Event| {
        let _ = happen(&mut server, &mut client, &event);
        server.calm
    };
    for text in ["*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"; 3] {
        assert!(calm(Event::Ask(text)) && calm(Event::Say("$1\r\nv\r\n")));
    }
    assert!(!calm(Event::Ask("MULTI\r\n")) && !calm(Event::Say("+OK\r\n")));
    assert!(!calm(Event::Ask("EXEC\r\n")) && calm(Event::Say("*0\r\n")));
    assert!(calm(Event::Say("-ERR\r\n")) && !calm(Event::Say("-NOAUTH x\r\n")));
}
