//! Reads files and folders as texts. Bounded: a file that is too large is a problem and is not
//! read.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meltemi_config::{Origin, Problem};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;
/// How deep folders may nest (links may form circles).
const DEEPEST: usize = 16;

/// A text with the name that problems use for it.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) name: Arc<str>,
    pub(crate) path: Option<PathBuf>,
    pub(crate) text: String,
}

/// Reads the files, and the files in the folders.
pub(crate) fn read(paths: &[PathBuf]) -> (Vec<Text>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut texts = Vec::new();
    for path in files(paths, &mut problems) {
        match contents(&path) {
            Ok(text) => texts.push(Text {
                name: path.display().to_string().into(),
                path: Some(path),
                text,
            }),
            Err(what) => problems.push(unreadable(&path, &what)),
        }
    }
    (texts, problems)
}

/// Returns every file under the paths, each one once.
pub(crate) fn files(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let before = files.len();
                walk(path, 0, &mut files, problems);
                if files.len() == before {
                    problems.push(
                        Problem::warning(&origin(path), "folder", "")
                            .says("contains no .yaml, .yml or .json file"),
                    );
                }
            }
            Ok(_) => files.push(path.clone()),
            Err(error) => problems.push(unreadable(path, &error.to_string())),
        }
    }
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    files
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) {
    if depth >= DEEPEST {
        problems.push(unreadable(folder, "folders nest deeper than 16"));
        return;
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problems.push(unreadable(folder, &error.to_string())),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Hidden files belong to editors or, in a mounted ConfigMap, are the targets of links.
        if name.starts_with('.') {
            continue;
        }
        // Links are followed: Kubernetes mounts ConfigMaps as links.
        let is_dir = fs::metadata(&path).is_ok_and(|meta| meta.is_dir());
        let extension = path.extension().and_then(|extension| extension.to_str());
        if is_dir {
            walk(&path, depth + 1, files, problems);
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
}

fn contents(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err("larger than 16 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {}", error.utf8_error()))
}

fn unreadable(path: &Path, what: &str) -> Problem {
    Problem::error(&origin(path), "file", "").says(format!("cannot be read: {what}"))
}

fn origin(path: &Path) -> Origin {
    Origin {
        file: path.display().to_string().into(),
        ..Origin::default()
    }
}
