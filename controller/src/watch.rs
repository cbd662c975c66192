//! Notices changed sources by polling. Polling works on every file system, and detects the swapped
//! links by which Kubernetes updates a mounted ConfigMap. This module must not know the meaning of
//! the files.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::source::files;

/// After this number of checks the contents are compared, even if sizes and times are equal: some file
/// systems have coarse clocks.
const THOROUGH: u32 = 20;

/// Polls sources.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    /// The result of the last check.
    seen: BTreeMap<PathBuf, Stamp>,
    /// The hash of the contents that were last reported.
    told: u64,
    /// The last check found a change that is not yet stable.
    restless: bool,
    looks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

impl Watch {
    /// Makes a watch. The current sources count as known.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let seen = stamps(&paths);
        Self {
            told: contents(seen.keys()),
            seen,
            paths,
            restless: false,
            looks: 0,
        }
    }

    /// Checks once. Returns `true` if the contents have changed since the last reported change (or
    /// since the watch was made), and are stable for one check.
    pub fn changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        self.looks = self.looks.wrapping_add(1);
        if now != self.seen {
            self.seen = now;
            self.restless = true;
            return false;
        }
        let thorough = self.looks.is_multiple_of(THOROUGH);
        if !self.restless && !thorough {
            return false;
        }
        self.restless = false;
        let contents = contents(self.seen.keys());
        std::mem::replace(&mut self.told, contents) != contents
    }
}

fn stamps(paths: &[PathBuf]) -> BTreeMap<PathBuf, Stamp> {
    let stamp = |path: &Path| {
        let meta = fs::metadata(path).ok();
        Stamp {
            len: meta.as_ref().map_or(0, fs::Metadata::len),
            modified: meta.and_then(|meta| meta.modified().ok()),
        }
    };
    // A missing file may come back: the paths themselves are checked, too.
    let found = files(paths, &mut Vec::new());
    found
        .into_iter()
        .chain(paths.iter().cloned())
        .map(|path| {
            let stamp = stamp(&path);
            (path, stamp)
        })
        .collect()
}

/// Returns a hash of names and contents. Two different sources have the same hash once in 2^64.
fn contents<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        path.hash(&mut hasher);
        let mut block = [0; 16 << 10];
        let Ok(mut file) = fs::File::open(path) else {
            continue;
        };
        while let Ok(length @ 1..) = file.read(&mut block) {
            hasher.write(block.get(..length).unwrap_or(&[]));
        }
    }
    hasher.finish()
}
