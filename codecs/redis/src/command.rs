//! The properties of a command, and the lookup by name. Case is ignored. It must not depend on any bytes
//! except the name.

use meltemi_frame::Safety;

use crate::modules;
use crate::subscriptions::Family;
use crate::table::COMMANDS;

/// A command, or a subcommand of a container command (`CLIENT SETNAME`).
#[derive(Debug)]
pub(crate) struct Command {
    /// The name in lower case. A subcommand has only its own name.
    pub(crate) name: &'static str,
    /// The category, as one word.
    pub(crate) category: &'static str,
    /// The positions of its keys.
    pub(crate) keys: Keys,
    /// The retry safety, before its options are read.
    pub(crate) safety: Safety,
    /// The effect on its connection.
    pub(crate) act: Act,
    /// The subcommands of a container.
    pub(crate) subs: &'static [Self],
}

/// The positions of keys among the arguments. The command name is argument 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// No keys.
    None,
    /// First, last (negative: from the end), step.
    Range(i8, i8, i8),
    /// The argument at this position is the count. The keys follow it directly, with this step.
    Count(u8, u8),
    /// Argument 2 is the count. The keys follow it directly. The script may access other keys.
    Script,
    /// The destination is at 1. Argument 2 is the count of the other keys.
    Into,
    /// The first half of the arguments after `STREAMS`.
    Streams,
    /// At 1, after `STORE`, and the keys that match the patterns of `BY` and `GET`.
    Sort,
    /// At 1, and the keys that match the patterns of `BY` and `GET`.
    SortRo,
    /// At 1, and after `STORE` or `STOREDIST` among the options, which start here.
    GeoRadius(u8),
    /// At 3. If argument 3 is empty, all arguments after `KEYS`.
    Migrate,
    /// The positions cannot be determined.
    Hidden,
}

/// The effect of a command on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// No effect.
    Plain,
    /// No effect. Its options decide if it is idempotent.
    Set,
    /// May block the connection.
    Block,
    /// May block the connection, and depends on earlier writes of the connection.
    Wait,
    /// May block the connection, if the command has the option `BLOCK`.
    BlockOption,
    /// No effect. Its reply has a cursor that only this server understands.
    Scan,
    /// No effect. It calls a script by its digest, and the server may not have the script.
    EvalSha,
    /// No effect, but every server must get it. An unreachable server is skipped.
    Load,
    /// No effect, but every server must get it.
    Every,
    /// Ends the server on success. Other clients on a shared connection would lose it.
    Alone,
    /// Changes the connection in a way that cannot be replayed, or reads the state of this connection.
    /// The client keeps the connection.
    Own,
    /// Switches replies off and on.
    Reply,
    Hello,
    Auth,
    Select,
    ReadOnly,
    ReadWrite,
    SetName,
    SetInfo,
    NoEvict,
    NoTouch,
    /// Returns the connection's own number.
    Id,
    /// Returns information about the connection, in a line that starts with its number.
    Info,
    /// Reads state that only a kept connection can have.
    Ask,
    /// Changes the connection, unless the argument is `OFF`.
    Tracking,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Subscribe(Family),
    Unsubscribe(Family),
    Monitor,
    Asking,
    Reset,
    Quit,
    /// Refused: the command makes no sense through a proxy (replication).
    Refuse,
}

pub(crate) const fn row(
    name: &'static str,
    category: &'static str,
    keys: Keys,
    safety: Safety,
    act: Act,
    subs: &'static [Command],
) -> Command {
    Command {
        name,
        category,
        keys,
        safety,
        act,
        subs,
    }
}

/// Returns the command with this name. Case is ignored.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    indexed(name).or_else(|| modules::find(name))
}

#[inline]
fn indexed(name: &[u8]) -> Option<&'static Command> {
    let name_folded = Folded::of(name);
    let mut slot = name_folded.hash();
    loop {
        let at = usize::from(*INDEX.get(slot % SLOTS)?).checked_sub(1)?;
        if *FOLDED.get(at)? == name_folded {
            let command = COMMANDS.get(at)?;
            // The middle of a longer name is not stored.
            return (name.len() <= Folded::WHOLE
                || command.name.as_bytes().eq_ignore_ascii_case(name))
            .then_some(command);
        }
        slot += 1;
    }
}

impl Command {
    /// Returns the subcommand with this name. Case is ignored.
    pub(crate) fn sub(&self, name: &[u8]) -> Option<&'static Command> {
        self.subs
            .iter()
            .find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The table is a quarter full: most names are found at once, and every search ends.
const SLOTS: usize = 1024;

/// Open addressing: the position in `COMMANDS` plus one, 0 for an empty slot.
static INDEX: [u16; SLOTS] = index();

/// The names in the order of `COMMANDS`.
static FOLDED: [Folded; COMMANDS.len()] = folded();

/// A name in lower case as numbers, to compare fast: its length, and its first and last bytes, which may
/// overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Folded {
    front: u64,
    back: u64,
    length: usize,
}

impl Folded {
    /// Names up to this length in bytes are stored whole. Longer names in the table differ in the stored
    /// part.
    const WHOLE: usize = 16;

    #[inline]
    const fn of(name: &[u8]) -> Self {
        let (front, back) = match (name.first_chunk(), name.last_chunk()) {
            (Some(front), Some(back)) => (
                lower(u64::from_le_bytes(*front)),
                lower(u64::from_le_bytes(*back)),
            ),
            _ => (lower(Self::short(name)), 0),
        };
        Self {
            front,
            back,
            length: name.len(),
        }
    }

    /// Packs a name of less than eight bytes.
    #[inline]
    const fn short(name: &[u8]) -> u64 {
        if let (Some(front), Some(back)) = (name.first_chunk(), name.last_chunk()) {
            return u32::from_le_bytes(*front) as u64 | (u32::from_le_bytes(*back) as u64) << 32;
        }
        match name {
            [] => 0,
            [one] => *one as u64,
            [one, two] => *one as u64 | (*two as u64) << 8,
            [one, two, three, ..] => *one as u64 | (*two as u64) << 8 | (*three as u64) << 16,
        }
    }

    /// Multiplies by the golden ratio. The upper bits of the result depend on all other bits.
    #[inline]
    const fn hash(&self) -> usize {
        let mixed = self.front ^ self.back.rotate_left(23) ^ self.length as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
    }
}

/// Converts eight bytes of ASCII to lower case. Other bytes stay the same.
#[inline]
const fn lower(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = bytes & (0x7f * EACH);
    // The highest bit of every byte is the result: at least `A`, and past `Z`.
    let from = low + (0x80 - b'A' as u64) * EACH;
    let past = low + (0x7f - b'Z' as u64) * EACH;
    let upper = from & !past & !bytes & (0x80 * EACH);
    bytes | (upper >> 2)
}

#[expect(
    clippy::indexing_slicing,
    reason = "runs at compile time: a mistake is a compile error"
)]
const fn folded() -> [Folded; COMMANDS.len()] {
    let mut folded = [Folded::of(b""); COMMANDS.len()];
    let mut at = 0;
    while at < COMMANDS.len() {
        folded[at] = Folded::of(COMMANDS[at].name.as_bytes());
        at += 1;
    }
    folded
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "runs at compile time: a mistake is a compile error"
)]
const fn index() -> [u16; SLOTS] {
    let mut index = [0; SLOTS];
    let mut at = 0;
    while at < COMMANDS.len() {
        let mut slot = FOLDED[at].hash();
        while index[slot % SLOTS] != 0 {
            slot += 1;
        }
        index[slot % SLOTS] = at as u16 + 1;
        at += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        for command in COMMANDS {
            let upper = command.name.to_ascii_uppercase();
            for name in [command.name, &upper] {
                let found = find(name.as_bytes()).unwrap();
                assert_eq!(found.name, command.name);
            }
            for sub in command.subs {
                let upper = sub.name.to_ascii_uppercase();
                assert_eq!(command.sub(upper.as_bytes()).unwrap().name, sub.name);
            }
        }
    }

    #[test]
    fn other_names_are_not() {
        for name in [&b""[..], b"nosuch", b"ge", b"gett", b"post", b"\xff\x00"] {
            assert!(find(name).is_none());
        }
        assert!(
            find(b"client")
                .unwrap()
                .sub(b"maint_notifications")
                .is_none()
        );
    }

    #[test]
    fn lower_case_is_what_it_is_of_single_bytes() {
        for byte in 0..=u8::MAX {
            for other in [0, b'A', b'z', 0xff] {
                for place in 0..8 {
                    let mut bytes = [other; 8];
                    bytes[place] = byte;
                    let lowered = lower(u64::from_le_bytes(bytes)).to_le_bytes();
                    assert_eq!(lowered, *bytes.to_ascii_lowercase());
                }
            }
        }
    }

    /// Names that differ from those in the table in one byte, or are truncated, in both cases.
    #[test]
    fn names_are_found_as_if_each_were_compared() {
        let compared = |name: &[u8]| {
            let same = |command: &&Command| command.name.as_bytes().eq_ignore_ascii_case(name);
            COMMANDS.iter().find(same).map(|command| command.name)
        };
        let check = |name: &[u8]| {
            assert_eq!(
                find(name).map(|command| command.name),
                compared(name),
                "{name:?}"
            );
        };
        for command in COMMANDS {
            for case in [command.name.to_owned(), command.name.to_ascii_uppercase()] {
                let name = case.as_bytes();
                check(&[name, b"x"].concat());
                check(&[name, name].concat());
                for at in 0..name.len() {
                    check(&name[..at]);
                    check(&name[at..]);
                    for byte in [
                        0,
                        b'_',
                        b'`',
                        b'@',
                        name[at] ^ 0x20,
                        name[at] ^ 0x80,
                        name[at] + 1,
                    ] {
                        let mut other = name.to_vec();
                        other[at] = byte;
                        check(&other);
                    }
                }
            }
        }
    }

    #[test]
    fn the_table_is_of_redis_7() {
        assert_eq!(
            COMMANDS
                .iter()
                .filter(|command| !LATER.contains(&command.name))
                .count(),
            240
        );
        assert_eq!(
            find(b"XGROUP").unwrap().sub(b"CREATE").unwrap().keys,
            Keys::Range(2, 2, 1)
        );
        assert_eq!(find(b"get").unwrap().category, "read");
    }

    const LATER: &[&str] = &[
        "delex",
        "delifeq",
        "digest",
        "hexpire",
        "hexpireat",
        "hexpiretime",
        "hgetdel",
        "hgetex",
        "hpersist",
        "hpexpire",
        "hpexpireat",
        "hpexpiretime",
        "hpttl",
        "hsetex",
        "httl",
        "msetex",
        "vadd",
        "vcard",
        "vdim",
        "vemb",
        "vgetattr",
        "vinfo",
        "vismember",
        "vlinks",
        "vrandmember",
        "vrange",
        "vrem",
        "vsetattr",
        "vsim",
        "waitaof",
        "xackdel",
        "xdelex",
    ];
}
