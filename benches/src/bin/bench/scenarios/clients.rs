//! Clients that misbehave: they do not read, they dribble, they ask for too much at once.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use meltemi_bench::load::{self, Options};
use meltemi_bench::stall;
use meltemi_bench::wire::Protocol;
use serde_json::json;

use crate::bed::{Bed, Bench};
use crate::child::Child;
use crate::mesh::Mesh;

fn peers(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Redis => &["meltemi", "envoy", "twemproxy"],
        Protocol::Thrift | Protocol::Dubbo => &["meltemi", "envoy"],
    }
}

/// One client asks for hundreds of megabytes and reads nothing.
pub(super) fn slow_reader(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    for name in peers(protocol) {
        let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
        let Some(bed) = bench.peer(protocol, name, backend)? else {
            continue;
        };
        let scenario = "a client that does not read";
        let before = bed.run(bench.time())?;
        let memory = bed.memory_mib();
        let during = thread::scope(|scope| {
            let reader = scope.spawn(|| stall::unread(protocol, bed.address, 40_000, 16 << 10));
            let others = tolerant(&bed, bench.time() * 2);
            drop(reader.join());
            others
        })?;
        bench.felt(&bed, scenario, &before, &during);
        bench.memory(&bed, scenario, memory);
    }
    Ok(())
}

/// The others, who go on whatever happens.
fn tolerant(bed: &Bed, duration: Duration) -> Result<load::Outcome> {
    load::run(&Options {
        tolerant: true,
        ..bed.load(duration)
    })
}

/// Hundreds of clients send half of a request and no more.
pub(super) fn slow_senders(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    for name in peers(protocol) {
        let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
        let Some(bed) = bench.peer(protocol, name, backend)? else {
            continue;
        };
        let scenario = "500 half requests of 64 KiB";
        let before = bed.run(bench.time())?;
        let memory = bed.memory_mib();
        let halves: Result<Vec<_>> = (0..500)
            .map(|_| stall::half(protocol, bed.address, 60 << 10))
            .collect();
        let during = tolerant(&bed, bench.time())?;
        drop(halves?);
        bench.felt(&bed, scenario, &before, &during);
        bench.memory(&bed, scenario, memory);
    }
    Ok(())
}

/// Thousands of requests at once, where a few hundred are allowed: each gets an answer.
pub(super) fn burst(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
    let limits = json!({"requests": 200, "pending": 100, "connections": 50});
    let bed = bench.meltemi(protocol, |listen| {
        let mesh = Mesh::new(protocol, listen).service("backend", &[backend]);
        mesh.policy("backend", None, limits)
            .route("backend", &[], None)
    })?;
    let scenario = "4096 requests at once, 200 allowed";
    let memory = bed.memory_mib();
    let burst = Options {
        connections: 64,
        depth: 64,
        tolerant: true,
        ..bed.load(bench.time())
    };
    let during = load::run(&burst)?;
    let unanswered = (during.lost as u64 + during.cut + during.wrong) as f64;
    bench.note(
        &bed,
        scenario,
        "requests without an answer",
        unanswered,
        "",
        Some(0.0),
    );
    bench.note(
        &bed,
        scenario,
        "connections closed",
        during.closed as f64,
        "",
        Some(0.0),
    );
    let good = during.replies as f64;
    let part = 100.0 * during.failed as f64 / (good + during.failed as f64).max(1.0);
    bench.note(&bed, scenario, "requests told: overloaded", part, "%", None);
    bench.note(
        &bed,
        scenario,
        "good replies per second",
        during.rate,
        "",
        None,
    );
    bench.memory(&bed, scenario, memory);
    let after = bed.run(bench.time())?;
    bench.unharmed(&bed, "after that burst", &after);
    Ok(())
}
