//! Loads a configuration from texts, and collects all problems.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use meltemi_config::{Config, Origin, Problem, Severity};
use meltemi_frame::Protocol;

use crate::builtins::Builtins;
use crate::dump::Resource;
use crate::schema::Reader;
use crate::yaml::Document;
use crate::{documents, kinds, source, translate};

/// The result of loading.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The configuration; `None` if it has errors.
    pub config: Option<Config>,
    /// All errors, warnings and notes, sorted by file (in the order of reading) and line.
    pub problems: Vec<Problem>,
    /// The servers of Gateways that get no listener: their protocol is not served here, or another
    /// document replaces them.
    pub unserved: Vec<(SocketAddr, Origin)>,
    /// The files that were read.
    pub sources: Vec<PathBuf>,
    /// The loaded documents, without secrets; for [`dump`](crate::dump).
    pub resources: Vec<Resource>,
    /// Every protocol, built in or declared, in the order of detection.
    pub protocols: Vec<Arc<dyn Protocol>>,
}

impl Outcome {
    /// Returns the errors.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.of(Severity::Error)
    }

    /// Returns the warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.of(Severity::Warning)
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Problem> {
        self.problems
            .iter()
            .filter(move |problem| problem.severity == severity)
    }
}

/// Loads files and folders. In folders, it reads every `.yaml`, `.yml` and `.json` file, at any
/// depth, sorted by name, but no hidden files. If two documents have the same kind, namespace and
/// name, the later one is in effect, as with `kubectl apply`.
pub fn load(paths: &[PathBuf], builtins: &Builtins) -> Outcome {
    let (texts, problems) = source::read(paths);
    outcome(&texts, problems, builtins)
}

/// Loads one text; problems name it `name`.
pub fn load_str(name: &str, text: &str, builtins: &Builtins) -> Outcome {
    let text = source::Text {
        name: name.into(),
        path: None,
        text: text.to_owned(),
    };
    outcome(&[text], Vec::new(), builtins)
}

fn outcome(texts: &[source::Text], mut problems: Vec<Problem>, builtins: &Builtins) -> Outcome {
    let documents = documents::read(texts, &mut problems);
    let applied = documents::applied(&documents, &mut problems);
    // First, so that the next steps reuse the memory that this frees.
    let dumped = applied
        .iter()
        .map(|document| Resource::new(document))
        .collect();
    let resources = kinds::Resources::read(&applied, &mut problems);
    let broken = has_errors(&problems);
    let mut later = Vec::new();
    let translated = translate::translate(&resources, builtins, &mut later);
    // Otherwise a document that could not be read would cause a second warning as missing.
    later.retain(|problem| !broken || problem.severity == Severity::Error);
    problems.append(&mut later);
    let mut config = None;
    if !has_errors(&problems) {
        match Config::new(translated.listeners, translated.clusters) {
            Ok(valid) => config = Some(valid),
            Err(faults) => problems.extend(faults),
        }
    }
    arrange(&mut problems, texts);
    Outcome {
        unserved: unserved(&documents, config.as_ref()),
        config,
        problems,
        sources: texts.iter().filter_map(|text| text.path.clone()).collect(),
        resources: dumped,
        protocols: translated.protocols,
    }
}

/// Returns the servers of all Gateways, replaced ones included, that got no listener.
fn unserved(documents: &[Document], config: Option<&Config>) -> Vec<(SocketAddr, Origin)> {
    let listeners = config.map_or(&[][..], Config::listeners);
    let served: BTreeSet<SocketAddr> = listeners.iter().map(|one| one.address).collect();
    let mut unserved = Vec::new();
    for document in documents
        .iter()
        .filter(|one| kinds::reader(one) == Reader::Gateway)
    {
        let gateway = kinds::Gateway::read(document, &mut Vec::new());
        let servers = gateway.servers.iter();
        let places = servers.map(|server| (server.address(), server.at.origin()));
        unserved.extend(places.filter(|(address, _)| !served.contains(address)));
    }
    unserved
}

fn has_errors(problems: &[Problem]) -> bool {
    problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
}

/// Sorts by file and line, and removes duplicates (a router on two listeners is checked twice).
fn arrange(problems: &mut Vec<Problem>, texts: &[source::Text]) {
    let place = |problem: &Problem| {
        let file = texts
            .iter()
            .position(|text| text.name == problem.origin.file);
        (file, problem.origin.line)
    };
    problems.sort_by_cached_key(|problem| {
        (place(problem), problem.field.clone(), problem.what.clone())
    });
    problems.dedup();
}
