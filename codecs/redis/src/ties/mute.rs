//! `CLIENT REPLY`. The server never gets a valid one: the proxy drops the replies that the client does not
//! want. So each request keeps its reply, also one that the proxy answers or refuses. It must not
//! depend on bytes.

use std::collections::VecDeque;

use super::Ties;
use crate::args::Args;

/// Decides which of the next requests are silent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mute {
    #[default]
    No,
    Next,
    All,
}

impl Mute {
    /// Returns the state after `CLIENT REPLY` with these arguments. `None` if they are not valid.
    pub(super) fn after(self, args: &Args<'_>) -> Option<Self> {
        match () {
            () if args.count() != 3 => None,
            () if args.is(2, "on") => Some(Self::No),
            () if args.is(2, "off") => Some(Self::All),
            () if args.is(2, "skip") && self == Self::All => Some(Self::All),
            () if args.is(2, "skip") => Some(Self::Next),
            () => None,
        }
    }
}

/// The open requests whose replies the client does not get, as ranges of their numbers.
#[derive(Default)]
pub(super) struct Silent(VecDeque<(u64, u64)>);

impl Silent {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, number: u64) {
        match self.0.back_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.0.push_back((number, number)),
        }
    }

    fn has(&self, number: u64) -> bool {
        let first = self.0.front();
        first.is_some_and(|(first, last)| (*first..=*last).contains(&number))
    }

    /// Removes the ranges that end with this number or before.
    fn end(&mut self, number: u64) {
        while self.0.front().is_some_and(|(_, last)| *last <= number) {
            self.0.pop_front();
        }
    }
}

impl Ties {
    /// Counts a request. Returns its number.
    pub(super) fn count(&mut self) -> u64 {
        self.asked += 1;
        match self.view.mute {
            Mute::No => return self.asked,
            Mute::Next => self.view.mute = Mute::No,
            Mute::All => {}
        }
        self.silent.add(self.asked);
        self.asked
    }

    /// Counts a `CLIENT REPLY`, and switches replies on or off. Only `ON` has a reply.
    pub(super) fn switch(&mut self, mute: Mute) {
        self.asked += 1;
        self.view.mute = mute;
        if mute != Mute::No {
            self.silent.add(self.asked);
        }
    }

    /// Returns `true` if the client does not get the next reply.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.has(self.answered + 1)
    }

    /// Counts a reply that has ended.
    pub(super) fn count_reply(&mut self) {
        self.answered += 1;
        self.silent.end(self.answered);
    }
}
