//! Checks that a new id changes only the id.

use meltemi_frame::{EncodeError, Interest, Kind, Limits, Message, Output, Side};

use super::{INTERESTS, whole};
use crate::drive::{Arrival, Drive, Step, opposite};
use crate::failure::{difference, ensure};
use crate::seen::{Event, Seen};
use crate::{Failure, Sample, Subject, Verdict};

/// In a protocol with ids, every message with an id accepts any other id that fits its bits.
/// Decoded again, it has that id, and everything else is unchanged. With the first id written back,
/// the original bytes are restored. This also applies to the head piece of a large message. In a
/// protocol without ids, no message has one, and a new id is refused.
pub fn ids_are_rewritten_alone(subject: &Subject) -> Verdict {
    let Some(bits) = subject.spec().correlation.id_bits() else {
        return subject.each(|sample| refused(subject, sample));
    };
    let mut tried = 0;
    subject.each(|sample| {
        for want in INTERESTS {
            messages(subject, sample, want, &mut |message, offset| {
                if message.head.id.is_some() {
                    tried += 1;
                    // A one-way message that keeps its id may be written with another one.
                    let kept = message
                        .head
                        .id
                        .filter(|_| message.head.kind == Kind::OneWay);
                    for id in candidates(bits).into_iter().filter(|id| Some(*id) != kept) {
                        rewritten(subject, sample.side, want, message, id).map_err(|failure| {
                            failure.within(format!("id {id} at offset {offset}"))
                        })?;
                    }
                }
                Ok(())
            })?;
        }
        in_pieces(subject, sample)
    })?;
    ensure!(
        tried > 0,
        "the protocol claims ids of {bits} bits, but no message of the samples has one"
    );
    Ok(())
}

/// Returns ids at the limits of `bits` and some others, sign-extended like
/// [`Head::id`](meltemi_frame::Head::id).
fn candidates(bits: u8) -> Vec<i64> {
    let unused = 64u32.saturating_sub(bits.into());
    [
        0,
        1,
        0x7f,
        0x80,
        0x5aa5_c33c_0ff0_9669_i64,
        i64::MAX,
        i64::MIN,
        -1,
        -2,
    ]
    .into_iter()
    .map(|id| id.wrapping_shl(unused).wrapping_shr(unused))
    .collect()
}

/// Calls `visit` on every message of a sample, decoded whole.
pub(super) fn messages(
    subject: &Subject,
    sample: &Sample,
    want: Interest,
    visit: &mut dyn FnMut(&Message<'_>, usize) -> Verdict,
) -> Verdict {
    let drive = Drive {
        spec: subject.spec(),
        want,
        arrival: Arrival::Whole,
        impatient: false,
    };
    drive.walk(
        &mut *subject.codec(sample.side, &whole()),
        &sample.bytes,
        &mut |_, step| match step {
            Step::Message(message, offset) => visit(message, offset),
            Step::Error(..) => Ok(()),
        },
    )?;
    Ok(())
}

/// Encodes with a fresh codec of the other side.
pub(super) fn encode(
    subject: &Subject,
    side: Side,
    message: &Message<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Output::new();
    subject
        .codec(opposite(side), &whole())
        .encode(message, &mut out)?;
    Ok(out.drain().to_vec())
}

/// Decodes bytes that must be exactly one message.
pub(super) fn decode_one(
    subject: &Subject,
    side: Side,
    want: Interest,
    bytes: &[u8],
) -> Result<Seen, Failure> {
    let drive = Drive {
        spec: subject.spec(),
        want,
        arrival: Arrival::Whole,
        impatient: false,
    };
    let mut run = drive.run(&mut *subject.codec(side, &whole()), bytes)?;
    match (
        run.events.pop(),
        run.events.is_empty(),
        run.rest == bytes.len(),
    ) {
        (Some(Event::Message(seen)), true, true) => Ok(seen),
        (last, _, _) => Err(Failure::new(format!(
            "what was encoded does not decode as one message (last: {last:?}): {}",
            crate::failure::show(bytes)
        ))),
    }
}

fn rewritten(
    subject: &Subject,
    side: Side,
    want: Interest,
    message: &Message<'_>,
    id: i64,
) -> Verdict {
    let fail = |error: EncodeError| Failure::new(format!("it did not encode: {error}"));
    let mut changed = message.clone();
    changed.set_id(id);
    let bytes = encode(subject, side, &changed).map_err(fail)?;
    let got = decode_one(subject, side, want, &bytes)?;
    ensure!(
        got.head.id == Some(id),
        "decoded again the id is {:?}",
        got.head.id
    );
    let mut wanted = Seen::new(subject.spec(), message, 0);
    wanted.head.id = Some(id);
    if let Some(what) = wanted.differs(&got) {
        return Err(Failure::new(what).within("more than the id changed (before / after)"));
    }
    // Back to the first id: only the id may change. An id that was not in its shortest form may
    // become shorter.
    let mut back = None;
    let drive = Drive {
        spec: subject.spec(),
        want,
        arrival: Arrival::Whole,
        impatient: false,
    };
    drive.walk(
        &mut *subject.codec(side, &whole()),
        &bytes,
        &mut |_, step| {
            if let (Step::Message(changed, ..), Some(first)) = (step, message.head.id) {
                let mut changed = changed.clone();
                changed.set_id(first);
                back = Some(encode(subject, side, &changed).map_err(fail)?);
            }
            Ok(())
        },
    )?;
    let back = back.unwrap_or_default();
    ensure!(
        back == message.wire() || back.len() != message.wire().len(),
        "the id written back does not restore the message: {}",
        difference(message.wire(), &back)
    );
    Ok(())
}

/// A large message whose head gets another id must be the same message when its pieces are joined.
fn in_pieces(subject: &Subject, sample: &Sample) -> Verdict {
    const ID: i64 = 0x5a;
    if !sample.is_clean() {
        return Ok(());
    }
    let limits = Limits {
        hold: 24,
        ..Limits::default()
    };
    let drive = Drive {
        spec: subject.spec(),
        want: Interest::Route,
        arrival: Arrival::Pieces(24),
        impatient: false,
    };
    let mut encoder = subject.codec(opposite(sample.side), &limits);
    let mut out = Output::new();
    let mut split = false;
    drive.walk(
        &mut *subject.codec(sample.side, &limits),
        &sample.bytes,
        &mut |_, step| {
            let Step::Message(message, offset) = step else {
                return Ok(());
            };
            let mut message = message.clone();
            split |= message.head.kind == Kind::Data;
            if message.head.id.is_some() {
                message.set_id(ID);
            }
            encoder.encode(&message, &mut out).map_err(|error| {
                Failure::new(format!(
                    "the piece at offset {offset} did not encode: {error}"
                ))
            })
        },
    )?;
    if !split {
        return Ok(());
    }
    let bytes = out.drain();
    let drive = Drive {
        arrival: Arrival::Whole,
        ..drive
    };
    let run = |bytes: &[u8]| drive.run(&mut *subject.codec(sample.side, &whole()), bytes);
    let (before, after) = (run(&sample.bytes)?, run(&bytes)?);
    ensure!(
        before.events.len() == after.events.len(),
        "in pieces, with the id rewritten: {} messages were encoded and {} decoded",
        before.events.len(),
        after.events.len()
    );
    for (a, b) in before.events.iter().zip(&after.events) {
        let (Event::Message(a), Event::Message(b)) = (a, b) else {
            return Err(Failure::new(format!(
                "in pieces, with the id rewritten: {b:?} came out"
            )));
        };
        let mut a = a.clone();
        a.head.id = a.head.id.map(|_| ID);
        if let Some(what) = a.differs(b) {
            return Err(
                Failure::new(what).within("in pieces, with the id rewritten (before / after)")
            );
        }
    }
    Ok(())
}

fn refused(subject: &Subject, sample: &Sample) -> Verdict {
    messages(subject, sample, Interest::Route, &mut |message, offset| {
        ensure!(
            message.head.id.is_none(),
            "the message at offset {offset} has the id {:?}, but the protocol claims none",
            message.head.id
        );
        let mut message = message.clone();
        message.set_id(7);
        let mut out = Output::new();
        out.put(b"before");
        let result = subject
            .codec(opposite(sample.side), &whole())
            .encode(&message, &mut out);
        ensure!(
            matches!(result, Err(EncodeError::Edit { .. })) && out.drain() == b"before"[..],
            "an id was set on the message at offset {offset}, which the protocol cannot carry: it must be refused \
             with EncodeError::Edit and nothing written, but gave {result:?}"
        );
        Ok(())
    })
}
