//! What a connection *is*, beyond being connected: protocol version, user, database.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// The state of a connection that can be replayed on another one (`HELLO 3`, `AUTH`, `SELECT 5`).
///
/// Upstream connections are shared between clients of the same session only. A codec on the client
/// side that is made for a session writes [`Session::preamble`] first and takes the replies to it
/// for itself; clients never see them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Session(Option<Arc<Inner>>);

#[derive(PartialEq, Eq)]
struct Inner {
    key: u64,
    preamble: Vec<u8>,
    replies: u32,
}

/// Without the preamble: it may hold a password.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session that a fresh connection reaches by sending `preamble` and taking `replies`
    /// responses, none of which may fail.
    pub fn new(preamble: Vec<u8>, replies: u32) -> Self {
        if preamble.is_empty() {
            return Self(None);
        }
        // The key is compared within one process only, so a per-process hash is enough; equality
        // of preambles is what counts, and `same` checks it.
        let mut hasher = hasher().build_hasher();
        hasher.write(&preamble);
        let key = hasher.finish() | 1;
        Self(Some(Arc::new(Inner {
            key,
            preamble,
            replies,
        })))
    }

    /// A fresh connection without any preamble.
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// A key that differs between sessions (0 for the plain one).
    pub fn key(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.key)
    }

    /// Whether both sessions are the same state.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || (a.key == b.key && a.preamble == b.preamble),
            _ => false,
        }
    }

    /// The bytes that bring a fresh connection into this session.
    pub fn preamble(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |inner| &inner.preamble)
    }

    /// How many responses the preamble brings.
    pub fn replies(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.replies)
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
}
