//! Measures Meltemi side by side with its peers and writes `docs/performance.md`.

mod bed;
mod child;
mod envoy;
mod footprint;
mod goals;
mod machine;
mod matrix;
mod mesh;
mod ratios;
mod report;
mod results;
mod scale;
mod scenarios;
mod svg;
mod targets;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use meltemi_bench::os;
use meltemi_bench::wire::Protocol;

use matrix::Plan;
use tools::Tools;

/// Measures Meltemi side by side with its peers.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// The program; `target/release/meltemi` unless given.
    #[arg(long, global = true)]
    meltemi: Option<PathBuf>,
    /// Only these protocols: redis, thrift, dubbo.
    #[arg(long, global = true, value_delimiter = ',')]
    only: Vec<Protocol>,
    /// Few cells, once, a second each: shows that everything works. Its report goes to
    /// `benches/target/quick`.
    #[arg(long, global = true)]
    quick: bool,
    /// Repetitions.
    #[arg(long, global = true, default_value_t = 3)]
    repetitions: usize,
    /// The part of a core that other work may take before a measurement is thrown away; 0.1, and
    /// with --quick any.
    #[arg(long, global = true)]
    foreign: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Subcommand)]
enum Command {
    /// Everything below, and the report.
    All,
    /// Every target under every load.
    Run,
    /// Start, memory, binary.
    Footprint,
    /// Bad neighbours: what do the others feel?
    Scenarios,
    /// Many connections, routes, clusters, listeners; large messages.
    Scale,
    /// Write the report from what the last runs left.
    Report,
}

fn main() -> ExitCode {
    match bench(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(cli: &Cli) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no repository")?;
    let tools = Tools::find(root, cli.common.meltemi.clone())?;
    os::raise_file_limit();
    child::pin_ourselves()?;
    let common = &cli.common;
    let place = root.join(if common.quick {
        "benches/target/quick"
    } else {
        "benches/target/full"
    });
    std::fs::create_dir_all(&place)?;
    let mut protocols = common.only.clone();
    if protocols.is_empty() {
        protocols = Protocol::ALL.to_vec();
    }
    let asked = |part: Command| cli.command == part || cli.command == Command::All;
    let start = Instant::now();
    if asked(Command::Run) {
        let found = matrix::run(&tools, &plan(common, &protocols), &place)?;
        results::save(&place, "matrix.json", &found)?;
    }
    if asked(Command::Footprint) {
        let (connections, starts) = if common.quick { (200, 2) } else { (1000, 9) };
        let found = footprint::run(&tools, &protocols, connections, starts, &place)?;
        results::save(&place, "footprint.json", &found)?;
    }
    if asked(Command::Scenarios) {
        let found = scenarios::run(&tools, &protocols, common.quick, &place)?;
        results::save(&place, "scenarios.json", &found)?;
    }
    if asked(Command::Scale) {
        let found = scale::run(&tools, &protocols, common.quick, &place)?;
        results::save(&place, "scale.json", &found)?;
    }
    let docs = if common.quick {
        place.clone()
    } else {
        root.join("docs")
    };
    write_report(&tools, &place, &docs)?;
    println!(
        "{} s; {}",
        start.elapsed().as_secs(),
        docs.join("performance.md").display()
    );
    Ok(())
}

fn plan(common: &Common, protocols: &[Protocol]) -> Plan {
    let (warmup, duration) = if common.quick {
        (100, 700)
    } else {
        (300, 1500)
    };
    Plan {
        protocols: protocols.to_vec(),
        cells: if common.quick {
            matrix::quick_cells()
        } else {
            matrix::full_cells()
        },
        repetitions: if common.quick {
            1
        } else {
            common.repetitions.max(1)
        },
        warmup: Duration::from_millis(warmup),
        duration: Duration::from_millis(duration),
        foreign: common
            .foreign
            .unwrap_or(if common.quick { f64::INFINITY } else { 0.1 }),
        retries: if common.quick { 0 } else { 3 },
    }
}

fn write_report(tools: &Tools, place: &Path, docs: &Path) -> Result<()> {
    let parts = report::Parts {
        machine: machine::describe(),
        versions: tools.versions(),
        matrix: results::load(place, "matrix.json")?.unwrap_or_default(),
        footprint: results::load(place, "footprint.json")?.unwrap_or_default(),
        scenarios: results::load(place, "scenarios.json")?.unwrap_or_default(),
        scale: results::load(place, "scale.json")?.unwrap_or_default(),
    };
    report::write(&parts, docs)
}
