//! Runs a second of fuzzing in every test run.

use std::time::Duration;

use crate::{Subject, Verdict, fuzz};

/// Samples that are mutated at random for a second pass all checks of [`fuzz`]. The seed is fixed,
/// so that a failure is reproducible. Set `MELTEMI_FUZZ_SEED` and `MELTEMI_FUZZ_SECONDS` for more.
pub fn mutations_are_survived(subject: &Subject) -> Verdict {
    let of = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = of("MELTEMI_FUZZ_SEED").unwrap_or(0x006d_656c_7465_6d69);
    let time = Duration::from_secs(of("MELTEMI_FUZZ_SECONDS").unwrap_or(1));
    fuzz::mutate(&*subject.protocol, &subject.samples, seed, time)
}
