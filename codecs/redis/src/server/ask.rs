//! Decides for one request: its message, and if and how it is forwarded. It must not depend on
//! framing.

use meltemi_frame::{
    Attributes, Bind, DecodeError, Decoded, Head, Kind, Layout, Message, Reach, Safety, Span,
    Violation,
};

use super::Server;
use crate::args::Args;
use crate::command::{Act, Command, find};
use crate::cursor;
use crate::keys;
use crate::layout;
use crate::spec;
use crate::state::{Hello, credentials};
use crate::tell::{safety, set_key, set_lower};
use crate::ties::Ruling;
use crate::words::Local;

impl Server {
    /// Builds the message of a request, whole or its front.
    pub(super) fn request<'b>(
        &mut self,
        args: &Args<'b>,
        whole: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        let name = args.bytes(0).unwrap_or_default();
        let container = find(&name);
        if container.is_none() && is_http(&name) {
            return Err(DecodeError::lost(Violation::Invalid(
                "an HTTP request (POST or Host:)",
            )));
        }
        if let Some(command) = container
            && let Some(key) = self.is_plain(command, args)
        {
            return plain(command, key, args, whole);
        }
        self.message(container, args, whole)
    }

    /// Returns the span of the key if the request is a common one: no effect on its connection, and
    /// one key directly after the name. Such a request is counted here, and [`plain`] builds its
    /// message.
    #[inline]
    fn is_plain(&mut self, command: &'static Command, args: &Args<'_>) -> Option<Span> {
        let plain = matches!(command.act, Act::Plain | Act::Set)
            && command.subs.is_empty()
            && keys::is_behind_name(Some(command))
            && self.guard.is_none();
        let key = args.known(1).filter(|_| plain)?;
        self.ties.ask_plain().then_some(key)
    }

    #[inline(never)]
    fn message<'b>(
        &mut self,
        container: Option<&'static Command>,
        args: &Args<'b>,
        whole: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        self.calm = false;
        let wire = args.wire();
        let message = Message::new(Head::new(Kind::Request, None), wire);
        let mut decoded = Ok(Decoded::Message(message, wire.len()));
        if let Ok(Decoded::Message(message, _)) = &mut decoded {
            self.fill(message, container, args, whole);
        }
        decoded
    }

    #[inline]
    fn fill<'b>(
        &mut self,
        message: &mut Message<'b>,
        container: Option<&'static Command>,
        args: &Args<'b>,
        whole: bool,
    ) {
        match container {
            Some(command) => message.attributes.set_static(spec::COMMAND, command.name),
            None => set_lower(message, spec::COMMAND, args.at(0)),
        }
        let command = self.subcommand(message, container, args);
        let ruling = self.rule(command, args);
        set_key(message, args, command);
        message.head.follows = message.layout[layout::KEYS] == layout::KEY_NONE;
        message.layout[layout::OPENS] = u32::from(ruling.opens);

        let head = &mut message.head;
        head.kind = match ruling.local {
            Some(_) => Kind::Local,
            None => Kind::Request,
        };
        head.bind = ruling.bind;
        head.close = ruling.close;
        head.end = whole;
        if let Some(command) = command {
            // A pinned request must not be retried: it means something else on another connection.
            head.safety = if ruling.bind == Bind::Pin {
                Safety::Unknown
            } else {
                safety(command, args, whole)
            };
            let blocks = ruling.bind == Bind::Dedicated && command.act != Act::Alone;
            let category = if blocks { "blocking" } else { command.category };
            message.attributes.set_static(spec::CATEGORY, category);
            layout::note_command(&mut message.layout, command.act, args);
            if ruling.aborts {
                message.layout[layout::NOTE] = layout::ABORT;
            }
            if command.act == Act::Wait && ruling.bind == Bind::Dedicated {
                message.layout[layout::NOTE] = layout::WAIT;
            }
        } else {
            message.attributes.set_static(spec::CATEGORY, "unknown");
        }
        // In a transaction a load would be one more queued command.
        if let Some(command) = command
            && ruling.bind == Bind::Free
            && ruling.local.is_none()
        {
            note_reach(message, command, args);
        }
        layout::note_local(&mut message.layout, ruling.local);
        if ruling.local.is_none() && command.is_some_and(|command| command.act == Act::Hello) {
            self.note_hello(message, args);
        }
    }

    /// Returns the subcommand if it is a known one of a container. Sets the attribute.
    fn subcommand<'b>(
        &self,
        message: &mut Message<'b>,
        container: Option<&'static Command>,
        args: &Args<'b>,
    ) -> Option<&'static Command> {
        let command = container?;
        if command.subs.is_empty() || args.count() < 2 {
            return Some(command);
        }
        let found = args.bytes(1).and_then(|name| command.sub(&name));
        match found {
            Some(sub) => message.attributes.set_static(spec::SUBCOMMAND, sub.name),
            None => set_lower(message, spec::SUBCOMMAND, args.at(1)),
        }
        found.or(container)
    }

    fn rule(&mut self, command: Option<&'static Command>, args: &Args<'_>) -> Ruling {
        let act = command.map_or(Act::Plain, |command| command.act);
        if self.guard.is_some()
            && let Some(local) = self.check(act, args)
        {
            return self.ties.ask_local(local);
        }
        if matches!(act, Act::Plain | Act::Set | Act::Scan) && self.ties.ask_plain() {
            return Ruling::FREE;
        }
        if act == Act::Reset {
            self.admitted = self.guard.is_none();
        }
        self.ties.ask(command, args)
    }

    /// Returns the local reply of a guarded server.
    fn check(&mut self, act: Act, args: &Args<'_>) -> Option<Local> {
        let guard = self.guard.as_ref()?;
        match act {
            Act::Auth => {
                let Some(given) = credentials(args) else {
                    return Some(if args.count() < 2 {
                        Local::AuthArity
                    } else {
                        Local::AuthSyntax
                    });
                };
                if !guard.admits(&given) {
                    return Some(Local::WrongPass);
                }
                self.admitted = true;
                Some(Local::Ok)
            }
            Act::Hello => match Hello::read(args) {
                Err(bad) => Some(bad.into()),
                Ok(hello) => {
                    if let Some(given) = hello.and_then(|hello| hello.auth) {
                        if !guard.admits(&given) {
                            return Some(Local::WrongPass);
                        }
                        self.admitted = true;
                    }
                    (!self.admitted).then_some(Local::HelloNoAuth)
                }
            },
            Act::Quit | Act::Reset => None,
            _ => (!self.admitted).then_some(Local::NoAuth),
        }
    }

    /// Records if the upstream must get a different `HELLO` than the client sent.
    fn note_hello(&mut self, message: &mut Message<'_>, args: &Args<'_>) {
        let Ok(Some(hello)) = Hello::read(args) else {
            return;
        };
        if self.guard.is_some() && hello.auth.is_some() {
            // These credentials were for the proxy. The upstream has its own.
            self.ties.strip_credentials();
            message.head.bind = Bind::Session;
            message.layout[layout::NOTE] = layout::HELLO_STRIPPED;
        } else if hello.name_first {
            message.layout[layout::NOTE] = layout::HELLO_ORDERED;
        }
    }
}

/// Records the servers that a request concerns, unless any single server is enough.
fn note_reach(message: &mut Message<'_>, command: &'static Command, args: &Args<'_>) {
    match command.act {
        Act::Scan => return cursor::note(message, command, args),
        Act::Load => message.head.reach = Reach::Every { must: false },
        Act::Every => message.head.reach = Reach::Every { must: true },
        Act::EvalSha => {}
        _ => return,
    }
    message.layout[layout::NOTE] = layout::LOADS;
}

/// Builds the message of a request for which [`Server::is_plain`] holds. It equals the result of
/// [`Server::message`]. This is the last step, so that the message is not moved.
#[inline(never)]
fn plain<'b>(
    command: &'static Command,
    key: Span,
    args: &Args<'b>,
    whole: bool,
) -> Result<Decoded<'b>, DecodeError> {
    let wire = args.wire();
    let mut head = Head::new(Kind::Request, None);
    head.end = whole;
    head.safety = safety(command, args, whole);
    let mut layout = Layout::default();
    layout::note_key(&mut layout, 1, Some(key), true);
    let words = [
        (spec::COMMAND, command.name),
        (spec::CATEGORY, command.category),
    ];
    let region = Span::new(0, wire.len());
    let mut attributes = Attributes::of_words(words).with_walk(region, keys::walk);
    attributes.set_span(spec::KEY, key);
    let message = Message::of(head, attributes, layout, wire);
    Ok(Decoded::Message(message, wire.len()))
}

/// Returns `true` for a web page that posts to a Redis. As in Redis, the connection is closed
/// without a reply, before the body is read as commands.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

#[cfg(test)]
mod tests {
    use meltemi_frame::{Limits, Session};

    use super::*;
    use crate::args::FRONT;
    use crate::command::Command;
    use crate::table::COMMANDS;

    fn server() -> Server {
        Server::new(&Limits::default(), &Session::default(), None)
    }

    /// Checks every command with up to six arguments, on both paths.
    #[test]
    fn plain_requests_are_told_as_any() {
        let mut plain_ones = 0;
        for command in COMMANDS {
            for count in 1..=6 {
                for option in ["nx", "v"] {
                    let name = command.name.to_ascii_uppercase();
                    let mut wire = format!("*{count}\r\n${}\r\n{name}\r\n", name.len());
                    for _ in 1..count {
                        wire += &format!("${}\r\n{option}\r\n", option.len());
                    }
                    plain_ones += usize::from(check(command, wire.as_bytes()));
                }
            }
        }
        assert!(plain_ones > 1000, "{plain_ones}");
    }

    /// Returns `true` if the request is plain.
    fn check(command: &'static Command, wire: &[u8]) -> bool {
        let read = Args::read(wire);
        let mut front = [Span::default(); FRONT];
        for (place, argument) in front.iter_mut().zip(read.walk()) {
            let crate::args::Argument::Wire(span) = argument else {
                panic!("an argument of an array is always literal");
            };
            *place = span;
        }
        let args = Args::scanned(wire, read.count(), front, read.count());
        let mut plainly = server();
        let Some(key) = plainly.is_plain(command, &args) else {
            return false;
        };
        let mut any = server();
        for whole in [true, false] {
            let made = any.message(Some(command), &args, whole).unwrap();
            let plain = plain(command, key, &args, whole).unwrap();
            assert_eq!(format!("{plain:?}"), format!("{made:?}"));
        }
        true
    }
}
