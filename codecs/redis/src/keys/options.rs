//! Keys after options. If the options do not parse by the server's grammar, the plan stays open:
//! another version of the server may have an option that is not in this table.

use super::plan::Plan;
use crate::args::Args;

/// The options of a command.
struct Grammar {
    /// The argument position where they start.
    from: usize,
    /// The number of operands of each option.
    options: &'static [(&'static str, usize)],
    /// The words that come before keys.
    keyed: &'static [&'static str],
    /// `true` if one key follows. Otherwise all remaining arguments are keys, and the search ends
    /// there.
    single: bool,
}

/// The result of a search among the options.
#[derive(Default)]
struct Found {
    /// The position after the last word that a key follows.
    key: Option<usize>,
    /// `true` if the options do not match the table.
    odd: bool,
}

/// Searches for the keyed words of a command. `see` gets each option with the position of its first
/// operand. It returns `true` if the option makes the server access keys that are not arguments.
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
            // For some commands Redis searches only for the keyed word, at any position.
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

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern…] [ASC|DESC] [ALPHA] [STORE key]`. The
/// keys that match the patterns depend on the contents of the list.
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
        // Without a `*` the order of the list is kept.
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

/// Returns the position of an option of `XREAD` or `XREADGROUP`.
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
