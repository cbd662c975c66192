//! The state of a connection: protocol version, user, database, names. It covers the changes that a
//! client makes and how a fresh connection gets the same state. It must not decide when a change
//! takes effect.

mod change;

use meltemi_frame::Session;

use crate::args::Args;
use crate::keys::resolve;

pub(crate) use change::{BadHello, Change, Credentials, Hello, change, credentials, too_long};

type Bytes = Box<[u8]>;

/// The replayable state of a connection: the changes in order, and the user who made each. Another
/// user may have fewer permissions, so each change is replayed as the same user.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) resp3: bool,
    users: Vec<AsUser>,
}

/// The changes that one user made and that are still in effect.
#[derive(Clone, Default)]
struct AsUser {
    /// `None`: the user of a fresh connection.
    login: Option<Login>,
    /// RESP3 was chosen by this user.
    resp3: bool,
    database: Option<u32>,
    name: Option<Name>,
    library: Option<Bytes>,
    version: Option<Bytes>,
    no_evict: bool,
    no_touch: bool,
    read_only: bool,
}

#[derive(Clone)]
struct Login {
    credentials: Credentials,
    by_hello: bool,
}

#[derive(Clone)]
struct Name {
    bytes: Bytes,
    /// `HELLO` sets a name even for users that may not use `CLIENT`.
    by_hello: bool,
}

impl AsUser {
    fn user(&self) -> &[u8] {
        let login = self.login.as_ref();
        login.map_or(b"default", |login| login.credentials.user())
    }

    /// Returns `true` if no change of this user is still in effect.
    const fn is_idle(&self) -> bool {
        self.database.is_none()
            && self.name.is_none()
            && self.library.is_none()
            && self.version.is_none()
            && !(self.resp3 || self.no_evict || self.no_touch || self.read_only)
    }

    /// Adds the earlier changes of the same user. No change is set in both.
    fn absorb(&mut self, before: Self) {
        self.resp3 |= before.resp3;
        self.database = self.database.or(before.database);
        self.name = self.name.take().or(before.name);
        self.library = self.library.take().or(before.library);
        self.version = self.version.take().or(before.version);
        self.no_evict |= before.no_evict;
        self.no_touch |= before.no_touch;
        self.read_only |= before.read_only;
    }

    /// Appends the commands. Cosmetic commands may fail: the client itself may not have had the
    /// permission, and loses nothing.
    fn write(&self, resp3: bool, script: &mut Script) {
        let version: &[u8] = if resp3 { b"3" } else { b"2" };
        let mut hello: Vec<&[u8]> = vec![b"HELLO", version];
        match &self.login {
            Some(login) if login.by_hello => {
                let Credentials { password, .. } = &login.credentials;
                hello.extend([b"AUTH", login.credentials.user(), password]);
            }
            Some(login) => match &login.credentials {
                Credentials {
                    user: Some(user),
                    password,
                } => script.must(&[b"AUTH", user, password]),
                Credentials { password, .. } => script.must(&[b"AUTH", password]),
            },
            None => {}
        }
        if let Some(name) = self.name.as_ref().filter(|name| name.by_hello) {
            hello.extend([b"SETNAME", &*name.bytes]);
        }
        if hello.len() > 2 || self.resp3 {
            script.must(&hello);
        }
        if let Some(database) = self.database {
            script.must(&[b"SELECT", database.to_string().as_bytes()]);
        }
        if let Some(name) = self.name.as_ref().filter(|name| !name.by_hello) {
            script.may(&[b"CLIENT", b"SETNAME", &name.bytes]);
        }
        if let Some(library) = &self.library {
            script.may(&[b"CLIENT", b"SETINFO", b"LIB-NAME", library]);
        }
        if let Some(version) = &self.version {
            script.may(&[b"CLIENT", b"SETINFO", b"LIB-VER", version]);
        }
        if self.no_evict {
            script.may(&[b"CLIENT", b"NO-EVICT", b"ON"]);
        }
        if self.no_touch {
            script.may(&[b"CLIENT", b"NO-TOUCH", b"ON"]);
        }
        if self.read_only {
            script.must(&[b"READONLY"]);
        }
    }
}

/// Commands, and a mark for each that may fail.
#[derive(Default)]
struct Script {
    out: Vec<u8>,
    replies: u32,
    may_fail: Vec<u32>,
}

impl Script {
    fn must(&mut self, words: &[&[u8]]) {
        write(&mut self.out, words);
        self.replies += 1;
    }

    fn may(&mut self, words: &[&[u8]]) {
        self.may_fail.push(self.replies);
        self.must(words);
    }
}

impl State {
    /// Returns the state that a session's preamble leads to.
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
                request: rest.len(),
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
                if let Some(credentials) = hello.auth {
                    self.log_in(credentials, true);
                }
                self.resp3 = hello.resp3;
                self.put(|user, here| user.resp3 = here && hello.resp3);
                if let Some(name) = &hello.name {
                    self.put_name(name, true);
                }
            }
            Change::Auth(credentials) => self.log_in(credentials, false),
            Change::Database(number) => {
                self.put(|user, here| user.database = (here && number != 0).then_some(number));
            }
            Change::Name(name) => self.put_name(&name, false),
            Change::Library(name) => {
                self.put(|user, here| user.library = text(&name, here));
            }
            Change::Version(version) => {
                self.put(|user, here| user.version = text(&version, here));
            }
            Change::NoEvict(on) => self.put(|user, here| user.no_evict = here && on),
            Change::NoTouch(on) => self.put(|user, here| user.no_touch = here && on),
            Change::ReadOnly(on) => self.put(|user, here| user.read_only = here && on),
        }
    }

    /// Returns the state after `RESET`. The library name of the connection stays.
    pub(crate) fn reset(&self, initial: &Session) -> Self {
        let mut state = Self::of(initial);
        for user in &self.users {
            if let Some(library) = &user.library {
                state.apply(Change::Library(library.clone()));
            }
            if let Some(version) = &user.version {
                state.apply(Change::Version(version.clone()));
            }
        }
        state
    }

    fn put_name(&mut self, name: &[u8], by_hello: bool) {
        self.put(|user, here| {
            let bytes = text(name, here);
            user.name = bytes.map(|bytes| Name { bytes, by_hello });
        });
    }

    /// Sets a change of the current user. `set` is also called to remove it from the other users.
    fn put(&mut self, set: impl Fn(&mut AsUser, bool)) {
        if self.users.is_empty() {
            self.users.push(AsUser::default());
        }
        let last = self.users.len() - 1;
        for (at, user) in self.users.iter_mut().enumerate() {
            set(user, at == last);
        }
        self.tidy();
    }

    /// Handles an authentication. All earlier logins of the same user get these credentials: the
    /// old ones may be out of date.
    fn log_in(&mut self, credentials: Credentials, by_hello: bool) {
        let login = Login {
            credentials,
            by_hello,
        };
        let user = AsUser {
            login: Some(login.clone()),
            ..AsUser::default()
        };
        for before in &mut self.users {
            if before.user() == user.user() {
                before.login = Some(login.clone());
            }
        }
        self.users.push(user);
        self.tidy();
    }

    /// Removes users without changes, and merges the changes of each user. At most one user is left
    /// per setting, plus the current one.
    fn tidy(&mut self) {
        let mut users = std::mem::take(&mut self.users).into_iter().peekable();
        while let Some(mut user) = users.next() {
            if users.peek().is_some() && user.is_idle() {
                continue;
            }
            if let Some(before) = self.users.pop_if(|before| before.user() == user.user()) {
                user.absorb(before);
            }
            self.users.push(user);
        }
    }

    /// Returns the session that a fresh connection must get. The changes of one user have the same
    /// order for all clients, so that the same state is the same session.
    pub(crate) fn session(&self) -> Session {
        let mut script = Script::default();
        for user in &self.users {
            user.write(self.resp3, &mut script);
        }
        Session::new(script.out, script.replies).with_optional(script.may_fail)
    }
}

fn text(bytes: &[u8], here: bool) -> Option<Bytes> {
    (here && !bytes.is_empty()).then(|| bytes.into())
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
mod tests;
