//! Reads credentials: written in place or in a Secret.

use std::fmt;

use meltemi_config::Problem;

use crate::yaml::Cursor;

/// Credentials, written in place or in a Secret.
#[derive(Clone)]
pub(crate) enum Auth<'a> {
    Plain {
        at: Cursor<'a>,
        username: Option<String>,
        password: String,
    },
    Secret {
        at: Cursor<'a>,
        name: String,
        /// Empty: the key is `password`, or else `token`.
        password: String,
        username: Option<String>,
    },
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain { .. } => "Plain",
            Self::Secret { .. } => "Secret",
        })
    }
}

/// Reads the credentials at this place.
pub(super) fn auth<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Auth<'a>> {
    let (plain, secret) = (here.at("plain"), here.at("secret"));
    let text = |at: Cursor<'a>| at.text().map(str::to_owned);
    match (plain.exists(), secret.exists()) {
        (true, true) => problems.push(
            here.error("plain and secret are both given")
                .remedy("give one of them"),
        ),
        (true, false) => {
            return Some(Auth::Plain {
                username: text(plain.at("username")).filter(|name| !name.is_empty()),
                password: text(plain.at("password"))?,
                at: plain,
            });
        }
        (false, true) => {
            return Some(Auth::Secret {
                name: text(secret.at("name"))?,
                password: text(secret.at("passwordField")).unwrap_or_default(),
                username: text(secret.at("usernameField")).filter(|name| !name.is_empty()),
                at: secret,
            });
        }
        // Missing credentials must not mean that no credentials are needed.
        (false, false) if here.exists() => {
            problems.push(
                here.error("names no credentials")
                    .remedy("give plain or secret"),
            );
        }
        (false, false) => {}
    }
    None
}
