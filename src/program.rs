//! A program: a set of protocols and the commands.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser as _};
use meltemi_config::Locality;
use meltemi_controller::Builtins;
use meltemi_frame::{Protocol, Registry};

use crate::cli::{Cli, Command};

/// A program: a set of protocols and the commands.
#[derive(Clone)]
pub struct Program {
    builtins: Builtins,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("protocols", &self.builtins.registry)
            .finish()
    }
}

impl Program {
    /// Makes a program without built-in protocols. Configuration can still describe protocols.
    pub fn new() -> Self {
        Self {
            builtins: Builtins {
                registry: Registry::new(),
                declare: crate::builtins::declare,
                locality: Locality::default(),
            },
        }
    }

    /// Makes a program with every built-in protocol.
    pub fn with_builtins() -> Self {
        let mut program = Self::new();
        program.builtins.registry = crate::builtins::registry();
        program
    }

    /// Adds a protocol, or replaces the one with the same name. Protocols added first are detected
    /// first.
    #[must_use]
    pub fn with(mut self, protocol: impl Protocol) -> Self {
        self.builtins.registry.add(Arc::new(protocol));
        self
    }

    /// Runs the command that the process was started with. `run` may replace the process by the same
    /// program once, to fix a setting of the C library.
    pub fn main(self) -> ExitCode {
        let runs = |cli: &Cli| matches!(cli.command, Command::Run(_));
        if Cli::try_parse_from(std::env::args_os()).is_ok_and(|cli| runs(&cli)) {
            crate::allocator::fix_threshold();
        }
        self.main_with(std::env::args_os())
    }

    /// Runs a command. The first argument is the program's name.
    ///
    /// Exit codes: 0 on success; 1 if the input, configuration or environment is wrong; 2 if the
    /// command line is wrong.
    pub fn main_with(self, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
        let cli = match Cli::try_parse_from(arguments) {
            Ok(cli) => cli,
            Err(error) => {
                // Help and version go to standard output with exit code 0; errors go to standard error.
                let _ = error.print();
                return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
            }
        };
        match cli.command {
            Command::Run(arguments) => {
                crate::run::run(&arguments, &self.standing(&arguments.locality))
            }
            Command::Check(arguments) => {
                crate::check::check(&arguments, &self.standing(&arguments.locality))
            }
            Command::Explain(arguments) => {
                crate::explain::explain(&arguments, &self.standing(&arguments.locality))
            }
            Command::Decode(arguments) => crate::decode::decode(&arguments, &self.builtins),
            Command::Demo(arguments) => crate::demo::demo(&arguments, &self.builtins),
            Command::Completions { shell } => {
                let mut out = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "meltemi", &mut out);
                crate::terminal::print_bytes(&out)
            }
            Command::Reference { what } => crate::reference::print(what, &self.builtins),
        }
    }
}

impl Program {
    /// Returns the built-ins with this locality.
    fn standing(&self, locality: &Locality) -> Builtins {
        Builtins {
            locality: locality.clone(),
            ..self.builtins.clone()
        }
    }
}

impl Default for Program {
    fn default() -> Self {
        Self::with_builtins()
    }
}
