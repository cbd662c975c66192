//! Where the programs are, and which versions. A peer that is not installed is left out of the run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The programs.
pub(crate) struct Tools {
    pub(crate) meltemi: PathBuf,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) twemproxy: Option<PathBuf>,
    /// Where this program is, and its neighbours.
    here: PathBuf,
}

impl Tools {
    /// Looks for the programs; `root` is the repository.
    pub(crate) fn find(root: &Path, meltemi: Option<PathBuf>) -> Result<Self> {
        let meltemi = meltemi.unwrap_or_else(|| root.join("target/release/meltemi"));
        ensure!(
            meltemi.exists(),
            "there is no {}: run `make bench`",
            meltemi.display()
        );
        let here = std::env::current_exe()?;
        let here = here
            .parent()
            .context("a program without a directory")?
            .to_owned();
        Ok(Self {
            meltemi,
            envoy: envoy(root),
            haproxy: on_path("haproxy"),
            twemproxy: on_path("nutcracker"),
            here,
        })
    }

    /// A program of this workspace.
    pub(crate) fn own(&self, name: &str) -> String {
        self.here.join(name).display().to_string()
    }

    /// The versions of everything, for the report.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let mut versions = vec![("Meltemi".to_owned(), first_line(&self.meltemi, "--version"))];
        let peers = [
            ("Envoy", &self.envoy, "--version"),
            ("HAProxy", &self.haproxy, "-v"),
            ("twemproxy", &self.twemproxy, "-V"),
        ];
        for (name, path, flag) in peers {
            // Envoy tells where it lies: that is this machine's own affair.
            let version = path.as_ref().map(|path| {
                let line = first_line(path, flag);
                let told = line.split_once("version:").map(|(_, told)| told.trim());
                told.map_or_else(|| line.clone(), str::to_owned)
            });
            versions.push((
                name.to_owned(),
                version.unwrap_or_else(|| "not installed".to_owned()),
            ));
        }
        versions
    }
}

/// The program itself, not the script that starts it: that would count for its start.
fn envoy(root: &Path) -> Option<PathBuf> {
    let given = std::env::var_os("ENVOY_BIN").map(PathBuf::from);
    given.filter(|path| path.exists()).or_else(|| {
        let pythons = std::fs::read_dir(root.join("benches/.venv/lib")).ok()?;
        let inside =
            |python: std::fs::DirEntry| python.path().join("site-packages/envoy/_bin/envoy");
        pythons.flatten().map(inside).find(|path| path.exists())
    })
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(usual);
    places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()))
}

fn first_line(program: &Path, flag: &str) -> String {
    let Ok(said) = Command::new(program).arg(flag).output() else {
        return "unknown".to_owned();
    };
    let said = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}
