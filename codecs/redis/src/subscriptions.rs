//! Which confirmations a connection still owes, and how many subscriptions it has. Both sides keep
//! one: the server side to know when a client is free again, the client side to tell the first
//! confirmation of a command, which is its response, from what the server pushes.

use std::collections::VecDeque;

use crate::number::{Line, line};

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Channel,
    Pattern,
    Shard,
}

/// A command that was sent and whose confirmations are not all there.
#[derive(Debug)]
struct Asked {
    family: Family,
    subscribe: bool,
    /// Its number among the requests that are answered; `None` if it is not (`CLIENT REPLY OFF`).
    number: Option<u64>,
    /// Confirmations that are still due; 0 for "of all that there are" until the first comes.
    left: u32,
    begun: bool,
}

/// What one frame from the server means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Confirmed {
        family: Family,
        subscribe: bool,
        count: u32,
    },
    /// A message, or something else that nobody asked for.
    Message,
}

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    asked: VecDeque<Asked>,
    channels: u32,
    patterns: u32,
    shards: u32,
}

impl Subscriptions {
    /// Whether anything is subscribed to, or may be soon.
    pub(crate) fn is_active(&self) -> bool {
        !self.asked.is_empty() || (self.channels | self.patterns | self.shards) != 0
    }

    /// A command of the family went by with so many channels.
    pub(crate) fn ask(
        &mut self,
        family: Family,
        subscribe: bool,
        channels: u32,
        number: Option<u64>,
    ) {
        self.asked.push_back(Asked {
            family,
            subscribe,
            number,
            left: channels,
            begun: false,
        });
    }

    /// The request of this number was answered by something else than a confirmation (an error).
    pub(crate) fn answered(&mut self, number: u64) {
        if self.is_due(number) {
            self.asked.pop_front();
        }
    }

    /// The request of this number waits in a transaction. Its confirmations come with the reply to
    /// `EXEC`: the first within it, the others, though nobody would think so, behind it.
    pub(crate) fn queued(&mut self, number: u64) {
        if self.is_due(number)
            && let Some(front) = self.asked.front_mut()
        {
            front.number = None;
        }
    }

    /// Whether the request of this number is the oldest whose confirmations are due.
    fn is_due(&self, number: u64) -> bool {
        self.asked
            .front()
            .is_some_and(|front| front.number == Some(number) && !front.begun)
    }

    /// A confirmation came. Tells whether it is the response to the request of the number `next`:
    /// the first one to its command.
    pub(crate) fn confirm(
        &mut self,
        family: Family,
        subscribe: bool,
        count: u32,
        next: u64,
    ) -> bool {
        let had = self.count_of(family);
        self.recount(family, subscribe, count);
        let Some(front) = self.asked.front_mut() else {
            return false;
        };
        // Not asked for: a slot that moved away unsubscribes on its own.
        if front.family != family || front.subscribe != subscribe {
            return false;
        }
        let first = !front.begun;
        if first && front.left == 0 {
            front.left = had.max(1);
        }
        front.begun = true;
        front.left = front.left.saturating_sub(1);
        let responds = first && front.number == Some(next);
        if front.left == 0 {
            self.asked.pop_front();
        }
        responds
    }

    /// The connection was reset after the request of this number: only what was asked since is left.
    pub(crate) fn reset(&mut self, number: u64) {
        (self.channels, self.patterns, self.shards) = (0, 0, 0);
        self.asked
            .retain(|asked| asked.number.is_some_and(|asked| asked > number));
    }

    const fn count_of(&self, family: Family) -> u32 {
        match family {
            Family::Channel => self.channels,
            Family::Pattern => self.patterns,
            Family::Shard => self.shards,
        }
    }

    /// The count in a confirmation is that of channels and patterns together; of shards alone.
    fn recount(&mut self, family: Family, subscribe: bool, count: u32) {
        let (mine, others) = match family {
            Family::Channel => (&mut self.channels, self.patterns),
            Family::Pattern => (&mut self.patterns, self.channels),
            Family::Shard => (&mut self.shards, 0),
        };
        let now = count.saturating_sub(others);
        *mine = if subscribe {
            now.max(*mine)
        } else {
            now.min(*mine)
        };
        if count == 0 && family != Family::Shard {
            // The one count that leaves no doubt.
            (self.channels, self.patterns) = (0, 0);
        }
    }
}

/// Reads a frame as what a server sends to subscribers. `None`: it is none of these.
pub(crate) fn word(wire: &[u8]) -> Option<Word> {
    let Line::Number(items, at) = line(wire, 1) else {
        return None;
    };
    let (name, at) = bulk(wire, at)?;
    let (family, subscribe) = match name? {
        b"subscribe" => (Family::Channel, true),
        b"unsubscribe" => (Family::Channel, false),
        b"psubscribe" => (Family::Pattern, true),
        b"punsubscribe" => (Family::Pattern, false),
        b"ssubscribe" => (Family::Shard, true),
        b"sunsubscribe" => (Family::Shard, false),
        b"message" | b"smessage" if items == 3 => return Some(Word::Message),
        b"pmessage" if items == 4 => return Some(Word::Message),
        // RESP2 clients redirect invalidations to a subscribed connection: they come as a
        // message of the channel `__redis__:invalidate`.
        _ => return None,
    };
    let (_, at) = bulk(wire, at)?;
    match (wire.get(at), line(wire, at + 1)) {
        (Some(b':'), Line::Number(count, _)) if items == 3 => {
            let count = u32::try_from(count).ok()?;
            Some(Word::Confirmed {
                family,
                subscribe,
                count,
            })
        }
        _ => None,
    }
}

/// A bulk string at `at`, null included, and where the next element starts.
fn bulk(wire: &[u8], at: usize) -> Option<(Option<&[u8]>, usize)> {
    if wire.get(at..at + 3) == Some(b"_\r\n") {
        return Some((None, at + 3));
    }
    let (Some(b'$'), Line::Number(length, start)) = (wire.get(at), line(wire, at + 1)) else {
        return None;
    };
    if length < 0 {
        return Some((None, start));
    }
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    Some((Some(wire.get(start..end)?), end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_to_subscribers_are_read() {
        let confirmed = |family, subscribe, count| {
            Some(Word::Confirmed {
                family,
                subscribe,
                count,
            })
        };
        assert_eq!(
            word(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            confirmed(Family::Channel, true, 1)
        );
        assert_eq!(
            word(b">3\r\n$12\r\npunsubscribe\r\n_\r\n:0\r\n"),
            confirmed(Family::Pattern, false, 0)
        );
        assert_eq!(
            word(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"),
            confirmed(Family::Channel, false, 0)
        );
        assert_eq!(
            word(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
            Some(Word::Message)
        );
        for other in [
            &b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"[..],
            b"*0\r\n",
            b"*1\r\n$9\r\nsubscribe\r\n",
            b"*3\r\n:1\r\n",
        ] {
            assert_eq!(word(other), None);
        }
    }

    #[test]
    fn the_first_confirmation_of_a_command_is_its_response() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.ask(Family::Channel, true, 2, Some(1));
        subscriptions.ask(Family::Pattern, true, 1, Some(2));
        assert!(subscriptions.confirm(Family::Channel, true, 1, 1));
        assert!(!subscriptions.confirm(Family::Channel, true, 2, 2));
        assert!(subscriptions.confirm(Family::Pattern, true, 3, 2));
        subscriptions.ask(Family::Channel, false, 0, Some(3));
        assert!(subscriptions.confirm(Family::Channel, false, 2, 3));
        assert!(!subscriptions.confirm(Family::Channel, false, 1, 4));
        assert!(subscriptions.is_active() && subscriptions.asked.is_empty());
        subscriptions.ask(Family::Pattern, false, 1, Some(4));
        assert!(subscriptions.confirm(Family::Pattern, false, 0, 4));
        assert!(!subscriptions.is_active());
    }

    #[test]
    fn a_refused_subscription_is_forgotten() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.ask(Family::Shard, true, 1, Some(5));
        subscriptions.answered(4);
        assert!(subscriptions.is_active());
        subscriptions.answered(5);
        assert!(!subscriptions.is_active());
    }

    #[test]
    fn an_unsubscription_without_any_subscription_is_confirmed_once() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.ask(Family::Channel, false, 0, Some(1));
        assert!(subscriptions.confirm(Family::Channel, false, 0, 1));
        assert!(!subscriptions.is_active());
    }
}
