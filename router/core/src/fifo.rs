//! Upstream correlation for protocols that reply in request order. Finds the caller for the next
//! reply.

use std::collections::VecDeque;

/// The owner of the next reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn<T> {
    /// A caller that waits for it.
    Caller(T),
    /// The caller is gone: discard the reply.
    Abandoned,
}

/// The unanswered requests of one upstream connection, oldest first.
///
/// Replies have no ids. So a request whose caller is gone keeps its place: its reply still arrives
/// in its turn, and must not reach the next caller.
#[derive(Debug)]
pub struct Fifo<T> {
    entries: VecDeque<Entry<T>>,
    /// The sequence number of the front entry.
    first: u64,
    callers: usize,
    /// A lower bound of all deadlines.
    earliest: u64,
}

#[derive(Debug)]
struct Entry<T> {
    ticket: Option<T>,
    deadline: u64,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            callers: 0,
            earliest: u64::MAX,
        }
    }
}

impl<T> Fifo<T> {
    /// Creates an empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a request that was sent. `deadline` is a tick; `u64::MAX` means no deadline. Returns
    /// the sequence number.
    pub fn push(&mut self, ticket: T, deadline: u64) -> u64 {
        let number = self.first + self.entries.len() as u64;
        self.entries.push_back(Entry {
            ticket: Some(ticket),
            deadline,
        });
        self.callers += 1;
        self.earliest = self.earliest.min(deadline);
        number
    }

    /// Returns the owner of the reply, or piece of a reply, that arrives now. `None` if no request
    /// is open.
    pub fn front_mut(&mut self) -> Option<Turn<&mut T>> {
        let entry = self.entries.front_mut()?;
        Some(entry.ticket.as_mut().map_or(Turn::Abandoned, Turn::Caller))
    }

    /// Ends the current reply and returns its owner. `None` if no request is open.
    pub fn pop(&mut self) -> Option<Turn<T>> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        Some(match entry.ticket {
            Some(ticket) => {
                self.callers -= 1;
                Turn::Caller(ticket)
            }
            None => Turn::Abandoned,
        })
    }

    /// Returns the ticket of a waiting request. `None` if it is abandoned or already answered.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.entry(number)?.ticket.as_mut()
    }

    /// Removes a caller that is gone or no longer waits. Its reply will be discarded. `None` if it
    /// is abandoned or already answered.
    pub fn abandon(&mut self, number: u64) -> Option<T> {
        let ticket = self.entry(number)?.ticket.take()?;
        self.callers -= 1;
        Some(ticket)
    }

    /// Abandons every request whose deadline has passed, and appends them to `out`, oldest first.
    pub fn expired(&mut self, now: u64, out: &mut Vec<(u64, T)>) {
        if now < self.earliest {
            return;
        }
        self.earliest = u64::MAX;
        for (number, entry) in (self.first..).zip(&mut self.entries) {
            if entry.ticket.is_none() {
                continue;
            }
            if entry.deadline > now || entry.deadline == u64::MAX {
                self.earliest = self.earliest.min(entry.deadline);
            } else if let Some(ticket) = entry.ticket.take() {
                self.callers -= 1;
                out.push((number, ticket));
            }
        }
    }

    /// Returns a tick before which no request expires. The tick may be early, but is never late.
    pub const fn next_deadline(&self) -> u64 {
        self.earliest
    }

    /// Iterates over the tickets of waiting callers, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries
            .iter()
            .filter_map(|entry| entry.ticket.as_ref())
    }

    /// Removes and returns all waiting callers, oldest first. For a connection that has ended.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let entries = std::mem::take(&mut self.entries);
        self.first += entries.len() as u64;
        self.callers = 0;
        self.earliest = u64::MAX;
        entries.into_iter().filter_map(|entry| entry.ticket)
    }

    /// Returns the number of open replies, including those of abandoned requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if no reply is open.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of waiting callers.
    pub const fn callers(&self) -> usize {
        self.callers
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry<T>> {
        let at = number.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEVER: u64 = u64::MAX;

    #[test]
    fn replies_go_to_callers_in_order() {
        let mut fifo = Fifo::new();
        fifo.push('a', NEVER);
        fifo.push('b', NEVER);
        assert_eq!(fifo.front_mut(), Some(Turn::Caller(&mut 'a')));
        assert_eq!(fifo.pop(), Some(Turn::Caller('a')));
        assert_eq!(fifo.pop(), Some(Turn::Caller('b')));
        assert_eq!(fifo.front_mut(), None);
        assert_eq!(fifo.pop(), None);
    }

    #[test]
    fn the_reply_of_an_abandoned_request_is_swallowed_in_its_turn() {
        let mut fifo = Fifo::new();
        let a = fifo.push('a', NEVER);
        let b = fifo.push('b', NEVER);
        assert_eq!(fifo.abandon(a), Some('a'));
        assert_eq!(fifo.abandon(a), None);
        assert_eq!((fifo.len(), fifo.callers()), (2, 1));
        assert_eq!(fifo.front_mut(), Some(Turn::Abandoned));
        assert_eq!(fifo.pop(), Some(Turn::Abandoned));
        assert_eq!(fifo.get_mut(b), Some(&mut 'b'));
        assert_eq!(fifo.pop(), Some(Turn::Caller('b')));
        assert_eq!(fifo.abandon(b), None);
        assert_eq!(fifo.abandon(99), None);
    }

    #[test]
    fn deadlines_abandon_once() {
        let mut fifo = Fifo::new();
        fifo.push('a', 10);
        fifo.push('b', NEVER);
        fifo.push('c', 5);
        let mut out = Vec::new();
        fifo.expired(4, &mut out);
        assert!(out.is_empty());
        assert_eq!(fifo.next_deadline(), 5);
        fifo.expired(5, &mut out);
        assert_eq!(out, [(2, 'c')]);
        assert_eq!(fifo.next_deadline(), 10);
        fifo.expired(u64::MAX, &mut out);
        assert_eq!(out, [(2, 'c'), (0, 'a')]);
        assert_eq!((fifo.len(), fifo.callers()), (3, 1));
        assert_eq!(fifo.next_deadline(), NEVER);
    }

    #[test]
    fn a_lost_connection_tells_every_caller_that_still_waits() {
        let mut fifo = Fifo::new();
        fifo.push('a', 10);
        let b = fifo.push('b', 10);
        fifo.push('c', 10);
        fifo.abandon(b);
        assert_eq!(fifo.drain().collect::<String>(), "ac");
        assert!(fifo.is_empty() && fifo.callers() == 0);
        assert_eq!(fifo.push('d', NEVER), 3, "numbers are never used twice");
    }

    proptest! {
        /// In every case, reply number n belongs to request number n, or has no caller.
        #[test]
        fn no_reply_reaches_another_caller(steps in prop::collection::vec((0..4u8, 0..40u64), 1..200)) {
            let mut fifo = Fifo::new();
            let (mut sent, mut answered) = (0u64, 0u64);
            let mut gone = std::collections::HashSet::new();
            for (tick, (step, pick)) in (0u64..).zip(steps) {
                match step {
                    0 | 1 => {
                        prop_assert_eq!(fifo.push(sent, tick + pick), sent);
                        sent += 1;
                    }
                    2 => match fifo.pop() {
                        Some(turn) => {
                            let expected = if gone.contains(&answered) { Turn::Abandoned } else { Turn::Caller(answered) };
                            prop_assert_eq!(turn, expected);
                            answered += 1;
                        }
                        None => prop_assert_eq!(sent, answered),
                    },
                    _ => if let Some(ticket) = fifo.abandon(pick) {
                        prop_assert_eq!(ticket, pick);
                        prop_assert!(gone.insert(pick));
                    },
                }
                let mut out = Vec::new();
                fifo.expired(tick, &mut out);
                for (number, ticket) in out {
                    prop_assert_eq!(number, ticket);
                    prop_assert!(gone.insert(ticket));
                }
                prop_assert_eq!(fifo.len() as u64, sent - answered);
            }
        }
    }
}
