//! What runs leave behind for the report: files of JSON, one for each part.

use std::path::Path;

use anyhow::{Context as _, Result};
use meltemi_bench::load::Outcome;
use meltemi_bench::wire::Protocol;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A shape of load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) size: usize,
    /// Requests come at a fixed rate.
    pub(crate) open: bool,
}

/// One target under one load in one repetition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) protocol: Protocol,
    pub(crate) target: String,
    pub(crate) cell: Cell,
    pub(crate) repetition: usize,
    pub(crate) outcome: Outcome,
    /// Other work took too much of a core, however often it was tried.
    pub(crate) disturbed: bool,
    /// Why the numbers mean nothing, if so.
    pub(crate) broken: Option<String>,
}

impl Row {
    pub(crate) fn good(&self) -> bool {
        self.broken.is_none() && !self.disturbed
    }
}

/// Every cell of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Matrix {
    pub(crate) repetitions: usize,
    pub(crate) rows: Vec<Row>,
    /// Targets that were left out, and why.
    pub(crate) missing: Vec<String>,
}

/// What a target takes without load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Footprint {
    pub(crate) protocol: Protocol,
    pub(crate) target: String,
    /// From the start to the first right reply, ms: the median.
    pub(crate) start_ms: f64,
    pub(crate) idle_kib: u64,
    /// KiB for each idle client connection.
    pub(crate) connection_kib: f64,
    /// How many connections that was measured with.
    pub(crate) connections: usize,
    /// It has an upstream connection for each of them, too.
    pub(crate) one_to_one: bool,
    pub(crate) binary_bytes: u64,
}

/// A bound that was kept or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) scenario: String,
    pub(crate) target: String,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// `None`: told for comparison only.
    pub(crate) bound: Option<f64>,
}

impl Check {
    /// `None` if there is nothing to keep.
    pub(crate) fn kept(&self) -> Option<bool> {
        self.bound.map(|bound| self.value <= bound)
    }
}

/// Writes a part.
pub(crate) fn save<T: Serialize>(directory: &Path, name: &str, part: &T) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let text = serde_json::to_string_pretty(part)?;
    std::fs::write(directory.join(name), text).with_context(|| format!("cannot write {name}"))
}

/// Reads a part; `None` if it was not run.
pub(crate) fn load<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<Option<T>> {
    match std::fs::read_to_string(directory.join(name)) {
        Ok(text) => Ok(Some(
            serde_json::from_str(&text).with_context(|| name.to_owned())?,
        )),
        Err(_) => Ok(None),
    }
}
