//! A process that ends with the value that stands for it, on the core that it was given.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use meltemi_bench::wire::Protocol;

use crate::tools::Tools;

/// The core of proxies. Clients and backends have the other.
const PROXY_CORE: usize = 0;
const OUR_CORE: usize = 1;

/// A process that ends with this value.
pub(crate) struct Child {
    process: process::Child,
    pub(crate) started: Instant,
}

impl Child {
    /// Starts a proxy on its core; what it prints goes to `<name>.log`.
    pub(crate) fn proxy(name: &str, command: &[String], directory: &Path) -> Result<Self> {
        let log = File::create(directory.join(format!("{name}.log")))?;
        let mut pinned = pinned(PROXY_CORE, command)?;
        pinned
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = Instant::now();
        let process = pinned
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { process, started })
    }

    /// Starts a backend on our core, and says where it listens.
    pub(crate) fn backend(
        tools: &Tools,
        protocol: Protocol,
        address: Option<SocketAddr>,
        delay_ms: u64,
    ) -> Result<(Self, SocketAddr)> {
        let mut command = vec![
            tools.own("load"),
            "backend".to_owned(),
            protocol.name().to_owned(),
        ];
        command.extend(["--delay".to_owned(), delay_ms.to_string()]);
        command.extend(
            address
                .iter()
                .flat_map(|at| ["--address".to_owned(), at.to_string()]),
        );
        let mut pinned = pinned(OUR_CORE, &command)?;
        let started = Instant::now();
        let mut process = pinned.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let said = process.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let address = line.trim().parse().context("the backend does not listen")?;
        Ok((Self { process, started }, address))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it now, as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The command on one core. `taskset` becomes the program, so the process id is the program's.
fn pinned(core: usize, command: &[String]) -> Result<Command> {
    if cores() < 2 {
        let (program, arguments) = command.split_first().context("no program")?;
        let mut plain = Command::new(program);
        plain.args(arguments);
        return Ok(plain);
    }
    let mut taskset = Command::new("taskset");
    taskset.arg("-c").arg(core.to_string()).args(command);
    Ok(taskset)
}

/// Moves this process to the core of clients and backends.
pub(crate) fn pin_ourselves() -> Result<()> {
    if cores() < 2 {
        eprintln!("bench: there is one core only; nothing is pinned, and the ratios mean little");
        return Ok(());
    }
    let me = process::id().to_string();
    let mut taskset = Command::new("taskset");
    taskset.args(["-a", "-c", "-p", &OUR_CORE.to_string(), &me]);
    let status = taskset
        .stdout(Stdio::null())
        .status()
        .context("there is no taskset")?;
    anyhow::ensure!(status.success(), "cannot move to core {OUR_CORE}");
    Ok(())
}

/// How many cores there are, whatever this process is pinned to.
fn cores() -> usize {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("processor"))
        .count()
}

/// An address on loopback that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
