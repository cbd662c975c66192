//! Reads mirrors (copies of requests): Aeraki's single one, Istio's one or several, those of
//! RedisService, and ours.

use meltemi_config::{Problem, Share};

use super::destination::{Destination, destination, redis_target};
use super::fault::share;
use crate::yaml::Cursor;

/// The destination of copies.
#[derive(Clone, Debug)]
pub(crate) struct Copies<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) destination: Destination<'a>,
    pub(crate) share: Share,
    pub(crate) writes_only: bool,
    pub(crate) compare: bool,
}

impl<'a> Copies<'a> {
    fn new(destination: Destination<'a>, share: Share) -> Self {
        Self {
            at: destination.at.clone(),
            destination,
            share,
            writes_only: false,
            compare: false,
        }
    }
}

/// Reads `mirror`, `mirrorPercentage` and `mirrors` of a route.
pub(super) fn copies<'a>(route: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<Copies<'a>> {
    const PERCENTAGES: [&str; 3] = ["mirrorPercentage", "mirrorPercent", "mirror_percent"];
    let mut all = Vec::new();
    let (one, many) = (route.at("mirror"), route.at("mirrors"));
    if let Some(destination) = destination(&one, 1) {
        let share = share(route, &PERCENTAGES);
        all.push(Copies::new(destination, share));
    }
    for field in PERCENTAGES {
        let percentage = route.at(field);
        if percentage.exists() && !one.exists() {
            problems.push(
                percentage
                    .warning("means nothing: there is no mirror beside it")
                    .remedy("name a mirror; `mirrors` have percentages of their own"),
            );
        }
    }
    for item in many.items() {
        if let Some(destination) = destination(&item.at("destination"), 1) {
            let share = share(&item, &["percentage"]);
            all.push(Copies {
                writes_only: item.at("writesOnly").flag() == Some(true),
                compare: item.at("compare").flag() == Some(true),
                ..Copies::new(destination, share)
            });
        }
    }
    all
}

/// Reads the `mirror` of a route of a RedisService.
pub(super) fn redis<'a>(here: &Cursor<'a>) -> Vec<Copies<'a>> {
    let mut all = Vec::new();
    for item in here.items() {
        if let Some(destination) = redis_target(&item.at("route")) {
            all.push(Copies {
                writes_only: item.at("excludeReadCommands").flag() == Some(true),
                ..Copies::new(destination, share(&item, &["percentage"]))
            });
        }
    }
    all
}
