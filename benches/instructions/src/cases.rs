//! Every case by its name.

use anyhow::{Context as _, Result};

use crate::{codecs, routing};

/// How often a case is counted.
pub(crate) const ROUNDS: u64 = 1000;

/// How often it runs before: buffers have grown, tables are filled.
pub(crate) const WARM: u64 = 50;

/// The names of all cases.
pub(crate) fn names() -> Vec<String> {
    let mut names = codecs::names();
    names.extend(routing::NAMES.map(str::to_owned));
    names
}

/// Runs a case.
pub(crate) fn run(name: &str) -> Result<()> {
    let (subject, operation) = name.split_once('/').context("no such case")?;
    if subject == "route" {
        routing::run(name)
    } else {
        codecs::run(subject, operation)
    }
}

/// What is counted: callgrind counts while this runs, and knows it by its name.
#[inline(never)]
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

/// Runs `work`, and counts it if `count`.
pub(crate) fn counted<T>(count: bool, work: impl FnOnce() -> T) -> T {
    if count { measured(work) } else { work() }
}
