//! Resolves credentials.

use meltemi_config::Problem;

use crate::kinds::{Auth, Secret};

pub(super) struct Credentials<'r> {
    secrets: &'r [Secret<'r>],
}

/// An optional user, and a password.
pub(super) type Login = (Option<String>, String);

impl<'r> Credentials<'r> {
    pub(super) const fn new(secrets: &'r [Secret<'r>]) -> Self {
        Self { secrets }
    }

    /// Returns the credentials, or a problem. Required credentials that cannot be found never count
    /// as "no credentials".
    pub(super) fn find(
        &self,
        auth: &Auth<'_>,
        namespace: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Login> {
        let (at, name, password, username) = match auth {
            Auth::Plain {
                username, password, ..
            } => return Some((username.clone(), password.clone())),
            Auth::Secret {
                at,
                name,
                password,
                username,
            } => (at, name, password, username),
        };
        let secret = self
            .secrets
            .iter()
            .find(|secret| secret.document.name == *name && secret.document.namespace == namespace);
        let Some(secret) = secret else {
            problems.push(
                at.at("name")
                    .error(format!("there is no Secret {namespace}/{name}"))
                    .remedy("add it to the files that are loaded"),
            );
            return None;
        };
        let keys: &[&str] = match password.as_str() {
            "" => &["password", "token"],
            key => &[key],
        };
        let missing = |field: &str, key: &str| {
            at.at(field)
                .error(format!("the Secret {namespace}/{name} has no `{key}`"))
                .remedy(format!("it has {}", secret.keys()))
        };
        let found = keys.iter().find_map(|key| secret.value(key));
        if found.is_none() {
            problems.push(missing("passwordField", &keys.join("` or `")));
        }
        let user = match username {
            None => None,
            Some(key) => match secret.value(key) {
                Some(user) => Some(user.to_owned()),
                None => {
                    problems.push(missing("usernameField", key));
                    return None;
                }
            },
        };
        Some((user, found?.to_owned()))
    }
}

/// Returns the place where credentials are written.
pub(super) const fn place<'c, 'a>(auth: &'c Auth<'a>) -> &'c crate::yaml::Cursor<'a> {
    match auth {
        Auth::Plain { at, .. } | Auth::Secret { at, .. } => at,
    }
}
