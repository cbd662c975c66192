//! Printing: colour only on a terminal, and a closed pipe is no failure.

use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

/// How errors are shown.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// How warnings are shown.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// How good news is shown.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// How secondary things are shown.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Standard output, without colours where nobody can see them.
pub(crate) fn out() -> anstream::AutoStream<io::StdoutLock<'static>> {
    anstream::AutoStream::auto(io::stdout().lock())
}

/// Standard error, without colours where nobody can see them.
pub(crate) fn err() -> anstream::AutoStream<io::StderrLock<'static>> {
    anstream::AutoStream::auto(io::stderr().lock())
}

/// Prints one line for the user's mistake, and tells the exit code.
pub(crate) fn fail(what: impl std::fmt::Display) -> ExitCode {
    // There is nowhere else to tell that standard error is closed.
    let _ = writeln!(err(), "{ERROR}error{ERROR:#}: {what}");
    ExitCode::FAILURE
}

/// Prints bytes, and tells the exit code.
pub(crate) fn print_bytes(bytes: &[u8]) -> ExitCode {
    done(out().write_all(bytes))
}

/// The exit code of something printed: a reader that went away (`| head`) is no failure.
pub(crate) fn done(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
