//! What ties a client to one upstream connection, and what its session is. Requests are looked at
//! twice: when they are read (`ask`, here), and when their reply goes out (`told`), because only
//! then a change holds. It knows commands and outcomes, and no bytes.

mod bind;
mod number;
mod refused;
mod told;

use std::collections::VecDeque;

use meltemi_frame::{Bind, Kind, Session};

use crate::args::Args;
use crate::command::{Act, Command};
use crate::state::{Change, Hello, State};
use crate::subscriptions::Subscriptions;
use crate::words::Local;

use number::ClientNumber;
use refused::Opening;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) kind: Kind,
    pub(crate) bind: Bind,
    pub(crate) local: Option<Local>,
    pub(crate) close: bool,
    /// It must not be sent to any other connection, nor again.
    pub(crate) tied: bool,
    /// The `MULTI` that was kept goes before it.
    pub(crate) opens: bool,
    /// It ends a transaction that is not to be carried out.
    pub(crate) aborts: bool,
}

impl Ruling {
    /// Forwarded to any connection of its session.
    pub(crate) const FREE: Self = Self {
        kind: Kind::Request,
        bind: Bind::Free,
        local: None,
        close: false,
        tied: false,
        opens: false,
        aborts: false,
    };

    pub(crate) const fn local(local: Local) -> Self {
        Self {
            kind: Kind::Local,
            local: Some(local),
            ..Self::FREE
        }
    }
}

/// How a reply went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    /// A null: of `EXEC`, that nothing was done.
    Null,
    /// `+QUEUED`: nothing has happened yet.
    Queued,
}

/// What holds when the reply to a request says so.
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
    /// The reply is, or starts with, the number of an upstream connection.
    Number,
    /// The transaction was discarded in the place of `EXEC`.
    Abort,
}

/// As the client's next request will find things, if all goes well that is under way.
#[derive(Default)]
struct View {
    multi: bool,
    /// The transaction changes what its connection is: its outcome is not followed.
    dirty: bool,
    asking: bool,
    mute: Mute,
    opening: Opening,
    /// A command of the transaction was refused.
    spoiled: bool,
    /// Some of the transaction may be on its way without the one that was refused.
    torn: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mute {
    #[default]
    No,
    Next,
    All,
}

/// As replies have told.
#[derive(Default)]
struct Held {
    multi: bool,
    watch: bool,
    asking: bool,
    /// Until `RESET`, or the end of the connection.
    kept: bool,
}

pub(crate) struct Ties {
    /// Requests that are answered, counted as they are read.
    asked: u64,
    /// Replies, counted as they end.
    answered: u64,
    pending: VecDeque<(u64, Effect)>,
    view: View,
    held: Held,
    /// Made with the first subscription.
    subscriptions: Option<Box<Subscriptions>>,
    /// Made with the first change; `None`: a fresh connection's. Most clients change nothing.
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

    /// Whether the client must keep its upstream connection.
    pub(crate) fn pinned(&self) -> bool {
        let held = &self.held;
        held.multi || held.watch || held.asking || held.kept || self.is_subscribed() || self.pins()
    }

    /// Whether the client has a connection of its own, or will have.
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

    /// Counts a request that does nothing to its connection. Tells whether that is all there is to it.
    pub(crate) fn ask_plain(&mut self) -> bool {
        let view = &self.view;
        let calm = !view.multi && !view.asking && view.mute == Mute::No;
        self.asked += u64::from(calm);
        calm
    }

    /// Counts a request that the codec answers itself, whatever it would do.
    pub(crate) fn ask_local(&mut self, local: Local) -> Ruling {
        self.asked += 1;
        Ruling::local(local)
    }

    /// Counts any request, and tells what becomes of it.
    pub(crate) fn ask(&mut self, command: Option<&'static Command>, args: &Args<'_>) -> Ruling {
        let act = command.map_or(Act::Plain, |command| command.act);
        match act {
            Act::Reset => {
                self.asked += 1;
                self.view = View::default();
                self.pending.push_back((self.asked, Effect::Reset));
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
        let number = if self.is_muted(act, args) {
            None
        } else {
            self.asked += 1;
            Some(self.asked)
        };
        let bind = self.bind(act, command, args, number);
        Ruling {
            kind: if number.is_some() {
                Kind::Request
            } else {
                Kind::OneWay
            },
            bind,
            tied: bind == Bind::Pin,
            opens,
            ..Ruling::FREE
        }
    }

    /// Whether the request takes no reply; follows `CLIENT REPLY`.
    fn is_muted(&mut self, act: Act, args: &Args<'_>) -> bool {
        // A subscriber of RESP2 may do little else; the server refuses this.
        let resp3 = self.state.as_ref().is_some_and(|state| state.resp3);
        let refused = self.is_subscribed() && !resp3;
        if act == Act::Reply && args.count() == 3 && !refused {
            let mute = match () {
                () if args.is(2, "on") => Some(Mute::No),
                () if args.is(2, "off") => Some(Mute::All),
                () if args.is(2, "skip") && self.view.mute == Mute::All => Some(Mute::All),
                () if args.is(2, "skip") => Some(Mute::Next),
                () => None,
            };
            if let Some(mute) = mute {
                self.view.mute = mute;
                self.held.kept = true;
                return mute != Mute::No;
            }
        }
        match self.view.mute {
            Mute::No => false,
            Mute::All => true,
            Mute::Next => {
                self.view.mute = Mute::No;
                true
            }
        }
    }

    /// The credentials of the newest request are the proxy's own: upstream they change nothing.
    pub(crate) fn strip_credentials(&mut self) {
        if let Some((_, Effect::Change(Change::Hello(hello)))) = self.pending.back_mut() {
            hello.auth = None;
        }
    }
}

fn state_of(session: &Session) -> Option<Box<State>> {
    (!session.is_plain()).then(|| Box::new(State::of(session)))
}
