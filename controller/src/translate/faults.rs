//! Translates faults for one protocol, and maps the statuses of HTTP and gRPC in aborts.

use meltemi_config::{Abort, FaultRule, Problem, Share};
use meltemi_frame::{Reason, Spec};

use super::attributes::{On, attribute_match};
use crate::kinds::{Failure, Injection};
use crate::near::nearest;
use crate::yaml::Cursor;

/// gRPC's statuses by number.
const GRPC: [(&str, Option<Reason>); 17] = [
    ("OK", None),
    ("CANCELLED", Some(Reason::Unavailable)),
    ("UNKNOWN", Some(Reason::Internal)),
    ("INVALID_ARGUMENT", Some(Reason::BadRequest)),
    ("DEADLINE_EXCEEDED", Some(Reason::Timeout)),
    ("NOT_FOUND", Some(Reason::NotFound)),
    ("ALREADY_EXISTS", Some(Reason::BadRequest)),
    ("PERMISSION_DENIED", Some(Reason::Denied)),
    ("RESOURCE_EXHAUSTED", Some(Reason::Overloaded)),
    ("FAILED_PRECONDITION", Some(Reason::BadRequest)),
    ("ABORTED", Some(Reason::Internal)),
    ("OUT_OF_RANGE", Some(Reason::BadRequest)),
    ("UNIMPLEMENTED", Some(Reason::NotFound)),
    ("INTERNAL", Some(Reason::Internal)),
    ("UNAVAILABLE", Some(Reason::Unavailable)),
    ("DATA_LOSS", Some(Reason::Internal)),
    ("UNAUTHENTICATED", Some(Reason::Denied)),
];

/// Returns the fault. `None` if requests of the protocol cannot have it.
pub(super) fn compile(
    written: &Injection<'_>,
    spec: &Spec,
    problems: &mut Vec<Problem>,
) -> Option<FaultRule> {
    if written.delay.is_none() && written.abort.is_none() {
        problems.push(
            written
                .at
                .error("neither delays nor aborts")
                .remedy("give a delay, an abort, or both"),
        );
        return None;
    }
    let tests = written.tests.iter();
    let matches = tests
        .map(|test| attribute_match(test, spec, On::Requests, problems))
        .collect::<Option<Vec<_>>>()?;
    let abort = match &written.abort {
        None => None,
        Some(Failure::Known(abort)) => Some(abort.clone()),
        Some(Failure::Status(at, share)) => Some(status(at, *share, problems)?),
    };
    let shares = [
        written.delay.map(|(_, share)| share),
        abort.as_ref().map(|abort| abort.share),
    ];
    if shares.iter().flatten().all(|share| *share == Share::NONE) {
        problems.push(
            written
                .at
                .warning("never happens: its percentage is 0")
                .remedy("give a percentage, or leave out the fault"),
        );
    }
    Some(FaultRule {
        matches,
        delay: written.delay,
        abort,
        origin: written.at.origin(),
    })
}

/// Maps an abort that is written as a status.
fn status(here: &Cursor<'_>, share: Share, problems: &mut Vec<Problem>) -> Option<Abort> {
    let (http, grpc) = (here.at("httpStatus"), here.at("grpcStatus"));
    if http.exists() == grpc.exists() {
        problems.push(
            here.error("must name one status")
                .remedy("give httpStatus or grpcStatus"),
        );
        return None;
    }
    let abort = |reason, text| Abort {
        reason,
        text,
        share,
    };
    if let Some(number) = http.number::<u16>() {
        let Some(reason) = http_reason(number) else {
            problems.push(
                http.error("is no failure")
                    .remedy("give a status from 400 on"),
            );
            return None;
        };
        return Some(abort(
            reason,
            format!("injected fault: HTTP status {number}"),
        ));
    }
    let written = grpc.text()?.to_ascii_uppercase();
    let known = GRPC
        .iter()
        .enumerate()
        .find(|(number, (name, _))| *name == written || number.to_string() == written);
    match known {
        Some((_, (name, Some(reason)))) => Some(abort(
            *reason,
            format!("injected fault: gRPC status {name}"),
        )),
        Some(_) => {
            problems.push(
                grpc.error("is no failure")
                    .remedy("give a status such as UNAVAILABLE"),
            );
            None
        }
        None => {
            let names = || GRPC.iter().map(|(name, _)| *name);
            let near = nearest(&written, names());
            let hint = near.map_or(String::new(), |near| format!("did you mean {near}? "));
            let all: Vec<&str> = names().collect();
            problems.push(
                grpc.error("is no status of gRPC")
                    .remedy(format!("{hint}There are {}", all.join(", "))),
            );
            None
        }
    }
}

const fn http_reason(number: u16) -> Option<Reason> {
    Some(match number {
        ..400 => return None,
        401 | 403 | 407 => Reason::Denied,
        404 | 410 | 501 => Reason::NotFound,
        408 | 504 => Reason::Timeout,
        429 => Reason::Overloaded,
        400..500 => Reason::BadRequest,
        502 | 503 => Reason::Unavailable,
        500.. => Reason::Internal,
    })
}
