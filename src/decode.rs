//! `meltemi decode`: prints captured bytes as messages, one per line.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use meltemi_controller::Builtins;
use meltemi_frame::{Identified, Interest, Limits, Protocol, Registry, Side, identify};

use crate::cli::{DecodeArguments, LineFormat, SideArgument};
use crate::terminal::{done, fail, out};

/// The largest message that the tool accepts, in bytes. The input is in memory already.
const FRAME: usize = 1 << 30;

pub(crate) fn decode(arguments: &DecodeArguments, builtins: &Builtins) -> ExitCode {
    let mut registry = builtins.registry.clone();
    if !arguments.config.is_empty() {
        let outcome = meltemi_controller::load(&arguments.config, builtins);
        crate::check::report(&outcome.problems);
        if outcome.config.is_none() {
            return ExitCode::FAILURE;
        }
        for protocol in &outcome.protocols {
            registry.add(Arc::clone(protocol));
        }
    }
    let bytes = match read(&arguments.file) {
        Ok(bytes) => bytes,
        Err(error) => return fail(format_args!("{}: {error}", arguments.file.display())),
    };
    let side = match arguments.side {
        SideArgument::Server => Side::Server,
        SideArgument::Client => Side::Client,
    };
    let protocol = match choose(&registry, &arguments.protocol, side, &bytes) {
        Ok(protocol) => protocol,
        Err(what) => return fail(what),
    };
    let limits = Limits {
        frame: FRAME,
        ..Limits::default()
    }
    .holding_all();
    let mut bad = false;
    let mut print = || {
        let mut out = std::io::BufWriter::new(out());
        for line in
            meltemi_frame::describe::lines(&*protocol, side, &bytes, &limits, Interest::Body)
        {
            bad |= line.get("error").is_some();
            match arguments.format {
                LineFormat::Json => writeln!(out, "{line}")?,
                LineFormat::Text => {
                    writeln!(out, "{}", meltemi_frame::describe::text_line(&line))?;
                }
            }
        }
        out.flush()
    };
    let printed = done(print());
    if bad { ExitCode::FAILURE } else { printed }
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(path)
}

fn choose(
    registry: &Registry,
    name: &str,
    side: Side,
    bytes: &[u8],
) -> Result<Arc<dyn Protocol>, String> {
    let names = || registry.names().collect::<Vec<_>>().join(", ");
    if name != "auto" {
        let found = registry.find(name).cloned();
        return found.ok_or_else(|| format!("no protocol `{name}`; there are {}", names()));
    }
    if side == Side::Client {
        return Err(format!(
            "the protocol can be detected only from bytes that a client sent; name it with --protocol: {}",
            names()
        ));
    }
    match identify(registry.protocols(), bytes) {
        Identified::One(at) => registry.protocols().get(at).cloned(),
        Identified::Need(_) | Identified::None => None,
    }
    .ok_or_else(|| {
        format!(
            "no protocol matches the first bytes; name one with --protocol: {}",
            names()
        )
    })
}
