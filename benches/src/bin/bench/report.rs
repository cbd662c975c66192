//! `docs/performance.md`: what was found, on which machine, with which versions, and how.

mod tables;

use std::path::Path;

use anyhow::Result;
use meltemi_bench::wire::Protocol;

use crate::ratios::{CPU, DEPTH_1, DEPTH_16, P50, P99};
use crate::results::{Check, Footprint, Matrix};
use crate::svg::{Dots, Row};
use crate::targets::{MELTEMI, RELAY};

/// What the report is made of.
pub(crate) struct Parts {
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) matrix: Matrix,
    pub(crate) footprint: Vec<Footprint>,
    pub(crate) scenarios: Vec<Check>,
    pub(crate) scale: Vec<Check>,
}

/// Writes the report and its pictures into `docs`; prints the goals.
pub(crate) fn write(parts: &Parts, docs: &Path) -> Result<()> {
    let pictures = docs.join("performance");
    std::fs::create_dir_all(&pictures)?;
    let mut shown = Vec::new();
    for (name, picture) in pictures_of(parts) {
        if let Some(drawn) = picture.draw() {
            std::fs::write(pictures.join(format!("{name}.svg")), drawn)?;
            shown.push((name, picture.title));
        }
    }
    let goals = tables::goals(parts);
    println!("{goals}");
    let mut text = String::from(HEAD);
    text.push_str(&goals);
    for protocol in Protocol::ALL {
        if let Some(section) = protocol_section(parts, protocol, &shown) {
            text.push_str(&section);
        }
    }
    text.push_str(&tables::footprint(parts));
    let bad = "\n## Bad neighbours\n\nWhat others feel, and what it costs, while one client or \
               server misbehaves. Clients are 16 connections with one request in flight each.\n";
    text.push_str(&tables::checks(bad, &parts.scenarios));
    let scale = "\n## Scale\n\nThousands of connections, routes, clusters and listeners; messages \
                 of megabytes.\n";
    text.push_str(&tables::checks(scale, &parts.scale));
    text.push_str(&tables::depth(include_str!("../../../instructions.json"))?);
    text.push_str(&tables::method(parts));
    std::fs::write(docs.join("performance.md"), text)?;
    Ok(())
}

const HEAD: &str = "\
<!-- Written by `make bench`; changes by hand are lost. -->

# Performance

What a request through Meltemi costs, side by side with its peers: CPU time of the proxy (user and
system), latency at a fixed rate, memory. `relay` copies bytes and looks at none of them: what a proxy in user
space cannot avoid, if it treats each connection by itself. Ratios compare runs of the same repetition. What stands
in the way of the goals that are missed is told in [decision 11](adr/0011-what-a-request-costs.md#what-stands-in-the-way).

A policy that asks for what Dubbo's attachments decide (`interface`, `version`, `group`, attachments) makes the proxy read each
request to its end: about 4,400 instructions for a request with seven attachments, where the interface and the method alone
take 560 (`benches/instructions.json`). Long arguments are walked as well. A listener without such policies pays nothing.

## Goals
";

fn protocol_section(
    parts: &Parts,
    protocol: Protocol,
    shown: &[(String, String)],
) -> Option<String> {
    let targets = parts.matrix.targets(protocol);
    if targets.is_empty() {
        return None;
    }
    let mut text = format!("\n## {}\n", tables::title(protocol));
    for target in targets {
        text.push_str(&format!("\n- `{}`: {}", target.name, target.what));
    }
    text.push('\n');
    for (name, title) in shown
        .iter()
        .filter(|(name, _)| name.ends_with(protocol.name()))
    {
        text.push_str(&format!("\n![{title}](performance/{name}.svg)\n"));
    }
    text.push_str(&tables::cpu(&parts.matrix, protocol));
    text.push_str(&tables::rates(&parts.matrix, protocol));
    text.push_str(&tables::open(&parts.matrix, protocol));
    Some(text)
}

fn pictures_of(parts: &Parts) -> Vec<(String, Dots)> {
    let matrix = &parts.matrix;
    let mut pictures = Vec::new();
    for protocol in Protocol::ALL {
        let targets = matrix.targets(protocol);
        let cpu = |target: &&&'static crate::targets::Target| {
            let ratio = |which| Some(matrix.ratio(protocol, target.name, RELAY, which, CPU)?.0);
            Row {
                label: target.name.to_owned(),
                values: vec![ratio(DEPTH_1), ratio(DEPTH_16)],
                ours: target.name.starts_with(MELTEMI),
            }
        };
        let cpu = Dots {
            title: format!(
                "{}: CPU time for a request, to the relay's",
                tables::title(protocol)
            ),
            axis: "× relay (less is better)".to_owned(),
            series: vec!["1 in flight", "16 in flight"],
            rows: targets
                .iter()
                .filter(|one| one.name != "direct")
                .map(|one| cpu(&one))
                .collect(),
            reference: Some(1.0),
        };
        pictures.push((format!("cpu-{}", protocol.name()), cpu));
        let open = matrix.cells(protocol).into_iter().find(|cell| cell.open);
        let latency = |target: &&&'static crate::targets::Target| {
            let at = |measure| matrix.median(protocol, target.name, &open?, measure);
            Row {
                label: target.name.to_owned(),
                values: vec![at(P50), at(P99), at(|outcome| outcome.p999)],
                ours: target.name.starts_with(MELTEMI),
            }
        };
        let latency = Dots {
            title: format!("{}: latency at a fixed rate", tables::title(protocol)),
            axis: "µs".to_owned(),
            series: vec!["p50", "p99", "p99.9"],
            rows: targets.iter().map(|one| latency(&one)).collect(),
            reference: None,
        };
        pictures.push((format!("latency-{}", protocol.name()), latency));
    }
    pictures
}
