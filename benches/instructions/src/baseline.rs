//! The recorded counts, and how much they may grow.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// How much a count may grow, per cent.
const TOLERANCE: u64 = 5;

/// The recorded counts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// The compiler that they hold for: another one makes other code.
    compiler: String,
    /// Instructions for one message, by the name of the case.
    counts: BTreeMap<String, u64>,
}

impl Baseline {
    pub(crate) fn new() -> Self {
        Self {
            compiler: compiler(),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: run `make instructions-record`", path.display()))?;
        let baseline: Self = serde_json::from_str(&text)?;
        let here = compiler();
        if baseline.compiler != here {
            println!("note: recorded with {}, this is {here}", baseline.compiler);
        }
        Ok(baseline)
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    pub(crate) fn put(&mut self, name: String, count: u64) {
        self.counts.insert(name, count);
    }

    /// Tells how a count compares; false if it grew too much, or was never recorded.
    pub(crate) fn judge(&self, name: &str, count: u64) -> bool {
        let Some(before) = self.counts.get(name) else {
            println!("{name:32} {count:8}           NEW: `make instructions-record`");
            return false;
        };
        let change = 100.0 * (count as f64 / (*before).max(1) as f64 - 1.0);
        let grew = count * 100 > before * (100 + TOLERANCE);
        let verdict = match change {
            _ if grew => "TOO MUCH",
            change if change < -(TOLERANCE as f64) => "better: `make instructions-record`",
            _ => "",
        };
        println!("{name:32} {count:8} {change:+7.1} %  {verdict}");
        !grew
    }

    /// Whether every recorded case is still counted.
    pub(crate) fn complete(&self, names: &[String]) -> bool {
        let gone: Vec<&String> = self
            .counts
            .keys()
            .filter(|name| !names.contains(name))
            .collect();
        for name in &gone {
            println!("{name:32} is recorded, and is no case any more");
        }
        gone.is_empty()
    }
}

fn compiler() -> String {
    let said = Command::new("rustc").arg("--version").output();
    said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_per_cent_are_allowed() {
        let mut baseline = Baseline::new();
        baseline.put("case".to_owned(), 1000);
        assert!(baseline.judge("case", 1050) && baseline.judge("case", 500));
        assert!(!baseline.judge("case", 1051) && !baseline.judge("other", 1));
        assert!(baseline.complete(&["case".to_owned()]) && !baseline.complete(&[]));
    }
}
