//! Scripts on one upstream connection: which scripts the server is known to have, and which must be
//! loaded before a client's call. It must not depend on clients.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use meltemi_frame::Message;

use crate::args::Args;
use crate::layout;
use crate::scripts::{Digest, Scripts, digest};
use crate::spec;

/// The maximum number of scripts recorded as loaded on this connection. At the limit all records
/// are dropped.
const LOADED: usize = 4096;

/// The scripts of one connection.
pub(super) struct Loads {
    scripts: Arc<Scripts>,
    /// Scripts loaded through this connection. Another client may have flushed them since.
    loaded: HashSet<Digest>,
    /// Requests that change the server's set of scripts, by request number.
    changes: VecDeque<(u64, Change)>,
}

/// The change that a request makes if it succeeds.
pub(super) enum Change {
    Load(Arc<[u8]>),
    Flush,
}

impl Loads {
    pub(super) fn new(scripts: &Arc<Scripts>) -> Self {
        Self {
            scripts: Arc::clone(scripts),
            loaded: HashSet::new(),
            changes: VecDeque::new(),
        }
    }

    /// Returns the script that must be loaded before the request is sent.
    pub(super) fn missing(&mut self, message: &Message<'_>) -> Option<Arc<[u8]>> {
        if command(message) != b"evalsha" {
            return None;
        }
        let name = digest(&Args::read(message.wire()).bytes(1)?)?;
        if self.loaded.contains(&name) {
            return None;
        }
        let script = self.scripts.find(&name)?;
        if self.loaded.len() >= LOADED {
            self.loaded.clear();
        }
        self.loaded.insert(name);
        Some(script)
    }

    /// Returns `true` if only an error reply can change the records.
    pub(super) fn is_settled(&self) -> bool {
        self.changes.is_empty()
    }

    /// Records a sent request under this number.
    pub(super) fn sent(&mut self, message: &Message<'_>, number: u64) {
        if message.layout[layout::NOTE] != layout::LOADS || command(message) != b"script" {
            return;
        }
        let change = match subcommand(message) {
            b"flush" => Change::Flush,
            _ => match Args::read(message.wire()).bytes(2) {
                Some(text) => Change::Load(text.into()),
                None => return,
            },
        };
        self.changes.push_back((number, change));
    }

    /// Handles the start of the reply with this number.
    #[inline]
    pub(super) fn answered(&mut self, number: u64, proper: &[u8]) {
        if proper.first() == Some(&b'-') && proper.starts_with(b"-NOSCRIPT") {
            // Another client has flushed the scripts.
            self.loaded.clear();
        }
        if self.changes.front().is_none_or(|(at, _)| *at != number) {
            return;
        }
        let Some((_, change)) = self.changes.pop_front() else {
            return;
        };
        match change {
            Change::Flush if proper.first() == Some(&b'+') => {
                self.loaded.clear();
                self.scripts.forget();
            }
            Change::Load(text) => {
                let name = proper
                    .strip_prefix(b"$40\r\n")
                    .and_then(|rest| rest.get(..40));
                if let Some(name) = name.and_then(digest) {
                    self.scripts.keep(name, &text);
                }
            }
            Change::Flush => {}
        }
    }
}

fn command<'m>(message: &'m Message<'_>) -> &'m [u8] {
    let name = message.attributes.slot(spec::COMMAND, message.wire());
    let name = name.unwrap_or_default();
    name.strip_suffix(b"_ro").unwrap_or(name)
}

fn subcommand<'m>(message: &'m Message<'_>) -> &'m [u8] {
    let name = message.attributes.slot(spec::SUBCOMMAND, message.wire());
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use meltemi_frame::{Codec, Decoded, Interest, Limits, Output, Reach, Session};

    use super::*;
    use crate::client::Client;
    use crate::server::Server;

    const NAME: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    const LOAD: &str = "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$8\r\nreturn 1\r\n";

    /// A client of the proxy, and an upstream connection.
    struct Pair {
        server: Server,
        client: Client,
    }

    impl Pair {
        fn new(scripts: &Arc<Scripts>) -> Self {
            let (limits, session) = (Limits::default(), Session::default());
            Self {
                server: Server::new(&limits, &session, None),
                client: Client::new(&limits, &session).with_scripts(scripts),
            }
        }

        /// Returns the bytes that the server gets for a request.
        fn say(&mut self, request: &str) -> (Reach, String) {
            let decoded = self.server.decode(request.as_bytes(), Interest::Route);
            let Ok(Decoded::Message(message, _)) = decoded else {
                panic!("it is a request: {request}");
            };
            let mut out = Output::new();
            self.client.encode(&message, &mut out).unwrap();
            let text = String::from_utf8(out.drain().to_vec()).unwrap();
            (message.head.reach, text)
        }

        /// Returns `true` if a client gets this reply of the server.
        fn hear(&mut self, reply: &str) -> bool {
            let decoded = self.client.decode(reply.as_bytes(), Interest::Route);
            match decoded.unwrap() {
                Decoded::Message(_, length) => {
                    assert_eq!(length, reply.len());
                    true
                }
                Decoded::Skip(length) => {
                    assert_eq!(length, reply.len());
                    false
                }
                Decoded::Incomplete(_) => panic!("it is whole: {reply}"),
            }
        }
    }

    /// Returns scripts with one known script.
    fn one() -> Arc<Scripts> {
        let scripts = Arc::default();
        let mut pair = Pair::new(&scripts);
        let (reach, sent) = pair.say("SCRIPT LOAD 'return 1'\r\n");
        assert_eq!(reach, Reach::Every { must: false });
        assert_eq!(sent, "SCRIPT LOAD 'return 1'\r\n");
        assert!(pair.hear(&format!("$40\r\n{NAME}\r\n")));
        scripts
    }

    #[test]
    fn a_script_is_loaded_before_its_first_call() {
        let mut pair = Pair::new(&one());
        let call = format!("EVALSHA {} 0\r\n", NAME.to_uppercase());
        assert_eq!(pair.say("GET k\r\n").1, "GET k\r\n");
        assert_eq!(pair.say(&call), (Reach::Any, format!("{LOAD}{call}")));
        let again = format!("EVALSHA_RO {NAME} 0\r\n");
        assert_eq!(pair.say(&again).1, again);
        let replies = ["$-1\r\n", &format!("$40\r\n{NAME}\r\n"), ":1\r\n", ":1\r\n"];
        let heard = replies.map(|reply| pair.hear(reply));
        assert_eq!(heard, [true, false, true, true]);
        // Another client has flushed the script.
        assert_eq!(pair.say(&call).1, call);
        assert!(pair.hear("-NOSCRIPT No matching script.\r\n"));
        assert_eq!(pair.say(&call).1, format!("{LOAD}{call}"));
        assert!(!pair.hear("-NOPERM this user has no permissions\r\n"));
    }

    #[test]
    fn a_transaction_gets_no_command_more() {
        let mut pair = Pair::new(&one());
        pair.say("MULTI\r\n");
        let call = format!("EVALSHA {NAME} 0\r\n");
        assert_eq!(pair.say(&call), (Reach::Any, call));
        assert_eq!(pair.say("FUNCTION FLUSH\r\n").0, Reach::Any);
    }

    #[test]
    fn what_is_not_loaded_or_is_flushed_is_not_known() {
        let scripts = one();
        let mut pair = Pair::new(&scripts);
        let call = format!("EVALSHA {NAME} 0\r\n");
        assert_eq!(pair.say("SCRIPT FLUSH\r\n").0, Reach::Every { must: true });
        assert!(pair.hear("-NOPERM no\r\n"));
        assert!(pair.say(&call).1.starts_with(LOAD));
        pair.hear(&format!("$40\r\n{NAME}\r\n"));
        pair.hear(":1\r\n");
        pair.say("SCRIPT FLUSH ASYNC\r\n");
        assert!(pair.hear("+OK\r\n"));
        assert_eq!(pair.say(&call).1, call);
        pair.hear("-NOSCRIPT No matching script.\r\n");
        pair.say("SCRIPT LOAD 'return ('\r\n");
        assert!(pair.hear("-ERR Error compiling script\r\n"));
        assert!(scripts.find(&digest(NAME.as_bytes()).unwrap()).is_none());
    }
}
