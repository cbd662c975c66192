//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use meltemi_config::Locality;

/// Routes Dubbo, Thrift, Redis and private protocols, request by request.
#[derive(Debug, Parser)]
#[command(name = "meltemi", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run router and controller in one process.
    Run(RunArguments),
    /// Check configuration and report every problem in it.
    Check(CheckArguments),
    /// Explain every decision on a request: policies, limits, the route and why not the others,
    /// changes, faults, copies, and the possible endpoints.
    Explain(ExplainArguments),
    /// Decode captured bytes, one line per message.
    Decode(DecodeArguments),
    /// Show a demo: built-in services in two versions, real traffic, live shares.
    Demo(DemoArguments),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print a reference page, as Markdown.
    Reference {
        /// Which page.
        what: Page,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Files or folders of YAML documents.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// The locality of this program (`region/zone/subzone`). It decides which endpoints are near.
    #[arg(long, env = "MELTEMI_LOCALITY", default_value = "", hide_default_value = true, value_parser = locality)]
    pub(crate) locality: Locality,
    /// Worker threads; 0: one per core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) workers: usize,
    /// Bound on the memory of data that waits for clients and upstreams, such as `256MiB` or
    /// `2GiB`. Above it, the connections that hold most are closed. Default: a quarter of the
    /// memory of the machine or of its control group, whichever is less.
    #[arg(long, value_name = "SIZE", env = "MELTEMI_MEMORY", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Address of the admin server (`/ready`, `/stats/prometheus`, `/config_dump`, `/clusters`).
    /// Port 0: any free port; `off`: no admin server.
    #[arg(long, default_value = "127.0.0.1:15000", value_name = "ADDRESS", value_parser = admin)]
    pub(crate) admin: Switch,
    /// A host name that the admin server accepts in the `Host` header, besides addresses and
    /// `localhost`. May be repeated.
    #[arg(long = "admin-host", value_name = "NAME")]
    pub(crate) admin_hosts: Vec<String>,
    /// Write one line per request.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) access_log: Option<LineFormat>,
    /// Append the access log to a file instead of standard output.
    #[arg(long, value_name = "FILE", requires = "access_log")]
    pub(crate) access_log_file: Option<PathBuf>,
    /// Export traces to this OTLP collector over gRPC, such as `http://127.0.0.1:4317`.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// The service name of this program in traces.
    #[arg(
        long,
        value_name = "NAME",
        env = "OTEL_SERVICE_NAME",
        default_value = "meltemi"
    )]
    pub(crate) otlp_service_name: String,
    /// How long requests may take to finish after SIGTERM, such as `30s`.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub(crate) drain_timeout: Duration,
    /// The log level: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as
    /// `meltemi_proxy=debug`.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub(crate) log: String,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Files or folders of YAML documents.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// The locality of this program (`region/zone/subzone`). It decides which endpoints are near.
    #[arg(long, env = "MELTEMI_LOCALITY", default_value = "", hide_default_value = true, value_parser = locality)]
    pub(crate) locality: Locality,
    /// Treat warnings as errors.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Files or folders of YAML documents.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// The locality of this program (`region/zone/subzone`). It decides which endpoints are near.
    #[arg(long, env = "MELTEMI_LOCALITY", default_value = "", hide_default_value = true, value_parser = locality)]
    pub(crate) locality: Locality,
    /// The listener that gets the request; not needed if there is only one.
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// The protocol, if the listener serves several.
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) protocol: Option<String>,
    /// An attribute of the request; may be repeated.
    #[arg(long = "attribute", short = 'a', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) attributes: Vec<(String, String)>,
    /// Read the requests from captured bytes instead (`-`: standard input).
    #[arg(long, value_name = "FILE", conflicts_with = "attributes")]
    pub(crate) capture: Option<PathBuf>,
    /// The client's address.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) source_ip: IpAddr,
    /// The client's identity, such as `spiffe://cluster.local/ns/default/sa/web`.
    #[arg(long, value_name = "URI")]
    pub(crate) principal: Option<String>,
    /// How to print the decision.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: LineFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArguments {
    /// The captured bytes of one direction of one connection; `-`: standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// The protocol; `auto`: detect it from the first bytes.
    #[arg(long, default_value = "auto", value_name = "PROTOCOL|auto")]
    pub(crate) protocol: String,
    /// The receiver of the bytes: a server (they are requests) or a client (they are responses).
    #[arg(long, default_value = "server")]
    pub(crate) side: SideArgument,
    /// How to print messages.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: LineFormat,
    /// Files or folders with ApplicationProtocol documents that describe further protocols.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) config: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Run for ten seconds and end with a summary.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print the configuration of the demo and exit.
    #[arg(long)]
    pub(crate) config: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineFormat {
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SideArgument {
    /// The bytes are requests.
    Server,
    /// The bytes are responses.
    Client,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Page {
    /// Every document and field.
    Configuration,
    /// Every metric.
    Metrics,
    /// Every protocol with its attributes.
    Protocols,
}

/// An address, or `off`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Switch {
    On(SocketAddr),
    Off,
}

fn admin(text: &str) -> Result<Switch, String> {
    if text == "off" {
        return Ok(Switch::Off);
    }
    text.parse()
        .map(Switch::On)
        .map_err(|_| "not an address and port such as 127.0.0.1:15000, nor `off`".to_owned())
}

fn locality(text: &str) -> Result<Locality, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || (!text.is_empty() && parts.iter().any(|part| part.is_empty())) {
        return Err("not of the form region/zone/subzone, region/zone or region".to_owned());
    }
    Ok(Locality::parse(text))
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "not of the form NAME=VALUE".to_owned())
}

/// The smallest bound on memory that leaves room for a few large messages.
const LEAST_MEMORY: u64 = 16 << 20;

fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let unit = units.iter().find_map(|(unit, shift)| {
        let number = text.strip_suffix(unit)?;
        Some((number, *shift))
    });
    let (number, shift) = unit.unwrap_or((text, 0));
    let bytes = number.parse::<u64>().ok();
    let bytes = bytes.and_then(|number| number.checked_mul(1 << shift));
    let bytes = bytes.ok_or_else(|| "not a size such as 268435456, 256MiB or 2GiB".to_owned())?;
    if bytes < LEAST_MEMORY {
        return Err("less than 16MiB, which a single message may need".to_owned());
    }
    Ok(bytes)
}

fn duration(text: &str) -> Result<Duration, String> {
    meltemi_config::parse_duration(text)
        .ok_or_else(|| "not a duration such as 250ms, 30s or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn localities_have_up_to_three_parts() {
        assert_eq!(
            locality("eu/a").map(|it| it.to_string()),
            Ok("eu/a".to_owned())
        );
        assert!(locality("").is_ok_and(|it| it.is_unknown()));
        assert!(
            locality("a/b/c/d").is_err() && locality("a//c").is_err() && locality("/").is_err()
        );
    }

    #[test]
    fn sizes_have_units_and_a_least_value() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("33554432"), Ok(32 << 20));
        for wrong in [
            "",
            "5",
            "1MiB",
            "256MB",
            "-1GiB",
            "99999999999TiB",
            "1.5GiB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err() && duration("xs").is_err());
    }
}
