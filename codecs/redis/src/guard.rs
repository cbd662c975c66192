//! Credentials that the proxy itself requires from clients. It must not depend on upstream
//! credentials.

use crate::state::Credentials;

/// The accepted credentials.
pub(crate) struct Guard {
    user: Option<Vec<u8>>,
    password: Vec<u8>,
}

impl Guard {
    pub(crate) fn new(user: Option<&str>, password: &str) -> Self {
        Self {
            user: user.map(|user| user.as_bytes().to_vec()),
            password: password.as_bytes().to_vec(),
        }
    }

    /// Returns `true` if the credentials match. As in Redis, `AUTH password` means the user
    /// `default`: if another user is configured, a password alone is not enough.
    pub(crate) fn admits(&self, given: &Credentials) -> bool {
        let wanted = self.user.as_deref().unwrap_or(b"default");
        let user = given.user();
        // Both are always compared: the duration does not reveal which one was wrong.
        same(user, wanted) & same(&given.password, &self.password)
    }
}

/// Compares in a time that depends only on the length of the client's value.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let mut differs = u8::from(given.len() != wanted.len());
    for (at, byte) in given.iter().enumerate() {
        differs |= byte ^ wanted.get(at).copied().unwrap_or(!byte);
    }
    std::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(user: Option<&str>, password: &str) -> Credentials {
        Credentials {
            user: user.map(|user| user.as_bytes().into()),
            password: password.as_bytes().into(),
        }
    }

    #[test]
    fn a_password_alone_is_that_of_the_default_user() {
        let guard = Guard::new(None, "pw");
        assert!(guard.admits(&given(None, "pw")) && guard.admits(&given(Some("default"), "pw")));
        for (user, password) in [
            (None, ""),
            (None, "p"),
            (None, "pwx"),
            (None, "pW"),
            (Some("u"), "pw"),
        ] {
            assert!(!guard.admits(&given(user, password)));
        }
    }

    #[test]
    fn a_user_must_be_named() {
        let guard = Guard::new(Some("u"), "pw");
        assert!(guard.admits(&given(Some("u"), "pw")));
        assert!(!guard.admits(&given(None, "pw")) && !guard.admits(&given(Some("default"), "pw")));
    }
}
