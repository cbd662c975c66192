//! Reads VirtualService; Aeraki applies its `http` routes to Dubbo and Thrift.

use meltemi_config::Problem;

use super::destination::destinations;
use super::gateway::qualify;
use super::route_match::{Name, Test, tests};
use super::router::{Router, Rule, edits};
use super::timeout::timeout;
use super::{fault, mirror, retry};
use crate::yaml::{Cursor, Document};

/// Fields of a match that our protocols do not have.
const FOREIGN: [&str; 6] = [
    "uri",
    "scheme",
    "authority",
    "queryParams",
    "sourceLabels",
    "sourceNamespace",
];

pub(super) fn read<'a>(document: &'a Document, problems: &mut Vec<Problem>) -> Router<'a> {
    let spec = document.cursor().at("spec");
    let mut router = Router::new(document, &spec.at("hosts"), &spec.at("gateways").texts());
    router.whole = spec.at("http").items().is_empty();
    for route in spec.at("http").items() {
        let targets = route.at("route");
        if !targets.exists() {
            let instead = ["redirect", "directResponse", "delegate"];
            if let Some(other) = instead.into_iter().find(|field| route.at(field).exists()) {
                problems.push(
                    route
                        .at(other)
                        .warning("this route has nowhere to send a request, and is passed over")
                        .remedy("its requests go to later routes; name a destination"),
                );
                continue;
            }
            problems.push(
                targets
                    .error("is missing")
                    .remedy("name at least one destination"),
            );
        }
        let mirrors = route.at("mirrors");
        if mirrors.exists() && route.at("mirror").exists() {
            problems.push(
                mirrors
                    .error("mirror is given, too")
                    .remedy("put all of them under mirrors"),
            );
        }
        let headers = route.at("headers");
        let rule = Rule {
            name: route.at("name").text().unwrap_or("").to_owned(),
            destinations: destinations(&targets, problems),
            timeout: timeout(&route.at("timeout")),
            retries: retry::istio(&route.at("retries")),
            faults: fault::istio(&route.at("fault")).into_iter().collect(),
            mirrors: mirror::copies(&route, problems),
            request: edits(&headers.at("request")),
            response: edits(&headers.at("response")),
            ..Rule::new(&route)
        };
        let matches = route.at("match").items();
        if matches.is_empty() {
            router.rules.push(rule);
            continue;
        }
        // One of them must match: each becomes a route of its own, next to each other.
        for here in matches {
            let foreign: Vec<&str> = FOREIGN
                .into_iter()
                .filter(|field| here.at(field).exists())
                .collect();
            if !foreign.is_empty() {
                problems.push(
                    here.warning(format!(
                        "never matches: nothing here has {}",
                        foreign.join(", ")
                    ))
                    .remedy("match on method and headers"),
                );
                continue;
            }
            router.rules.push(Rule {
                at: here.clone(),
                tests: match_tests(&here, problems),
                port: here.at("port").number(),
                gateways: here
                    .at("gateways")
                    .texts()
                    .iter()
                    .map(|name| qualify(name, &document.namespace))
                    .collect(),
                ..rule.clone()
            });
        }
    }
    router
}

fn match_tests<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<Test<'a>> {
    let mut all = Vec::new();
    let method = here.at("method");
    if method.exists() {
        all.extend(tests(Name::Method, &method, problems));
    }
    for (name, at) in here.at("headers").entries() {
        all.extend(tests(Name::Header(name.to_owned()), &at, problems));
    }
    for (name, at) in here.at("withoutHeaders").entries() {
        let test = tests(Name::Header(name.to_owned()), &at, problems);
        all.extend(test.map(|test| Test {
            negate: !test.negate,
            ..test
        }));
    }
    all
}
