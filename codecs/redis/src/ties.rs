//! The ties of a client to one upstream connection, and its session. A request is handled twice:
//! when it is read (`ask`, here), and when its reply is sent (`told`), because a change takes
//! effect only then. It must not depend on bytes: it sees commands and outcomes.

mod bind;
mod mute;
mod number;
mod refused;
mod told;

use std::collections::VecDeque;

use meltemi_frame::{Bind, Session};

use crate::args::Args;
use crate::command::{Act, Command};
use crate::state::{Change, Hello, State, too_long};
use crate::subscriptions::Subscriptions;
use crate::words::Local;

use mute::{Mute, Silent};
use number::ClientNumber;
use refused::Opening;

/// The decision for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) bind: Bind,
    pub(crate) local: Option<Local>,
    pub(crate) close: bool,
    /// The held `MULTI` is sent before it.
    pub(crate) opens: bool,
    /// The request ends a transaction that must not be executed.
    pub(crate) aborts: bool,
}

impl Ruling {
    /// Forwarded to any connection of its session.
    pub(crate) const FREE: Self = Self {
        bind: Bind::Free,
        local: None,
        close: false,
        opens: false,
        aborts: false,
    };

    pub(crate) const fn local(local: Local) -> Self {
        Self {
            local: Some(local),
            ..Self::FREE
        }
    }
}

/// The outcome of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    /// A null reply. For `EXEC` it means that the transaction was not executed.
    Null,
    /// `+QUEUED`: not executed yet.
    Queued,
}

/// The state that takes effect if the reply confirms the request.
enum Effect {
    Multi,
    Exec {
        dirty: bool,
    },
    Discard,
    Watch,
    Unwatch,
    Asking,
    Asked,
    Keep,
    Change(Change),
    Reset,
    /// The reply is the number of an upstream connection, or starts with it.
    Number,
    /// The transaction was discarded instead of executed by `EXEC`.
    Abort,
}

/// The expected state for the client's next request, if all open requests succeed.
#[derive(Default)]
struct View {
    multi: bool,
    /// The transaction changes the state of its connection. Its outcome is not tracked.
    dirty: bool,
    asking: bool,
    mute: Mute,
    opening: Opening,
    /// A command of the transaction was refused.
    spoiled: bool,
    /// A part of the transaction may already be sent without the refused command.
    torn: bool,
}

/// The state that replies have confirmed.
#[derive(Default)]
struct Held {
    multi: bool,
    watch: bool,
    asking: bool,
    /// Until `RESET`, or the end of the connection.
    kept: bool,
}

pub(crate) struct Ties {
    /// The number of requests read.
    asked: u64,
    /// The number of replies that have ended.
    answered: u64,
    pending: VecDeque<(u64, Effect)>,
    view: View,
    held: Held,
    silent: Silent,
    /// Created with the first subscription.
    subscriptions: Option<Box<Subscriptions>>,
    /// Created with the first change; `None` is the state of a fresh connection. Most clients
    /// change no state.
    state: Option<Box<State>>,
    session: Session,
    initial: Session,
    number: ClientNumber,
}

impl Ties {
    pub(crate) fn new(initial: &Session) -> Self {
        Self {
            asked: 0,
            answered: 0,
            pending: VecDeque::new(),
            view: View::default(),
            held: Held::default(),
            silent: Silent::default(),
            subscriptions: None,
            state: state_of(initial),
            session: initial.clone(),
            initial: initial.clone(),
            number: ClientNumber::default(),
        }
    }

    pub(crate) fn session(&self) -> Session {
        self.session.clone()
    }

    /// Returns `true` if the client must keep its upstream connection.
    pub(crate) fn pinned(&self) -> bool {
        let held = &self.held;
        held.multi || held.watch || held.asking || held.kept || self.is_subscribed() || self.pins()
    }

    /// Returns `true` if the client has a connection of its own, or will get one.
    fn is_kept(&self) -> bool {
        let keeps = |(_, effect): &(u64, Effect)| matches!(effect, Effect::Keep);
        self.held.kept || self.pending.iter().any(keeps)
    }

    fn is_subscribed(&self) -> bool {
        let subscriptions = self.subscriptions.as_ref();
        subscriptions.is_some_and(|subscriptions| subscriptions.is_active())
    }

    fn pins(&self) -> bool {
        self.pending.iter().any(|(_, effect)| {
            matches!(
                effect,
                Effect::Multi | Effect::Watch | Effect::Asking | Effect::Asked | Effect::Keep
            )
        })
    }

    /// Counts a request without an effect on its connection. Returns `true` if no other handling is
    /// needed.
    pub(crate) fn ask_plain(&mut self) -> bool {
        let view = &self.view;
        let calm = !view.multi && !view.asking && view.mute == Mute::No;
        self.asked += u64::from(calm);
        calm
    }

    /// Counts a request that the codec answers itself, whatever its command.
    pub(crate) fn ask_local(&mut self, local: Local) -> Ruling {
        self.count();
        // A transaction that lacks a command must not be executed.
        self.view.spoiled |= self.view.multi && local.is_error();
        Ruling::local(local)
    }

    /// Counts any request, and decides how it is handled.
    pub(crate) fn ask(&mut self, command: Option<&'static Command>, args: &Args<'_>) -> Ruling {
        let act = command.map_or(Act::Plain, |command| command.act);
        match act {
            Act::Reset => {
                // As in Redis, `OFF` does not silence this reply, and `SKIP` does.
                if self.view.mute == Mute::All {
                    self.view.mute = Mute::No;
                }
                let number = self.count();
                self.view = View::default();
                self.pending.push_back((number, Effect::Reset));
                return Ruling {
                    bind: Bind::Session,
                    ..Ruling::local(Local::Reset)
                };
            }
            Act::Quit => {
                return Ruling {
                    close: true,
                    ..self.ask_local(Local::Ok)
                };
            }
            Act::Refuse => return self.ask_local(Local::Refused),
            Act::Reply if self.view.multi => return self.ask_local(Local::ReplyInMulti),
            Act::Reply => {
                if let Some(mute) = self.view.mute.after(args) {
                    self.switch(mute);
                    return Ruling::local(Local::Ok);
                }
            }
            Act::SetName | Act::SetInfo | Act::Auth if !self.view.multi => {
                if let Some(bad) = too_long(act, args) {
                    return self.ask_local(bad.into());
                }
            }
            Act::Hello if !self.view.multi => {
                if let Err(bad) = Hello::read(args) {
                    return self.ask_local(bad.into());
                }
            }
            _ => {}
        }
        if let Some(ruling) = self.within_unsent(act) {
            return ruling;
        }
        let opens = self.opens();
        let number = self.count();
        let bind = self.bind(act, command, args, number);
        Ruling {
            bind,
            opens,
            ..Ruling::FREE
        }
    }

    /// The credentials of the newest request are for the proxy. They change no upstream state.
    pub(crate) fn strip_credentials(&mut self) {
        if let Some((_, Effect::Change(Change::Hello(hello)))) = self.pending.back_mut() {
            hello.auth = None;
        }
    }
}

fn state_of(session: &Session) -> Option<Box<State>> {
    (!session.is_plain()).then(|| Box::new(State::of(session)))
}
