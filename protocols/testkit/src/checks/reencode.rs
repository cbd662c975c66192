//! Checks that an unedited message is written as it arrived.

use meltemi_frame::{Interest, Kind, Limits, Message, Output};

use super::ids::decode_one;
use super::{INTERESTS, whole};
use crate::drive::{Arrival, Drive, Step, opposite};
use crate::failure::{difference, ensure};
use crate::seen::Seen;
use crate::{Failure, Sample, Subject, Verdict};

/// Every unedited message is written byte for byte as it arrived, through a codec of the other
/// side, directly and as an owned copy, whole and in pieces. Earlier bytes in the output stay. A
/// one-way message may get another id, because no caller waits for a reply with the original one.
pub fn unedited_messages_leave_as_they_came(subject: &Subject) -> Verdict {
    subject.each(|sample| {
        for want in INTERESTS {
            one(subject, sample, want, &whole(), Arrival::Whole)
                .map_err(|failure| failure.within(format!("Interest::{want:?}")))?;
        }
        let limits = Limits {
            hold: 24,
            ..Limits::default()
        };
        for arrival in [Arrival::Whole, Arrival::Pieces(11)] {
            one(subject, sample, Interest::Route, &limits, arrival)
                .map_err(|failure| failure.within(format!("hold 24, {arrival:?}")))?;
        }
        Ok(())
    })
}

fn one(
    subject: &Subject,
    sample: &Sample,
    want: Interest,
    limits: &Limits,
    arrival: Arrival,
) -> Verdict {
    let mut straight = subject.codec(opposite(sample.side), limits);
    let mut later = subject.codec(opposite(sample.side), limits);
    let mut out = Output::new();
    let drive = Drive {
        spec: subject.spec(),
        want,
        arrival,
        impatient: false,
    };
    let mut decoder = subject.codec(sample.side, limits);
    drive.walk(&mut *decoder, &sample.bytes, &mut |_, step| {
        let Step::Message(message, offset) = step else {
            return Ok(());
        };
        let owned = message.to_owned_message();
        for (how, encoder, message) in [
            ("", &mut straight, message),
            (" as an owned copy", &mut later, &owned.message()),
        ] {
            out.put(b"before");
            encoder.encode(message, &mut out).map_err(|error| {
                Failure::new(format!(
                    "the message at offset {offset} did not encode{how}: {error}"
                ))
            })?;
            let bytes = out.drain();
            let body = bytes.strip_prefix(b"before");
            ensure!(
                body.is_some(),
                "encoding the message at offset {offset}{how} changed earlier bytes in the output"
            );
            let body = body.unwrap_or_default();
            ensure!(
                body == message.wire() || is_renumbered(subject, sample, want, message, body),
                "the unedited message at offset {offset} came out changed{how}: {}",
                difference(message.wire(), body)
            );
        }
        Ok(())
    })?;
    Ok(())
}

/// Returns `true` if `body` is the one-way message with another id and no other change. Accepts every
/// first piece of a large one-way message, because a piece cannot be decoded alone.
fn is_renumbered(
    subject: &Subject,
    sample: &Sample,
    want: Interest,
    message: &Message<'_>,
    body: &[u8],
) -> bool {
    let head = &message.head;
    if head.kind != Kind::OneWay || head.id.is_none() {
        return false;
    }
    let same = |mut seen: Seen| {
        seen.head.id = head.id;
        Seen::new(subject.spec(), message, 0)
            .differs(&seen)
            .is_none()
    };
    !head.end || decode_one(subject, sample.side, want, body).is_ok_and(same)
}
