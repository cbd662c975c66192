//! What do bad bytes do? Never a panic, never memory past the limit, always an end.

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

/// Small limits, so that memory past them shows.
const TIGHT: Limits = Limits {
    frame: 64 << 10,
    request: Some(64 << 10),
    hold: 4 << 10,
    depth: 16,
    entries: 64,
};
/// What a codec may need besides the message: its own buffers, error texts.
const SLACK: u64 = 64 << 10;
/// With default limits an absurd length must not reserve anything near the limit of 16 MiB.
const GENEROUS: u64 = 4 << 20;
/// CPU time that a few hundred KiB may never need, not even unoptimised on a busy machine.
const TOO_LONG: Duration = Duration::from_secs(1);

/// Every sample, cut anywhere, makes the codec wait or tells what is whole: no panic, no message
/// that was not there before, no loss of what came before the cut.
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

/// Every single flipped bit (a bounded choice in large samples), read by both sides, with tight and
/// with default limits: no panic, bounded memory, progress or an end.
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

/// Every window of 1, 2, 4 and 8 bytes overwritten with what makes lengths and counts absurd (all
/// ones, the largest and the smallest signed value, zero; nines for lengths in text): as above.
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

/// From any position on, a short unit of the sample repeated to 48 KiB, as a bomb of nested lists
/// or maps is made: no panic, no overflow of a 512 KiB stack, bounded memory and time.
pub fn nesting_bombs_are_survived(subject: &Subject) -> Verdict {
    const SIZE: usize = 48 << 10;
    for sample in &subject.samples {
        let subject = subject.clone();
        let sample = sample.clone();
        // A stack overflow ends the process; the thread's name then tells what caused it.
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

/// Both sides, every interest, tight and default limits.
fn everywhere(subject: &Subject, side: Side, bytes: &[u8]) -> Verdict {
    for want in INTERESTS {
        survive(subject, side, want, &TIGHT, bytes)?;
        survive(subject, side, want, &whole(), bytes)?;
    }
    survive(subject, opposite(side), Interest::Body, &TIGHT, bytes)
}

/// No panic, memory within the limit, an end in due time.
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
                    // Walks all open metadata, as a rule may.
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
        "{}: {} bytes of memory, where {allowed} are allowed",
        place(),
        memory.bytes_max
    );
    // Waiting for a busy machine is not the codec's fault: only its own CPU time counts.
    ensure!(
        started.elapsed() < TOO_LONG || thread_time().saturating_sub(cpu) < TOO_LONG,
        "{}: it took {:?} of CPU time",
        place(),
        thread_time().saturating_sub(cpu)
    );
    Ok(())
}

/// CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
