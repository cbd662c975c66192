//! The change that a request would make to its connection, read from its arguments. It must not
//! depend on connections.

use meltemi_frame::Bind;

use super::{Bytes, write};
use crate::args::Args;
use crate::command::{Act, Command};
use crate::number::whole;

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

    /// Writes the command in an order that applies fully or not at all.
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
    }
}
