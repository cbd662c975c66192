//! What is known of a command, and how it is found by its name in any case. It must not know bytes
//! beyond the name.

use meltemi_frame::Safety;

use crate::subscriptions::Family;
use crate::table::COMMANDS;

/// A command, or a subcommand of a container command (`CLIENT SETNAME`).
#[derive(Debug)]
pub(crate) struct Command {
    /// In lower case; of a subcommand its own name alone.
    pub(crate) name: &'static str,
    /// One word of what it is for.
    pub(crate) category: &'static str,
    /// Where its keys stand.
    pub(crate) keys: Keys,
    /// What a retry may assume, before its options are looked at.
    pub(crate) safety: Safety,
    /// What it does to its connection.
    pub(crate) act: Act,
    /// The subcommands of a container.
    pub(crate) subs: &'static [Self],
}

/// Where keys stand among the arguments. The command's own name is argument 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Nowhere.
    None,
    /// First, last (negative: from the end), step.
    Range(i8, i8, i8),
    /// As many as the argument at this place says, right behind it, in this step.
    Count(u8, u8),
    /// The destination at 1, and as many as argument 2 says.
    Into,
    /// The first half of what follows `STREAMS`.
    Streams,
    /// At 1, and behind `STORE`.
    Sort,
    /// At 1, and behind `STORE` or `STOREDIST`.
    GeoRadius,
    /// At 3, or if that is empty all that follow `KEYS`.
    Migrate,
}

/// What a command does to the connection that it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Plain,
    /// Nothing; its options decide whether it is idempotent.
    Set,
    /// It may keep the connection waiting.
    Block,
    /// So may it, if it has the option `BLOCK`.
    BlockOption,
    /// It ends the server, if it succeeds: whoever shared the connection would lose it.
    Alone,
    /// It makes the connection different in a way that cannot be replayed, or asks about this very
    /// connection: the client keeps it.
    Own,
    /// It switches replies off and on.
    Reply,
    Hello,
    Auth,
    Select,
    ReadOnly,
    ReadWrite,
    SetName,
    SetInfo,
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
    /// It makes no sense through a proxy (replication).
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

/// The command of that name, in any case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let mut slot = hash(name);
    loop {
        let at = usize::from(*INDEX.get(slot % SLOTS)?);
        let command = COMMANDS.get(at.checked_sub(1)?)?;
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        slot += 1;
    }
}

impl Command {
    /// The subcommand of that name, in any case.
    pub(crate) fn sub(&self, name: &[u8]) -> Option<&'static Command> {
        self.subs
            .iter()
            .find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Sparse enough (a quarter full) that most names are found at once, and every search ends.
const SLOTS: usize = 1024;

/// Open addressing: the position in `COMMANDS` plus one, 0 for an empty slot.
static INDEX: [u16; SLOTS] = index();

/// FNV-1a over the name in lower case. Non-letters lose a bit too, which only costs a comparison.
const fn hash(mut name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    while let [first, rest @ ..] = name {
        hash = (hash ^ (*first | 0x20) as u32).wrapping_mul(0x0100_0193);
        name = rest;
    }
    (hash ^ (hash >> 15)) as usize
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "runs at compile time, where a mistake does not compile"
)]
const fn index() -> [u16; SLOTS] {
    let mut index = [0; SLOTS];
    let mut at = 0;
    while at < COMMANDS.len() {
        let mut slot = hash(COMMANDS[at].name.as_bytes());
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
        "vrem",
        "vsetattr",
        "vsim",
        "waitaof",
        "xackdel",
        "xdelex",
    ];
}
