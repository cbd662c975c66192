//! Translates retries for one protocol: Istio's conditions, and contradictions between settings.

use std::time::Duration;

use meltemi_config::{AttributeMatch, Matcher, Problem, Retry};
use meltemi_frame::{Fault, Spec};

use super::attributes::{On, attribute_match};
use crate::kinds::Retries;
use crate::near::nearest;
use crate::yaml::Cursor;

/// The meaning of Istio's conditions. Those without faults either concern requests that were not
/// sent, which are tried again anyway, or are written together with numbers.
const WORDS: &[(&str, &[Fault])] = &[
    ("5xx", SERVER_ERROR),
    ("gateway-error", GATEWAY_ERROR),
    ("unavailable", UNAVAILABLE),
    ("reset", &[Fault::Reset]),
    ("deadline-exceeded", &[Fault::Timeout]),
    ("internal", &[Fault::Server]),
    ("resource-exhausted", &[Fault::Overload, Fault::RateLimited]),
    ("envoy-ratelimited", &[Fault::RateLimited]),
    ("connect-failure", &[]),
    ("refused-stream", &[]),
    ("reset-before-request", &[]),
    ("http3-post-connect-failure", &[]),
    ("retriable-status-codes", &[]),
    ("cancelled", &[]),
];

/// Istio's conditions on features that no protocol here has.
const FOREIGN: [&str; 2] = ["retriable-4xx", "retriable-headers"];

const UNAVAILABLE: &[Fault] = &[
    Fault::NoEndpoint,
    Fault::Connect,
    Fault::Reset,
    Fault::Overload,
    Fault::Draining,
];
const GATEWAY_ERROR: &[Fault] = &[
    Fault::NoEndpoint,
    Fault::Connect,
    Fault::Reset,
    Fault::Timeout,
    Fault::Overload,
    Fault::Draining,
    Fault::BadResponse,
];
const SERVER_ERROR: &[Fault] = &[
    Fault::NoEndpoint,
    Fault::Connect,
    Fault::Reset,
    Fault::Timeout,
    Fault::Overload,
    Fault::Draining,
    Fault::BadResponse,
    Fault::Server,
];

/// Statuses of HTTP with the same meaning as a fault.
const NUMBERS: &[(&str, &[Fault])] = &[
    ("429", &[Fault::Overload, Fault::RateLimited]),
    ("500", &[Fault::Server]),
    ("502", &[Fault::BadResponse]),
    ("503", UNAVAILABLE),
    ("504", &[Fault::Timeout]),
];

/// Translates the retries of a route with this timeout.
pub(super) fn compile(
    written: Option<&Retries<'_>>,
    timeout: Option<Duration>,
    spec: &Spec,
    problems: &mut Vec<Problem>,
) -> Retry {
    let Some(written) = written else {
        return Retry::default();
    };
    let at = &written.at;
    let mut retry = written.retry.clone();
    let others = at.entries().iter().any(|(name, _)| *name != "attempts");
    if retry.attempts == 0 && others {
        problems.push(
            at.at("attempts")
                .error("turns retries off, so the other fields have no effect")
                .remedy("give a number from 1, or leave out the rest"),
        );
    }
    if let (Some(attempt), Some(whole)) = (retry.per_try_timeout, timeout)
        && attempt > whole
    {
        problems.push(
            at.at("perTryTimeout")
                .warning(format!(
                    "never ends an attempt: the request may take {whole:?} in all"
                ))
                .remedy("make it shorter than the timeout, or the timeout longer"),
        );
    }
    let statuses = written.statuses.iter();
    retry
        .statuses
        .extend(statuses.filter_map(|test| attribute_match(test, spec, On::Responses, problems)));
    if let Some(words) = &written.words {
        for word in words.text().unwrap_or("").split(',') {
            let word = word.trim().to_ascii_lowercase();
            if !word.is_empty() {
                read(&word, words, spec, &mut retry, problems);
            }
        }
    }
    retry
}

/// Reads one of Istio's conditions.
fn read(word: &str, at: &Cursor<'_>, spec: &Spec, retry: &mut Retry, problems: &mut Vec<Problem>) {
    let meaning = |table: &[(&str, &'static [Fault])]| {
        let found = table.iter().find(|(known, _)| *known == word);
        found.map(|(_, faults)| *faults)
    };
    let add = |faults: &[Fault], retry: &mut Retry| {
        for fault in faults {
            if !retry.on.contains(fault) {
                retry.on.push(*fault);
            }
        }
    };
    if let Some(faults) = meaning(WORDS) {
        add(faults, retry);
        return;
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        let known = meaning(NUMBERS);
        add(known.unwrap_or(&[]), retry);
        let has_status = spec.key("status").is_some_and(|key| key.response);
        if has_status {
            retry.statuses.push(AttributeMatch {
                name: "status".to_owned(),
                matcher: Matcher::Exact(word.to_owned()),
                negate: false,
            });
        } else if known.is_none() {
            problems.push(
                at.warning(format!(
                    "responses of {} have no status, so none is ever {word}",
                    spec.name
                ))
                .remedy("use conditions such as reset, gateway-error or 5xx"),
            );
        }
        return;
    }
    if FOREIGN.contains(&word) {
        problems.push(
            at.warning(format!("`{word}` is about HTTP; nothing comes of it"))
                .remedy("leave it out"),
        );
        return;
    }
    let names = || WORDS.iter().map(|(name, _)| *name);
    let near = nearest(word, names());
    let hint = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    let all: Vec<&str> = names().collect();
    problems.push(
        at.error(format!("`{word}` is no reason to retry"))
            .remedy(format!("{hint}There are {}, and numbers", all.join(", "))),
    );
}
