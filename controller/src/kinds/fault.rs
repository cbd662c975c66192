//! Reads injected faults, as written in Istio, in Aeraki's RedisService and in our MetaRouter.

use std::time::Duration;

use meltemi_config::{Abort, Matcher, Problem, Share};
use meltemi_frame::Reason;

use super::route_match::{Name, Test, matching};
use crate::yaml::Cursor;

/// A fault to inject.
#[derive(Clone, Debug)]
pub(crate) struct Injection<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) tests: Vec<Test<'a>>,
    pub(crate) delay: Option<(Duration, Share)>,
    pub(crate) abort: Option<Failure<'a>>,
}

/// The failure that a request gets as its response.
#[derive(Clone, Debug)]
pub(crate) enum Failure<'a> {
    /// A failure of the router.
    Known(Abort),
    /// A status of HTTP or gRPC, checked only on routes of our protocols.
    Status(Cursor<'a>, Share),
}

/// The reasons by their names in the configuration.
const REASONS: [(&str, Reason); 7] = [
    ("bad_request", Reason::BadRequest),
    ("not_found", Reason::NotFound),
    ("unavailable", Reason::Unavailable),
    ("timeout", Reason::Timeout),
    ("overloaded", Reason::Overloaded),
    ("denied", Reason::Denied),
    ("internal", Reason::Internal),
];

/// Reads a percentage from one of these fields of `here`; 100 % if none is present.
pub(super) fn share(here: &Cursor<'_>, fields: &[&str]) -> Share {
    let written = fields.iter().find_map(|field| {
        let at = here.at(field);
        // In Istio the older fields are numbers, the newer ones objects.
        let number = match at.text() {
            None if at.exists() => at.at("value"),
            _ => at,
        };
        number.decimal()
    });
    written.map_or(Share::ALL, Share::percent)
}

/// Reads Istio's `fault`.
pub(super) fn istio<'a>(here: &Cursor<'a>) -> Option<Injection<'a>> {
    let (delay, abort) = (here.at("delay"), here.at("abort"));
    let fields = ["percentage", "percent"];
    let wait = delay.at("fixedDelay").duration();
    // An unreadable delay has already been reported.
    let whole = wait.is_some() || !delay.exists();
    (here.exists() && whole).then(|| Injection {
        delay: wait.map(|time| (time, share(&delay, &fields))),
        abort: abort
            .exists()
            .then(|| Failure::Status(abort.clone(), share(&abort, &fields))),
        tests: Vec::new(),
        at: here.clone(),
    })
}

/// Reads our own `faults`.
pub(super) fn own<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<Injection<'a>> {
    let mut all = Vec::new();
    for at in here.items() {
        let (delay, abort) = (at.at("delay"), at.at("abort"));
        let (wait, failure) = (delay.at("duration").duration(), failure(&abort));
        // An unreadable field has already been reported.
        if wait.is_some() != delay.exists() || failure.is_some() != abort.exists() {
            continue;
        }
        all.push(Injection {
            tests: matching(&at.at("match"), problems),
            delay: wait.map(|time| (time, share(&delay, &["percentage"]))),
            abort: failure.map(Failure::Known),
            at,
        });
    }
    all
}

fn failure(here: &Cursor<'_>) -> Option<Abort> {
    let written = here.at("reason").text()?;
    let (name, reason) = REASONS.into_iter().find(|(name, _)| *name == written)?;
    let text = match here.at("message").text() {
        Some(text) => text.to_owned(),
        None => format!("injected fault: {}", name.replace('_', " ")),
    };
    Some(Abort {
        reason,
        text,
        share: share(here, &["percentage"]),
    })
}

/// Commands into which Envoy never injects faults.
const SPARED: [&str; 2] = ["auth", "ping"];

/// Reads the `faults` of a RedisService: one fault per named command.
pub(super) fn redis<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<Injection<'a>> {
    let mut all = Vec::new();
    for at in here.items() {
        let share = share(&at, &["percentage"]);
        let delay = at.at("delay");
        let mut one = Injection {
            at: at.clone(),
            tests: Vec::new(),
            delay: None,
            abort: None,
        };
        if at.at("type").text() == Some("DELAY") {
            if !delay.exists() {
                problems.push(
                    delay
                        .error("is missing")
                        .remedy("give the delay of commands"),
                );
                continue;
            }
            one.delay = delay.duration().map(|time| (time, share));
        } else {
            if delay.exists() {
                problems.push(
                    delay
                        .warning("means nothing here: an error is answered at once")
                        .remedy("write a second fault of type: DELAY"),
                );
            }
            one.abort = Some(Failure::Known(Abort {
                reason: Reason::Internal,
                text: "Fault Injected: Error".to_owned(),
                share,
            }));
        }
        let commands = at.at("commands").items();
        if commands.is_empty() {
            one.tests = SPARED.iter().map(|name| test(name, true, &at)).collect();
            all.push(one);
            continue;
        }
        for command in commands {
            let name = command.text().unwrap_or("").to_ascii_lowercase();
            if SPARED.contains(&name.as_str()) {
                problems.push(
                    command
                        .warning("is never failed or delayed on purpose")
                        .remedy("leave it out"),
                );
                continue;
            }
            all.push(Injection {
                tests: vec![test(&name, false, &command)],
                ..one.clone()
            });
        }
    }
    all
}

fn test<'a>(command: &str, negate: bool, at: &Cursor<'a>) -> Test<'a> {
    Test {
        name: Name::Exactly("command".to_owned()),
        matcher: Matcher::Exact(command.to_owned()),
        negate,
        at: at.clone(),
    }
}
