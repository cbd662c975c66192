//! Where keys stand, held to what a Redis 7.0.15 said of the same requests. Connections are not known here.

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
    for line in include_str!("getkeys.txt")
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

/// Whether the server may touch other keys than those that are shown.
fn is_open(line: &str) -> bool {
    let args = Args::read(line.as_bytes());
    of(&args, resolve(&args)).is_open()
}

#[test]
fn keys_of_modules_are_known() {
    for (line, want) in [
        ("JSON.GET doc $", &["doc"][..]),
        ("json.MGET a b $.x", &["a", "b"]),
        ("JSON.MSET a $ 1 b $ 2", &["a", "b"]),
        ("JSON.DEBUG MEMORY doc $", &["doc"]),
        ("TS.MADD a 1 2 b 1 2", &["a", "b"]),
        ("TS.CREATERULE a b AGGREGATION avg 60", &["a", "b"]),
        ("CMS.MERGE d 2 a b WEIGHTS 1 2", &["d", "a", "b"]),
        ("TDIGEST.MERGE d 1 a COMPRESSION 100", &["d", "a"]),
        ("BF.ADD f x", &["f"]),
        ("TOPK.ADD t x", &["t"]),
        ("MSETEX 2 a 1 b 2 EX 5", &["a", "b"]),
        ("VADD v VALUES 1 1 e", &["v"]),
        ("DELIFEQ a b", &["a"]),
    ] {
        assert_eq!(keys(line), want, "{line}");
        assert!(!is_open(line), "{line}");
    }
}

#[test]
fn keys_that_are_not_known_leave_the_request_open() {
    for (line, guess) in [
        ("NOSUCH a", &["a"][..]),
        ("nosuch", &[]),
        ("CLIENT NOSUCH x", &[]),
        ("FT.SEARCH idx *", &["idx"]),
        ("TS.MGET FILTER a=b", &[]),
        ("DEBUG OBJECT a", &[]),
        ("EVAL s 0", &[]),
        ("EVALSHA abc 1 k", &["k"]),
        ("FCALL_RO f 1 k", &["k"]),
        ("EVAL s +1 k", &["k"]),
        ("ZUNION 01 k", &["k"]),
        ("ZINTERSTORE d +1 k", &["d", "k"]),
        ("ZINTERSTORE d 9 k", &["d"]),
        ("LMPOP x k LEFT", &[]),
        ("SORT l BY w_* GET #", &["l"]),
        ("SORT l BY nosort GET secret:*", &["l"]),
        ("SORT_RO l GET k", &["l"]),
        ("SORT l BEST", &["l"]),
        ("SORT l STORE d STORE e", &["l", "e"]),
        ("SORT l LIMIT 0", &["l"]),
        ("GEORADIUS g 1 2 3 m STORE a STOREDIST b", &["g", "b"]),
        ("XREADGROUP GROUP streams c STREAMS a >", &["a"]),
        ("XREAD NOSUCH 1 STREAMS a 0", &[]),
        ("XREAD STREAMS a b 0", &[]),
        ("MIGRATE h 1 k 0 100 KEYS a", &["k"]),
        ("MIGRATE h 1 \"\" 0 100 AUTH KEYS KEYS a", &["a"]),
    ] {
        assert_eq!(keys(line), guess, "{line}");
        assert!(is_open(line), "{line}");
    }
}

#[test]
fn keys_behind_options_are_known() {
    for (line, want) in [
        ("SORT l", &["l"][..]),
        (
            "sort l by nosort get # limit 0 1 asc alpha store d",
            &["l", "d"],
        ),
        ("SORT_RO l BY nosort DESC", &["l"]),
        (
            "GEORADIUS g 1 2 3 m COUNT 1 ANY WITHDIST STORE d",
            &["g", "d"],
        ),
        ("XREADGROUP GROUP g c CLAIM 10 STREAMS a b > >", &["a", "b"]),
        ("MIGRATE h 1 \"\" 0 100 AUTH2 u p KEYS a b", &["a", "b"]),
    ] {
        assert_eq!(keys(line), want, "{line}");
        assert!(!is_open(line), "{line}");
    }
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
