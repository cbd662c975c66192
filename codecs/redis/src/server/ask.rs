//! What becomes of one request: its message, whether it is forwarded, and how. It knows no framing.

use meltemi_frame::{Bind, DecodeError, Decoded, Head, Kind, Message, Safety, Violation};

use super::Server;
use crate::args::Args;
use crate::command::{Act, Command, find};
use crate::layout;
use crate::spec;
use crate::state::{Hello, credentials};
use crate::tell::{safety, set_key, set_lower};
use crate::ties::Ruling;
use crate::words::Local;

impl Server {
    /// The message of a request, whole or the front of it.
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
        self.message(container, args, whole)
    }

    /// Made where the caller finds it: messages are large, and every move copies one. Within `request`,
    /// which returns something else too, it would be moved all the same.
    #[inline(never)]
    fn message<'b>(
        &mut self,
        container: Option<&'static Command>,
        args: &Args<'b>,
        whole: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
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

        let head = &mut message.head;
        head.kind = ruling.kind;
        head.bind = ruling.bind;
        head.close = ruling.close;
        head.end = whole;
        if let Some(command) = command {
            head.safety = if ruling.tied {
                Safety::Unknown
            } else {
                safety(command, args, whole)
            };
            let blocks = ruling.bind == Bind::Once && command.act != Act::Alone;
            let category = if blocks { "blocking" } else { command.category };
            message.attributes.set_static(spec::CATEGORY, category);
            layout::note_command(&mut message.layout, command.act, args);
        } else {
            message.attributes.set_static(spec::CATEGORY, "unknown");
        }
        layout::note_local(&mut message.layout, ruling.local);
        if ruling.local.is_none() && command.is_some_and(|command| command.act == Act::Hello) {
            self.note_hello(message, args);
        }
    }

    /// The subcommand where it is a known one of a container; sets the attribute.
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
        if matches!(act, Act::Plain | Act::Set) && self.ties.ask_plain() {
            return Ruling::FREE;
        }
        if act == Act::Reset {
            self.admitted = self.guard.is_none();
        }
        self.ties.ask(command, args)
    }

    /// What a guarded server answers itself.
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

    /// Whether the upstream must be told something else than the client wrote.
    fn note_hello(&mut self, message: &mut Message<'_>, args: &Args<'_>) {
        let Ok(Some(hello)) = Hello::read(args) else {
            return;
        };
        if self.guard.is_some() && hello.auth.is_some() {
            // These credentials were for the proxy, and the upstream has its own.
            self.ties.strip_credentials();
            message.layout[layout::NOTE] = layout::HELLO_STRIPPED;
        } else if hello.name_first {
            message.layout[layout::NOTE] = layout::HELLO_ORDERED;
        }
    }
}

/// A web page that posts to a Redis: closed without a word, before the body is read as commands, as
/// Redis does.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
