//! The tables of the report.

use std::fmt::Write as _;

use anyhow::Result;
use meltemi_bench::load::Outcome;
use meltemi_bench::wire::Protocol;

use super::Parts;
use crate::bed::told;
use crate::goals;
use crate::ratios::CPU;
use crate::results::{Cell, Check, Matrix};
use crate::targets::{ENVOY, RELAY};

pub(super) fn title(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Redis => "Redis",
        Protocol::Thrift => "Thrift",
        Protocol::Dubbo => "Dubbo",
    }
}

pub(super) fn goals(parts: &Parts) -> String {
    let mut text = String::from("\n| work | against | goal | found | |\n|---|---|---|---|---|\n");
    for one in goals::judge(parts) {
        let found = one.found.map_or_else(
            || "not measured".to_owned(),
            |found| format!("{} {}", told(found), one.unit),
        );
        let reached = match one.reached() {
            Some(true) => "pass",
            Some(false) => "**miss**",
            None => "",
        };
        let (work, against, goal, unit) = (&one.work, one.against, one.goal, one.unit);
        let _ = writeln!(
            text,
            "| {work} | {against} | ≤ {goal} {unit} | {found} | {reached} |"
        );
    }
    text
}

fn shape(cell: &Cell) -> String {
    let size = match cell.size {
        size if size >= 1024 => format!("{} KiB", size / 1024),
        size => format!("{size} B"),
    };
    format!("c{} d{} {size}", cell.connections, cell.depth)
}

/// A table with a row for every target and a column for every cell.
fn table(
    matrix: &Matrix,
    protocol: Protocol,
    which: impl Fn(&Cell) -> bool,
    value: impl Fn(&str, &Cell) -> Option<String>,
) -> String {
    let cells: Vec<Cell> = matrix.cells(protocol).into_iter().filter(which).collect();
    let mut text = String::from("\n| |");
    for cell in &cells {
        let _ = write!(text, " {} |", shape(cell));
    }
    let _ = write!(text, "\n|---|{}", "---|".repeat(cells.len()));
    for target in matrix.targets(protocol) {
        let values = cells.iter().map(|cell| value(target.name, cell));
        let values: Vec<String> = values
            .map(|one| one.unwrap_or_else(|| "–".to_owned()))
            .collect();
        let _ = write!(text, "\n| {} | {} |", target.name, values.join(" | "));
    }
    text.push('\n');
    text
}

pub(super) fn cpu(matrix: &Matrix, protocol: Protocol) -> String {
    let value = |target: &str, cell: &Cell| {
        if target == "direct" {
            return None;
        }
        let time = matrix.median(protocol, target, cell, CPU)?;
        // A cell by itself: `which` cannot name it, so it is compared by the medians.
        let relay = matrix.median(protocol, RELAY, cell, CPU)?;
        Some(format!("{} ({})", told(time), told(time / relay)))
    };
    let mut text = String::from(
        "\nCPU time of the proxy for a request, µs (in brackets: ratio to the relay). c: \
         connections, d: requests in flight on each.\n",
    );
    text.push_str(&table(matrix, protocol, |cell| !cell.open, value));
    text
}

pub(super) fn rates(matrix: &Matrix, protocol: Protocol) -> String {
    let value = |target: &str, cell: &Cell| {
        let rate = matrix.median(protocol, target, cell, |outcome| outcome.rate)?;
        let p99 = matrix.median(protocol, target, cell, |outcome| outcome.p99)?;
        Some(format!("{} ({})", told(rate / 1000.0), told(p99)))
    };
    let mut text = String::from(
        "\nThousands of requests per second in the closed loop (in brackets: p99, µs). Client and \
         backend share a core, which is often what limits.\n",
    );
    text.push_str(&table(matrix, protocol, |cell| !cell.open, value));
    text
}

pub(super) fn open(matrix: &Matrix, protocol: Protocol) -> String {
    let Some(cell) = matrix.cells(protocol).into_iter().find(|cell| cell.open) else {
        return String::new();
    };
    let at = |target: &str, measure: fn(&Outcome) -> f64| {
        matrix.median(protocol, target, &cell, measure)
    };
    let rate = at(RELAY, |outcome| outcome.rate).unwrap_or_default();
    let mut text = format!(
        "\nAt a fixed rate of {} requests per second (half of Envoy's best) over {} connections, \
         latencies in µs, counted from when each request was due:\n\n\
         | | p50 | p99 | p99.9 | CPU, µs |\n|---|---|---|---|---|\n",
        rate.round(),
        cell.connections
    );
    for target in matrix.targets(protocol) {
        let measures: [fn(&Outcome) -> f64; 4] = [|o| o.p50, |o| o.p99, |o| o.p999, |o| o.cpu_us];
        let values =
            measures.map(|measure| at(target.name, measure).map_or_else(|| "–".to_owned(), told));
        let _ = writeln!(text, "| {} | {} |", target.name, values.join(" | "));
    }
    text
}

pub(super) fn footprint(parts: &Parts) -> String {
    if parts.footprint.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## At rest\n\n\
         | | start to first reply, ms | memory, MiB | KiB for an idle client | binary, MB |\n\
         |---|---|---|---|---|\n",
    );
    for one in &parts.footprint {
        let _ = writeln!(
            text,
            "| {} {} | {} | {} | {}{} | {} |",
            title(one.protocol),
            one.target,
            told(one.start_ms),
            told(one.idle_kib as f64 / 1024.0),
            told(one.connection_kib),
            if one.one_to_one {
                " (with an upstream each)"
            } else {
                ""
            },
            told(one.binary_bytes as f64 / 1e6),
        );
    }
    let many = parts.footprint.first().map_or(0, |one| one.connections);
    let _ = writeln!(
        text,
        "\nEach of {many} clients had made one request. The relays' binary is of this benchmark."
    );
    text
}

pub(super) fn checks(head: &str, checks: &[Check]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let mut text =
        format!("{head}\n| | target | what | value | bound | |\n|---|---|---|---|---|---|\n");
    for check in checks {
        let kept = match check.kept() {
            Some(true) => "pass",
            Some(false) => "**fail**",
            None => "",
        };
        let bound = check
            .bound
            .map(|bound| format!("≤ {} {}", told(bound), check.unit));
        let Check {
            scenario,
            target,
            what,
            value,
            unit,
            ..
        } = check;
        let _ = writeln!(
            text,
            "| {scenario} | {target} | {what} | {} {unit} | {} | {kept} |",
            told(*value),
            bound.unwrap_or_default()
        );
    }
    text
}

/// What a codec's look at a request costs, by depth. `baseline`: the counted instructions, as JSON.
pub(super) fn depth(baseline: &str) -> Result<String> {
    let baseline: serde_json::Value = serde_json::from_str(baseline)?;
    let counts = baseline["counts"].as_object();
    let mut text = String::from(
        "\n## How deep a request is looked at\n\nInstructions of the codec for one request, from \
         `benches/instructions.json`. Routes by what is cheap look only at the first. A rule that asks for \
         headers or attachments needs the second, and so does authorization of Dubbo: the provider goes by \
         them. Authorization of Thrift needs the third: it reads what is compressed, and looks for a second \
         call behind the first. What no rule asks for is not looked at.\n\n\
         | request | route | headers | body |\n|---|---|---|---|\n",
    );
    for (name, route) in counts.into_iter().flatten() {
        let Some(subject) = name.strip_suffix("/decode") else {
            continue;
        };
        let deep = |depth: &str| &baseline["counts"][format!("{subject}/decode-{depth}")];
        let (headers, body) = (deep("headers"), deep("body"));
        let _ = writeln!(text, "| {subject} | {route} | {headers} | {body} |");
    }
    Ok(text)
}

pub(super) fn method(parts: &Parts) -> String {
    let rows = &parts.matrix.rows;
    let replies: u64 = rows.iter().map(|row| row.outcome.replies).sum();
    let wrong: u64 = rows.iter().map(|row| row.outcome.wrong).sum();
    let disturbed = rows.iter().filter(|row| row.disturbed).count();
    let mut text = String::from("\n## Method\n\n");
    let _ = write!(
        text,
        "`make bench` installs the peers, builds, measures and writes this page. The proxy has one core \
         to itself, client and backend the other; all is on loopback; one worker, no TLS, no access \
         log. Within a repetition every load goes to all targets in turn; {repetitions} repetitions, \
         each with fresh processes. A measurement takes 1.5 s after 0.3 s of warm-up. CPU time is what \
         the kernel counted for all threads of the proxy between the first and the last reply. Goals \
         are judged by the geometric mean over c = 1, 16, 64 and 32 B, 1 KiB.\n\n\
         Payloads are echoed both ways in Thrift and Dubbo, and are the values of `GET` in Redis. Every \
         byte of every reply was checked, {replies} replies in all: {wrong} wrong. Of {total} \
         measurements {disturbed} stayed disturbed by other work after four tries and do not count.\n\n\
         A cell by itself is good to ± 20 % on a virtual machine, a geometric mean to ± 10 %. p99.9 is the \
         machine's more than the proxy's. Envoy runs with `--concurrency 1` and `--disable-hot-restart`; \
         all targets' configuration is in `benches/src/bin/bench/`. `{RELAY}` reads until there is nothing \
         more, a system call that `relay-tuned` saves; `{ENVOY}` is its filter for the protocol.\n\n",
        repetitions = parts.matrix.repetitions,
        total = rows.len(),
    );
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in parts.machine.iter().chain(&parts.versions) {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    for missing in &parts.matrix.missing {
        let _ = writeln!(text, "| left out | {missing} |");
    }
    text
}
