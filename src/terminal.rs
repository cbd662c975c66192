//! Prints: colour only on a terminal, and a closed pipe is no failure.

use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

/// The style of errors.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The style of warnings.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// The style of good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// The style of secondary text.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Returns standard output, with colours only on a terminal.
pub(crate) fn out() -> anstream::AutoStream<io::StdoutLock<'static>> {
    anstream::AutoStream::auto(io::stdout().lock())
}

/// Returns standard error, with colours only on a terminal.
pub(crate) fn err() -> anstream::AutoStream<io::StderrLock<'static>> {
    anstream::AutoStream::auto(io::stderr().lock())
}

/// Prints one line for a user's mistake, and returns the exit code.
pub(crate) fn fail(what: impl std::fmt::Display) -> ExitCode {
    // If standard error is closed, there is no other place to report it.
    let _ = writeln!(err(), "{ERROR}error{ERROR:#}: {what}");
    ExitCode::FAILURE
}

/// Prints bytes, and returns the exit code.
pub(crate) fn print_bytes(bytes: &[u8]) -> ExitCode {
    done(out().write_all(bytes))
}

/// Returns the exit code after printing: a reader that left (`| head`) is no failure.
pub(crate) fn done(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
