//! What is told of plain messages by the short way, beside what the long way tells: of every cut, and with
//! every byte changed.

use meltemi_frame::{Interest, KeyId, Limits, Lookup};

use super::*;
use crate::front::Front;
use crate::inflate::Inflater;
use crate::present::{check_side, dialect, message};
use crate::testing::{ADD, frame};

/// What a message says, wherever it keeps it.
fn told(message: &Message<'_>) -> String {
    let slot = |key| message.attributes.slot(KeyId(key), message.wire());
    let slots: Vec<_> = (0..12).map(slot).collect();
    let unsure = |key| {
        message
            .attributes
            .is_undetermined(&Lookup::Slot(KeyId(key)))
    };
    let unsure: Vec<_> = (0..12).map(unsure).collect();
    let (head, layout, open) = (&message.head, &message.layout, message.attributes.open());
    format!(
        "{head:?} {layout:?} {open:?} {slots:?} {unsure:?} {:?}",
        message.id()
    )
}

fn read(decoded: Result<Decoded<'_>, DecodeError>) -> Message<'_> {
    match decoded {
        Ok(Decoded::Message(message, length)) if length == message.wire().len() => message,
        other => panic!("a front makes a message: {other:?}"),
    }
}

/// Whether the message is plain on one of both sides.
fn check(wire: &[u8]) -> bool {
    let (limits, mut inflater) = (Limits::default(), Inflater::default());
    let front = Front::framed(wire, wire.len(), Interest::Route, &limits, &mut inflater);
    let mut plainly = false;
    for side in [Side::Server, Side::Client] {
        let Some(envelope) = envelope(wire, side) else {
            // Nothing but another encoding, side or framing, or an upgrade, is told the longer way.
            if wire.get(4..6) == Some(&[0x80, 1])
                && front
                    .as_ref()
                    .is_ok_and(|front| check_side(front, side).is_ok())
            {
                let name = crate::envelope::read(wire, 4).unwrap().name;
                assert_eq!(wire.get(name.0..name.1), Some(FINAGLE_UPGRADE));
            }
            continue;
        };
        let front = front.as_ref().unwrap();
        assert_eq!(check_side(front, side), Ok(()));
        assert_eq!(crate::envelope::read(wire, 4), Ok(envelope));
        let plain = read(match side {
            Side::Server => request(&envelope, wire),
            Side::Client => reply(&envelope, wire),
        });
        assert_eq!(wire.len(), plain.wire().len());
        assert_eq!(told(&plain), told(&read(message(front, wire, side, true))));
        assert_eq!(dialect(&plain).bits(), BITS);
        plainly = true;
    }
    plainly
}

/// Calls, replies and exceptions, whole and cut, and with every byte changed.
#[test]
fn plain_messages_are_told_as_any() {
    let answer =
        b"\x80\x01\x00\x02\x00\x00\x00\x03add\x00\x00\x00\x07\x08\x00\x00\x00\x00\x00\x02\x00";
    let declared = b"\x80\x01\x00\x02\x00\x00\x00\x03add\xff\x00\x00\x07\x0c\x00\x01\x00\x00";
    let unknown =
        b"\x80\x01\x00\x03\x00\x00\x00\x03add\x00\x00\x00\x07\x08\x00\x02\x00\x00\x00\x01\x00";
    let service = b"\x80\x01\x00\x01\x00\x00\x00\x05C:add\x00\x00\x00\x07\x00";
    let oneway = b"\x80\x01\x77\x04\x00\x00\x00\x00\x00\x00\x00\x07\x00";
    let upgrade = [
        b"\x80\x01\x00\x01\x00\x00\x00\x1b",
        FINAGLE_UPGRADE,
        &[0; 5],
    ]
    .concat();
    for payload in [ADD, service, answer, declared, unknown, oneway, &upgrade] {
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
