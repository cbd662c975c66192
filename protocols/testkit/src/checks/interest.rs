//! Checks that a deeper [`Interest`] finds the same messages.

use meltemi_frame::Interest;

use super::{INTERESTS, whole};
use crate::drive::{Arrival, Drive};
use crate::failure::ensure;
use crate::seen::{Event, Run};
use crate::{Sample, Subject, Verdict};

/// [`Interest`] changes how much is known of a message, but not the message: kinds, ids, lengths,
/// and attributes known at a lesser depth stay the same. A deeper decode may find that a message is
/// malformed. A key that is declared for a depth may also be found before it, if that costs
/// nothing.
pub fn deeper_interest_sees_the_same(subject: &Subject) -> Verdict {
    subject.each(|sample| {
        let runs = INTERESTS.map(|want| run(subject, sample, want));
        let [route, headers, body] = runs;
        let (route, headers, body) = (route?, headers?, body?);
        compare(subject, &route, &headers)?;
        compare(subject, &headers, &body)
    })
}

fn run(subject: &Subject, sample: &Sample, want: Interest) -> Result<Run, crate::Failure> {
    let drive = Drive {
        spec: subject.spec(),
        want,
        arrival: Arrival::Whole,
        impatient: false,
    };
    drive
        .run(&mut *subject.codec(sample.side, &whole()), &sample.bytes)
        .map_err(|failure| failure.within(format!("Interest::{want:?}")))
}

fn compare(subject: &Subject, shallow: &Run, deep: &Run) -> Verdict {
    for (a, b) in shallow.events.iter().zip(&deep.events) {
        let (Event::Message(a), Event::Message(b)) = (a, b) else {
            // The deeper decode found a malformed message. The rest is compared only if the length
            // is known.
            if matches!((a, b), (Event::Message(_), Event::Malformed(..))) {
                continue;
            }
            return Ok(());
        };
        let at = a.offset;
        ensure!(
            (a.offset, a.wire.len()) == (b.offset, b.wire.len()),
            "the message at offset {at} of {} bytes is seen at offset {} with {} bytes when looked at deeper",
            a.wire.len(),
            b.offset,
            b.wire.len()
        );
        ensure!(
            (a.head.kind, a.head.id, a.head.end) == (b.head.kind, b.head.id, b.head.end),
            "the message at offset {at} is another when looked at deeper:\n  {:?}\n  {:?}",
            a.head,
            b.head
        );
        for (name, value) in &a.attributes {
            let first = subject
                .spec()
                .lookup(name)
                .is_some_and(|(_, at)| at == Interest::Route);
            let deeper = b.attributes.get(name);
            ensure!(
                deeper == Some(value) || (!first && deeper.is_some()),
                "the attribute `{name}` of the message at offset {at} is lost or changed when looked at deeper"
            );
        }
    }
    Ok(())
}
