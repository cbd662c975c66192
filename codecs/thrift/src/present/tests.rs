//! What is told of plain messages by the short way, beside what the long way tells: of every cut, and with
//! every byte changed.

use meltemi_frame::{Interest, KeyId, Limits};

use super::*;
use crate::inflate::Inflater;
use crate::testing::{ADD, frame};

/// What a message says, wherever it keeps it.
fn told(message: &Message<'_>) -> String {
    let slot = |key| message.attributes.slot(KeyId(key), message.wire());
    let slots: Vec<_> = (0..12).map(slot).collect();
    let (head, layout, open) = (&message.head, &message.layout, message.attributes.open());
    format!("{head:?} {layout:?} {open:?} {slots:?} {:?}", message.id())
}

/// Whether the message is plain on one of both sides.
fn check(wire: &[u8]) -> bool {
    let (limits, mut inflater) = (Limits::default(), Inflater::default());
    let front = Front::framed(wire, wire.len(), Interest::Route, &limits, &mut inflater);
    let mut plainly = false;
    for side in [Side::Server, Side::Client] {
        let Some(envelope) = plain_envelope(wire, side) else {
            // Nothing but another encoding, side or framing, or an upgrade, is told the longer way.
            if wire.get(4..6) == Some(&[0x80, 1])
                && front
                    .as_ref()
                    .is_ok_and(|front| check_side(front, side).is_ok())
            {
                let name = envelope::read(wire, 4).unwrap().name;
                assert_eq!(wire.get(name.0..name.1), Some(FINAGLE_UPGRADE));
            }
            continue;
        };
        let front = front.as_ref().unwrap();
        assert_eq!(check_side(front, side), Ok(()));
        assert_eq!(envelope::read(wire, 4), Ok(envelope));
        let Ok(Decoded::Message(plain, length)) = plain(&envelope, wire, side) else {
            panic!("a plain message is a message");
        };
        assert_eq!(length, wire.len());
        assert_eq!(told(&plain), told(&message(front, wire, side, true)));
        assert_eq!(dialect(&plain).bits(), PLAIN_BITS);
        plainly = true;
    }
    plainly
}

/// Calls, replies and exceptions, whole and cut, and with every byte changed.
#[test]
fn plain_messages_are_told_as_any() {
    let reply =
        b"\x80\x01\x00\x02\x00\x00\x00\x03add\x00\x00\x00\x07\x08\x00\x00\x00\x00\x00\x02\x00";
    let declared = b"\x80\x01\x00\x02\x00\x00\x00\x03add\xff\x00\x00\x07\x0c\x00\x01\x00\x00";
    let unknown =
        b"\x80\x01\x00\x03\x00\x00\x00\x03add\x00\x00\x00\x07\x08\x00\x02\x00\x00\x00\x01\x00";
    let oneway = b"\x80\x01\x77\x04\x00\x00\x00\x00\x00\x00\x00\x07\x00";
    let upgrade = [
        b"\x80\x01\x00\x01\x00\x00\x00\x1b",
        FINAGLE_UPGRADE,
        &[0; 5],
    ]
    .concat();
    for payload in [ADD, reply, declared, unknown, oneway, &upgrade] {
        let mut wire = frame(payload);
        assert_eq!(check(&wire), payload != upgrade, "{payload:?}");
        for at in 0..wire.len() {
            check(&wire[..at]);
            let before = wire[at];
            for byte in [0, 1, 2, 3, 4, 5, 0x82, b':', 0xff, before ^ 0x80] {
                wire[at] = byte;
                check(&wire);
            }
            wire[at] = before;
        }
    }
}
