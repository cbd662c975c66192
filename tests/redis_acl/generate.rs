//! Requests of every command: where a key may stand, one that is allowed and one that is not.

/// What the server says of a command.
#[derive(Debug)]
pub(super) struct Command {
    /// In lower case; of a subcommand `container|subcommand`.
    pub(super) name: String,
    pub(super) arity: i64,
    pub(super) is_container: bool,
}

/// A request, as words.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) words: Vec<String>,
    /// It has a key for certain.
    pub(super) keyed: bool,
    /// Redis refuses to execute it.
    pub(super) malformed: bool,
}

/// Requests by hand: `k` stands for a key. They cover options that carry keys and counts.
const LINES: &[&str] = &[
    "sort k",
    "sort k by nosort",
    "sort k by nosort get # alpha desc store k",
    "sort k limit 0 1 store k",
    "sort k by w_* get # get o_*",
    "sort k by nosort get secret:*",
    "sort_ro k by nosort get secret:*",
    "sort_ro k limit 0 1",
    "eval s 1 k arg",
    "eval s 2 k k arg",
    "eval s 0 arg",
    "evalsha abc 1 k",
    "eval_ro s 1 k",
    "evalsha_ro s 1 k",
    "fcall f 2 k k arg",
    "fcall_ro f 1 k",
    "xread streams k 0",
    "xread count 1 block 0 streams k k 0 0",
    "xreadgroup group g c streams k >",
    "xreadgroup group g c count 1 block 1 noack streams k k > >",
    "georadius k 1 2 3 m",
    "georadius k 1 2 3 m withdist count 1 any store k",
    "georadius k 1 2 3 m storedist k",
    "georadiusbymember k m 3 m store k",
    "georadiusbymember k m 3 m asc withcoord storedist k",
    "georadius_ro k 1 2 3 m withhash",
    "migrate h 1 k 0 100",
    "migrate h 1 k 0 100 copy replace auth p",
    "migrate h 1 |empty| 0 100 keys k",
    "migrate h 1 |empty| 0 100 auth2 u p keys k k",
    "copy k k db 1 replace",
    "move k 1",
    "bitop and k k k",
    "zunionstore k 2 k k weights 1 2",
    "zinterstore k 1 k",
    "zdiffstore k 2 k k",
    "zunion 2 k k",
    "zinter 2 k k withscores",
    "zdiff 1 k",
    "zintercard 2 k k limit 1",
    "sintercard 2 k k",
    "lmpop 2 k k left",
    "blmpop 0 2 k k left",
    "zmpop 1 k min",
    "bzmpop 0 2 k k max",
    "blpop k k 0",
    "bzpopmin k k 0",
    "mset k v k v",
    "msetnx k v k v",
    "mget k k k",
    "del k k",
    "pfmerge k k k",
    "lcs k k idx",
    "geosearchstore k k fromlonlat 1 2 byradius 1 m",
    "zrangestore k k 0 1",
    "rename k k",
    "smove k k m",
    "lmove k k left right",
    "blmove k k left right 0",
    "brpoplpush k k 0",
    "watch k k",
    "object encoding k",
    "memory usage k samples 1",
    "xinfo stream k full",
    "xgroup create k g 0 mkstream",
    "set k v get ex 1",
    "swapdb 0 1",
    "flushall",
    "keys secret:*",
    "scan 0 match secret:*",
    "config set maxmemory 0",
    "client kill id 1",
    "script load s",
    "function load s",
    "cluster keyslot secret:a",
    "acl dryrun u get secret:a",
    "command getkeys get secret:a",
    "subscribe secret:a",
    "publish secret:a m",
    "debug object secret:a",
    "restore k 0 v",
];

/// Counts that are not plain numbers, and options that are not there.
const MALFORMED: &[&str] = &[
    "eval s +1 k",
    "eval s 01 k",
    "eval s |space|1 k",
    "eval s 9 k",
    "eval s -1 k",
    "zunion +1 k",
    "zunion 01 k",
    "zunion |space|1 k",
    "zunion 1x k",
    "zunion 3 k",
    "zinterstore k +1 k",
    "zinterstore k 01 k",
    "zunionstore k 9 k",
    "zdiffstore k x k",
    "lmpop +1 k left",
    "blmpop 0 01 k left",
    "sintercard |space|1 k",
    "xread nosuch streams k 0",
    "xread streams k k 0",
    "xreadgroup group g c nosuch streams k >",
    "xreadgroup group streams c streams k >",
    "sort k nosuch store k",
    "sort k store k store k",
    "sort k store store k",
    "sort k limit 0",
    "georadius k 1 2 3 m store k storedist k",
    "georadius k 1 2 3 m nosuch store k",
    "georadius k 1 2 3 store k",
    "migrate h 1 k 0 100 keys k",
    "migrate h 1 |empty| 0 100 auth keys keys k",
    "migrate h 1 k 0 100 auth2 keys k",
    "migrate h 1 |empty| 0 100 nosuch keys k",
];

/// The requests of a command.
pub(super) fn requests(command: &Command) -> Vec<Request> {
    let path: Vec<&str> = command.name.split('|').collect();
    let mut all = Vec::new();
    for (lines, malformed) in [(LINES, false), (MALFORMED, true)] {
        let own = lines.iter().filter(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words.starts_with(&path) && !command.is_container
        });
        for line in own {
            let words: Vec<&str> = line.split(' ').collect();
            add(&words, malformed, &mut all);
        }
    }
    // Every place a key, with as few arguments as there may be, and a few more.
    let least = usize::try_from(command.arity.abs())
        .unwrap()
        .max(path.len());
    let most = if command.arity < 0 { least + 4 } else { least };
    for count in least..=most {
        let mut words = path.clone();
        words.resize(count, "k");
        let plain = !command.is_container && !MOVABLE.contains(&command.name.as_str());
        add_any(&words, plain, &mut all);
        // The same with a number in each place.
        for at in path.len()..count {
            for number in ["1", "2", "0"] {
                let mut words = words.clone();
                words[at] = number;
                add_any(&words, plain, &mut all);
            }
        }
    }
    all
}

/// Commands whose keys depend on counts and options: what is generated blindly for them is mostly malformed.
const MOVABLE: &[&str] = &[
    "sort",
    "sort_ro",
    "eval",
    "evalsha",
    "eval_ro",
    "evalsha_ro",
    "fcall",
    "fcall_ro",
    "xread",
    "xreadgroup",
    "georadius",
    "georadiusbymember",
    "migrate",
    "zunionstore",
    "zinterstore",
    "zdiffstore",
    "zunion",
    "zinter",
    "zdiff",
    "zintercard",
    "sintercard",
    "lmpop",
    "blmpop",
    "zmpop",
    "bzmpop",
];

fn add_any(words: &[&str], plain: bool, all: &mut Vec<Request>) {
    let before = all.len();
    add(words, !plain, all);
    // Whether there is a key among these is Redis's to know.
    for request in &mut all[before..] {
        request.keyed = false;
    }
}

/// The request with every key allowed, and with each of them in turn not.
fn add(words: &[&str], malformed: bool, all: &mut Vec<Request>) {
    let keys = words.iter().filter(|word| **word == "k").count();
    for forbidden in 0..=keys {
        let mut seen = 0;
        let word = |(at, word): (usize, &&str)| match *word {
            "k" => {
                seen += 1;
                let space = if seen == forbidden { "secret" } else { "ok" };
                format!("{space}:{seen}")
            }
            "|empty|" => String::new(),
            "|space|1" => " 1".to_owned(),
            // Names and options in mixed case.
            word if (seen + at) % 2 == 0 => word.to_ascii_uppercase(),
            word => word.to_owned(),
        };
        let words = words.iter().enumerate().map(word).collect();
        all.push(Request {
            words,
            keyed: keys > 0,
            malformed,
        });
    }
}

/// A request on the wire: as an array, and inline.
pub(super) fn forms(words: &[String]) -> [Vec<u8>; 2] {
    [wire(words), inline(words)]
}

pub(super) fn wire(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}

/// Every word in quotes, every byte of it escaped.
pub(super) fn inline(words: &[String]) -> Vec<u8> {
    let quoted = words.iter().map(|word| {
        let bytes: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{bytes}\"")
    });
    let line: Vec<String> = quoted.collect();
    format!("{}\r\n", line.join(" ")).into_bytes()
}
