//! Reads request timeouts.

use std::time::Duration;

use crate::yaml::Cursor;

/// The request timeout of a route without one. It is Aeraki's own timeout for Redis. Aeraki has
/// none for other protocols, but an abandoned request would occupy its place for ever.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the timeout; zero means no timeout.
pub(super) fn timeout(here: &Cursor<'_>) -> Option<Duration> {
    match here.duration() {
        None => Some(DEFAULT_TIMEOUT),
        Some(time) => Some(time).filter(|time| !time.is_zero()),
    }
}
