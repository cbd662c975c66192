//! Checks that a connection survives a malformed message.

use meltemi_frame::{DecodeError, Interest, Kind, LocalMessage, Output, Reason, Side};

use super::{INTERESTS, whole};
use crate::drive::{Arrival, Drive, Step};
use crate::failure::ensure;
use crate::seen::{Event, Seen};
use crate::{Sample, Subject, Verdict};

/// After a message whose error has a known length, the next message decodes normally, however the
/// bytes are split. Replies that the error requires are sent in between.
pub fn malformed_messages_are_survived(subject: &Subject) -> Verdict {
    for side in [Side::Server, Side::Client] {
        let of_side = |sample: &&Sample| sample.side == side;
        let mut good: Vec<&Sample> = subject
            .samples
            .iter()
            .filter(of_side)
            .filter(|sample| sample.is_clean() && sample.expect.len() == 1)
            .collect();
        good.sort_by_key(|sample| sample.bytes.len());
        for bad in subject.samples.iter().filter(of_side) {
            for want in INTERESTS {
                for good in good.iter().take(3) {
                    one(subject, bad, good, want).map_err(|failure| {
                        failure.within(format!(
                            "{} followed by {}, Interest::{want:?}",
                            bad.name, good.name
                        ))
                    })?;
                }
            }
        }
    }
    Ok(())
}

fn one(subject: &Subject, bad: &Sample, good: &Sample, want: Interest) -> Verdict {
    let drive = Drive {
        spec: subject.spec(),
        want,
        arrival: Arrival::Whole,
        impatient: false,
    };
    let fresh = || subject.codec(bad.side, &whole());
    let alone = drive.run(&mut *fresh(), &bad.bytes)?;
    let ends_malformed = match alone.events.last() {
        Some(Event::Malformed(at, length)) => at.saturating_add(*length) == bad.bytes.len(),
        _ => false,
    };
    if !ends_malformed {
        return Ok(());
    }
    let Some(Event::Message(wanted)) = drive.run(&mut *fresh(), &good.bytes)?.events.pop() else {
        return Ok(());
    };
    let both = [&*bad.bytes, &*good.bytes].concat();
    for arrival in [
        Arrival::Whole,
        Arrival::Pieces(1),
        Arrival::SplitAt(bad.bytes.len()),
    ] {
        let drive = Drive { arrival, ..drive };
        let mut last = None;
        drive.walk(&mut *fresh(), &both, &mut |codec, step| {
            last = match step {
                Step::Message(message, offset) => {
                    if bad.side == Side::Server && message.head.kind == Kind::Local {
                        let to = codec.receipt(message);
                        let _ = codec
                            .synthesize(LocalMessage::CodecReply { to: &to }, &mut Output::new());
                    }
                    Some(Seen::new(subject.spec(), message, offset))
                }
                Step::Error(error, _) => {
                    if let DecodeError::Message {
                        answer: Some(to), ..
                    } = error
                    {
                        let say = LocalMessage::Failure {
                            to,
                            reason: Reason::BadRequest,
                            text: "malformed",
                        };
                        let _ = codec.synthesize(say, &mut Output::new());
                    }
                    None
                }
            };
            Ok(())
        })?;
        let Some(got) = last else {
            return Err(
                crate::Failure::new("no message was decoded after the malformed message")
                    .within(format!("{arrival:?}")),
            );
        };
        ensure!(
            got.offset == bad.bytes.len() && got.wire == wanted.wire,
            "{arrival:?}: the message after it starts at {} instead of {}",
            got.offset,
            bad.bytes.len()
        );
        if let Some(what) = wanted.differs(&got) {
            return Err(crate::Failure::new(what).within(format!("{arrival:?} (alone / behind)")));
        }
    }
    Ok(())
}
