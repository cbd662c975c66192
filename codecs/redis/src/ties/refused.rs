//! Transactions that have not begun at the server, and those of which a command was refused: neither is
//! carried out by half. It knows no bytes.

use meltemi_frame::Bind;

use super::{Effect, Mute, Ruling, Ties};
use crate::command::Act;
use crate::words::Local;

/// Where the `MULTI` of the client is, if it was answered here.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Opening {
    /// There is none, or the server has it.
    #[default]
    Nothing,
    /// It waits for the command that decides which server it is for.
    Kept,
    /// It goes before the request of this number.
    Before(u64),
    /// That request was refused: the server will hear of nothing.
    Lost,
}

impl Ties {
    /// What becomes of a request within a transaction that does not go as it came.
    pub(super) fn within_unsent(&mut self, act: Act) -> Option<Ruling> {
        let view = &self.view;
        if !view.multi {
            return None;
        }
        match (view.opening, act) {
            (Opening::Kept | Opening::Lost, Act::Discard) => {
                Some(self.end_here(Effect::Discard, Local::Ok))
            }
            (Opening::Lost, Act::Exec) => {
                Some(self.end_here(Effect::Exec { dirty: false }, Local::ExecAbort))
            }
            (Opening::Lost, _) => Some(self.ask_local(Local::Queued)),
            (_, Act::Exec) if view.spoiled && view.mute == Mute::No => {
                self.end(Effect::Abort);
                Some(Ruling {
                    bind: Bind::Pin,
                    tied: true,
                    aborts: true,
                    ..Ruling::FREE
                })
            }
            _ => None,
        }
    }

    fn end(&mut self, effect: Effect) {
        self.asked += 1;
        self.pending.push_back((self.asked, effect));
        let view = &mut self.view;
        (view.multi, view.spoiled) = (false, false);
        view.opening = Opening::Nothing;
    }

    fn end_here(&mut self, effect: Effect, local: Local) -> Ruling {
        self.end(effect);
        Ruling::local(local)
    }

    /// Whether the `MULTI` that was kept goes before the next request.
    pub(super) fn opens(&mut self) -> bool {
        let kept = self.view.opening == Opening::Kept;
        if kept {
            self.view.opening = Opening::Before(self.asked + 1);
        }
        kept
    }

    /// Keeps the newest request, if it is a `MULTI`.
    pub(crate) fn defer(&mut self) -> bool {
        let newest = self.asked;
        let begins =
            matches!(self.pending.back(), Some((number, Effect::Multi)) if *number == newest);
        if begins && self.pending.len() == 1 {
            self.view.opening = Opening::Kept;
        }
        begins && self.pending.len() == 1
    }

    /// The next reply is that the router refused the request.
    pub(crate) fn fails(&mut self) {
        let next = self.answered + 1;
        if self.view.opening == Opening::Before(next) {
            self.view.opening = Opening::Lost;
            self.view.spoiled = true;
            // Others were read in the belief that the transaction is open at the server.
            self.view.torn |= self.asked > next;
        }
    }

    /// A request that is part of a tie was refused. Returns `false` if it was part of a transaction whose
    /// end is on its way.
    pub(crate) fn refused(&mut self) -> bool {
        let ends = |(_, effect): &(u64, Effect)| {
            matches!(
                effect,
                Effect::Exec { .. } | Effect::Discard | Effect::Abort
            )
        };
        if std::mem::take(&mut self.view.torn) || self.pending.iter().any(ends) {
            return false;
        }
        self.view.spoiled |= self.view.multi;
        true
    }
}
