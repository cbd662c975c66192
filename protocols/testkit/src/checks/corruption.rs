//! Checks bad bytes: no panic, no memory over the limit, and always an end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use meltemi_frame::{Interest, Limits, Side};
use rustix::time::{ClockId, clock_gettime};

use super::{INTERESTS, positions, whole};
use crate::drive::{Arrival, Drive, Step, opposite};
use crate::failure::{ensure, show};
use crate::seen::Event;
use crate::{Failure, Sample, Subject, Verdict};

/// Small limits, so that memory use over them shows.
const TIGHT: Limits = Limits {
    frame: 64 << 10,
    request: Some(64 << 10),
    hold: 4 << 10,
    depth: 16,
    entries: 64,
};
/// Memory in bytes that a codec may use besides the message: its own buffers, error texts.
const SLACK: u64 = 64 << 10;
/// With default limits, an absurd length must not reserve anything near the limit of 16 MiB. This
/// bound is in bytes.
const GENEROUS: u64 = 4 << 20;
/// The CPU time that a few hundred KiB must never need, even in a debug build on a busy machine.
const TOO_LONG: Duration = Duration::from_secs(1);

/// If a sample is cut anywhere, the codec waits or returns the complete messages: no panic, no
/// message that the whole sample does not have, no loss of messages before the cut.
pub fn truncations_wait(subject: &Subject) -> Verdict {
    subject.each(|sample| {
        for want in INTERESTS {
            let drive = Drive {
                spec: subject.spec(),
                want,
                arrival: Arrival::Whole,
                impatient: true,
            };
            let full = drive.run(&mut *subject.codec(sample.side, &whole()), &sample.bytes)?;
            for cut in positions(sample.bytes.len(), 512) {
                let bytes = sample.bytes.get(..cut).unwrap_or_default();
                survive(subject, sample.side, want, &TIGHT, bytes)
                    .and_then(|()| survive(subject, opposite(sample.side), want, &whole(), bytes))
                    .and_then(|()| cut_short(subject, sample, &drive, &full.events, bytes))
                    .map_err(|failure| {
                        failure.within(format!("cut at {cut}, Interest::{want:?}"))
                    })?;
            }
        }
        Ok(())
    })
}

fn cut_short(
    subject: &Subject,
    sample: &Sample,
    drive: &Drive<'_>,
    full: &[Event],
    bytes: &[u8],
) -> Verdict {
    let run = drive.run(&mut *subject.codec(sample.side, &whole()), bytes)?;
    for (at, event) in run.events.iter().enumerate() {
        let known = full.get(at);
        ensure!(
            known == Some(event),
            "event {at} is {event:?}, but {known:?} when nothing is cut"
        );
    }
    Ok(())
}

/// Every single bit is flipped (in large samples a bounded selection). Both sides read the result,
/// with tight and default limits: no panic, bounded memory, and progress or an end.
pub fn flipped_bits_are_survived(subject: &Subject) -> Verdict {
    subject.each(|sample| {
        let mut bytes = sample.bytes.clone();
        for at in positions(bytes.len(), 160) {
            for bit in 0..8 {
                flip(&mut bytes, at, bit);
                everywhere(subject, sample.side, &bytes)
                    .map_err(|failure| failure.within(format!("bit {bit} of byte {at} flipped")))?;
                flip(&mut bytes, at, bit);
            }
        }
        Ok(())
    })
}

fn flip(bytes: &mut [u8], at: usize, bit: u32) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

/// Every window of 1, 2, 4 and 8 bytes is overwritten with values that make lengths and counts
/// absurd (all ones, the largest and the smallest signed value, zero; nines for lengths in text).
/// The same rules apply.
pub fn absurd_lengths_are_survived(subject: &Subject) -> Verdict {
    subject.each(|sample| {
        for at in positions(sample.bytes.len(), 160) {
            for width in [1, 2, 4, 8] {
                for (first, rest) in [
                    (0xff, 0xff),
                    (0x7f, 0xff),
                    (0x80, 0),
                    (0, 0),
                    (b'9', b'9'),
                    (b'-', b'1'),
                ] {
                    let mut bytes = sample.bytes.clone();
                    let Some(window) = bytes.get_mut(at..at + width) else {
                        continue;
                    };
                    window.fill(rest);
                    if let Some(byte) = window.first_mut() {
                        *byte = first;
                    }
                    everywhere(subject, sample.side, &bytes).map_err(|failure| {
                        failure.within(format!(
                            "the {width} bytes at {at} overwritten with {first:02x} {rest:02x}…"
                        ))
                    })?;
                }
            }
        }
        Ok(())
    })
}

/// From any position on, a short unit of the sample is repeated up to 48 KiB, as in an attack with
/// nested lists or maps: no panic, no overflow of a 512 KiB stack, bounded memory and time.
pub fn nesting_bombs_are_survived(subject: &Subject) -> Verdict {
    const SIZE: usize = 48 << 10;
    for sample in &subject.samples {
        let subject = subject.clone();
        let sample = sample.clone();
        // A stack overflow ends the process. The thread's name then shows the cause.
        let name = format!("bombs from {}", sample.name);
        let bombs = move || -> Verdict {
            let mut seen = std::collections::HashSet::new();
            for at in positions(sample.bytes.len(), 40) {
                for width in 1..=3 {
                    let Some(unit) = sample.bytes.get(at..at + width) else {
                        continue;
                    };
                    let front = sample.bytes.get(..at).unwrap_or_default();
                    if !seen.insert((front.len().min(64), unit.to_vec())) {
                        continue;
                    }
                    let mut bytes = front.to_vec();
                    bytes.extend(unit.iter().cycle().take(SIZE.saturating_sub(at)));
                    survive(&subject, sample.side, Interest::Body, &whole(), &bytes).map_err(
                        |failure| {
                            failure.within(format!(
                                "{}: from byte {at} on {} repeated",
                                sample.name,
                                show(unit)
                            ))
                        },
                    )?;
                }
            }
            Ok(())
        };
        std::thread::Builder::new()
            .name(name.clone())
            .stack_size(512 << 10)
            .spawn(bombs)
            .map_err(|error| Failure::new(error.to_string()))?
            .join()
            .map_err(|_| Failure::new(format!("{name}: panicked")))??;
    }
    Ok(())
}

/// Tests both sides, all interests, and tight and default limits.
fn everywhere(subject: &Subject, side: Side, bytes: &[u8]) -> Verdict {
    for want in INTERESTS {
        survive(subject, side, want, &TIGHT, bytes)?;
        survive(subject, side, want, &whole(), bytes)?;
    }
    survive(subject, opposite(side), Interest::Body, &TIGHT, bytes)
}

/// Fails on a panic, on memory over the limit, or on too much CPU time.
pub(crate) fn survive(
    subject: &Subject,
    side: Side,
    want: Interest,
    limits: &Limits,
    bytes: &[u8],
) -> Verdict {
    let mut verdict: Result<Verdict, String> = Ok(Ok(()));
    let started = Instant::now();
    let cpu = thread_time();
    let memory = measure(|| {
        let drive = Drive {
            spec: subject.spec(),
            want,
            arrival: Arrival::Whole,
            impatient: false,
        };
        verdict = catch_unwind(AssertUnwindSafe(|| {
            let mut codec = subject.codec(side, limits);
            drive.walk(&mut *codec, bytes, &mut |_, step| {
                if let Step::Message(message, ..) = step {
                    // Reads all open metadata, as a rule may.
                    message
                        .attributes
                        .walk(message.wire(), &mut |_| std::ops::ControlFlow::Continue(()));
                }
                Ok(())
            })?;
            Ok(())
        }))
        .map_err(|panic| crate::failure::panic_text(&*panic));
    });
    let place = || {
        format!(
            "{} side, frame limit {}: {}",
            side.name(),
            limits.frame,
            show(bytes)
        )
    };
    match verdict {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => return Err(failure.within(place())),
        Err(text) => return Err(Failure::new(format!("panicked: {text}")).within(place())),
    }
    let allowed = SLACK
        + 16 * bytes.len() as u64
        + if limits.frame > TIGHT.frame {
            GENEROUS
        } else {
            limits.frame as u64
        };
    ensure!(
        memory.bytes_max <= allowed,
        "{}: {} bytes of memory, but only {allowed} are allowed",
        place(),
        memory.bytes_max
    );
    // Only the codec's own CPU time counts, because the machine may be busy.
    ensure!(
        started.elapsed() < TOO_LONG || thread_time().saturating_sub(cpu) < TOO_LONG,
        "{}: it took {:?} of CPU time",
        place(),
        thread_time().saturating_sub(cpu)
    );
    Ok(())
}

/// Returns the CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
