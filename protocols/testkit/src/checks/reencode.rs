//! Does an unedited message leave as it came?

use meltemi_frame::{Interest, Limits, Output};

use super::{INTERESTS, whole};
use crate::drive::{Arrival, Drive, Step, opposite};
use crate::failure::{difference, ensure};
use crate::{Failure, Sample, Subject, Verdict};

/// Every message that nobody edits leaves byte for byte as it came, through a codec of the other
/// side, straight and as an owned copy, whole and in pieces. What is already in the output stays.
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
                "encoding the message at offset {offset}{how} changed what was in the output before"
            );
            let body = body.unwrap_or_default();
            ensure!(
                body == message.wire(),
                "the unedited message at offset {offset} came out changed{how}: {}",
                difference(message.wire(), body)
            );
        }
        Ok(())
    })?;
    Ok(())
}
