//! The goals, and whether they are reached.

use meltemi_bench::wire::Protocol;

use crate::ratios::{CPU, DEPTH_1, DEPTH_16, LARGE, Measure, OPEN, P50, P99, Which};
use crate::report::Parts;
use crate::targets::{ENVOY, MELTEMI, RELAY};

/// A goal with what was found.
pub(crate) struct Judged {
    pub(crate) work: String,
    pub(crate) against: &'static str,
    pub(crate) goal: f64,
    pub(crate) found: Option<f64>,
    pub(crate) unit: &'static str,
}

impl Judged {
    /// `None`: it was not measured.
    pub(crate) fn reached(&self) -> Option<bool> {
        self.found.map(|found| found <= self.goal)
    }
}

/// A goal for a ratio: to the relay, to Envoy.
struct Goal {
    work: &'static str,
    protocol: Protocol,
    target: &'static str,
    which: Which,
    measure: Measure,
    relay: f64,
    envoy: f64,
}

const fn goal(
    work: &'static str,
    protocol: Protocol,
    target: &'static str,
    which: Which,
    relay: f64,
    envoy: f64,
) -> Goal {
    Goal {
        work,
        protocol,
        target,
        which,
        measure: CPU,
        relay,
        envoy,
    }
}

const fn latency(
    work: &'static str,
    protocol: Protocol,
    target: &'static str,
    measure: Measure,
) -> Goal {
    Goal {
        work,
        protocol,
        target,
        which: OPEN,
        measure,
        relay: 1.2,
        envoy: 1.0,
    }
}

const GOALS: &[Goal] = {
    use Protocol::{Dubbo, Redis, Thrift};
    let multiplexed = "meltemi-multiplexed";
    &[
        goal("Redis, d1", Redis, MELTEMI, DEPTH_1, 0.75, 0.55),
        goal("Redis, d16", Redis, MELTEMI, DEPTH_16, 1.1, 0.2),
        goal("Dubbo, d1", Dubbo, MELTEMI, DEPTH_1, 0.75, 0.35),
        goal("Dubbo, d16", Dubbo, MELTEMI, DEPTH_16, 1.1, 0.05),
        goal(
            "Dubbo, d16, by attachment",
            Dubbo,
            "meltemi-attachment",
            DEPTH_16,
            1.6,
            0.08,
        ),
        goal("Thrift, d1", Thrift, MELTEMI, DEPTH_1, 1.0, 0.3),
        goal("Thrift, d16", Thrift, MELTEMI, DEPTH_16, 6.0, 0.17),
        goal(
            "Thrift, d16, pipelined",
            Thrift,
            "meltemi-pipelined",
            DEPTH_16,
            1.1,
            0.03,
        ),
        goal(
            "Thrift, d16, multiplexed",
            Thrift,
            multiplexed,
            DEPTH_16,
            1.1,
            0.03,
        ),
        goal("Redis, 16 KiB, d1", Redis, MELTEMI, LARGE, 1.1, 0.8),
        goal("Thrift, 16 KiB, d1", Thrift, MELTEMI, LARGE, 1.1, 0.5),
        goal("Dubbo, 16 KiB, d1", Dubbo, MELTEMI, LARGE, 1.1, 0.5),
        latency("Redis, p50 at a fixed rate", Redis, MELTEMI, P50),
        latency("Redis, p99 at a fixed rate", Redis, MELTEMI, P99),
        latency("Thrift, p50 at a fixed rate", Thrift, MELTEMI, P50),
        latency("Thrift, p99 at a fixed rate", Thrift, MELTEMI, P99),
        latency("Dubbo, p50 at a fixed rate", Dubbo, MELTEMI, P50),
        latency("Dubbo, p99 at a fixed rate", Dubbo, MELTEMI, P99),
    ]
};

/// Every goal with what was found.
pub(crate) fn judge(parts: &Parts) -> Vec<Judged> {
    let mut judged = Vec::new();
    for goal in GOALS {
        for (against, bound) in [(RELAY, goal.relay), (ENVOY, goal.envoy)] {
            let found = parts.matrix.ratio(
                goal.protocol,
                goal.target,
                against,
                goal.which,
                goal.measure,
            );
            judged.push(Judged {
                work: goal.work.to_owned(),
                against,
                goal: bound,
                found: found.map(|(ratio, _)| ratio),
                unit: "×",
            });
        }
    }
    judged.extend(footprint(parts));
    judged
}

/// The worst of Meltemi's targets counts.
fn footprint(parts: &Parts) -> Vec<Judged> {
    let ours: Vec<_> = parts
        .footprint
        .iter()
        .filter(|one| one.target.starts_with(MELTEMI))
        .collect();
    let worst = |value: &dyn Fn(&crate::results::Footprint) -> f64| {
        ours.iter().map(|one| value(one)).max_by(f64::total_cmp)
    };
    let judged = |work: &str, goal, unit, found| Judged {
        work: work.to_owned(),
        against: "",
        goal,
        found,
        unit,
    };
    vec![
        judged(
            "memory at rest",
            8.0,
            "MiB",
            worst(&|one| one.idle_kib as f64 / 1024.0),
        ),
        judged(
            "memory for an idle client",
            1.0,
            "KiB",
            worst(&|one| one.connection_kib),
        ),
        judged(
            "start to first reply",
            10.0,
            "ms",
            worst(&|one| one.start_ms),
        ),
        judged(
            "binary with everything",
            40.0,
            "MB",
            worst(&|one| one.binary_bytes as f64 / 1e6),
        ),
    ]
}
