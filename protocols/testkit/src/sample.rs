//! Sample files: bytes that real peers sent, and the expected lines.

use std::fs;
use std::path::{Path, PathBuf};

use meltemi_frame::Side;
use serde_json::Value;

use crate::Failure;

/// The bytes received on one connection, from its first byte on, and the expected lines.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `<case>.<side>`, the name of the files without their extensions.
    pub name: String,
    /// The side of the codec that reads it: [`Side::Server`] reads the bytes of a client.
    pub side: Side,
    /// The content of `<case>.<side>.bin`.
    pub bytes: Vec<u8>,
    /// The lines of `<case>.<side>.jsonl`.
    pub expect: Vec<Value>,
}

impl Sample {
    /// Returns the case, without the side.
    pub fn case(&self) -> &str {
        self.name
            .rsplit_once('.')
            .map_or(&self.name, |(case, _)| case)
    }

    /// Returns `true` if every expected line is a message: no errors, no unfinished rest.
    pub fn is_clean(&self) -> bool {
        let whole = |line: &Value| line.get("error").is_none() && line.get("incomplete").is_none();
        !self.expect.is_empty() && self.expect.iter().all(whole)
    }
}

/// Reads all samples of a directory, ordered by name.
///
/// # Errors
/// Fails if the directory cannot be read or has no samples, or if a file has no partner, no side in
/// its name, or lines that are not JSON.
pub fn load(dir: &Path) -> Result<Vec<Sample>, Failure> {
    let list = fs::read_dir(dir)
        .map_err(|error| Failure::new(format!("no samples in {}: {error}", dir.display())))?;
    let mut paths: Vec<PathBuf> = list.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let ends = |path: &Path, ending: &str| path.extension().is_some_and(|found| found == ending);
    for path in paths.iter().filter(|path| ends(path, "jsonl")) {
        if !path.with_extension("bin").exists() {
            return Err(Failure::new("it has no .bin beside it").within(path.display()));
        }
    }
    let samples: Result<Vec<Sample>, Failure> = paths
        .iter()
        .filter(|path| ends(path, "bin"))
        .map(|path| read(path).map_err(|failure| failure.within(path.display())))
        .collect();
    let samples = samples?;
    if samples.is_empty() {
        let what = format!("there is no sample (*.bin) in {}", dir.display());
        return Err(Failure::new(what));
    }
    Ok(samples)
}

fn read(path: &Path) -> Result<Sample, Failure> {
    let name = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let side = match name.rsplit_once('.') {
        Some((_, "server")) => Side::Server,
        Some((_, "client")) => Side::Client,
        _ => {
            return Err(Failure::new(
                "a sample is named <case>.server.bin or <case>.client.bin",
            ));
        }
    };
    let bytes = fs::read(path).map_err(|error| Failure::new(error.to_string()))?;
    let lines = path.with_extension("jsonl");
    let text = fs::read_to_string(&lines)
        .map_err(|error| Failure::new(format!("no {} beside it: {error}", lines.display())))?;
    let parse = |(at, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| Failure::new(format!("line {} of its .jsonl: {error}", at + 1)))
    };
    let expect = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(parse)
        .collect::<Result<Vec<Value>, Failure>>()?;
    if bytes.is_empty() {
        return Err(Failure::new("it is empty"));
    }
    Ok(Sample {
        name: name.to_owned(),
        side,
        bytes,
        expect,
    })
}
