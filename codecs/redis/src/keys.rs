//! Where the keys of a request stand, by the command's key specification. It knows arguments, and
//! nothing of connections.

use std::ops::ControlFlow;

use meltemi_frame::{Entry, Span};

use crate::args::Args;
use crate::command::{Command, Keys, find};
use crate::number::whole;

/// The name of the many-valued attribute.
pub(crate) const KEYS: &str = "keys";

/// Positions of the keys among the arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// A destination in front.
    lead: Option<usize>,
    start: usize,
    /// One past the last.
    end: usize,
    step: usize,
    /// A destination behind.
    tail: Option<usize>,
}

impl Plan {
    fn range(start: usize, end: usize, step: usize, count: usize) -> Self {
        if start >= end || end > count || step == 0 {
            return Self::default();
        }
        Self {
            start,
            end,
            step,
            ..Self::default()
        }
    }

    /// The position of the first key.
    pub(crate) fn first(&self) -> Option<usize> {
        let first = (self.start < self.end).then_some(self.start);
        self.lead.or(first).or(self.tail)
    }

    /// Whether there is exactly one.
    pub(crate) fn is_single(&self) -> bool {
        let range = self
            .end
            .saturating_sub(self.start)
            .div_ceil(self.step.max(1));
        range + usize::from(self.lead.is_some()) + usize::from(self.tail.is_some()) == 1
    }

    fn has(&self, position: usize) -> bool {
        let ranged = (self.start..self.end).contains(&position)
            && position
                .wrapping_sub(self.start)
                .is_multiple_of(self.step.max(1));
        ranged || self.lead == Some(position) || self.tail == Some(position)
    }

    /// The position of the last key, 0 if there is none.
    fn last(&self) -> usize {
        let steps = self.end.saturating_sub(self.start + 1) / self.step.max(1);
        let ranged = self.start + steps * self.step;
        ranged
            .max(self.lead.unwrap_or(0))
            .max(self.tail.unwrap_or(0))
    }
}

/// Whether there is one key, and it stands behind the name if anything does: true of most commands.
pub(crate) fn is_behind_name(command: Option<&'static Command>) -> bool {
    command.is_none_or(|command| command.keys == Keys::Range(1, 1, 1))
}

/// What is known of a request's command. A command that the table does not have is taken for
/// one of a module, and these have their key at 1.
pub(crate) fn of(args: &Args<'_>, command: Option<&'static Command>) -> Plan {
    match command {
        None => Plan::range(1, 2, 1, args.count()),
        // Of a container whose subcommand is not known, nothing is known.
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
        Keys::Into => Plan {
            lead: (count > 1).then_some(1),
            ..counted(args, 2, 1)
        },
        Keys::Streams => streams(args),
        Keys::Sort => Plan {
            tail: store(args, 2, &["store"], &[("limit", 2), ("get", 1), ("by", 1)]),
            ..one(1, count)
        },
        Keys::GeoRadius => Plan {
            tail: store(args, 5, &["store", "storedist"], &[]),
            ..one(1, count)
        },
        Keys::Migrate => migrate(args),
    }
}

fn one(position: usize, count: usize) -> Plan {
    Plan::range(position, position + 1, 1, count)
}

/// As many keys as the argument at `at` says, right behind it.
fn counted(args: &Args<'_>, at: usize, step: usize) -> Plan {
    let number = args
        .bytes(at)
        .and_then(|text| whole(&text))
        .and_then(|n| usize::try_from(n).ok());
    let keys = number.unwrap_or(0).saturating_mul(step);
    Plan::range(at + 1, keys.saturating_add(at + 1), step, args.count())
}

/// The last `STORE key` at or behind `from`, skipping the operands of other options.
fn store(args: &Args<'_>, from: usize, words: &[&str], skipped: &[(&str, usize)]) -> Option<usize> {
    let mut found = None;
    let mut next = from;
    for (position, argument) in args.walk().enumerate().skip(from) {
        if position < next {
            continue;
        }
        next = position + 1;
        let Some(bytes) = argument.bytes(args.wire()) else {
            return found;
        };
        let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
        if let Some((_, operands)) = skipped.iter().find(|(word, _)| is(word)) {
            next += operands;
        } else if words.iter().any(|word| is(word)) && position + 1 < args.count() {
            found = Some(position + 1);
            next += 1;
        }
    }
    found
}

/// `XREAD [COUNT n] [BLOCK ms] STREAMS key… id…`, `XREADGROUP GROUP group consumer […]`.
fn streams(args: &Args<'_>) -> Plan {
    match option(args, "streams") {
        Some(at) => {
            let behind = args.count().saturating_sub(at + 1);
            if behind.is_multiple_of(2) {
                Plan::range(at + 1, at + 1 + behind / 2, 1, args.count())
            } else {
                Plan::default()
            }
        }
        None => Plan::default(),
    }
}

/// Where an option of `XREAD` or `XREADGROUP` stands.
pub(crate) fn option(args: &Args<'_>, wanted: &str) -> Option<usize> {
    const OPTIONS: [(&str, usize); 4] = [("block", 1), ("count", 1), ("group", 2), ("noack", 0)];
    let mut next = 1;
    for (position, argument) in args.walk().enumerate().skip(1) {
        if position < next {
            continue;
        }
        let bytes = argument.bytes(args.wire())?;
        let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
        if is(wanted) {
            return Some(position);
        }
        let (_, operands) = OPTIONS.iter().find(|(word, _)| is(word))?;
        next = position + 1 + operands;
    }
    None
}

/// `MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH p] [AUTH2 u p] [KEYS key…]`.
fn migrate(args: &Args<'_>) -> Plan {
    let count = args.count();
    if args.bytes(3).is_some_and(|key| !key.is_empty()) {
        return one(3, count);
    }
    let mut next = 6;
    for (position, argument) in args.walk().enumerate().skip(6) {
        if position < next {
            continue;
        }
        let Some(bytes) = argument.bytes(args.wire()) else {
            break;
        };
        let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
        if is("keys") {
            return Plan::range(position + 1, count, 1, count);
        }
        next = position
            + 1
            + if is("auth2") {
                2
            } else {
                usize::from(is("auth"))
            };
    }
    Plan::default()
}

/// How many arguments must be there before every key is: `Some` at once for those commands whose
/// keys stand in front of large values, `None` if the whole request is needed.
pub(crate) fn needed(
    command: Option<&'static Command>,
    args: &Args<'_>,
    seen: usize,
) -> Option<usize> {
    let Some(command) = command else {
        return Some(2.min(args.count()));
    };
    let reach = match command.keys {
        Keys::None => 0,
        Keys::Range(..) => plan(command.keys, args).last(),
        Keys::Count(at, _) if seen > usize::from(at) => plan(command.keys, args).last(),
        Keys::Count(at, _) => usize::from(at),
        Keys::Into if seen > 2 => plan(command.keys, args).last(),
        Keys::Into => 2,
        Keys::Streams | Keys::Sort | Keys::GeoRadius | Keys::Migrate => return None,
    };
    Some((reach + 1).min(args.count()))
}

/// Shows every key as an entry `keys`.
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

/// The command of a request: the subcommand where it is a known one of a container.
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
mod tests {
    use super::*;

    fn keys(line: &str) -> Vec<String> {
        let mut all = Vec::new();
        walk(line.as_bytes(), Span::new(0, line.len()), &mut |entry| {
            assert_eq!(&*entry.name, b"keys");
            all.push(String::from_utf8(entry.value.into_owned()).unwrap());
            ControlFlow::Continue(())
        });
        let args = Args::read(line.as_bytes());
        let plan = of(&args, resolve(&args));
        assert_eq!(plan.is_single(), all.len() == 1, "{line}");
        let first = plan.first().and_then(|at| args.bytes(at));
        assert_eq!(
            first.as_deref(),
            all.first().map(String::as_bytes),
            "{line}"
        );
        all
    }

    /// Each line was asked of a Redis 7.0.15: `COMMAND GETKEYS …`.
    #[test]
    fn keys_stand_where_redis_says() {
        for line in include_str!("keys/getkeys.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
        {
            let (command, want) = line
                .split_once(" => ")
                .unwrap_or((line.trim_end_matches(" =>"), ""));
            assert_eq!(
                keys(command),
                want.split_whitespace().collect::<Vec<_>>(),
                "{command}"
            );
        }
    }

    #[test]
    fn commands_of_modules_have_their_key_at_1() {
        assert_eq!(keys("JSON.GET doc $"), ["doc"]);
        assert_eq!(keys("nosuch"), [""; 0]);
        assert_eq!(keys("CLIENT NOSUCH x"), [""; 0]);
        assert_eq!(keys("MSETEX 2 a 1 b 2 EX 5"), ["a", "b"]);
    }

    /// Redis calls them "not keys", but a cluster places them by their slot all the same.
    #[test]
    fn channels_of_shards_are_keys() {
        assert_eq!(keys("SSUBSCRIBE a b"), ["a", "b"]);
        assert_eq!(keys("SPUBLISH c m"), ["c"]);
        assert_eq!(keys("SUBSCRIBE c"), [""; 0]);
    }

    #[test]
    fn absurd_counts_have_no_keys() {
        for line in [
            "EVAL s 9 a b",
            "EVAL s -1 a",
            "EVAL s 999999999999999999 a",
            "EVAL s x a",
            "ZUNION 0 a",
            "XREAD STREAMS a",
            "MGET",
            "BITOP AND",
        ] {
            assert_eq!(keys(line), [""; 0], "{line}");
        }
        assert_eq!(keys("ZUNIONSTORE dst 9 a"), ["dst"]);
    }
}
