//! Finds the keys of a request from the key specification of its command. It must not depend on
//! connections: it sees arguments.

mod options;
mod plan;

use std::ops::ControlFlow;

use meltemi_frame::{Entry, Span};

use crate::args::Args;
use crate::command::{Command, Keys, find};
use crate::number::{lenient, whole};

pub(crate) use options::option;
pub(crate) use plan::Plan;

/// The name of the many-valued attribute.
pub(crate) const KEYS: &str = "keys";

/// Returns `true` if the command has one key directly after its name. Most commands do.
pub(crate) fn is_behind_name(command: Option<&'static Command>) -> bool {
    command.is_some_and(|command| command.keys == Keys::Range(1, 1, 1))
}

/// Returns the key positions of a request.
pub(crate) fn of(args: &Args<'_>, command: Option<&'static Command>) -> Plan {
    match command {
        // A command that is not in the table belongs to a module or to a later version. Most of
        // these have their key at 1.
        None => Plan::one(1, args.count()).or_open(true),
        // The subcommand of a container is unknown: its keys are unknown too.
        Some(command) if !command.subs.is_empty() && args.count() > 1 => Plan::OPEN,
        Some(command) => plan(command.keys, args),
    }
}

fn plan(keys: Keys, args: &Args<'_>) -> Plan {
    let count = args.count();
    match keys {
        Keys::None => Plan::default(),
        Keys::Range(first, last, step) => {
            let at = |place: i8| {
                let distance = usize::from(place.unsigned_abs());
                if place < 0 {
                    count.saturating_sub(distance)
                } else {
                    distance
                }
            };
            Plan::range(
                at(first),
                at(last) + 1,
                usize::from(step.unsigned_abs()),
                count,
            )
        }
        Keys::Count(at, step) => counted(args, usize::from(at), usize::from(step)),
        Keys::Script => counted(args, 2, 1).or_open(true),
        Keys::Into => counted(args, 2, 1).with_lead((count > 1).then_some(1)),
        Keys::Streams => options::streams(args),
        Keys::Sort => options::sort(args, true),
        Keys::SortRo => options::sort(args, false),
        Keys::GeoRadius(from) => options::georadius(args, usize::from(from)),
        Keys::Migrate => options::migrate(args),
        Keys::Hidden => Plan::OPEN,
    }
}

/// Reads the number of keys from the argument at `at`; the keys follow it directly. If Redis 7 does
/// not accept the number, but another server might, it is parsed leniently and the plan stays open.
fn counted(args: &Args<'_>, at: usize, step: usize) -> Plan {
    let count = args.count();
    let Some(text) = args.bytes(at) else {
        return Plan::default();
    };
    let strict = whole(&text).and_then(|n| usize::try_from(n).ok());
    let Some(keys) = strict.or_else(|| lenient(&text)) else {
        return Plan::OPEN;
    };
    let end = keys.saturating_mul(step).saturating_add(at + 1);
    Plan::range(at + 1, end, step, count).or_open(strict.is_none() || end > count)
}

/// Returns the number of arguments that must be present before every key is. `Some` at once for
/// commands whose keys come before large values. `None` if the whole request is needed.
pub(crate) fn needed(
    command: Option<&'static Command>,
    args: &Args<'_>,
    seen: usize,
) -> Option<usize> {
    let Some(command) = command else {
        return Some(2.min(args.count()));
    };
    let reach = match command.keys {
        Keys::None | Keys::Hidden => 0,
        Keys::Script if seen > 2 => plan(command.keys, args).last(),
        Keys::Script => 2,
        Keys::Range(..) => plan(command.keys, args).last(),
        Keys::Count(at, _) if seen > usize::from(at) => plan(command.keys, args).last(),
        Keys::Count(at, _) => usize::from(at),
        Keys::Into if seen > 2 => plan(command.keys, args).last(),
        Keys::Into => 2,
        Keys::Streams | Keys::Sort | Keys::SortRo | Keys::GeoRadius(_) | Keys::Migrate => {
            return None;
        }
    };
    Some((reach + 1).min(args.count()))
}

/// Visits every key as an entry `keys`.
pub(crate) fn walk<'b>(
    wire: &'b [u8],
    region: Span,
    visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>,
) {
    let args = Args::read(region.of(wire).unwrap_or_default());
    let plan = of(&args, resolve(&args));
    for (position, argument) in args.walk().enumerate().take(plan.last() + 1) {
        if !plan.has(position) {
            continue;
        }
        let Some(value) = argument.bytes(args.wire()) else {
            return;
        };
        if visit(Entry {
            name: KEYS.as_bytes().into(),
            value,
        })
        .is_break()
        {
            return;
        }
    }
}

/// Returns the command of a request. For a container it is the subcommand, if known.
pub(crate) fn resolve(args: &Args<'_>) -> Option<&'static Command> {
    let command = args.bytes(0).and_then(|name| find(&name))?;
    if command.subs.is_empty() || args.count() < 2 {
        return Some(command);
    }
    Some(
        args.bytes(1)
            .and_then(|name| command.sub(&name))
            .unwrap_or(command),
    )
}

#[cfg(test)]
mod tests;
