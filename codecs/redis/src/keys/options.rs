//! Keys behind options. What does not parse as the server parses it leaves the plan open: another version of the
//! server may know an option that this table does not.

use super::plan::Plan;
use crate::args::Args;

/// The options of a command.
struct Grammar {
    /// Where they start.
    from: usize,
    /// How many operands each takes.
    options: &'static [(&'static str, usize)],
    /// The words that keys follow.
    keyed: &'static [&'static str],
    /// One key follows. Otherwise the rest of the request does, and the search ends there.
    single: bool,
}

/// What a search among the options found.
#[derive(Default)]
struct Found {
    /// The place behind the last word that a key follows.
    key: Option<usize>,
    /// The options are not what the table says.
    odd: bool,
}

/// Looks for the keyed words of a command. `see` gets each option with the place of its first operand, and
/// returns `true` if the option makes the server touch keys that are no arguments.
fn search(args: &Args<'_>, grammar: &Grammar, see: impl Fn(&str, &[u8]) -> bool) -> Found {
    let mut found = Found::default();
    let mut option: (&str, usize) = ("", 0);
    for argument in args.walk().skip(grammar.from).zip(grammar.from..) {
        let (argument, position) = argument;
        let Some(bytes) = argument.bytes(args.wire()) else {
            break;
        };
        let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
        let keyed = grammar.keyed.iter().any(|word| is(word));
        let (name, operands) = option;
        if operands > 0 {
            // Redis searches some commands for the keyed word alone, wherever it stands.
            found.odd |= keyed || see(name, &bytes);
            option = (name, operands - 1);
        } else if keyed {
            found.odd |= found.key.is_some() || position + 1 >= args.count();
            found.key = Some(position + 1);
            if !grammar.single {
                return found;
            }
            option = ("", 1);
        } else if let Some(known) = grammar.options.iter().find(|(word, _)| is(word)) {
            option = *known;
        } else {
            found.odd = true;
            if !grammar.single {
                return found;
            }
        }
    }
    found.odd |= option.1 > 0;
    found.key = found.key.filter(|key| *key < args.count());
    found
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern…] [ASC|DESC] [ALPHA] [STORE key]`. The patterns
/// name keys that depend on what the list holds.
pub(super) fn sort(args: &Args<'_>, stores: bool) -> Plan {
    let grammar = Grammar {
        from: 2,
        options: &[
            ("get", 1),
            ("by", 1),
            ("limit", 2),
            ("asc", 0),
            ("desc", 0),
            ("alpha", 0),
        ],
        keyed: if stores { &["store"] } else { &[] },
        single: true,
    };
    let found = search(args, &grammar, |name, operand| match name {
        // Without a `*` the order is that of the list.
        "by" => operand.contains(&b'*'),
        "get" => operand != b"#",
        _ => false,
    });
    Plan::one(1, args.count())
        .with_tail(found.key)
        .or_open(found.odd)
}

/// `GEORADIUS key longitude latitude radius unit [WITHCOORD] [COUNT n [ANY]] [ASC|DESC] [STORE key]`.
pub(super) fn georadius(args: &Args<'_>, from: usize) -> Plan {
    let grammar = Grammar {
        from,
        options: &[
            ("count", 1),
            ("any", 0),
            ("asc", 0),
            ("desc", 0),
            ("withdist", 0),
            ("withcoord", 0),
            ("withhash", 0),
        ],
        keyed: &["store", "storedist"],
        single: true,
    };
    let found = search(args, &grammar, |_, _| false);
    Plan::one(1, args.count())
        .with_tail(found.key)
        .or_open(found.odd)
}

/// `MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH p] [AUTH2 u p] [KEYS key…]`.
pub(super) fn migrate(args: &Args<'_>) -> Plan {
    let count = args.count();
    let grammar = Grammar {
        from: 6,
        options: &[("copy", 0), ("replace", 0), ("auth", 1), ("auth2", 2)],
        keyed: &["keys"],
        single: false,
    };
    let found = search(args, &grammar, |_, _| false);
    let one = args.bytes(3).is_some_and(|key| !key.is_empty());
    match found.key {
        _ if one => Plan::one(3, count).or_open(found.odd || found.key.is_some()),
        Some(start) => Plan::range(start, count, 1, count).or_open(found.odd),
        None => Plan::default().or_open(found.odd),
    }
}

/// The options of `XREAD` and `XREADGROUP`.
const STREAMS: Grammar = Grammar {
    from: 1,
    options: &[
        ("count", 1),
        ("block", 1),
        ("group", 2),
        ("claim", 1),
        ("noack", 0),
    ],
    keyed: &["streams"],
    single: false,
};

/// `XREAD [COUNT n] [BLOCK ms] STREAMS key… id…`, `XREADGROUP GROUP group consumer [CLAIM ms] […]`.
pub(super) fn streams(args: &Args<'_>) -> Plan {
    let count = args.count();
    let found = search(args, &STREAMS, |_, _| false);
    let Some(start) = found.key else {
        return Plan::OPEN;
    };
    let behind = count.saturating_sub(start);
    if behind.is_multiple_of(2) {
        Plan::range(start, start + behind / 2, 1, count).or_open(found.odd)
    } else {
        Plan::OPEN
    }
}

/// Where an option of `XREAD` or `XREADGROUP` stands.
pub(crate) fn option(args: &Args<'_>, wanted: &str) -> Option<usize> {
    let mut next = STREAMS.from;
    for (position, argument) in args.walk().enumerate().skip(STREAMS.from) {
        if position < next {
            continue;
        }
        let bytes = argument.bytes(args.wire())?;
        let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
        if is(wanted) {
            return Some(position);
        }
        let (_, operands) = STREAMS.options.iter().find(|(word, _)| is(word))?;
        next = position + 1 + operands;
    }
    None
}
