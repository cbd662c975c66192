//! Reads the destinations of routes and mirrors.

use meltemi_config::Problem;

use crate::yaml::Cursor;

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) host: String,
    pub(crate) subset: String,
    pub(crate) port: Option<u16>,
    pub(crate) weight: u32,
}

/// Reads the destinations of a route, with their weights.
pub(super) fn destinations<'a>(
    here: &Cursor<'a>,
    problems: &mut Vec<Problem>,
) -> Vec<Destination<'a>> {
    let items = here.items();
    if items.is_empty() {
        if here.exists() {
            problems.push(here.error("has no destination").remedy("give at least one"));
        }
        return Vec::new();
    }
    let written = items
        .iter()
        .filter(|item| item.at("weight").exists())
        .count();
    if written > 0 && written < items.len() {
        problems.push(
            here.warning("some destinations have no weight, so they get no request")
                .remedy("give all of them a weight, or none"),
        );
    }
    let mut sum = 0_u64;
    let mut all = Vec::new();
    for item in &items {
        let weight = match item.at("weight").number::<u32>() {
            // A single destination gets all requests, whatever its weight (Istio).
            _ if items.len() == 1 => 1,
            Some(weight) => weight,
            None => u32::from(written == 0),
        };
        sum = sum.saturating_add(u64::from(weight));
        all.extend(destination(&item.at("destination"), weight));
    }
    if sum == 0 {
        problems.push(
            here.error(
                "the weights of its destinations sum to zero, so no request can go anywhere",
            )
            .remedy("give at least one destination a positive weight"),
        );
    }
    all
}

/// Reads one destination.
pub(super) fn destination<'a>(at: &Cursor<'a>, weight: u32) -> Option<Destination<'a>> {
    Some(Destination {
        host: at.at("host").text()?.to_ascii_lowercase(),
        subset: at.at("subset").text().unwrap_or("").to_owned(),
        port: at.at("port").at("number").number(),
        weight,
        at: at.clone(),
    })
}

/// Reads the destination of a route or a mirror of a RedisService.
pub(super) fn redis_target<'a>(at: &Cursor<'a>) -> Option<Destination<'a>> {
    Some(Destination {
        host: at.at("host").text()?.to_ascii_lowercase(),
        subset: String::new(),
        port: at.at("port").number(),
        weight: 1,
        at: at.clone(),
    })
}
