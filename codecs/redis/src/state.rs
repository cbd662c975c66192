//! What a connection is: protocol version, user, database, names. It knows how a client changes that,
//! and how a fresh connection is brought there; it must not know when a change holds.

use meltemi_frame::Session;

use crate::args::Args;
use crate::command::{Act, Command};
use crate::keys::resolve;
use crate::number::whole;

type Bytes = Box<[u8]>;

/// A user and a password, as given.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<Bytes>,
    pub(crate) password: Bytes,
}

/// What can be replayed of a connection.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) resp3: bool,
    auth: Option<Credentials>,
    database: u32,
    name: Bytes,
    library: Bytes,
    version: Bytes,
    read_only: bool,
}

/// A change that holds if the request is answered well.
pub(crate) enum Change {
    Hello(Hello),
    Auth(Credentials),
    Database(u32),
    Name(Bytes),
    Library(Bytes),
    Version(Bytes),
    ReadOnly(bool),
}

/// `HELLO version [AUTH user password] [SETNAME name]`.
pub(crate) struct Hello {
    pub(crate) resp3: bool,
    pub(crate) auth: Option<Credentials>,
    pub(crate) name: Option<Bytes>,
    /// A name before credentials that are refused would stay: Redis sets it on the way.
    pub(crate) name_first: bool,
}

/// Why a `HELLO` cannot be one that changes all or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHello {
    /// The version is no number.
    Number,
    /// The version is neither 2 nor 3.
    Version,
    /// An unknown or unfinished option.
    Option,
    /// The name has spaces or control characters.
    Name,
}

impl Hello {
    /// Reads the arguments; `None` if there are none, which only asks.
    pub(crate) fn read(args: &Args<'_>) -> Result<Option<Self>, BadHello> {
        let Some(version) = args.bytes(1) else {
            return Ok(None);
        };
        let resp3 = match whole(&version) {
            None => return Err(BadHello::Number),
            Some(2) => false,
            Some(3) => true,
            Some(_) => return Err(BadHello::Version),
        };
        let mut hello = Self {
            resp3,
            auth: None,
            name: None,
            name_first: false,
        };
        let mut at = 2;
        while at < args.count() {
            let operand = |nth: usize| {
                args.bytes(at + nth)
                    .map(|bytes| Bytes::from(&*bytes))
                    .ok_or(BadHello::Option)
            };
            if args.is(at, "auth") {
                hello.name_first |= hello.name.is_some();
                hello.auth = Some(Credentials {
                    user: Some(operand(1)?),
                    password: operand(2)?,
                });
                at += 3;
            } else if args.is(at, "setname") {
                let name = operand(1)?;
                if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
                    return Err(BadHello::Name);
                }
                hello.name = Some(name);
                at += 2;
            } else {
                return Err(BadHello::Option);
            }
        }
        Ok(Some(hello))
    }

    /// The command in an order that changes all or nothing.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut words: Vec<&[u8]> = vec![b"HELLO", if self.resp3 { b"3" } else { b"2" }];
        if let Some(Credentials { user, password }) = &self.auth {
            words.extend([b"AUTH", user.as_deref().unwrap_or(b"default"), password]);
        }
        if let Some(name) = &self.name {
            words.extend([&b"SETNAME"[..], name]);
        }
        write(out, &words);
    }
}

/// What a request would change, if that can be replayed.
pub(crate) fn change(command: &Command, args: &Args<'_>) -> Option<Change> {
    let bytes = |position| args.bytes(position).map(|bytes| Bytes::from(&*bytes));
    match (command.act, args.count()) {
        (Act::Hello, _) => Hello::read(args).ok().flatten().map(Change::Hello),
        (Act::Auth, 2 | 3) => credentials(args).map(Change::Auth),
        (Act::Select, 2) => {
            let number = args.bytes(1).and_then(|text| whole(&text))?;
            u32::try_from(number).ok().map(Change::Database)
        }
        (Act::SetName, 3) => bytes(2).map(Change::Name),
        (Act::SetInfo, 4) if args.is(2, "lib-name") => bytes(3).map(Change::Library),
        (Act::SetInfo, 4) if args.is(2, "lib-ver") => bytes(3).map(Change::Version),
        (Act::ReadOnly, 1) => Some(Change::ReadOnly(true)),
        (Act::ReadWrite, 1) => Some(Change::ReadOnly(false)),
        _ => None,
    }
}

/// The credentials of `AUTH [user] password`.
pub(crate) fn credentials(args: &Args<'_>) -> Option<Credentials> {
    let bytes = |position| args.bytes(position).map(|bytes| Bytes::from(&*bytes));
    match args.count() {
        2 => Some(Credentials {
            user: None,
            password: bytes(1)?,
        }),
        3 => Some(Credentials {
            user: bytes(1),
            password: bytes(2)?,
        }),
        _ => None,
    }
}

impl State {
    /// The state that a session's preamble leads to.
    pub(crate) fn of(session: &Session) -> Self {
        let mut state = Self::default();
        let mut rest = session.preamble();
        while !rest.is_empty() {
            let args = Args::read(rest);
            if let Some(change) = resolve(&args).and_then(|command| change(command, &args)) {
                state.apply(change);
            }
            let mut scan = crate::request::Scan::default();
            let bounds = crate::request::Bounds {
                frame: rest.len(),
                stranger: false,
            };
            let Ok(crate::request::Step::Whole(length)) = scan.array(rest, bounds) else {
                break;
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        state
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Hello(hello) => {
                self.resp3 = hello.resp3;
                self.auth = hello.auth.or(self.auth.take());
                if let Some(name) = hello.name {
                    self.name = name;
                }
            }
            Change::Auth(credentials) => self.auth = Some(credentials),
            Change::Database(number) => self.database = number,
            Change::Name(name) => self.name = name,
            Change::Library(name) => self.library = name,
            Change::Version(version) => self.version = version,
            Change::ReadOnly(read_only) => self.read_only = read_only,
        }
    }

    /// The session that a fresh connection must be brought into, in one order for all clients,
    /// so that the same state is the same session. `AUTH` goes first: without it a server that asks
    /// for credentials refuses all else.
    pub(crate) fn session(&self) -> Session {
        let mut out = Vec::new();
        let mut replies = 0;
        let mut say = |words: &[&[u8]]| {
            write(&mut out, words);
            replies += 1;
        };
        match &self.auth {
            Some(Credentials {
                user: Some(user),
                password,
            }) => say(&[b"AUTH", user, password]),
            Some(Credentials {
                user: None,
                password,
            }) => say(&[b"AUTH", password]),
            None => {}
        }
        if self.resp3 {
            say(&[b"HELLO", b"3"]);
        }
        if self.database != 0 {
            say(&[b"SELECT", self.database.to_string().as_bytes()]);
        }
        if !self.name.is_empty() {
            say(&[b"CLIENT", b"SETNAME", &self.name]);
        }
        if !self.library.is_empty() {
            say(&[b"CLIENT", b"SETINFO", b"LIB-NAME", &self.library]);
        }
        if !self.version.is_empty() {
            say(&[b"CLIENT", b"SETINFO", b"LIB-VER", &self.version]);
        }
        if self.read_only {
            say(&[b"READONLY"]);
        }
        Session::new(out, replies)
    }
}

/// Appends a command as an array of bulk strings.
pub(crate) fn write(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> State {
        let mut state = State::default();
        for line in lines {
            let args = Args::read(line.as_bytes());
            if let Some(change) = change(resolve(&args).unwrap(), &args) {
                state.apply(change);
            }
        }
        state
    }

    #[test]
    fn the_same_state_is_the_same_session() {
        let one = after(&["HELLO 3 AUTH u p SETNAME app", "SELECT 5", "READONLY"]);
        let other = after(&[
            "SELECT 7",
            "READONLY",
            "CLIENT SETNAME app",
            "AUTH u p",
            "select 5",
            "hello 3",
        ]);
        assert!(one.session().same(&other.session()));
        assert_eq!(one.session().replies(), 5);
        assert!(
            one.session()
                .preamble()
                .starts_with(b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n")
        );
    }

    #[test]
    fn what_is_taken_back_is_plain() {
        let state = after(&[
            "HELLO 3",
            "SELECT 5",
            "CLIENT SETNAME a",
            "READONLY",
            "HELLO 2",
            "SELECT 0",
            "CLIENT SETNAME \"\"",
            "READWRITE",
        ]);
        assert!(state.session().is_plain());
        assert!(
            after(&[
                "HELLO",
                "SELECT x",
                "SELECT -1",
                "AUTH",
                "CLIENT SETINFO x y",
                "HELLO 9"
            ])
            .session()
            .is_plain()
        );
    }

    #[test]
    fn a_session_is_read_back() {
        let state = after(&[
            "AUTH p",
            "HELLO 3",
            "SELECT 2",
            "CLIENT SETINFO lib-name l",
            "CLIENT SETINFO LIB-VER 1",
            "CLIENT SETNAME n",
            "READONLY",
        ]);
        let session = state.session();
        assert_eq!(session.replies(), 7);
        let again = State::of(&session);
        assert!(again.resp3 && again.session().same(&session));
    }

    #[test]
    fn hello_is_read_or_refused() {
        let read =
            |line: &str| Hello::read(&Args::read(line.as_bytes())).map(|hello| hello.is_some());
        assert_eq!(read("HELLO"), Ok(false));
        assert_eq!(read("HELLO 3 SETNAME a AUTH u p"), Ok(true));
        assert_eq!(read("HELLO x"), Err(BadHello::Number));
        assert_eq!(read("HELLO 4"), Err(BadHello::Version));
        assert_eq!(read("HELLO 3 AUTH u"), Err(BadHello::Option));
        assert_eq!(read("HELLO 3 NOSUCH"), Err(BadHello::Option));
        assert_eq!(read("HELLO 3 SETNAME 'a b'"), Err(BadHello::Name));
    }
}
