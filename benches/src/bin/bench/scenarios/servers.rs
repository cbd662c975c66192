//! Servers that misbehave: they are slow, they never answer, they die.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use meltemi_bench::load::{self, Options};
use meltemi_bench::wire::{BLOCK, HANG, LANE, Protocol, SLOW};

use crate::bed::Bench;
use crate::child::Child;
use crate::mesh::Mesh;

/// How late the slow server answers, ms.
const DELAY_MS: u64 = 300;

/// The attribute and value that a lane is told by.
fn lane(protocol: Protocol, lane: &str) -> (&'static str, String) {
    match protocol {
        Protocol::Redis => ("key", format!("{lane}:*")),
        Protocol::Thrift | Protocol::Dubbo => ("method", lane.to_owned()),
    }
}

/// One of two services is slow, and has more clients than the other.
pub(super) fn slow(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    let (_fast, fast) = Child::backend(bench.tools, protocol, None, 0)?;
    let (_slow, slow) = Child::backend(bench.tools, protocol, None, DELAY_MS)?;
    let (attribute, value) = lane(protocol, SLOW);
    let bed = bench.meltemi(protocol, |listen| {
        let mesh = Mesh::new(protocol, listen)
            .service("fast", &[fast])
            .service("slow", &[slow]);
        mesh.route("slow", &[(attribute, &value)], None)
            .route("fast", &[], None)
    })?;
    let scenario = "a slow server, 64 clients wait for it";
    let before = bed.run(bench.time())?;
    let memory = bed.memory_mib();
    let waiting = Options {
        connections: 64,
        lane: SLOW.to_owned(),
        tolerant: true,
        ..bed.load(bench.time() * 2)
    };
    let during = thread::scope(|scope| {
        let waiting = scope.spawn(|| load::run(&waiting));
        let others = bed.run(bench.time());
        drop(waiting.join());
        others
    })?;
    bench.felt(&bed, scenario, &before, &during);
    bench.memory(&bed, scenario, memory);
    Ok(())
}

/// One request is never answered. Where requests are answered in order, and the client does not
/// say that it will wait, those behind it on its connection wait until its time is out.
pub(super) fn hung(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    if protocol == Protocol::Redis {
        hung_lane(bench, protocol, BLOCK, "one BLPOP that blocks", false)?;
        return hung_lane(
            bench,
            protocol,
            HANG,
            "one GET that hangs, 0.5 s allowed",
            true,
        );
    }
    hung_lane(bench, protocol, HANG, "one request that hangs", false)
}

fn hung_lane(
    bench: &mut Bench<'_>,
    protocol: Protocol,
    hanging: &str,
    scenario: &str,
    delays: bool,
) -> Result<()> {
    let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
    let timeout = delays.then_some("500ms");
    let bed = bench.meltemi(protocol, |listen| {
        let mesh = Mesh::new(protocol, listen).service("backend", &[backend]);
        mesh.route("backend", &[], timeout)
    })?;
    let before = bed.run(bench.time())?;
    let one = Options {
        connections: 1,
        lane: hanging.to_owned(),
        tolerant: true,
        ..bed.load(Duration::from_millis(100))
    };
    let others = Options {
        tolerant: true,
        ..bed.load(bench.time() + Duration::from_secs(1))
    };
    let during = thread::scope(|scope| {
        let others = scope.spawn(|| load::run(&others));
        thread::sleep(Duration::from_millis(400));
        drop(load::run(&one));
        others.join().ok().context("the load ended early")?
    })?;
    if !delays {
        bench.felt(&bed, scenario, &before, &during);
        return Ok(());
    }
    bench.note(
        &bed,
        scenario,
        "the others' slowest reply",
        during.max / 1e3,
        "ms",
        Some(1000.0),
    );
    let hurt = (during.failed + during.cut + during.lost as u64) as f64;
    // Each of the sixteen can lose the one request that was behind it.
    bench.note(
        &bed,
        scenario,
        "requests of the others that failed",
        hurt,
        "",
        Some(16.0),
    );
    let after = bed.run(bench.time())?;
    bench.unharmed(&bed, "after that", &after);
    Ok(())
}

/// One of two servers dies under load, and comes back.
pub(super) fn dies(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    let (mut dying, first) = Child::backend(bench.tools, protocol, None, 0)?;
    let (_other, second) = Child::backend(bench.tools, protocol, None, 0)?;
    let (attribute, value) = lane(protocol, LANE);
    let bed = bench.meltemi(protocol, |listen| {
        let mesh = Mesh::new(protocol, listen).service("backend", &[first, second]);
        mesh.route("backend", &[(attribute, &value)], None)
    })?;
    let scenario = "one of two servers dies under load";
    let memory = bed.memory_mib();
    let depth = 4;
    let load = Options {
        depth,
        tolerant: true,
        ..bed.load(Duration::from_secs(3))
    };
    let during = thread::scope(|scope| {
        let others = scope.spawn(|| load::run(&load));
        thread::sleep(Duration::from_millis(900));
        dying.kill();
        others.join().ok().context("the load ended early")?
    })?;
    // What was in flight to it, and what met it before it was known to be gone.
    let bound = (load.connections * depth * 2) as f64;
    bench.note(
        &bed,
        scenario,
        "requests that failed",
        during.failed as f64,
        "",
        Some(bound),
    );
    bench.note(
        &bed,
        scenario,
        "client connections closed",
        during.closed as f64,
        "",
        Some(0.0),
    );
    let unanswered = during.lost as f64 + during.wrong as f64;
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
        "longest silence",
        during.silence_ms,
        "ms",
        Some(250.0),
    );
    bench.memory(&bed, scenario, memory);
    let (_back, _) = Child::backend(bench.tools, protocol, Some(first), 0)?;
    let after = bed.run(bench.time())?;
    bench.unharmed(&bed, "after it came back", &after);
    Ok(())
}
