//! Checks that the work is linear, however slowly bytes arrive.

use std::time::Duration;

use meltemi_frame::{Decoded, Edit, Interest, Kind, Side};

use super::corruption::thread_time;
use super::ids::{encode, messages};
use super::{positions, whole};
use crate::failure::{ensure, show};
use crate::{Subject, Verdict};

/// The size in bytes of a message that is sent byte by byte.
const SIZE: usize = 32 << 10;
/// The maximum ratio of the cost of the last quarter to the first. A codec that starts over with
/// every byte has a ratio of seven; one that remembers its position, of one.
const RATIO: u32 = 4;
/// CPU times below this are only noise.
const NOISE: Duration = Duration::from_micros(400);
/// The number of runs. The fastest one counts, because noise only adds time.
const RUNS: usize = 7;

/// A large message that arrives byte by byte costs the same for each byte: in CPU time, the last
/// quarter of 32 KiB may not cost much more than the first. Large messages are made from the
/// samples, with a large attribute (if the protocol accepts edits) or by repeated parts (if the
/// codec then waits for more). [`Options::large`](crate::Options::large) adds others.
pub fn dribbled_bytes_cost_linear_time(subject: &Subject) -> Verdict {
    for (what, side, bytes) in candidates(subject) {
        let mut best = Quarters {
            first: Duration::MAX,
            last: Duration::MAX,
            calls: 0,
        };
        for _ in 0..RUNS {
            let run = dribble(subject, side, &bytes);
            best.first = best.first.min(run.first);
            best.last = best.last.min(run.last);
            best.calls = run.calls;
            if best.is_linear() {
                break;
            }
        }
        ensure!(
            best.is_linear(),
            "{what}: of {} bytes, read byte by byte in {} calls, the first quarter took {:?} and the last {:?}: \
             the codec starts over with every byte",
            bytes.len(),
            best.calls,
            best.first,
            best.last
        );
    }
    Ok(())
}

struct Quarters {
    first: Duration,
    last: Duration,
    calls: usize,
}

impl Quarters {
    fn is_linear(&self) -> bool {
        self.last <= self.first * RATIO + NOISE
    }
}

/// Appends byte by byte, calls `decode` when the requested bytes are present, and consumes as
/// returned.
fn dribble(subject: &Subject, side: Side, bytes: &[u8]) -> Quarters {
    let mut codec = subject.codec(side, &whole());
    let (mut offset, mut need, mut calls) = (0, 1, 0);
    let mut spent = [Duration::ZERO; 4];
    let quarter = (bytes.len() / 4).max(1);
    for (at, spent) in spent.iter_mut().enumerate() {
        let started = thread_time();
        for have in at * quarter + 1..=(at + 1) * quarter {
            while offset + need <= have {
                calls += 1;
                let input = bytes.get(offset..have).unwrap_or_default();
                match codec.decode(input, Interest::Route) {
                    Ok(Decoded::Incomplete(asked)) => need = asked.max(input.len() + 1),
                    Ok(Decoded::Message(_, taken) | Decoded::Skip(taken)) => {
                        offset += taken.max(1);
                        need = 1;
                    }
                    Err(_) => {
                        // The end: no more bytes are requested.
                        need = usize::MAX - offset;
                    }
                }
            }
        }
        *spent = thread_time().saturating_sub(started);
    }
    let [first, _, _, last] = spent;
    Quarters { first, last, calls }
}

fn candidates(subject: &Subject) -> Vec<(String, Side, Vec<u8>)> {
    let mut all = Vec::new();
    for (at, (side, bytes)) in subject.options.large.iter().enumerate() {
        all.push((
            format!("the author's large message {at}"),
            *side,
            bytes.clone(),
        ));
    }
    for sample in subject
        .samples
        .iter()
        .filter(|sample| sample.bytes.len() >= 8 << 10)
        .take(8)
    {
        all.push((sample.name.clone(), sample.side, sample.bytes.clone()));
    }
    for side in [Side::Server, Side::Client] {
        all.extend(edited(subject, side));
        all.extend(hungry(subject, side));
    }
    all
}

/// Makes large messages with attributes: the smallest message that accepts one of 32 KiB, and one
/// that accepts many.
fn edited(subject: &Subject, side: Side) -> Vec<(String, Side, Vec<u8>)> {
    let spec = subject.spec();
    let response = side == Side::Client;
    let open = spec
        .open
        .iter()
        .map(|open| format!("{}x-large", open.prefix));
    let names: Vec<String> = open
        .chain(spec.keys.iter().map(|key| key.name.to_string()))
        .filter(|name| spec.editable(name, response))
        .collect();
    let mut all: Vec<(String, Side, Vec<u8>)> = Vec::new();
    for name in names {
        for many in [false, true] {
            let mut found: Option<(String, Side, Vec<u8>)> = None;
            let _ = subject.each(|sample| {
                if sample.side != side || found.is_some() {
                    return Ok(());
                }
                messages(subject, sample, Interest::Body, &mut |message, _| {
                    if found.is_some()
                        || !matches!(message.head.kind, Kind::Request | Kind::Response)
                    {
                        return Ok(());
                    }
                    let mut message = message.clone();
                    let value = |length| vec![b'v'; length].into_boxed_slice();
                    if many {
                        for at in 0..200 {
                            message
                                .edit(Edit::Add(format!("{name}{at}").into(), value(SIZE / 200)));
                        }
                    } else {
                        message.edit(Edit::Set(name.as_str().into(), value(SIZE)));
                    }
                    if let Ok(bytes) = encode(subject, side, &message) {
                        let what = if many {
                            "200 attributes"
                        } else {
                            "an attribute of 32 KiB"
                        };
                        found = Some((
                            format!("{} with {what} (`{name}`)", sample.name),
                            side,
                            bytes,
                        ));
                    }
                    Ok(())
                })
            });
            all.extend(found);
        }
    }
    all
}

/// Makes large messages by repetition: prefixes of samples, with or without one larger byte, after
/// which the codec waits for more and more repetitions. One candidate for each kind of repetition.
fn hungry(subject: &Subject, side: Side) -> Vec<(String, Side, Vec<u8>)> {
    const PROBE: usize = 2 << 10;
    let mut all: Vec<(String, Side, Vec<u8>)> = Vec::new();
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    let mut of_side: Vec<_> = subject
        .samples
        .iter()
        .filter(|sample| sample.side == side)
        .collect();
    of_side.sort_by_key(|sample| sample.bytes.len());
    for sample in of_side.into_iter().take(24) {
        for at in positions(sample.bytes.len().min(256), 48) {
            for change in [None, Some(0x7f), Some(b'9'), Some(0xff)] {
                for (kind, unit) in units(&sample.bytes, at) {
                    let made = |size: usize| {
                        let mut bytes = sample.bytes.clone();
                        if let (Some(byte), Some(value)) = (bytes.get_mut(at), change) {
                            *byte = value;
                        } else {
                            bytes.truncate(at + 1);
                        }
                        let front = bytes.len();
                        bytes.extend(unit.iter().cycle().take(size.saturating_sub(front)));
                        bytes
                    };
                    let label = format!("{kind}, {change:?}");
                    if kinds.get(&label).is_some_and(|&found| found >= 3)
                        || !waits(subject, side, &made(PROBE))
                    {
                        continue;
                    }
                    let bytes = made(SIZE);
                    if !waits(subject, side, bytes.get(..SIZE - 1).unwrap_or_default()) {
                        continue;
                    }
                    *kinds.entry(label).or_default() += 1;
                    let what = format!(
                        "{} from byte {at} on with {} repeated",
                        sample.name,
                        show(&unit)
                    );
                    all.push((what, side, bytes));
                }
            }
        }
    }
    all
}

fn units(bytes: &[u8], at: usize) -> Vec<(&'static str, Vec<u8>)> {
    let tail = |from: usize| {
        bytes
            .get(from.min(bytes.len())..)
            .unwrap_or_default()
            .to_vec()
    };
    let mut all = vec![("a letter", b"a".to_vec()), ("zeros", vec![0])];
    all.push(("what follows", tail(at + 1)));
    for last in [2, 4, 8, 16] {
        all.push(("the end", tail(bytes.len().saturating_sub(last))));
    }
    all.retain(|(_, unit)| !unit.is_empty());
    all
}

/// Returns `true` if the codec, after reading all these bytes, requests only a little more.
fn waits(subject: &Subject, side: Side, bytes: &[u8]) -> bool {
    let decoded = subject
        .codec(side, &whole())
        .decode(bytes, Interest::Route)
        .map(|decoded| match decoded {
            Decoded::Incomplete(need) => need <= bytes.len() + 16,
            _ => false,
        });
    decoded.unwrap_or(false)
}
