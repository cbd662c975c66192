//! Notices that sources have changed, by looking: it works on every file system, and sees the swap of
//! links by which Kubernetes updates a mounted ConfigMap. It knows nothing of what the files say.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::source::files;

/// How often to look.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// How many looks until the contents are compared whatever the times say, for file systems
    /// whose clocks are coarse. Default 20.
    pub thorough: u32,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { thorough: 20 }
    }
}

/// Looks at sources.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    options: WatchOptions,
    /// What the last look saw.
    seen: BTreeMap<PathBuf, Stamp>,
    /// The contents that were last told of.
    told: u64,
    /// The last look saw a change that has not stood still yet.
    restless: bool,
    looks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

impl Watch {
    /// Sources as they are now count as known.
    pub fn new(paths: Vec<PathBuf>, options: WatchOptions) -> Self {
        let seen = stamps(&paths);
        Self {
            told: contents(seen.keys()),
            seen,
            paths,
            options,
            restless: false,
            looks: 0,
        }
    }

    /// Looks once; whether the contents have changed since the last time it said so (or since it
    /// was made), and have stood still for one look.
    pub fn changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        self.looks = self.looks.wrapping_add(1);
        if now != self.seen {
            self.seen = now;
            self.restless = true;
            return false;
        }
        let thorough = self.looks.is_multiple_of(self.options.thorough.max(1));
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
    // What cannot be found now may come back: the paths themselves are looked at, too.
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

/// A hash of names and contents. Two that differ by chance look alike once in 2^64.
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
