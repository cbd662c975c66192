//! What targets take without load: time to start, memory at rest, memory for a connection at rest.

use std::path::Path;

use anyhow::Result;
use meltemi_bench::wire::Protocol;
use meltemi_bench::{os, stall};

use crate::child::Child;
use crate::results::Footprint;
use crate::targets::{TARGETS, Target};
use crate::tools::Tools;

/// Measures every target with a process of its own.
pub(crate) fn run(
    tools: &Tools,
    protocols: &[Protocol],
    connections: usize,
    starts: usize,
    directory: &Path,
) -> Result<Vec<Footprint>> {
    let mut found = Vec::new();
    for target in TARGETS
        .iter()
        .filter(|target| protocols.contains(&target.protocol))
    {
        if target.installed(tools) && target.name != "direct" {
            let one = measure(tools, target, connections, starts, directory)?;
            println!(
                "{:6} {:20} start {:7.1} ms  idle {:7} KiB  connection {:6.2} KiB  binary {:6.1} MB",
                one.protocol.name(),
                one.target,
                one.start_ms,
                one.idle_kib,
                one.connection_kib,
                one.binary_bytes as f64 / 1e6
            );
            found.push(one);
        }
    }
    Ok(found)
}

fn measure(
    tools: &Tools,
    target: &Target,
    connections: usize,
    starts: usize,
    directory: &Path,
) -> Result<Footprint> {
    let (_backend, address) = Child::backend(tools, target.protocol, None, 0)?;
    let mut times = Vec::new();
    for _ in 1..starts {
        times.push(target.start(tools, address, directory)?.start.as_secs_f64() * 1e3);
    }
    let running = target.start(tools, address, directory)?;
    times.push(running.start.as_secs_f64() * 1e3);
    times.sort_by(f64::total_cmp);
    let pid = running.pid().unwrap_or_default();
    let idle_kib = os::memory_kib(pid, "VmRSS");
    let clients = stall::idle(target.protocol, running.address, connections)?;
    let with_clients = os::memory_kib(pid, "VmRSS");
    let program = target.program(tools).unwrap_or_default();
    Ok(Footprint {
        protocol: target.protocol,
        target: target.name.to_owned(),
        start_ms: times.get(times.len() / 2).copied().unwrap_or_default(),
        idle_kib,
        connection_kib: with_clients.saturating_sub(idle_kib) as f64 / clients.len().max(1) as f64,
        connections,
        one_to_one: target.one_to_one(),
        binary_bytes: std::fs::metadata(program).map_or(0, |file| file.len()),
    })
}
