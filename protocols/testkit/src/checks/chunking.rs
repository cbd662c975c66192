//! Checks that the result does not depend on how the bytes are split.

use super::{INTERESTS, positions, whole};
use crate::drive::{Arrival, Drive};
use crate::failure::ensure;
use crate::seen::{Event, Run};
use crate::{Failure, Sample, Subject, Verdict};
use meltemi_frame::{Interest, Kind, Limits};

/// However the bytes are split, the same messages come out at the same offsets. `Incomplete`
/// consumes nothing: a second call with the same bytes returns `Incomplete` again. This also
/// applies with a small [`Limits::hold`](meltemi_frame::Limits::hold), where the pieces of a large
/// message must add up to its bytes.
pub fn any_chunking_is_the_same(subject: &Subject) -> Verdict {
    subject.each(|sample| {
        for want in INTERESTS {
            whole_messages(subject, sample, want)
                .map_err(|failure| failure.within(format!("Interest::{want:?}")))?;
        }
        streamed_messages(subject, sample)
    })
}

fn arrivals(length: usize) -> Vec<(Arrival, bool)> {
    // Impatient calls double the work, so large samples use larger steps.
    let step = (length / 2048).max(1);
    let mut all = vec![(Arrival::Whole, true), (Arrival::Pieces(1), false)];
    for size in [step, step * 2, step * 3, step * 7] {
        all.push((Arrival::Pieces(size), true));
    }
    all.extend([(Arrival::Pieces(64), false), (Arrival::Pieces(1000), false)]);
    let splits = positions(length, 96).into_iter();
    all.extend(splits.map(|at| (Arrival::SplitAt(at), true)));
    all
}

fn whole_messages(subject: &Subject, sample: &Sample, want: Interest) -> Verdict {
    let run = |arrival, impatient| {
        let drive = Drive {
            spec: subject.spec(),
            want,
            arrival,
            impatient,
        };
        drive.run(&mut *subject.codec(sample.side, &whole()), &sample.bytes)
    };
    let reference = run(Arrival::Whole, false)?;
    for (arrival, impatient) in arrivals(sample.bytes.len()) {
        let place = || format!("{arrival:?}{}", if impatient { ", impatient" } else { "" });
        let got = run(arrival, impatient).map_err(|failure| failure.within(place()))?;
        reference
            .is_same_as(&got)
            .map_err(|failure| failure.within(place()))?;
    }
    Ok(())
}

/// A message that was joined from its pieces.
#[derive(Debug, PartialEq, Eq)]
struct Joined {
    kind: Kind,
    id: Option<i64>,
    ended: bool,
    wire: Vec<u8>,
}

/// Messages over the hold limit may be split into a head and pieces, at any position. The joined
/// result must not depend on how the bytes arrived.
fn streamed_messages(subject: &Subject, sample: &Sample) -> Verdict {
    let mut reference = None;
    for hold in [sample.bytes.len() / 2, sample.bytes.len() / 8, 24].map(|hold| hold.max(16)) {
        let limits = Limits {
            hold,
            ..Limits::default()
        };
        for arrival in [
            Arrival::Whole,
            Arrival::Pieces(1),
            Arrival::Pieces(13),
            Arrival::Pieces(100),
        ] {
            let place = || format!("hold {hold}, {arrival:?}");
            let drive = Drive {
                spec: subject.spec(),
                want: Interest::Route,
                arrival,
                impatient: false,
            };
            let run = drive
                .run(&mut *subject.codec(sample.side, &limits), &sample.bytes)
                .map_err(|failure| failure.within(place()))?;
            let joined = join(&run).map_err(|failure| failure.within(place()))?;
            // The extent of an unfinished or malformed large message may depend on the pieces.
            if !sample.is_clean() {
                continue;
            }
            if let Some(open) = joined.iter().find(|message| !message.ended) {
                let (kind, length) = (open.kind.name(), open.wire.len());
                return Err(Failure::new(format!(
                    "{}: a {kind} never ends: {length} bytes were decoded",
                    place()
                )));
            }
            let (first, known) = reference.get_or_insert_with(|| (place(), joined_of(&joined)));
            let got = joined_of(&joined);
            ensure!(
                *known == got,
                "{}: the joined messages differ from those of {first}:\n  there: {known:?}\n  here:  {got:?}",
                place()
            );
        }
    }
    Ok(())
}

fn joined_of(messages: &[Joined]) -> Vec<(Kind, Option<i64>, String)> {
    let digest = |wire: &[u8]| format!("{} bytes, {:08x}", wire.len(), checksum(wire));
    let tell = |message: &Joined| (message.kind, message.id, digest(&message.wire));
    messages.iter().map(tell).collect()
}

/// FNV-1a: enough to distinguish two byte strings in a failure message.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn join(run: &Run) -> Result<Vec<Joined>, Failure> {
    let mut all: Vec<Joined> = Vec::new();
    for event in &run.events {
        let Event::Message(seen) = event else {
            continue;
        };
        let open = all.last_mut().filter(|last| !last.ended);
        match (seen.head.kind, open) {
            (Kind::Data, Some(last)) => {
                if seen.head.id.is_some() {
                    ensure!(
                        seen.head.id == last.id,
                        "a Data piece at offset {} has the id {:?}, its head has {:?}",
                        seen.offset,
                        seen.head.id,
                        last.id
                    );
                }
                last.wire.extend_from_slice(&seen.wire);
                last.ended = seen.head.end;
            }
            (Kind::Data, None) => {
                return Err(Failure::new(format!(
                    "a Data piece at offset {} has no head",
                    seen.offset
                )));
            }
            (kind, Some(_)) => {
                return Err(Failure::new(format!(
                    "a {} at offset {} starts before the end of the previous message",
                    kind.name(),
                    seen.offset
                )));
            }
            (kind, None) => all.push(Joined {
                kind,
                id: seen.head.id,
                ended: seen.head.end,
                wire: seen.wire.clone(),
            }),
        }
    }
    Ok(all)
}
