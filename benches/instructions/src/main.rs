//! Counts instructions: of every codec for one message, and of the router's decision. Each case runs in
//! a process of its own under callgrind, which counts what happens inside `measured` and nothing else.

mod baseline;
mod cases;
mod codecs;
mod routing;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use baseline::Baseline;

/// Counts the instructions of codecs and of routing decisions.
#[derive(Parser)]
enum Arguments {
    /// Compare with the recorded counts; fails if one grew by more than 5 %.
    Check {
        /// Only cases whose names have this in them.
        filter: Option<String>,
    },
    /// Record the counts as they are now.
    Record,
    /// What callgrind runs: one case.
    #[command(hide = true)]
    Case { name: String },
}

fn main() -> ExitCode {
    let went = match Arguments::parse() {
        Arguments::Check { filter } => check(filter.as_deref()),
        Arguments::Record => record(),
        Arguments::Case { name } => cases::run(&name).map(|()| true),
    };
    match went {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../instructions.json")
}

fn check(filter: Option<&str>) -> Result<bool> {
    let baseline = Baseline::load(&recorded())?;
    let mut good = true;
    for name in cases::names() {
        if filter.is_none_or(|filter| name.contains(filter)) {
            good &= baseline.judge(&name, count(&name)?);
        }
    }
    if filter.is_none() {
        good &= baseline.complete(&cases::names());
    }
    Ok(good)
}

fn record() -> Result<bool> {
    let mut baseline = Baseline::new();
    for name in cases::names() {
        let counted = count(&name)?;
        println!("{name:32} {counted:8}");
        baseline.put(name, counted);
    }
    baseline.save(&recorded())?;
    Ok(true)
}

/// Instructions for one message.
fn count(name: &str) -> Result<u64> {
    let this = std::env::current_exe()?;
    let said = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*measured*",
        ])
        .arg(this)
        .args(["case", name])
        .output()
        .context("there is no valgrind")?;
    let text = String::from_utf8_lossy(&said.stderr);
    if !said.status.success() {
        bail!("{name}: {text}");
    }
    let line = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let collected: u64 = line
        .and_then(|(_, counts)| counts.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("callgrind did not tell: {text}"))?;
    Ok(collected / cases::ROUNDS)
}
