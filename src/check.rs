//! `meltemi check`: reports all problems of a configuration at once.

use std::io::Write as _;
use std::process::ExitCode;

use meltemi_config::{Problem, Severity};
use meltemi_controller::Builtins;

use crate::cli::CheckArguments;
use crate::terminal::{DIM, ERROR, GOOD, WARNING, done, err, out};

pub(crate) fn check(arguments: &CheckArguments, builtins: &Builtins) -> ExitCode {
    let outcome = meltemi_controller::load(&arguments.paths, builtins);
    report(&outcome.problems);
    let errors = count(&outcome.problems, Severity::Error);
    let warnings = count(&outcome.problems, Severity::Warning);
    let notes = match count(&outcome.problems, Severity::Note) {
        0 => String::new(),
        notes => format!(", {notes} notes"),
    };
    if outcome.config.is_none() || errors > 0 || (arguments.strict && warnings > 0) {
        let _ = writeln!(
            err(),
            "{ERROR}refused{ERROR:#}: {errors} errors, {warnings} warnings"
        );
        return ExitCode::FAILURE;
    }
    let Some(config) = outcome.config else {
        return ExitCode::FAILURE;
    };
    let print = || {
        let mut out = out();
        for listener in config.listeners() {
            let address = listener.address;
            // The Gateway may have no `bind`: this shows its author that the listener is on every
            // address.
            let every = if address.ip().is_unspecified() {
                " (every address)"
            } else {
                ""
            };
            writeln!(out, "listens on {address}{every}: {}", listener.name)?;
            for served in &listener.served {
                let (name, routes) = (&served.protocol.spec().name, served.routes.len());
                writeln!(out, "  {DIM}{name}: {routes} routes{DIM:#}")?;
            }
        }
        let clusters = config.clusters().len();
        writeln!(
            out,
            "{GOOD}ok{GOOD:#}: {} listeners, {clusters} clusters, {warnings} warnings{notes}",
            config.listeners().len()
        )
    };
    done(print())
}

/// Prints problems to standard error.
pub(crate) fn report(problems: &[Problem]) {
    let mut err = err();
    for problem in problems {
        let style = match problem.severity {
            Severity::Error => ERROR,
            Severity::Warning => WARNING,
            Severity::Note => DIM,
        };
        let line = problem.to_string();
        let word = problem.severity.name();
        let coloured = line.replacen(word, &format!("{style}{word}{style:#}"), 1);
        // If standard error is closed, there is no other place to report it.
        let _ = writeln!(err, "{coloured}");
    }
}

fn count(problems: &[Problem], severity: Severity) -> usize {
    problems
        .iter()
        .filter(|problem| problem.severity == severity)
        .count()
}
