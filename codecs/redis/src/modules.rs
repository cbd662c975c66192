//! The commands of the modules that Redis ships (JSON, time series, probabilistic types). Their
//! documentation states their keys. It contains names, categories and key positions only.

use super::command::{Act, Command, Keys, row};
use meltemi_frame::Safety::{Read, Unknown};

/// Returns the command with this name. Case is ignored.
#[cold]
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    if !name.contains(&b'.') {
        return None;
    }
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    let order = |command: &Command| command.name.bytes().cmp(name.iter().map(lower));
    let at = MODULES.binary_search_by(order).ok()?;
    MODULES.get(at)
}

/// Commands in alphabetical order. `FT.SEARCH` and other index commands are missing: their keys are
/// all keys that the index covers.
#[rustfmt::skip]
static MODULES: &[Command] = &[
    row("bf.add", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("bf.card", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("bf.exists", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("bf.info", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("bf.insert", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("bf.loadchunk", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("bf.madd", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("bf.mexists", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("bf.reserve", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("bf.scandump", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("cf.add", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.addnx", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.compact", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.count", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("cf.del", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.exists", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("cf.info", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("cf.insert", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.insertnx", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.loadchunk", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.mexists", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("cf.reserve", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cf.scandump", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("cms.incrby", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cms.info", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("cms.initbydim", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cms.initbyprob", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("cms.merge", "write", Keys::Into, Unknown, Act::Plain, &[]),
    row("cms.query", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("ft.sugadd", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ft.sugdel", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ft.sugget", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("ft.suglen", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.arrappend", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.arrindex", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.arrinsert", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.arrlen", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.arrpop", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.arrtrim", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.clear", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.debug", "read", Keys::Range(2, 2, 1), Read, Act::Plain, &[]),
    row("json.del", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.forget", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.get", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.merge", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.mget", "read", Keys::Range(1, -2, 1), Read, Act::Plain, &[]),
    row("json.mset", "write", Keys::Range(1, -1, 3), Unknown, Act::Plain, &[]),
    row("json.numincrby", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.nummultby", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.numpowby", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.objkeys", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.objlen", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.resp", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.set", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.strappend", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.strlen", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("json.toggle", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("json.type", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.add", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("tdigest.byrank", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.byrevrank", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.cdf", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.create", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("tdigest.info", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.max", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.merge", "write", Keys::Into, Unknown, Act::Plain, &[]),
    row("tdigest.min", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.quantile", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.rank", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.reset", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("tdigest.revrank", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("tdigest.trimmed_mean", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("topk.add", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("topk.count", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("topk.incrby", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("topk.info", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("topk.list", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("topk.query", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("topk.reserve", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ts.add", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ts.alter", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ts.create", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ts.createrule", "write", Keys::Range(1, 2, 1), Unknown, Act::Plain, &[]),
    row("ts.decrby", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ts.del", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ts.deleterule", "write", Keys::Range(1, 2, 1), Unknown, Act::Plain, &[]),
    row("ts.get", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("ts.incrby", "write", Keys::Range(1, 1, 1), Unknown, Act::Plain, &[]),
    row("ts.info", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("ts.madd", "write", Keys::Range(1, -1, 3), Unknown, Act::Plain, &[]),
    row("ts.mget", "read", Keys::Hidden, Read, Act::Plain, &[]),
    row("ts.mrange", "read", Keys::Hidden, Read, Act::Plain, &[]),
    row("ts.mrevrange", "read", Keys::Hidden, Read, Act::Plain, &[]),
    row("ts.queryindex", "read", Keys::Hidden, Read, Act::Plain, &[]),
    row("ts.range", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
    row("ts.revrange", "read", Keys::Range(1, 1, 1), Read, Act::Plain, &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_modules_are_found_in_any_case() {
        assert!(MODULES.is_sorted_by_key(|command| command.name));
        for command in MODULES {
            for name in [command.name.to_owned(), command.name.to_ascii_uppercase()] {
                let found = find(name.as_bytes()).unwrap();
                assert_eq!(found.name, command.name);
            }
        }
        for name in [
            &b""[..],
            b".",
            b"json.",
            b"json.nosuch",
            b"get",
            b"\xff.get",
        ] {
            assert!(find(name).is_none(), "{name:?}");
        }
    }
}
