//! The change that a request would make to its connection, read from its arguments. It must not
//! depend on connections.

use meltemi_frame::Bind;

use super::{Bytes, write};
use crate::args::Args;
use crate::command::{Act, Command};
use crate::number::whole;

/// The maximum length in bytes of a name of a connection or a library. The proxy keeps them, several
/// times over, for as long as connections of the session last.
pub(crate) const NAME_MAX: usize = 1 << 10;
/// The maximum length in bytes of a user name and of a password. Tokens are longer than names. Redis
/// accepts no more from clients that have not authenticated.
const CREDENTIAL_MAX: usize = 16 << 10;

/// A user and a password, as given.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<Bytes>,
    pub(crate) password: Bytes,
}

impl Credentials {
    /// Returns the user. A password alone belongs to the user `default`.
    pub(crate) fn user(&self) -> &[u8] {
        self.user.as_deref().unwrap_or(b"default")
    }
}

/// A change that takes effect if the request succeeds.
pub(crate) enum Change {
    Hello(Hello),
    Auth(Credentials),
    Database(u32),
    Name(Bytes),
    Library(Bytes),
    Version(Bytes),
    NoEvict(bool),
    NoTouch(bool),
    ReadOnly(bool),
}

impl Change {
    /// Returns the binding of the request. An authentication does not depend on the earlier state
    /// of the connection.
    pub(crate) const fn bind(&self) -> Bind {
        match self {
            Self::Auth(_) | Self::Hello(Hello { auth: Some(_), .. }) => Bind::Login,
            _ => Bind::Session,
        }
    }
}

/// `HELLO version [AUTH user password] [SETNAME name]`.
pub(crate) struct Hello {
    pub(crate) resp3: bool,
    pub(crate) auth: Option<Credentials>,
    pub(crate) name: Option<Bytes>,
    /// The name comes before the credentials. If these are refused, Redis has already set the name.
    pub(crate) name_first: bool,
}

/// The reason why a `HELLO` cannot be changed into one that applies fully or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHello {
    /// The version is not a number.
    Number,
    /// The version is neither 2 nor 3.
    Version,
    /// An unknown or incomplete option.
    Option,
    /// The name has spaces or control characters.
    Name,
    LongName,
    LongCredentials,
}

impl Hello {
    /// Reads the arguments. `None` if there are none: the command only queries.
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
                if is_longer(args, at + 1, CREDENTIAL_MAX)
                    || is_longer(args, at + 2, CREDENTIAL_MAX)
                {
                    return Err(BadHello::LongCredentials);
                }
                hello.name_first |= hello.name.is_some();
                hello.auth = Some(Credentials {
                    user: Some(operand(1)?),
                    password: operand(2)?,
                });
                at += 3;
            } else if args.is(at, "setname") {
                if is_longer(args, at + 1, NAME_MAX) {
                    return Err(BadHello::LongName);
                }
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

    /// Writes the command in an order that applies fully or not at all.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut words: Vec<&[u8]> = vec![b"HELLO", if self.resp3 { b"3" } else { b"2" }];
        if let Some(auth) = &self.auth {
            words.extend([b"AUTH", auth.user(), &auth.password]);
        }
        if let Some(name) = &self.name {
            words.extend([&b"SETNAME"[..], name]);
        }
        write(out, &words);
    }
}

fn is_longer(args: &Args<'_>, at: usize, limit: usize) -> bool {
    args.bytes(at).is_some_and(|bytes| bytes.len() > limit)
}

/// Returns the reason why the proxy does not keep the change of a command other than `HELLO`.
pub(crate) fn too_long(act: Act, args: &Args<'_>) -> Option<BadHello> {
    match act {
        Act::SetName if is_longer(args, 2, NAME_MAX) => Some(BadHello::LongName),
        Act::SetInfo if is_longer(args, 3, NAME_MAX) => Some(BadHello::LongName),
        Act::Auth if (1..3).any(|at| is_longer(args, at, CREDENTIAL_MAX)) => {
            Some(BadHello::LongCredentials)
        }
        _ => None,
    }
}

/// Returns the change that a request would make, if it can be replayed.
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
        (Act::NoEvict, 3) => switch(args).map(Change::NoEvict),
        (Act::NoTouch, 3) => switch(args).map(Change::NoTouch),
        (Act::ReadOnly, 1) => Some(Change::ReadOnly(true)),
        (Act::ReadWrite, 1) => Some(Change::ReadOnly(false)),
        _ => None,
    }
}

/// Parses `ON` or `OFF`.
fn switch(args: &Args<'_>) -> Option<bool> {
    let on = args.is(2, "on");
    (on || args.is(2, "off")).then_some(on)
}

/// Returns the credentials of `AUTH [user] password`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let long = "a".repeat(NAME_MAX + 1);
        assert_eq!(
            read(&format!("HELLO 3 SETNAME {long}")),
            Err(BadHello::LongName)
        );
        let long = "a".repeat(CREDENTIAL_MAX + 1);
        for auth in [format!("u {long}"), format!("{long} p")] {
            assert_eq!(
                read(&format!("HELLO 3 AUTH {auth}")),
                Err(BadHello::LongCredentials)
            );
        }
    }
}
