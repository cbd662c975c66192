//! The machine, in a few words for the report.

use std::fs;

/// Name and value.
pub(crate) fn describe() -> Vec<(String, String)> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name))?;
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
    };
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let guest = if cpus.contains(" hypervisor") {
        ", a virtual machine"
    } else {
        ""
    };
    let model = field("model name").unwrap_or_else(|| "unknown processor".to_owned());
    let clock = field("cpu MHz")
        .map(|mhz| format!(", {mhz} MHz"))
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: u64 = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or_default();
    [
        ("Processor", format!("{model}{clock}; {cores} cores{guest}")),
        ("Memory", format!("{} GiB", memory >> 20)),
        ("Kernel", kernel.trim().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
