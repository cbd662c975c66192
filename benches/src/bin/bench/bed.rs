//! A proxy under test that is not part of the matrix, and what is found out about it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use meltemi_bench::load::{self, Options, Outcome};
use meltemi_bench::wire::Protocol;
use meltemi_bench::{os, stall};

use crate::child::{Child, free_address};
use crate::mesh::Mesh;
use crate::results::Check;
use crate::targets::{MELTEMI, TARGETS, Target, meltemi_arguments};
use crate::tools::Tools;

/// Where everything is.
pub(crate) struct Bench<'t> {
    pub(crate) tools: &'t Tools,
    pub(crate) directory: &'t Path,
    pub(crate) quick: bool,
    pub(crate) checks: Vec<Check>,
}

/// A proxy that runs.
pub(crate) struct Bed {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    pub(crate) start: Duration,
    process: Child,
}

impl Bench<'_> {
    /// Meltemi with this configuration.
    pub(crate) fn meltemi(
        &self,
        protocol: Protocol,
        mesh: impl FnOnce(SocketAddr) -> Mesh,
    ) -> Result<Bed> {
        let address = free_address()?;
        let file = self.directory.join("bed.yaml");
        std::fs::write(&file, mesh(address).text())?;
        let mut command = vec![self.tools.meltemi.display().to_string()];
        command.extend(meltemi_arguments(&file.display().to_string()));
        let process = Child::proxy("bed", &command, self.directory)?;
        let start = stall::first_reply(protocol, address, process.started)
            .with_context(|| format!("see bed.yaml, bed.log in {}", self.directory.display()))?;
        Ok(Bed {
            name: MELTEMI,
            protocol,
            address,
            start,
            process,
        })
    }

    /// A target of the matrix; `None` if it is not installed.
    pub(crate) fn peer(
        &self,
        protocol: Protocol,
        name: &str,
        backend: SocketAddr,
    ) -> Result<Option<Bed>> {
        let is = |target: &&Target| target.protocol == protocol && target.name == name;
        let Some(target) = TARGETS
            .iter()
            .find(is)
            .filter(|one| one.installed(self.tools))
        else {
            return Ok(None);
        };
        let running = target.start(self.tools, backend, self.directory)?;
        let (address, start) = (running.address, running.start);
        let bed = |process| Bed {
            name: target.name,
            protocol,
            address,
            start,
            process,
        };
        Ok(running.process.map(bed))
    }

    /// Notes a value, and the bound that it must keep if it is ours.
    pub(crate) fn note(
        &mut self,
        bed: &Bed,
        scenario: &str,
        what: &str,
        value: f64,
        unit: &str,
        bound: Option<f64>,
    ) {
        let check = Check {
            scenario: format!("{}: {scenario}", bed.protocol.name()),
            target: bed.name.to_owned(),
            what: what.to_owned(),
            // JSON has no word for what could not be measured.
            value: if value.is_finite() { value } else { f64::MAX },
            unit: unit.to_owned(),
            bound: bound.filter(|_| bed.name == MELTEMI),
        };
        let kept = match check.kept() {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "",
        };
        let bound = check
            .bound
            .map(|bound| format!("(≤ {bound:.1})"))
            .unwrap_or_default();
        let Check {
            scenario, target, ..
        } = &check;
        let value = told(value);
        println!("{scenario:46} {target:12} {what:34} {value:>12} {unit:5} {bound:12} {kept}");
        self.checks.push(check);
    }
}

impl Bed {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sixteen clients with one request in flight each.
    pub(crate) fn load(&self, duration: Duration) -> Options {
        Options {
            connections: 16,
            warmup: Duration::from_millis(200),
            duration,
            watch: Some(self.pid()),
            ..Options::new(self.protocol, self.address)
        }
    }

    /// Runs it, for this long, undisturbed.
    pub(crate) fn run(&self, duration: Duration) -> Result<Outcome> {
        load::run(&self.load(duration))
    }

    pub(crate) fn memory_mib(&self) -> f64 {
        os::memory_kib(self.pid(), "VmRSS") as f64 / 1024.0
    }

    /// The most that it ever had.
    pub(crate) fn peak_mib(&self) -> f64 {
        os::memory_kib(self.pid(), "VmHWM") as f64 / 1024.0
    }
}

/// A value for people.
pub(crate) fn told(value: f64) -> String {
    match value {
        // Nothing came that could be measured.
        value if !value.is_finite() || value > 1e300 => "∞".to_owned(),
        0.0 => "0".to_owned(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value.abs() >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}
