//! The confirmations that a connection still expects, and the number of its subscriptions. Both
//! sides have one. The server side uses it to decide when a client is unbound again. The client
//! side uses it to separate the first confirmation of a command, which is its response, from pushed
//! messages.

use std::collections::VecDeque;

use crate::number::{Line, line};

/// The kind of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Channel,
    Pattern,
    Shard,
}

/// A command that was sent and still expects confirmations.
#[derive(Debug)]
struct Asked {
    family: Family,
    subscribe: bool,
    /// Its number among the requests; `None` once it is queued in a transaction.
    number: Option<u64>,
    /// The number of confirmations due. 0 for "all subscriptions" until the first one arrives.
    left: u32,
    begun: bool,
}

/// The meaning of one frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Confirmed {
        family: Family,
        subscribe: bool,
        count: u32,
    },
    /// A message, or another frame without a request.
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
    /// Returns `true` if there is a subscription, or may be one soon.
    pub(crate) fn is_active(&self) -> bool {
        !self.asked.is_empty() || (self.channels | self.patterns | self.shards) != 0
    }

    /// Records a command of the family with this number of channels.
    pub(crate) fn ask(&mut self, family: Family, subscribe: bool, channels: u32, number: u64) {
        self.asked.push_back(Asked {
            family,
            subscribe,
            number: Some(number),
            left: channels,
            begun: false,
        });
    }

    /// The request with this number got another reply than a confirmation (an error).
    pub(crate) fn answered(&mut self, number: u64) {
        if self.is_due(number) {
            self.asked.pop_front();
        }
    }

    /// The request with this number is queued in a transaction. Its confirmations come with the
    /// reply to `EXEC`: the first one inside it, and the others, unexpectedly, after it.
    pub(crate) fn queued(&mut self, number: u64) {
        if self.is_due(number)
            && let Some(front) = self.asked.front_mut()
        {
            front.number = None;
        }
    }

    /// Returns `true` if the request with this number is the oldest one that expects confirmations.
    fn is_due(&self, number: u64) -> bool {
        self.asked
            .front()
            .is_some_and(|front| front.number == Some(number) && !front.begun)
    }

    /// Handles a confirmation. Returns `true` if it is the response to the request `next`: the
    /// first confirmation of its command.
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
        // Not requested: the server unsubscribes a slot that moved away.
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

    /// The connection was reset after the request with this number. Keeps only later commands.
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

    /// Updates the counts. A confirmation counts channels and patterns together, and shards separately.
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
            // Only this count is not ambiguous.
            (self.channels, self.patterns) = (0, 0);
        }
    }
}

/// Parses a frame that a server sends to subscribers. `None` if it is another frame.
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
        // RESP2 clients redirect invalidations to a subscribed connection. They arrive as messages
        // of the channel `__redis__:invalidate`.
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

/// Reads a bulk string at `at`, which may be null. Returns it and the start of the next element.
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
        subscriptions.ask(Family::Channel, true, 2, 1);
        subscriptions.ask(Family::Pattern, true, 1, 2);
        assert!(subscriptions.confirm(Family::Channel, true, 1, 1));
        assert!(!subscriptions.confirm(Family::Channel, true, 2, 2));
        assert!(subscriptions.confirm(Family::Pattern, true, 3, 2));
        subscriptions.ask(Family::Channel, false, 0, 3);
        assert!(subscriptions.confirm(Family::Channel, false, 2, 3));
        assert!(!subscriptions.confirm(Family::Channel, false, 1, 4));
        assert!(subscriptions.is_active() && subscriptions.asked.is_empty());
        subscriptions.ask(Family::Pattern, false, 1, 4);
        assert!(subscriptions.confirm(Family::Pattern, false, 0, 4));
        assert!(!subscriptions.is_active());
    }

    #[test]
    fn a_refused_subscription_is_forgotten() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.ask(Family::Shard, true, 1, 5);
        subscriptions.answered(4);
        assert!(subscriptions.is_active());
        subscriptions.answered(5);
        assert!(!subscriptions.is_active());
    }

    #[test]
    fn an_unsubscription_without_any_subscription_is_confirmed_once() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.ask(Family::Channel, false, 0, 1);
        assert!(subscriptions.confirm(Family::Channel, false, 0, 1));
        assert!(!subscriptions.is_active());
    }
}
