//! Bad neighbours: one client or server misbehaves, and what do the others feel?

mod clients;
mod servers;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use meltemi_bench::load::Outcome;
use meltemi_bench::wire::Protocol;

use crate::bed::{Bed, Bench};
use crate::results::Check;
use crate::tools::Tools;

/// How much memory a bad neighbour may cost.
const MEMORY_MIB: f64 = 64.0;

pub(crate) fn run(
    tools: &Tools,
    protocols: &[Protocol],
    quick: bool,
    directory: &Path,
) -> Result<Vec<Check>> {
    let mut bench = Bench {
        tools,
        directory,
        quick,
        checks: Vec::new(),
    };
    for protocol in protocols {
        clients::slow_reader(&mut bench, *protocol)?;
        clients::slow_senders(&mut bench, *protocol)?;
        clients::burst(&mut bench, *protocol)?;
        servers::slow(&mut bench, *protocol)?;
        servers::hung(&mut bench, *protocol)?;
        servers::dies(&mut bench, *protocol)?;
    }
    Ok(bench.checks)
}

impl Bench<'_> {
    fn time(&self) -> Duration {
        Duration::from_millis(if self.quick { 500 } else { 2000 })
    }

    /// Notes what the others felt beside what they feel without the neighbour.
    fn felt(&mut self, bed: &Bed, scenario: &str, before: &Outcome, during: &Outcome) {
        self.note(
            bed,
            scenario,
            "p99 of the others, before",
            before.p99 / 1e3,
            "ms",
            None,
        );
        let bound = 3.0 * before.p99 / 1e3 + 10.0;
        // None at all is as bad as it gets.
        let p99 = if during.replies == 0 {
            f64::MAX
        } else {
            during.p99 / 1e3
        };
        self.note(bed, scenario, "p99 of the others", p99, "ms", Some(bound));
        self.unharmed(bed, scenario, during);
    }

    /// Notes how many of the others' requests did not get the right answer.
    fn unharmed(&mut self, bed: &Bed, scenario: &str, outcome: &Outcome) {
        let harmed = outcome.failed + outcome.wrong + outcome.cut + outcome.lost as u64;
        self.note(
            bed,
            scenario,
            "requests of the others that failed",
            harmed as f64,
            "",
            Some(0.0),
        );
    }

    /// Notes the memory that it took, at most.
    fn memory(&mut self, bed: &Bed, scenario: &str, before_mib: f64) {
        let grown = bed.peak_mib() - before_mib;
        self.note(
            bed,
            scenario,
            "memory grew by at most",
            grown,
            "MiB",
            Some(MEMORY_MIB),
        );
    }
}
