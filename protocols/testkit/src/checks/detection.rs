//! Checks that the protocol's own first bytes are detected, and those of other protocols are not.

use meltemi_frame::{Decoded, Detect, Interest, Side};

use super::{positions, whole};
use crate::failure::{ensure, show};
use crate::foreign::{FOREIGN, Foreign};
use crate::{Sample, Subject, Verdict};

/// The maximum number of bytes that `detect` may ask for. A timeout must decide for a peer that
/// sends fewer.
const ENOUGH: usize = 64;

/// The first bytes of the protocol's clients are detected: `Yes` in the end, never `No` before, and
/// `Need` asks for more bytes than present, but for at most 64. (With
/// [`Options::undetectable`](crate::Options::undetectable): always `No`.)
pub fn own_samples_are_detected(subject: &Subject) -> Verdict {
    let firsts = subject
        .samples
        .iter()
        .filter(|sample| starts_well(subject, sample));
    let mut tried = 0;
    for sample in firsts {
        tried += 1;
        one(subject, sample).map_err(|failure| failure.within(&sample.name))?;
    }
    ensure!(
        tried > 0,
        "no *.server.bin starts with a message that could be recognised"
    );
    Ok(())
}

/// `detect` never returns `Yes` for the first bytes of other protocols' clients, whole or in part.
/// Protocols whose first bytes can be identical are exempt from each other.
pub fn foreign_bytes_are_not_claimed(subject: &Subject) -> Verdict {
    let own = &*subject.spec().name;
    let others = FOREIGN
        .iter()
        .filter(|foreign| foreign.protocol != own && !foreign.shared_with.contains(&own));
    for Foreign {
        protocol,
        form,
        bytes,
        ..
    } in others
    {
        for length in 1..=bytes.len() {
            let prefix = bytes.get(..length).unwrap_or_default();
            let told = subject.protocol.detect(prefix);
            ensure!(
                told != Detect::Yes,
                "{own} claims {}, which is how {protocol} ({form}) starts",
                show(prefix)
            );
            asks_for_more(told, length)
                .map_err(|failure| failure.within(format!("{protocol} ({form})")))?;
        }
    }
    Ok(())
}

/// Returns `true` if the sample starts with a message: no blank lines, nothing malformed.
fn starts_well(subject: &Subject, sample: &Sample) -> bool {
    let decodes = || {
        let mut codec = subject.codec(Side::Server, &whole());
        matches!(
            codec.decode(&sample.bytes, Interest::Route),
            Ok(Decoded::Message(..))
        )
    };
    sample.side == Side::Server && decodes()
}

fn one(subject: &Subject, sample: &Sample) -> Verdict {
    let bytes = &sample.bytes;
    let mut last = Detect::Need(1);
    for length in positions(bytes.len(), 256).into_iter().map(|at| at + 1) {
        let prefix = bytes.get(..length).unwrap_or_default();
        let before = std::mem::replace(&mut last, subject.protocol.detect(prefix));
        if subject.options.undetectable {
            ensure!(
                last == Detect::No,
                "detect returned {last:?} for {}, but the protocol is declared undetectable",
                show(prefix)
            );
            continue;
        }
        ensure!(
            last != Detect::No,
            "detect returned No for its own first {length} bytes {}",
            show(prefix)
        );
        asks_for_more(last, length)?;
        ensure!(
            before != Detect::Yes || last == Detect::Yes,
            "detect returned Yes for less than {}, and then {last:?}: the result depends on how bytes arrive",
            show(prefix)
        );
    }
    ensure!(
        subject.options.undetectable || last == Detect::Yes,
        "detect returned {last:?} for the whole of {}",
        show(bytes)
    );
    Ok(())
}

fn asks_for_more(told: Detect, have: usize) -> Verdict {
    if let Detect::Need(need) = told {
        ensure!(
            need > have,
            "Need({need}), but {have} bytes are already present"
        );
        ensure!(
            need <= ENOUGH,
            "Need({need}) is too many bytes: at most {ENOUGH} are allowed"
        );
    }
    Ok(())
}
