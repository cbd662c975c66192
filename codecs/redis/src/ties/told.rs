//! Applies replies to the ties of a client: a requested change takes effect when its reply confirms
//! it. It must not depend on commands.

use meltemi_frame::Session;

use super::mute::Mute;
use super::refused::Opening;
use super::{Effect, Held, Outcome, Ties, state_of};
use crate::subscriptions::Word;

impl Ties {
    /// Returns `true` if no state depends on the replies.
    pub(crate) fn is_quiet(&self) -> bool {
        self.pending.is_empty() && !self.is_subscribed()
    }

    /// Returns `true` if a reply would change only the count: the expected state is confirmed, and
    /// equals that of a fresh connection.
    pub(crate) fn is_calm(&self) -> bool {
        let (view, held) = (&self.view, &self.held);
        let heard = view.mute == Mute::No && self.silent.is_empty();
        let settled = !view.spoiled && view.opening == Opening::Nothing && heard;
        self.is_quiet() && !view.multi && !held.multi && settled
    }

    /// Counts a reply that has ended, if [`Ties::is_calm`].
    #[inline]
    pub(crate) const fn answer_calm(&mut self) {
        self.answered += 1;
    }

    /// Handles a frame with this meaning that is a reply, or the start of one.
    pub(crate) fn reply(&mut self, word: Option<Word>) {
        if !self.confirm(word)
            && let Some(subscriptions) = &mut self.subscriptions
        {
            subscriptions.answered(self.answered + 1);
        }
    }

    /// Handles a frame that is not a reply.
    pub(crate) fn push_frame(&mut self, word: Option<Word>) {
        self.confirm(word);
    }

    fn confirm(&mut self, word: Option<Word>) -> bool {
        let Some(Word::Confirmed {
            family,
            subscribe,
            count,
        }) = word
        else {
            return false;
        };
        let subscriptions = self.subscriptions.get_or_insert_default();
        subscriptions.confirm(family, subscribe, count, self.answered + 1);
        true
    }

    /// Handles the end of a reply.
    pub(crate) fn answer(&mut self, outcome: Outcome) {
        self.count_reply();
        while let Some((number, _)) = self.pending.front() {
            if *number > self.answered {
                break;
            }
            if let Some((_, effect)) = self.pending.pop_front() {
                self.apply(effect, outcome);
            }
        }
        if self.pending.is_empty() {
            self.settle();
        }
    }

    /// Handles the end of a reply, if [`Ties::is_quiet`].
    pub(crate) fn answer_quiet(&mut self) {
        self.count_reply();
        self.settle();
    }

    /// Replaces the expected state by the confirmed one: a `MULTI` that failed has not started.
    fn settle(&mut self) {
        self.view.multi = self.held.multi;
        let done = match self.view.opening {
            Opening::Before(number) => number <= self.answered,
            _ => false,
        };
        if done || !self.held.multi {
            self.view.opening = Opening::Nothing;
        }
        self.view.spoiled &= self.held.multi;
    }

    fn apply(&mut self, effect: Effect, outcome: Outcome) {
        let held = &mut self.held;
        match (effect, outcome) {
            (Effect::Multi, Outcome::Ok) => held.multi = true,
            (Effect::Exec { dirty }, _) => {
                (held.multi, held.watch) = (false, false);
                held.kept |= dirty && outcome == Outcome::Ok;
            }
            (Effect::Abort, _) | (Effect::Discard, Outcome::Ok) => {
                (held.multi, held.watch) = (false, false);
            }
            (Effect::Watch, Outcome::Ok) => held.watch = true,
            (Effect::Unwatch, Outcome::Ok) => held.watch = false,
            (Effect::Asking, Outcome::Ok) => held.asking = true,
            (Effect::Asked, _) => held.asking = false,
            (Effect::Change(change), Outcome::Ok) => {
                let state = self.state.get_or_insert_default();
                state.apply(change);
                self.session = state.session();
            }
            (Effect::Keep, Outcome::Ok | Outcome::Null) | (_, Outcome::Queued) => held.kept = true,
            (Effect::Reset, _) => {
                *held = Held::default();
                if let Some(subscriptions) = &mut self.subscriptions {
                    subscriptions.reset(self.answered);
                }
                self.state = match &self.state {
                    Some(state) => Some(Box::new(state.reset(&self.initial))),
                    None => state_of(&self.initial),
                };
                let state = self.state.as_ref();
                self.session = state.map_or_else(Session::default, |state| state.session());
            }
            (Effect::Number, Outcome::Ok) | (_, Outcome::Failed | Outcome::Null) => {}
        }
    }
}
