//! The short way of a reply beside the long way: both tell the same, whatever was asked before.

use meltemi_frame::Session;
use proptest::prelude::*;

use super::*;
use crate::server::Server;
use crate::tests::{REPLIES, REQUESTS};

#[derive(Clone, Debug)]
enum Event {
    Ask(&'static str),
    Say(&'static str, Interest),
    Ping,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let interest = prop::sample::select(&[Interest::Route, Interest::Body][..]);
    let reply = (prop::sample::select(REPLIES), interest);
    let event = prop_oneof![
        6 => prop::sample::select(REQUESTS).prop_map(Event::Ask),
        6 => reply.prop_map(|(text, want)| Event::Say(text, want)),
        1 => Just(Event::Ping),
    ];
    prop::collection::vec(event, 0..40)
}

/// What one event leaves behind. `server` reads what the client says.
fn happen(client: &mut Client, server: &mut Server, event: &Event) -> String {
    let mut out = Output::new();
    let did = match event {
        Event::Ask(text) => match server.decode(text.as_bytes(), Interest::Route) {
            Ok(Decoded::Message(message, _)) => {
                format!("{:?}", client.encode(&message, &mut out))
            }
            other => format!("{other:?}"),
        },
        Event::Say(text, want) => format!("{:?}", client.decode(text.as_bytes(), *want)),
        Event::Ping => format!(
            "{:?}",
            client.synthesize(LocalMessage::Ping { id: 0 }, &mut out)
        ),
    };
    format!("{did} {}", String::from_utf8_lossy(&out.drain()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn plain_connections_do_as_others(events in events(), hold in 1..200_usize, named: bool) {
        let limits = Limits { hold, ..Limits::default() };
        let preamble = if named { b"SELECT 1\r\n".to_vec() } else { Vec::new() };
        let session = Session::new(preamble, u32::from(named));
        let made = || Client::new(&limits, &session);
        let (mut quick, mut slow) = (made(), made());
        let reader = || Server::new(&Limits::default(), &Session::default(), None);
        let (mut one, mut other) = (reader(), reader());
        for event in &events {
            slow.plain = false;
            let left = happen(&mut quick, &mut one, event);
            prop_assert_eq!(left, happen(&mut slow, &mut other, event), "{:?}", event);
            prop_assert!(!quick.plain || quick.is_plain(), "{:?}", event);
        }
    }
}

#[test]
fn most_connections_are_plain() {
    let limits = Limits::default();
    let mut client = Client::new(&limits, &Session::default());
    let mut server = Server::new(&limits, &Session::default(), None);
    let mut plain = |event: Event| {
        let _ = happen(&mut client, &mut server, &event);
        client.plain
    };
    let say = |text| Event::Say(text, Interest::Route);
    for text in ["*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"; 3] {
        assert!(plain(Event::Ask(text)) && plain(say("$1\r\nv\r\n")));
    }
    assert!(!plain(Event::Ask("SUBSCRIBE c\r\n")));
    assert!(!plain(say("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")));
    assert!(!plain(Event::Ask("UNSUBSCRIBE c\r\n")));
    assert!(plain(say("*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n")));
}
