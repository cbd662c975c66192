//! The session of a connection: protocol version, user, database.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use crate::bytes_eq;

/// The state of a connection that can be replayed on another one (`HELLO 3`, `AUTH`, `SELECT 5`).
///
/// Only clients of the same session share upstream connections. The router writes
/// [`Session::preamble`] to a new connection before anything else. The client-side codec of the
/// session consumes the replies to it; clients never see them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Session(Option<Arc<Inner>>);

struct Inner {
    key: u64,
    preamble: Vec<u8>,
    replies: u32,
    /// The positions of replies that may be errors, ascending.
    optional: Vec<u32>,
    dialect: u32,
}

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |one: &Self| (one.key, one.replies, one.dialect);
        numbers(self) == numbers(other)
            && self.optional == other.optional
            && bytes_eq(&self.preamble, &other.preamble)
    }
}

impl Eq for Inner {}

/// Leaves out the preamble, because it may hold a password.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Creates a session that a fresh connection enters by sending `preamble`. The server sends
    /// `replies` responses to it, none of which may fail.
    pub fn new(preamble: Vec<u8>, replies: u32) -> Self {
        Self::of(preamble, replies, Vec::new(), 0)
    }

    /// Returns the same session, but the responses at these positions (ascending, from 0) may be
    /// errors. Their requests are informational, and a connection without them works as well.
    #[must_use]
    pub fn with_optional(self, optional: Vec<u32>) -> Self {
        match self.0 {
            Some(inner) if !optional.is_empty() => Self::of(
                inner.preamble.clone(),
                inner.replies,
                optional,
                inner.dialect,
            ),
            inner => Self(inner),
        }
    }

    /// Creates a session in this dialect of the protocol, from the first message on. Servers that
    /// detect the dialect once per connection do not accept another one later. 0 means no specific
    /// dialect.
    pub fn dialect(dialect: u32) -> Self {
        Self::of(Vec::new(), 0, Vec::new(), dialect)
    }

    fn of(preamble: Vec<u8>, replies: u32, optional: Vec<u32>, dialect: u32) -> Self {
        if preamble.is_empty() && dialect == 0 {
            return Self(None);
        }
        // The key is compared within one process only, so a per-process hash is enough. `same`
        // compares the preambles themselves.
        let mut hasher = hasher().build_hasher();
        hasher.write(&preamble);
        hasher.write_u32(dialect);
        let key = hasher.finish() | 1;
        Self(Some(Arc::new(Inner {
            key,
            preamble,
            replies,
            optional,
            dialect,
        })))
    }

    /// Returns the session of a connection that first enters `login`, and then this session.
    #[must_use]
    pub fn after(&self, login: &Self) -> Self {
        match (&login.0, &self.0) {
            (None, _) => self.clone(),
            (_, None) => login.clone(),
            (Some(first), Some(then)) => {
                let preamble = [first.preamble.as_slice(), &then.preamble].concat();
                let shifted = then.optional.iter().map(|place| first.replies + place);
                let optional = first.optional.iter().copied().chain(shifted).collect();
                let replies = first.replies + then.replies;
                Self::of(preamble, replies, optional, then.dialect)
            }
        }
    }

    /// Returns `true` if this is a fresh connection without a preamble.
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Returns a key that differs between sessions (0 for the plain one).
    pub fn key(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.key)
    }

    /// Returns `true` if both sessions have the same state.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }

    /// Returns the bytes that bring a fresh connection into this session.
    pub fn preamble(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |inner| &inner.preamble)
    }

    /// Returns the dialect. 0 means no specific dialect.
    pub fn dialect_id(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.dialect)
    }

    /// Returns the number of responses to the preamble.
    pub fn replies(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.replies)
    }

    /// Returns `true` if the response at this position (from 0) may be an error.
    pub fn may_fail(&self, place: u32) -> bool {
        let inner = self.0.as_ref();
        inner.is_some_and(|inner| inner.optional.binary_search(&place).is_ok())
    }
}

fn hasher() -> &'static std::hash::RandomState {
    static STATE: std::sync::OnceLock<std::hash::RandomState> = std::sync::OnceLock::new();
    STATE.get_or_init(std::hash::RandomState::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_preambles_are_one_session() {
        let a = Session::new(b"HELLO 3\r\n".to_vec(), 1);
        let b = Session::new(b"HELLO 3\r\n".to_vec(), 1);
        let c = Session::new(b"SELECT 1\r\n".to_vec(), 1);
        assert!(a.same(&b) && a.key() == b.key());
        assert!(!a.same(&c) && !a.same(&Session::default()));
        assert!(Session::new(Vec::new(), 0).is_plain());
    }

    #[test]
    fn a_login_comes_before_what_a_client_says() {
        let login = Session::new(b"AUTH x\r\n".to_vec(), 1);
        let client = Session::new(b"SELECT 1\r\n".to_vec(), 1);
        let both = client.after(&login);
        assert_eq!(both.preamble(), b"AUTH x\r\nSELECT 1\r\n");
        assert_eq!(both.replies(), 2);
        let plain = Session::default();
        assert!(plain.after(&login).same(&login) && client.after(&plain).same(&client));
    }

    #[test]
    fn what_is_for_show_may_fail() {
        let login = Session::new(b"AUTH x\r\n".to_vec(), 1);
        let strict = Session::new(b"SELECT 1\r\nNAME x\r\n".to_vec(), 2);
        let client = strict.clone().with_optional(vec![1]);
        assert!(!client.may_fail(0) && client.may_fail(1) && !client.may_fail(2));
        let both = client.after(&login);
        assert!(!both.may_fail(0) && !both.may_fail(1) && both.may_fail(2));
        assert!(!client.same(&strict) && strict.clone().with_optional(Vec::new()).same(&strict));
        assert!(Session::default().with_optional(vec![0]).is_plain());
    }

    #[test]
    fn dialects_do_not_mix() {
        let (one, two) = (Session::dialect(1), Session::dialect(2));
        assert!(one.same(&Session::dialect(1)) && !one.same(&two));
        assert!(!one.same(&Session::default()) && one.preamble().is_empty());
        assert!(Session::dialect(0).is_plain());
        assert_eq!((two.dialect_id(), Session::default().dialect_id()), (2, 0));
        let login = Session::new(b"AUTH x\r\n".to_vec(), 1);
        assert!(!one.after(&login).same(&two.after(&login)));
    }
}
