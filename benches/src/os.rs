//! What the kernel tells of processes and cores, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long one tick of /proc/stat is: USER_HZ is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process so far, user and system, all its threads; precise to nanoseconds where the
/// kernel keeps that. Zero if there is no such process.
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    let time = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let precise = threads
        .flatten()
        .filter_map(time)
        .map(Duration::from_nanos)
        .sum();
    if precise == Duration::ZERO {
        cpu_ticks(pid).unwrap_or_default()
    } else {
        precise
    }
}

fn cpu_ticks(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; user and system are fields 14 and 15.
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: u32 = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

/// CPU time of the whole machine so far: what ran on it, and what its host took away.
pub fn busy_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .flat_map(str::parse)
        .collect();
    // user nice system idle iowait irq softirq steal guest guest_nice
    let busy: u64 = [0, 1, 2, 5, 6, 7]
        .into_iter()
        .filter_map(|at| fields.get(at))
        .sum();
    Ok(TICK * u32::try_from(busy).context("a machine older than a year")?)
}

/// A line of /proc/PID/status in KiB, such as `VmRSS` or `VmHWM`. Zero if there is none.
pub fn memory_kib(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Lets this process, and those that it starts, open as many files as the system allows, and
/// says how many that is.
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let is = getrlimit(Resource::Nofile);
    // Root may go beyond the hard limit; others may reach it.
    for wanted in [Some(200_000), is.maximum] {
        let limit = Rlimit {
            current: wanted,
            maximum: wanted.max(is.maximum),
        };
        if setrlimit(Resource::Nofile, limit).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_time() {
        let me = std::process::id();
        let before = (cpu_time(me), busy_time().unwrap());
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        assert!(cpu_time(me) > before.0 && busy_time().unwrap() > before.1);
        assert!(memory_kib(me, "VmRSS") > 100);
    }
}
