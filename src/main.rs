//! The program `meltemi`: every built-in codec, and the commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    meltemi::Program::with_builtins().main()
}
