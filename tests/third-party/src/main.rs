//! Meltemi with one protocol more.

use std::process::ExitCode;

use pigeon::Pigeon;

fn main() -> ExitCode {
    meltemi::Program::with_builtins().with(Pigeon::new()).main()
}
