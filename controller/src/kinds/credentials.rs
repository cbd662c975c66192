//! Where credentials are written.

use std::fmt;

use meltemi_config::Problem;

use crate::yaml::Cursor;

/// Credentials, written or in a Secret.
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
        /// Empty: `password`, or else `token`.
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

/// The credentials that are written here.
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
        // Credentials that are asked for and not given must not mean none.
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
