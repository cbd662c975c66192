//! Many of everything: connections, routes, clusters, listeners; and messages of megabytes.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use meltemi_bench::load::{self, Options};
use meltemi_bench::wire::{LANE, Protocol};
use meltemi_bench::{os, stall};

use crate::bed::{Bed, Bench};
use crate::child::Child;
use crate::mesh::Mesh;
use crate::results::Check;
use crate::tools::Tools;

pub(crate) fn run(
    tools: &Tools,
    protocols: &[Protocol],
    quick: bool,
    directory: &Path,
) -> Result<Vec<Check>> {
    let mut bench = Bench {
        tools,
        directory,
        quick,
        checks: Vec::new(),
    };
    for protocol in protocols.iter().copied() {
        connections(&mut bench, protocol)?;
        // One protocol tells it all: nothing of these depends on the codec.
        if protocol == Protocol::Dubbo {
            routes(&mut bench, protocol)?;
            clusters(&mut bench, protocol)?;
            listeners(&mut bench, protocol)?;
        }
        // Dubbo's limit is 8 MiB, and its payloads here are smaller.
        if protocol != Protocol::Dubbo {
            large(&mut bench, protocol, 1 << 20, 4)?;
        }
        // Requests of this size are refused; replies are not.
        if protocol == Protocol::Redis {
            large(&mut bench, protocol, 64 << 20, 1)?;
        }
    }
    Ok(bench.checks)
}

fn connections(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    // Both ends of a connection are files, but of two processes.
    let most = os::raise_file_limit().saturating_sub(500) as usize;
    let count = if bench.quick { 1000 } else { 10_000 }.min(most);
    let scenario = format!("{count} idle clients");
    for name in ["meltemi", "envoy", "twemproxy"] {
        let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
        let Some(bed) = bench.peer(protocol, name, backend)? else {
            continue;
        };
        let before = bed.run(Duration::from_secs(1))?;
        let rest = bed.memory_mib();
        let clients = stall::idle(protocol, bed.address, count)?;
        let each = (bed.memory_mib() - rest) * 1024.0 / clients.len() as f64;
        bench.note(&bed, &scenario, "memory for each", each, "KiB", Some(1.0));
        let beside = bed.run(Duration::from_secs(1))?;
        let ratio = beside.cpu_us / before.cpu_us;
        bench.note(
            &bed,
            &scenario,
            "CPU time for others' requests",
            ratio,
            "×",
            Some(1.2),
        );
    }
    Ok(())
}

/// What a configuration costs beside a small one.
fn compare(
    bench: &mut Bench<'_>,
    scenario: &str,
    small: &Bed,
    large: &Bed,
    kib_each: (f64, f64),
) -> Result<()> {
    let (count, bound) = kib_each;
    let start = large.start.as_secs_f64() * 1e3;
    bench.note(
        large,
        scenario,
        "start to first reply",
        start,
        "ms",
        Some(1000.0),
    );
    let each = (large.memory_mib() - small.memory_mib()) * 1024.0 / count;
    bench.note(large, scenario, "memory for each", each, "KiB", Some(bound));
    let time = Duration::from_millis(if bench.quick { 500 } else { 2000 });
    let deep = |bed: &Bed| {
        load::run(&Options {
            depth: 16,
            ..bed.load(time)
        })
    };
    let ratio = deep(large)?.cpu_us / deep(small)?.cpu_us;
    bench.note(
        large,
        scenario,
        "CPU time, to that with one",
        ratio,
        "×",
        Some(1.3),
    );
    Ok(())
}

/// The one that matches is the last of ten thousand.
fn routes(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    let count = if bench.quick { 1000 } else { 10_000 };
    let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
    let bed = |count: usize| {
        bench.meltemi(protocol, |listen| {
            let mesh = Mesh::new(protocol, listen).service("backend", &[backend]);
            let names = (1..count).map(|number| format!("method-{number}"));
            let mesh = names.fold(mesh, |mesh, name| {
                mesh.route("backend", &[("method", &name)], None)
            });
            mesh.route("backend", &[("method", LANE)], None)
        })
    };
    let (small, large) = (bed(1)?, bed(count)?);
    compare(
        bench,
        &format!("{count} routes"),
        &small,
        &large,
        (count as f64, 4.0),
    )
}

fn clusters(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    let count = if bench.quick { 100 } else { 1000 };
    let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
    let bed = |count: usize| {
        bench.meltemi(protocol, |listen| {
            let names: Vec<String> = (0..count)
                .map(|number| format!("service-{number}"))
                .collect();
            let mesh = Mesh::new(protocol, listen);
            let mesh = names
                .iter()
                .fold(mesh, |mesh, name| mesh.service(name, &[backend]));
            let routed = names.iter().skip(1).fold(mesh, |mesh, name| {
                mesh.route(name, &[("method", name)], None)
            });
            routed.route("service-0", &[("method", LANE)], None)
        })
    };
    let (small, large) = (bed(1)?, bed(count)?);
    compare(
        bench,
        &format!("{count} clusters"),
        &small,
        &large,
        (count as f64, 32.0),
    )
}

fn listeners(bench: &mut Bench<'_>, protocol: Protocol) -> Result<()> {
    let count = if bench.quick { 100 } else { 1000 };
    let (_backend, backend) = Child::backend(bench.tools, protocol, None, 0)?;
    let addresses = free_addresses(count)?;
    let start = Instant::now();
    let one = |extra: &[SocketAddr]| {
        bench.meltemi(protocol, |listen| {
            let mut mesh = Mesh::new(protocol, listen).service("backend", &[backend]);
            // The port of the first is chosen later, and may be one that was free then.
            let others = extra.iter().filter(|address| **address != listen);
            for (number, address) in others.enumerate() {
                mesh.listener(&format!("gw-{number}"), *address);
            }
            mesh.route("backend", &[], None)
        })
    };
    let small = one(&[])?;
    let large = one(&addresses)?;
    let scenario = format!("{count} listeners");
    compare(bench, &scenario, &small, &large, (count as f64, 16.0))?;
    for address in &addresses {
        stall::once(protocol, *address, Duration::from_secs(5))?;
    }
    let all = start.elapsed().as_secs_f64();
    bench.note(&large, &scenario, "until each had answered", all, "s", None);
    Ok(())
}

/// Addresses that nobody listens on, all different.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let bound: std::io::Result<Vec<_>> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    bound?
        .iter()
        .map(|listener| Ok(listener.local_addr()?))
        .collect()
}

/// Messages that nobody should hold whole.
fn large(bench: &mut Bench<'_>, protocol: Protocol, size: usize, connections: usize) -> Result<()> {
    let (backend_process, backend) = Child::backend(bench.tools, protocol, None, 0)?;
    let scenario = format!("messages of {} MiB", size >> 20);
    let mut relay = None;
    for name in ["relay", "envoy", "twemproxy", "meltemi"] {
        let Some(bed) = bench.peer(protocol, name, backend)? else {
            continue;
        };
        let time = Duration::from_secs(if bench.quick { 1 } else { 3 });
        let others = vec![backend_process.pid()];
        let rest = bed.memory_mib();
        let options = Options {
            connections,
            size,
            others,
            tolerant: true,
            ..bed.load(time)
        };
        let outcome = load::run(&options)?;
        let harmed = outcome.failed + outcome.cut;
        bench.note(
            &bed,
            &scenario,
            "failed or cut off",
            harmed as f64,
            "",
            Some(0.0),
        );
        let rate = outcome.rate * (size >> 20) as f64;
        bench.note(&bed, &scenario, "throughput", rate, "MiB/s", None);
        let cpu = outcome.cpu_us / (size >> 20) as f64;
        let relay = *relay.get_or_insert(cpu);
        bench.note(
            &bed,
            &scenario,
            "CPU time for a MiB",
            cpu,
            "µs",
            Some(relay * 1.5),
        );
        let grown = bed.peak_mib() - rest;
        bench.note(
            &bed,
            &scenario,
            "memory grew by at most",
            grown,
            "MiB",
            Some(32.0),
        );
    }
    Ok(())
}
