//! Credentials that the proxy itself asks of clients. It knows nothing of upstream credentials.

use subtle::ConstantTimeEq as _;

use crate::state::Credentials;

/// The user and the password that clients must give.
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

    /// Returns `true` if the credentials are right. As in Redis, `AUTH password` means the user `default`: if
    /// another user is configured, a password alone is not enough.
    pub(crate) fn admits(&self, given: &Credentials) -> bool {
        let wanted = self.user.as_deref().unwrap_or(b"default");
        let user = given.user();
        // Both are compared in any case: the time must not reveal which one was wrong.
        let same = user.ct_eq(wanted) & given.password.ct_eq(&self.password);
        same.into()
    }
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
