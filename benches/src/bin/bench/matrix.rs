//! Every target under every load, interleaved: within one repetition each cell goes to all targets of
//! the protocol in turn, so that ratios compare what ran within seconds of one another.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use meltemi_bench::load::{self, Options, Outcome};
use meltemi_bench::wire::Protocol;

use crate::child::Child;
use crate::results::{Cell, Matrix, Row};
use crate::targets::{ENVOY, RELAY, Running, TARGETS};
use crate::tools::Tools;

/// What to measure, and how.
pub(crate) struct Plan {
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) repetitions: usize,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// The part of a core that other work may take.
    pub(crate) foreign: f64,
    /// How often a disturbed measurement is made again.
    pub(crate) retries: usize,
}

/// Connections at a fixed rate, and the most requests in flight on each.
const OPEN: Cell = Cell {
    connections: 16,
    depth: 256,
    size: 32,
    open: true,
};

/// The cells of the goals.
pub(crate) fn full_cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for connections in [1, 16, 64] {
        for (size, depths) in [(32, &[1, 16][..]), (1 << 10, &[1, 16]), (16 << 10, &[1])] {
            let cell = |depth: &usize| Cell {
                connections,
                depth: *depth,
                size,
                open: false,
            };
            cells.extend(depths.iter().map(cell));
        }
    }
    cells
}

/// Two cells: enough to see that everything works.
pub(crate) fn quick_cells() -> Vec<Cell> {
    [(1, 32), (16, 32), (1, 16 << 10)]
        .map(|(depth, size)| Cell {
            connections: 16,
            depth,
            size,
            open: false,
        })
        .into()
}

pub(crate) fn run(tools: &Tools, plan: &Plan, directory: &Path) -> Result<Matrix> {
    let mut matrix = Matrix {
        repetitions: plan.repetitions,
        ..Matrix::default()
    };
    for target in TARGETS
        .iter()
        .filter(|target| plan.protocols.contains(&target.protocol))
    {
        if !target.installed(tools) {
            let name = format!("{} {}: not installed", target.protocol.name(), target.name);
            matrix.missing.push(name);
        }
    }
    for repetition in 0..plan.repetitions {
        for protocol in &plan.protocols {
            repeat(tools, plan, *protocol, repetition, directory, &mut matrix)?;
        }
    }
    Ok(matrix)
}

fn repeat(
    tools: &Tools,
    plan: &Plan,
    protocol: Protocol,
    repetition: usize,
    directory: &Path,
    matrix: &mut Matrix,
) -> Result<()> {
    let (backend, address) = Child::backend(tools, protocol, None, 0)?;
    let mut running = Vec::new();
    for target in TARGETS.iter().filter(|target| target.protocol == protocol) {
        if target.installed(tools) {
            running.push(target.start(tools, address, directory)?);
        }
    }
    // None is always the first after another.
    let shift = repetition % running.len().max(1);
    running.rotate_left(shift);
    let first = matrix.rows.len();
    for cell in &plan.cells {
        for one in &running {
            matrix
                .rows
                .push(measure(plan, one, cell, None, repetition, &backend)?);
        }
    }
    let rate = open_rate(matrix.rows.get(first..).unwrap_or_default());
    for one in &running {
        matrix
            .rows
            .push(measure(plan, one, &OPEN, Some(rate), repetition, &backend)?);
    }
    Ok(())
}

/// Half of what Envoy does at best with small messages; of what the relay does, if there is no Envoy.
fn open_rate(rows: &[Row]) -> f64 {
    let best = |name: &str| {
        let of = rows
            .iter()
            .filter(|row| row.target == name && row.cell.size == OPEN.size);
        of.map(|row| row.outcome.rate).fold(0.0, f64::max)
    };
    let rate = [ENVOY, RELAY]
        .map(best)
        .into_iter()
        .find(|rate| *rate > 0.0);
    (rate.unwrap_or(20_000.0) / 2.0).max(1000.0)
}

fn measure(
    plan: &Plan,
    running: &Running,
    cell: &Cell,
    rate: Option<f64>,
    repetition: usize,
    backend: &Child,
) -> Result<Row> {
    let target = running.target;
    let options = Options {
        connections: cell.connections,
        depth: cell.depth,
        rate,
        size: cell.size,
        warmup: plan.warmup,
        duration: plan.duration,
        watch: running.pid(),
        others: vec![backend.pid()],
        ..Options::new(target.protocol, running.address)
    };
    let mut best: Option<Outcome> = None;
    for _ in 0..=plan.retries {
        let outcome = load::run(&options)
            .with_context(|| format!("{} {} {cell:?}", target.protocol.name(), target.name))?;
        if best
            .as_ref()
            .is_none_or(|best| outcome.foreign < best.foreign)
        {
            best = Some(outcome);
        }
        if best
            .as_ref()
            .is_some_and(|best| best.foreign <= plan.foreign)
        {
            break;
        }
    }
    let outcome = best.context("nothing was measured")?;
    let row = Row {
        protocol: target.protocol,
        target: target.name.to_owned(),
        cell: *cell,
        repetition,
        disturbed: outcome.foreign > plan.foreign,
        broken: outcome.broken(),
        outcome,
    };
    tell(&row);
    Ok(row)
}

fn tell(row: &Row) {
    let Row { cell, outcome, .. } = row;
    let shape = if cell.open {
        "open".to_owned()
    } else {
        format!("c{} d{} {} B", cell.connections, cell.depth, cell.size)
    };
    let note = match (&row.broken, row.disturbed) {
        (Some(why), _) => format!("BROKEN: {why}"),
        (None, true) => format!("disturbed ({:.0} % of a core)", outcome.foreign * 100.0),
        (None, false) if outcome.foreign > 0.1 => {
            format!(
                "(other work took {:.0} % of a core)",
                outcome.foreign * 100.0
            )
        }
        (None, false) => String::new(),
    };
    println!(
        "{} {:6} {:20} {shape:16} {:9.0}/s {:7.2} µs CPU  p50 {:8.1}  p99 {:8.1}  {note}",
        row.repetition + 1,
        row.protocol.name(),
        row.target,
        outcome.rate,
        outcome.cpu_us,
        outcome.p50,
        outcome.p99,
    );
}
