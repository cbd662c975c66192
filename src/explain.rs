//! `meltemi explain`: prints every decision on a request.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use meltemi_config::{Config, Listener, Served};
use meltemi_controller::Builtins;
use meltemi_frame::{
    Attributes, Decoded, Head, Interest, Kind, Limits, Lookup, Message, Open, Protocol, Session,
    Side,
};
use meltemi_router_core::{Decision, LimitStore, Peer, Table};

use crate::cli::{ExplainArguments, LineFormat};
use crate::terminal::{done, fail, out};

pub(crate) fn explain(arguments: &ExplainArguments, builtins: &Builtins) -> ExitCode {
    let outcome = meltemi_controller::load(&arguments.paths, builtins);
    let Some(config) = outcome.config else {
        crate::check::report(&outcome.problems);
        return ExitCode::FAILURE;
    };
    let (listener, served) = match find(&config, arguments) {
        Ok(found) => found,
        Err(what) => return fail(what),
    };
    let table = Table::compile(served, &config, &LimitStore::new(0));
    let peer = Peer::new(
        SocketAddr::new(arguments.source_ip, 0),
        arguments.source_ip,
        listener.address.port(),
        arguments.principal.as_deref().map(Into::into),
    );
    let mut decisions = Vec::new();
    let mut decide = |message: &Message<'_>| {
        decisions.push(Decision::new(served, &table, &config, message, &peer));
    };
    let made = match &arguments.capture {
        Some(path) => match crate::decode::read(path) {
            Ok(bytes) => captured(
                &*served.protocol,
                &bytes,
                listener.limits.codec,
                table.interest(),
                &mut decide,
            ),
            Err(error) => Err(format!("{}: {error}", path.display())),
        },
        None => described(&*served.protocol, &arguments.attributes, &mut decide),
    };
    if let Err(what) = made {
        return fail(what);
    }
    let print = || {
        let mut out = out();
        for decision in &decisions {
            match arguments.format {
                LineFormat::Text => write!(out, "listener {}\n{decision}", listener.name)?,
                LineFormat::Json => {
                    let line = serde_json::to_string(decision).map_err(std::io::Error::other)?;
                    writeln!(out, "{line}")?;
                }
            }
        }
        Ok(())
    };
    done(print())
}

fn find<'c>(
    config: &'c Config,
    arguments: &ExplainArguments,
) -> Result<(&'c Listener, &'c Served), String> {
    let names = || {
        let names: Vec<_> = config
            .listeners()
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        names.join(", ")
    };
    let listener = match (&arguments.listener, config.listeners()) {
        (None, [only]) => only,
        (None, []) => return Err("the configuration has no listener".to_owned()),
        (None, _) => return Err(format!("choose with --listener one of {}", names())),
        (Some(name), all) => all
            .iter()
            .find(|listener| listener.name == *name)
            .ok_or_else(|| format!("no listener `{name}`; there are {}", names()))?,
    };
    let protocols = || {
        let names = listener
            .served
            .iter()
            .map(|served| served.protocol.spec().name.to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    let served = match (&arguments.protocol, listener.served.as_slice()) {
        (None, [only]) => only,
        (None, _) => return Err(format!("choose with --protocol one of {}", protocols())),
        (Some(name), all) => all
            .iter()
            .find(|served| served.protocol.spec().name == *name)
            .ok_or_else(|| {
                format!(
                    "{} does not serve `{name}`, but {}",
                    listener.name,
                    protocols()
                )
            })?,
    };
    Ok((listener, served))
}

/// Makes a request with exactly these attributes.
fn described(
    protocol: &dyn Protocol,
    pairs: &[(String, String)],
    decide: &mut dyn FnMut(&Message<'_>),
) -> Result<(), String> {
    let spec = protocol.spec();
    let mut attributes = Attributes::new();
    let mut open = Vec::new();
    for (name, value) in pairs {
        let value = spec.normalise(name, value);
        match spec.lookup(name) {
            Some((Lookup::Slot(key), _)) => attributes.set_kept(key, value.as_bytes().to_vec()),
            Some((Lookup::Open(name), _)) => {
                open.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            }
            None => {
                return Err(format!(
                    "{} has no attribute `{name}`; it has {}",
                    spec.name,
                    spec.known_names()
                ));
            }
        }
    }
    attributes.set_open(Open::Listed(Box::new(open)));
    let mut message = Message::new(Head::new(Kind::Request, None), &[]);
    message.attributes = attributes;
    decide(&message);
    Ok(())
}

/// Reads every request in captured bytes.
fn captured(
    protocol: &dyn Protocol,
    bytes: &[u8],
    limits: Limits,
    interest: Interest,
    decide: &mut dyn FnMut(&Message<'_>),
) -> Result<(), String> {
    let limits = limits.holding_all();
    let mut codec = protocol.codec(Side::Server, &limits, &Session::default());
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match codec.decode(rest, interest) {
            Ok(Decoded::Message(message, count)) => {
                if matches!(message.head.kind, Kind::Request | Kind::OneWay) {
                    decide(&message);
                }
                at += count.max(1);
            }
            Ok(Decoded::Skip(count)) => at += count.max(1),
            Ok(Decoded::Incomplete(_)) => {
                return Err(format!(
                    "the bytes from offset {at} are not a whole message"
                ));
            }
            Err(error) => return Err(format!("at offset {at}: {error}")),
        }
    }
    Ok(())
}
