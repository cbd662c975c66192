//! Decides how a request ties the client to its connection, and which state takes effect when its
//! reply confirms it. It must not depend on replies.

use meltemi_frame::Bind;

use super::{Effect, Ties};
use crate::args::Args;
use crate::command::{Act, Command};
use crate::keys::option;
use crate::state::change;

impl Ties {
    fn push(&mut self, number: u64, effect: Effect) -> Bind {
        self.pending.push_back((number, effect));
        Bind::Pin
    }

    /// Records the effect of the request, and returns how it binds its connection.
    pub(super) fn bind(
        &mut self,
        act: Act,
        command: Option<&'static Command>,
        args: &Args<'_>,
        number: u64,
    ) -> Bind {
        let was_asking = std::mem::take(&mut self.view.asking);
        let bind = if self.view.multi {
            self.within_multi(act, number)
        } else {
            self.outside(act, command, args, number)
        };
        if was_asking && act != Act::Asking {
            return self.push(number, Effect::Asked);
        }
        bind
    }

    fn within_multi(&mut self, act: Act, number: u64) -> Bind {
        match act {
            Act::Exec => {
                self.view.multi = false;
                let dirty = self.view.dirty;
                self.push(number, Effect::Exec { dirty })
            }
            Act::Discard => {
                self.view.multi = false;
                self.push(number, Effect::Discard)
            }
            Act::Hello
            | Act::Auth
            | Act::Select
            | Act::ReadOnly
            | Act::ReadWrite
            | Act::SetName
            | Act::SetInfo
            | Act::NoEvict
            | Act::NoTouch
            | Act::Tracking
            | Act::Own => {
                self.view.dirty = true;
                Bind::Pin
            }
            // With more than one channel `EXEC` sends more frames than its array announces. From
            // here on no other client may use the connection, whatever the outcome of the
            // transaction.
            Act::Subscribe(_) | Act::Unsubscribe(_) => self.push(number, Effect::Keep),
            _ => Bind::Pin,
        }
    }

    fn outside(
        &mut self,
        act: Act,
        command: Option<&'static Command>,
        args: &Args<'_>,
        number: u64,
    ) -> Bind {
        match act {
            Act::Plain
            | Act::Set
            | Act::Scan
            | Act::EvalSha
            | Act::Load
            | Act::Every
            | Act::Reply
            | Act::Reset
            | Act::Quit
            | Act::Refuse => Bind::Free,
            Act::Block | Act::Wait | Act::Alone => Bind::Dedicated,
            Act::BlockOption if option(args, "block").is_some() => Bind::Dedicated,
            Act::BlockOption => Bind::Free,
            Act::Tracking if args.count() == 3 && args.is(2, "off") => Bind::Free,
            Act::Own | Act::Tracking | Act::Monitor => self.push(number, Effect::Keep),
            Act::Id | Act::Info if !self.is_kept() => self.push_free(number, Effect::Number),
            Act::Id | Act::Info | Act::Ask => Bind::Free,
            Act::Multi => {
                self.view.multi = true;
                self.view.dirty = false;
                self.push(number, Effect::Multi)
            }
            Act::Watch => self.push(number, Effect::Watch),
            Act::Asking => {
                self.view.asking = true;
                self.push(number, Effect::Asking)
            }
            // Without an open transaction any connection can send the error.
            Act::Exec => self.push_free(number, Effect::Exec { dirty: false }),
            Act::Discard => self.push_free(number, Effect::Discard),
            Act::Unwatch => self.push_free(number, Effect::Unwatch),
            Act::Subscribe(family) | Act::Unsubscribe(family) => {
                let subscribe = matches!(act, Act::Subscribe(_));
                let channels = u32::try_from(args.count().saturating_sub(1)).unwrap_or(u32::MAX);
                let subscriptions = self.subscriptions.get_or_insert_default();
                subscriptions.ask(family, subscribe, channels, number);
                Bind::Pin
            }
            // Without arguments they change no state.
            Act::Hello | Act::Auth if args.count() == 1 => Bind::Free,
            Act::Hello
            | Act::Auth
            | Act::Select
            | Act::ReadOnly
            | Act::ReadWrite
            | Act::SetName
            | Act::SetInfo
            | Act::NoEvict
            | Act::NoTouch => {
                match command.and_then(|command| change(command, args)) {
                    Some(change) => {
                        let bind = change.bind();
                        self.push(number, Effect::Change(change));
                        bind
                    }
                    // If the server accepts a request that the proxy cannot parse, it cannot be
                    // replayed.
                    None => self.push(number, Effect::Keep),
                }
            }
        }
    }

    fn push_free(&mut self, number: u64, effect: Effect) -> Bind {
        self.push(number, effect);
        Bind::Free
    }
}
