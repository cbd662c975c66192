//! Transactions that have not started at the server, and transactions with a refused command.
//! Neither is executed in part. It must not depend on bytes.

use meltemi_frame::Bind;

use super::{Effect, Ruling, Ties};
use crate::command::Act;
use crate::words::Local;

/// The place of the client's `MULTI`, if the proxy replied to it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Opening {
    /// There is no `MULTI`, or the server has it.
    #[default]
    Nothing,
    /// The `MULTI` is held until a command decides its server.
    Kept,
    /// The `MULTI` is sent before the request with this number.
    Before(u64),
    /// The request after it was refused: the server gets no part of the transaction.
    Lost,
}

impl Ties {
    /// Decides about a request in a transaction, if it must not be sent unchanged.
    pub(super) fn within_unsent(&mut self, act: Act) -> Option<Ruling> {
        let view = &self.view;
        if !view.multi {
            return None;
        }
        match (view.opening, act) {
            (Opening::Kept | Opening::Lost, Act::Discard) => {
                Some(self.end_here(Effect::Discard, Local::Ok))
            }
            (Opening::Kept, Act::Exec) if view.spoiled => {
                Some(self.end_here(Effect::Exec { dirty: false }, Local::ExecAbort))
            }
            (Opening::Lost, Act::Exec) => {
                Some(self.end_here(Effect::Exec { dirty: false }, Local::ExecAbort))
            }
            (Opening::Lost, _) => Some(self.ask_local(Local::Queued)),
            (_, Act::Exec) if view.spoiled => {
                self.end(Effect::Abort);
                Some(Ruling {
                    bind: Bind::Pin,
                    aborts: true,
                    ..Ruling::FREE
                })
            }
            _ => None,
        }
    }

    fn end(&mut self, effect: Effect) {
        let number = self.count();
        self.pending.push_back((number, effect));
        let view = &mut self.view;
        (view.multi, view.spoiled) = (false, false);
        view.opening = Opening::Nothing;
    }

    fn end_here(&mut self, effect: Effect, local: Local) -> Ruling {
        self.end(effect);
        Ruling::local(local)
    }

    /// Returns `true` if the held `MULTI` is sent before the next request.
    pub(super) fn opens(&mut self) -> bool {
        let kept = self.view.opening == Opening::Kept;
        if kept {
            self.view.opening = Opening::Before(self.asked + 1);
        }
        kept
    }

    /// Holds the newest request, if it is a `MULTI`.
    pub(crate) fn defer(&mut self) -> bool {
        let newest = self.asked;
        let begins =
            matches!(self.pending.back(), Some((number, Effect::Multi)) if *number == newest);
        if begins && self.pending.len() == 1 {
            self.view.opening = Opening::Kept;
        }
        begins && self.pending.len() == 1
    }

    /// Records that the next reply is the router's refusal of the request.
    pub(crate) fn fails(&mut self) {
        let next = self.answered + 1;
        if self.view.opening == Opening::Before(next) {
            self.view.opening = Opening::Lost;
            self.view.spoiled = true;
            // Other requests were read while the transaction seemed open at the server.
            self.view.torn |= self.asked > next;
        }
    }

    /// Handles the refusal of a request that is part of a tie. Returns `false` if the request was
    /// part of a transaction whose end is already sent.
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
