//! Ratios between targets: taken within one repetition and cell, then their geometric mean.

use meltemi_bench::load::Outcome;
use meltemi_bench::wire::Protocol;

use crate::results::{Cell, Matrix, Row};

/// What is compared.
pub(crate) type Measure = fn(&Outcome) -> f64;

/// CPU time for a request.
pub(crate) const CPU: Measure = |outcome| outcome.cpu_us;
/// Half of the replies are faster.
pub(crate) const P50: Measure = |outcome| outcome.p50;
/// 99 of 100 are.
pub(crate) const P99: Measure = |outcome| outcome.p99;

/// Which cells count.
pub(crate) type Which = fn(&Cell) -> bool;

/// The small messages, one at a time.
pub(crate) const DEPTH_1: Which = |cell| !cell.open && cell.depth == 1 && cell.size <= 1024;
/// The small messages, sixteen in flight.
pub(crate) const DEPTH_16: Which = |cell| !cell.open && cell.depth == 16 && cell.size <= 1024;
/// 16 KiB, one at a time.
pub(crate) const LARGE: Which = |cell| !cell.open && cell.size == 16 << 10;
/// A fixed rate.
pub(crate) const OPEN: Which = |cell| cell.open;

impl Matrix {
    pub(crate) fn of<'m>(
        &'m self,
        protocol: Protocol,
        target: &'m str,
        which: Which,
    ) -> impl Iterator<Item = &'m Row> {
        self.rows
            .iter()
            .filter(move |row| row.protocol == protocol && row.target == target && which(&row.cell))
    }

    /// The geometric mean of one target's ratio to another, over good pairs; and how many those are.
    pub(crate) fn ratio(
        &self,
        protocol: Protocol,
        target: &str,
        to: &str,
        which: Which,
        measure: Measure,
    ) -> Option<(f64, usize)> {
        let mut ratios = Vec::new();
        for row in self.of(protocol, target, which).filter(|row| row.good()) {
            let mut others = self.of(protocol, to, which).filter(|other| other.good());
            let pair =
                others.find(|other| other.cell == row.cell && other.repetition == row.repetition);
            if let Some(other) = pair {
                ratios.push(measure(&row.outcome) / measure(&other.outcome));
            }
        }
        mean(&ratios).map(|mean| (mean, ratios.len()))
    }

    /// The median over the repetitions of one cell.
    pub(crate) fn median(
        &self,
        protocol: Protocol,
        target: &str,
        cell: &Cell,
        measure: Measure,
    ) -> Option<f64> {
        let rows = self.of(protocol, target, |_| true);
        let good = rows.filter(|row| row.cell == *cell && row.good());
        let mut values: Vec<f64> = good.map(|row| measure(&row.outcome)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// The cells of a protocol, in the order in which they ran.
    pub(crate) fn cells(&self, protocol: Protocol) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for row in self.rows.iter().filter(|row| row.protocol == protocol) {
            if !cells.contains(&row.cell) {
                cells.push(row.cell);
            }
        }
        cells
    }

    /// The targets of a protocol, in the order of the report.
    pub(crate) fn targets(&self, protocol: Protocol) -> Vec<&'static crate::targets::Target> {
        let ran = |target: &&crate::targets::Target| {
            target.protocol == protocol && self.of(protocol, target.name, |_| true).next().is_some()
        };
        crate::targets::TARGETS.iter().filter(ran).collect()
    }
}

/// The geometric mean; `None` of nothing, or of what has none.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    let logs = values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64;
    Some(logs.exp()).filter(|mean| mean.is_finite() && *mean > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_geometric() {
        assert!(mean(&[]).is_none() && mean(&[0.0, 1.0]).is_none());
        assert!((mean(&[0.5, 2.0]).unwrap() - 1.0).abs() < 1e-9);
    }
}
