//! What is measured: every target with its configuration and command line.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use meltemi_bench::wire::{INTERFACE, LANE, Protocol};
use meltemi_bench::{os, stall};

use crate::child::{Child, free_address};
use crate::envoy::{self, Filter};
use crate::mesh::Mesh;
use crate::tools::Tools;

/// One way from the client to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    kind: Kind,
    pub(crate) what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Direct,
    Relay(&'static str),
    Haproxy,
    Twemproxy,
    Envoy(Filter),
    Meltemi(Ours),
}

/// How Meltemi is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    /// Everything to one cluster.
    All,
    /// By method, with this sharing.
    Method(Option<&'static str>),
    /// By interface and method.
    Interface,
    /// By an attachment.
    Attachment,
}

/// The target that every ratio is to.
pub(crate) const RELAY: &str = "relay";
/// Envoy's own filter for the protocol.
pub(crate) const ENVOY: &str = "envoy";
/// Meltemi with its defaults.
pub(crate) const MELTEMI: &str = "meltemi";

const fn target(protocol: Protocol, name: &'static str, kind: Kind, what: &'static str) -> Target {
    Target {
        name,
        protocol,
        kind,
        what,
    }
}

/// All of them, in the order of the report.
pub(crate) const TARGETS: &[Target] = {
    use Protocol::{Dubbo, Redis, Thrift};
    &[
        target(Redis, "direct", Kind::Direct, "no proxy"),
        target(
            Redis,
            RELAY,
            Kind::Relay("plain"),
            "copies bytes, looks at none",
        ),
        target(
            Redis,
            "relay-tuned",
            Kind::Relay("tuned"),
            "the same, stops after a short read",
        ),
        target(Redis, "haproxy", Kind::Haproxy, "HAProxy, `mode tcp`"),
        target(
            Redis,
            "envoy-tcp",
            Kind::Envoy(Filter::Tcp),
            "Envoy's `tcp_proxy`",
        ),
        target(
            Redis,
            "twemproxy",
            Kind::Twemproxy,
            "twemproxy (nutcracker)",
        ),
        target(
            Redis,
            ENVOY,
            Kind::Envoy(Filter::Own),
            "Envoy's `redis_proxy`, one catch-all route",
        ),
        target(
            Redis,
            MELTEMI,
            Kind::Meltemi(Ours::All),
            "Meltemi, one route",
        ),
        target(Thrift, "direct", Kind::Direct, "no proxy"),
        target(
            Thrift,
            RELAY,
            Kind::Relay("plain"),
            "copies bytes, looks at none",
        ),
        target(
            Thrift,
            ENVOY,
            Kind::Envoy(Filter::Own),
            "Envoy's `thrift_proxy`, by method",
        ),
        target(
            Thrift,
            "envoy-passthrough",
            Kind::Envoy(Filter::Passthrough),
            "the same with `payload_passthrough`",
        ),
        target(
            Thrift,
            MELTEMI,
            Kind::Meltemi(Ours::Method(None)),
            "Meltemi, by method; one request per upstream connection (default)",
        ),
        target(
            Thrift,
            "meltemi-pipelined",
            Kind::Meltemi(Ours::Method(Some("pipelined"))),
            "the same, upstream declared pipelined",
        ),
        target(
            Thrift,
            "meltemi-multiplexed",
            Kind::Meltemi(Ours::Method(Some("multiplexed"))),
            "the same, upstream declared multiplexed",
        ),
        target(Dubbo, "direct", Kind::Direct, "no proxy"),
        target(
            Dubbo,
            RELAY,
            Kind::Relay("plain"),
            "copies bytes, looks at none",
        ),
        target(
            Dubbo,
            ENVOY,
            Kind::Envoy(Filter::Own),
            "Envoy's `dubbo_proxy`, by interface and method",
        ),
        target(
            Dubbo,
            "envoy-generic",
            Kind::Envoy(Filter::Generic),
            "Envoy's `generic_proxy` with its Dubbo codec, the same",
        ),
        target(
            Dubbo,
            MELTEMI,
            Kind::Meltemi(Ours::Interface),
            "Meltemi, by interface and method",
        ),
        target(
            Dubbo,
            "meltemi-attachment",
            Kind::Meltemi(Ours::Attachment),
            "Meltemi, by an attachment behind the arguments",
        ),
    ]
};

/// A target that runs.
pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    /// None: there is no proxy.
    pub(crate) process: Option<Child>,
    /// From its start to the first right reply.
    pub(crate) start: Duration,
}

impl Running {
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::pid)
    }
}

impl Target {
    /// Whether the program is installed.
    pub(crate) fn installed(&self, tools: &Tools) -> bool {
        self.program(tools).is_some()
    }

    /// The program; this one, if there is no proxy.
    pub(crate) fn program(&self, tools: &Tools) -> Option<String> {
        let path = match self.kind {
            Kind::Direct | Kind::Relay(_) => return Some(tools.own("relay")),
            Kind::Haproxy => tools.haproxy.as_ref(),
            Kind::Twemproxy => tools.twemproxy.as_ref(),
            Kind::Envoy(_) => tools.envoy.as_ref(),
            Kind::Meltemi(_) => Some(&tools.meltemi),
        };
        path.map(|path| path.display().to_string())
    }

    /// Whether it opens an upstream connection for every client.
    pub(crate) fn one_to_one(&self) -> bool {
        matches!(
            self.kind,
            Kind::Relay(_) | Kind::Haproxy | Kind::Envoy(Filter::Tcp)
        )
    }

    /// Starts it in front of a backend and waits for its first right reply.
    pub(crate) fn start(
        &self,
        tools: &Tools,
        backend: SocketAddr,
        directory: &Path,
    ) -> Result<Running> {
        let name = format!("{}-{}", self.protocol.name(), self.name);
        if self.kind == Kind::Direct {
            let start = Duration::ZERO;
            return Ok(Running {
                target: *self,
                address: backend,
                process: None,
                start,
            });
        }
        let address = free_address()?;
        let program = self.program(tools).context("not installed")?;
        let mut command = vec![program];
        let (text, extension) = self.config(address, backend)?;
        let file = directory.join(format!("{name}.{extension}"));
        std::fs::write(&file, text)?;
        command.extend(self.arguments(&file.display().to_string(), address, backend)?);
        let process = Child::proxy(&name, &command, directory)?;
        let start = stall::first_reply(self.protocol, address, process.started)
            .with_context(|| format!("{name}; see {name}.log in {}", directory.display()))?;
        Ok(Running {
            target: *self,
            address,
            process: Some(process),
            start,
        })
    }

    fn config(&self, listen: SocketAddr, backend: SocketAddr) -> Result<(String, &'static str)> {
        Ok(match self.kind {
            Kind::Direct | Kind::Relay(_) => (String::new(), "txt"),
            Kind::Haproxy => (haproxy(listen, backend), "cfg"),
            Kind::Twemproxy => (twemproxy(listen, backend), "yaml"),
            Kind::Envoy(filter) => (
                envoy::config(self.protocol, filter, listen, backend),
                "json",
            ),
            Kind::Meltemi(ours) => (meltemi(self.protocol, ours, listen, backend), "yaml"),
        })
    }

    fn arguments(
        &self,
        file: &str,
        listen: SocketAddr,
        backend: SocketAddr,
    ) -> Result<Vec<String>> {
        let line = match self.kind {
            Kind::Direct => String::new(),
            Kind::Relay(mode) => format!("{listen} {backend} --mode {mode}"),
            Kind::Haproxy => format!("-db -f {file}"),
            Kind::Twemproxy => format!("-c {file} -s {}", free_address()?.port()),
            Kind::Envoy(_) => format!("-c {file} --concurrency 1 -l warn --disable-hot-restart"),
            Kind::Meltemi(_) => return Ok(meltemi_arguments(file)),
        };
        Ok(line.split_whitespace().map(str::to_owned).collect())
    }
}

/// One worker, no admin server, no log of what is well.
pub(crate) fn meltemi_arguments(file: &str) -> Vec<String> {
    [
        "run",
        file,
        "--workers",
        "1",
        "--admin",
        "off",
        "--log",
        "warn",
    ]
    .map(str::to_owned)
    .into()
}

fn meltemi(protocol: Protocol, ours: Ours, listen: SocketAddr, backend: SocketAddr) -> String {
    let mesh = Mesh::new(protocol, listen).service("backend", &[backend]);
    let when: &[(&str, &str)] = match ours {
        Ours::All => &[],
        Ours::Method(_) => &[("method", LANE)],
        Ours::Interface => &[("interface", INTERFACE), ("method", LANE)],
        Ours::Attachment => &[("x-user", "beta")],
    };
    let mesh = mesh.route("backend", when, None);
    match ours {
        Ours::Method(Some(sharing)) => mesh.policy("backend", Some(sharing), serde_json::json!({})),
        _ => mesh,
    }
    .text()
}

fn haproxy(listen: SocketAddr, backend: SocketAddr) -> String {
    // It refuses to start if it could not open as many files as it may need.
    let most = (os::raise_file_limit() / 2).saturating_sub(100).min(60_000);
    format!(
        "global\n  nbthread 1\n  maxconn {most}\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen bench\n  bind {listen}\n  server backend {backend}\n"
    )
}

fn twemproxy(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "bench:\n  listen: {listen}\n  redis: true\n  hash: fnv1a_64\n  \
         distribution: ketama\n  auto_eject_hosts: false\n  servers:\n   - {backend}:1 backend\n"
    )
}
