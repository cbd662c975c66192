//! Entry points for fuzzers. They panic if a codec violates its contract, and for no other reason.
//!
//! The first byte of the data selects side, interest, limits and how the rest arrives, so that a
//! fuzzer explores them too. [`smoke`] does the same with a seeded generator on the stable
//! toolchain.

mod mutation;

use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use meltemi_frame::{Detect, Interest, Kind, Limits, Output, Protocol, Session, Side};

use crate::drive::{Arrival, Drive, Step, opposite};
use crate::failure::{difference, ensure, panic_text};
use crate::{Failure, Sample, Verdict, sample};

/// The id that every message gets in [`roundtrip`]. It fits into any number of bits.
const ID: i64 = 0x2a;

/// The first byte of a seed, except for the side: the whole message, default limits, split in the
/// middle.
const SEED: u8 = 0b1011_0100;

/// Decodes the data twice, at once and in pieces. Both results must be equal, with progress, and
/// reading the attributes must not panic.
///
/// # Panics
/// If the codec violates its contract.
pub fn decode(protocol: &dyn Protocol, data: &[u8]) {
    hold(decodes(protocol, data));
}

/// Decodes the data and encodes every message. An unedited message must not change; with another id
/// it must decode to the same message with that id.
///
/// # Panics
/// If the codec violates its contract.
pub fn roundtrip(protocol: &dyn Protocol, data: &[u8]) {
    hold(roundtrips(protocol, data));
}

/// Calls `detect` on every prefix of the data. It must ask for more bytes than present, and must
/// not change a `Yes` or `No` when more bytes arrive.
///
/// # Panics
/// If the codec violates its contract.
pub fn detect(protocol: &dyn Protocol, data: &[u8]) {
    hold(detects(protocol, data));
}

/// Runs all three entry points.
///
/// # Panics
/// If the codec violates its contract.
pub fn all(protocol: &dyn Protocol, data: &[u8]) {
    hold(promises(protocol, data));
}

/// Writes every sample of a directory and its subdirectories to `corpus`, in the format of the
/// entry points. Returns the number of samples.
///
/// # Errors
/// Fails if the samples cannot be read, or the corpus cannot be written.
pub fn seeds(samples: &Path, corpus: &Path) -> Result<usize, Failure> {
    let failed = |error: std::io::Error| Failure::new(error.to_string());
    fs::create_dir_all(corpus).map_err(failed)?;
    let mut count = 0;
    for entry in fs::read_dir(samples).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ends = |ending| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with(ending))
        };
        if path.is_dir() {
            count += seeds(&path, corpus)?;
        } else if ends(".bin") {
            let mut data = vec![u8::from(ends(".client.bin")) | SEED];
            data.extend(fs::read(&path).map_err(failed)?);
            fs::write(corpus.join(path.file_stem().unwrap_or_default()), data).map_err(failed)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Mutates the samples of a directory for this many seconds and runs every entry point on them.
///
/// # Errors
/// Fails if the samples cannot be read, or if the codec violates its contract. The failure then
/// contains the data, for a regression test.
pub fn smoke(protocol: &dyn Protocol, samples: impl AsRef<Path>, seconds: u64) -> Verdict {
    let samples = sample::load(samples.as_ref())?;
    mutate(
        protocol,
        &samples,
        fastrand::u64(..),
        Duration::from_secs(seconds),
    )
}

/// Like [`smoke`], with given samples and a seed.
///
/// # Errors
/// Fails if the codec violates its contract.
pub fn mutate(protocol: &dyn Protocol, samples: &[Sample], seed: u64, time: Duration) -> Verdict {
    let mut random = fastrand::Rng::with_seed(seed);
    let started = Instant::now();
    let mut data = Vec::new();
    while started.elapsed() < time && !samples.is_empty() {
        mutation::mutated(samples, &mut random, &mut data);
        let verdict =
            catch_unwind(AssertUnwindSafe(|| promises(protocol, &data))).unwrap_or_else(|panic| {
                Err(Failure::new(format!("panicked: {}", panic_text(&*panic))))
            });
        verdict.map_err(|failure| {
            failure.within(format!("seed {seed}, data b\"{}\"", data.escape_ascii()))
        })?;
    }
    Ok(())
}

#[expect(clippy::panic, reason = "a fuzzer detects failures by panics")]
fn hold(verdict: Verdict) {
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

fn promises(protocol: &dyn Protocol, data: &[u8]) -> Verdict {
    decodes(protocol, data)?;
    roundtrips(protocol, data)?;
    detects(protocol, data.get(1..).unwrap_or_default())
}

struct Setup<'a> {
    side: Side,
    want: Interest,
    limits: Limits,
    arrival: Arrival,
    bytes: &'a [u8],
}

/// The first byte, a bit field: side, interest (2 bits), limits, arrival (4 bits).
fn setup(data: &[u8]) -> Option<Setup<'_>> {
    let (&choice, bytes) = data.split_first()?;
    let side = if choice & 1 == 0 {
        Side::Server
    } else {
        Side::Client
    };
    let want = match choice >> 1 & 3 {
        0 => Interest::Route,
        1 => Interest::Headers,
        _ => Interest::Body,
    };
    let limits = if choice >> 3 & 1 == 0 {
        Limits::default().holding_all()
    } else {
        Limits {
            frame: 4096,
            request: Some(4096),
            hold: 4096,
            depth: 8,
            entries: 16,
        }
    };
    let arrival = match usize::from(choice >> 4) {
        0 => Arrival::Pieces(1),
        small @ 1..=7 => Arrival::Pieces(small * small),
        split => Arrival::SplitAt(bytes.len() * (split - 7) / 9),
    };
    Some(Setup {
        side,
        want,
        limits,
        arrival,
        bytes,
    })
}

fn decodes(protocol: &dyn Protocol, data: &[u8]) -> Verdict {
    let Some(Setup {
        side,
        want,
        limits,
        arrival,
        bytes,
    }) = setup(data)
    else {
        return Ok(());
    };
    let fresh = || protocol.codec(side, &limits, &Session::default());
    let drive = Drive {
        spec: protocol.spec(),
        want,
        arrival: Arrival::Whole,
        impatient: false,
    };
    let whole = drive.run(&mut *fresh(), bytes)?;
    let pieces = Drive {
        arrival,
        impatient: data.len() < 512,
        ..drive
    };
    let pieces = pieces.run(&mut *fresh(), bytes)?;
    whole.is_same_as(&pieces).map_err(|failure| {
        failure.within(format!(
            "{} side, Interest::{want:?}, {arrival:?}",
            side.name()
        ))
    })?;
    // Also tests a peer on the wrong side of the connection, and deep decoding.
    let drive = Drive {
        want: Interest::Body,
        ..drive
    };
    let mut wrong = protocol.codec(opposite(side), &limits, &Session::default());
    drive.walk(&mut *wrong, bytes, &mut |_, step| {
        if let Step::Message(message, _) = step {
            message
                .attributes
                .walk(message.wire(), &mut |_| ControlFlow::Continue(()));
        }
        Ok(())
    })?;
    Ok(())
}

fn roundtrips(protocol: &dyn Protocol, data: &[u8]) -> Verdict {
    let Some(Setup {
        side,
        want,
        limits,
        bytes,
        ..
    }) = setup(data)
    else {
        return Ok(());
    };
    let codec = |side, limits: &Limits| protocol.codec(side, limits, &Session::default());
    let drive = Drive {
        spec: protocol.spec(),
        want,
        arrival: Arrival::Whole,
        impatient: false,
    };
    let (mut straight, mut renumbering) = (
        codec(opposite(side), &limits),
        codec(opposite(side), &limits),
    );
    let (mut out, mut renumbered) = (Output::new(), Output::new());
    let (mut started, mut wanted) = (None, Vec::new());
    let mut broken = false;
    drive.walk(&mut *codec(side, &limits), bytes, &mut |_, step| {
        let Step::Message(message, offset) = step else {
            // A malformed message is not forwarded, and later messages may depend on it.
            broken = true;
            return Ok(());
        };
        straight
            .encode(message, &mut out)
            .map_err(|error| Failure::new(format!("the message at offset {offset}: {error}")))?;
        let same = out.drain();
        let may_be_renumbered = message.head.kind == Kind::OneWay && message.head.id.is_some();
        ensure!(
            same == message.wire() || may_be_renumbered,
            "the unedited message at offset {offset} came out changed: {}",
            difference(message.wire(), &same)
        );
        let mut changed = message.clone();
        // An id that stays may be replaced in a one-way message.
        let id = ID + i64::from(message.head.id == Some(ID));
        if message.head.id.is_some() {
            changed.set_id(id);
        }
        let before = renumbered.len();
        if renumbering.encode(&changed, &mut renumbered).is_err() {
            let after = renumbered.len();
            ensure!(
                before == after,
                "the message at offset {offset} was refused, but bytes were written"
            );
            broken = true;
        }
        if message.head.kind != Kind::Data {
            started = Some((message.head.kind, message.head.id.map(|_| id)));
        }
        // Pieces may come back as a whole message. It counts when it is complete.
        if message.head.end && !broken {
            wanted.extend(started);
        }
        Ok(())
    })?;
    // With another id a message may be longer, and exceed a limit.
    let larger = Limits {
        frame: limits.frame * 2,
        hold: limits.hold * 2,
        ..limits
    };
    let mut got = Vec::new();
    drive.walk(
        &mut *codec(side, &larger),
        &renumbered.drain(),
        &mut |_, step| {
            if let Step::Message(message, _) = step {
                got.push((message.head.kind, message.head.id));
            }
            Ok(())
        },
    )?;
    ensure!(
        got.starts_with(&wanted),
        "with the ids set to {ID}:\n  wanted: {wanted:?}\n  got:    {got:?}"
    );
    Ok(())
}

fn detects(protocol: &dyn Protocol, data: &[u8]) -> Verdict {
    let mut last = Detect::Need(1);
    for length in 1..=data.len().min(128) {
        let prefix = data.get(..length).unwrap_or_default();
        let told = protocol.detect(prefix);
        if let Detect::Need(need) = told {
            ensure!(
                need > length,
                "Need({need}), but {length} bytes are already present"
            );
        }
        ensure!(
            matches!(last, Detect::Need(_)) || told == last,
            "{last:?} for less than b\"{}\", and then {told:?}: the result depends on how bytes arrive",
            prefix.escape_ascii()
        );
        last = told;
    }
    Ok(())
}
