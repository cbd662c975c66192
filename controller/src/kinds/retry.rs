//! Reads retries, as written in Istio and in our MetaRouter.

use std::time::Duration;

use meltemi_config::{Problem, Retry};
use meltemi_frame::Fault;

use super::route_match::{Name, Test, tests};
use crate::yaml::Cursor;

/// The retry settings of a route, before they are translated for a protocol.
#[derive(Clone, Debug)]
pub(crate) struct Retries<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) retry: Retry,
    /// Tests of failed responses.
    pub(crate) statuses: Vec<Test<'a>>,
    /// Istio's conditions. One of them may be a number, which needs a protocol with a status
    /// attribute.
    pub(crate) words: Option<Cursor<'a>>,
}

/// The faults after which a request may be sent again.
const FAULTS: [Fault; 11] = [
    Fault::NoRoute,
    Fault::NoEndpoint,
    Fault::Connect,
    Fault::Reset,
    Fault::Timeout,
    Fault::Overload,
    Fault::RateLimited,
    Fault::Draining,
    Fault::BadResponse,
    Fault::Application,
    Fault::Server,
];

/// Reads Istio's `retries`.
pub(super) fn istio<'a>(here: &Cursor<'a>) -> Option<Box<Retries<'a>>> {
    let mut all = common(here, "retryIgnorePreviousHosts")?;
    if let Some(backoff) = here.at("backoff").duration() {
        pause(&mut all.retry, backoff);
    }
    let words = here.at("retryOn");
    all.words = words.exists().then_some(words);
    Some(all)
}

/// Reads our own `retries`.
pub(super) fn own<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Box<Retries<'a>>> {
    let mut all = common(here, "elsewhere")?;
    let on = here.at("on").texts();
    all.retry.on = FAULTS
        .into_iter()
        .filter(|fault| on.contains(&fault.name()))
        .collect();
    all.retry.resend = here.at("resend").flag() == Some(true);
    let backoff = here.at("backoff");
    if let Some(base) = backoff.at("base").duration() {
        pause(&mut all.retry, base);
    }
    let longest = backoff.at("max");
    if let Some(time) = longest.duration() {
        all.retry.longest_backoff = time;
        if time < all.retry.backoff {
            problems.push(
                longest
                    .error(format!(
                        "is shorter than the first pause, {:?}",
                        all.retry.backoff
                    ))
                    .remedy("give a longer one, or a shorter base"),
            );
        }
    }
    for status in here.at("statuses").items() {
        let attributes = status.at("attributes");
        let entries = attributes.entries();
        if entries.len() != 1 && attributes.exists() {
            problems.push(
                attributes
                    .error("must test one attribute")
                    .remedy("write one item per test; one match is enough"),
            );
        }
        all.statuses.extend(
            entries
                .into_iter()
                .filter_map(|(name, at)| tests(Name::Exactly(name.to_owned()), &at, problems)),
        );
    }
    Some(all)
}

fn common<'a>(here: &Cursor<'a>, elsewhere: &str) -> Option<Box<Retries<'a>>> {
    if !here.exists() {
        return None;
    }
    let default = Retry::default();
    Some(Box::new(Retries {
        retry: Retry {
            attempts: here.at("attempts").number().unwrap_or(default.attempts),
            per_try_timeout: here.at("perTryTimeout").duration(),
            elsewhere: here.at(elsewhere).flag().unwrap_or(default.elsewhere),
            ..default
        },
        at: here.clone(),
        statuses: Vec::new(),
        words: None,
    }))
}

/// Sets the first pause and the longest pause that fits it.
fn pause(retry: &mut Retry, base: Duration) {
    retry.backoff = base;
    retry.longest_backoff = base.saturating_mul(10);
}
