//! How long a request may take.

use std::time::Duration;

use crate::yaml::Cursor;

/// How long a request may take if its route does not say. Aeraki's own limit for Redis; Aeraki has
/// none for the rest, and a request that nobody waits for would hold its place for ever.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The timeout that is written; zero is none at all.
pub(super) fn timeout(here: &Cursor<'_>) -> Option<Duration> {
    match here.duration() {
        None => Some(DEFAULT_TIMEOUT),
        Some(time) => Some(time).filter(|time| !time.is_zero()),
    }
}
