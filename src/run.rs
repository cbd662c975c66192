//! `meltemi run`: router and controller in one process.

use std::process::ExitCode;
use std::time::Duration;

use meltemi_config::{Config, Severity};
use meltemi_controller::{Builtins, Outcome, Watch, dump};
use meltemi_proxy::{
    AccessLog, Admin, AdminOptions, LogFormat, LogTarget, MemoryBound, Options, Proxy, Tracing,
    default_bound,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{LineFormat, RunArguments, Switch};
use crate::terminal::fail;

/// How often the sources are polled for changes. Polling detects changes that notifications miss,
/// such as swapped links in mounted folders.
const WATCH: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &RunArguments, builtins: &Builtins) -> ExitCode {
    if let Err(what) = start_log(&arguments.log) {
        return fail(what);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve(arguments, builtins)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => fail(what),
    }
}

/// Starts the process log, on standard error.
pub(crate) fn start_log(filter: &str) -> Result<(), String> {
    use std::io::IsTerminal as _;
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| format!("--log `{filter}`: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| format!("cannot start the log: {error}"))
}

async fn serve(arguments: &RunArguments, builtins: &Builtins) -> Result<(), String> {
    // First of all: a signal during the start must not be lost.
    let (mut hangup, mut signals) =
        Signals::new().map_err(|error| format!("cannot listen to signals: {error}"))?;
    raise_open_files();
    let mut sources = Watch::new(arguments.paths.clone());
    let (proxy, admin) = start(arguments, builtins)?;
    if let Switch::On(address) = arguments.admin {
        let (socket, address) = admin
            .bind(address)
            .await
            .map_err(|error| error.to_string())?;
        tracing::info!(%address, "admin server started");
        tokio::spawn(admin.clone().serve(socket));
    }
    for (name, address) in proxy.addresses() {
        tracing::info!(listener = %name, %address, "listener started");
    }
    admin.set_ready(true);
    tracing::info!("proxy ready");
    let mut watch = tokio::time::interval(WATCH);
    watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = watch.tick() => {
                if sources.changed() {
                    reload(&proxy, &admin, arguments, builtins);
                }
            }
            _ = hangup.recv() => {
                // The contents that are read now are not a later change.
                sources = Watch::new(arguments.paths.clone());
                reload(&proxy, &admin, arguments, builtins);
            }
            () = signals.end() => break,
        }
    }
    admin.set_ready(false);
    tracing::info!(connections = proxy.connections(), "proxy draining");
    tokio::select! {
        all = proxy.drain(arguments.drain_timeout) => {
            if all {
                tracing::info!("proxy drained");
            } else {
                tracing::warn!(connections = proxy.connections(), "drain timeout: remaining connections are closed");
            }
        }
        () = signals.end() => tracing::warn!("second signal: the process ends at once"),
    }
    Ok(())
}

/// Raises the soft limit of open files to the hard limit, as servers do: every connection is an
/// open file.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::info!(limit, "limit of open files of this process"),
        Err(error) => tracing::warn!(
            %error,
            "limit of open files cannot be raised; connections above it are refused"
        ),
    }
}

/// Starts with the current sources. Afterwards, only the compiled configuration is kept.
fn start(arguments: &RunArguments, builtins: &Builtins) -> Result<(Proxy, Admin), String> {
    let outcome = meltemi_controller::load(&arguments.paths, builtins);
    log_problems(&outcome);
    let Some(config) = &outcome.config else {
        return Err(
            "the configuration is refused; `meltemi check` reports the same problems".to_owned(),
        );
    };
    let memory = match arguments.memory {
        Some(bytes) => MemoryBound {
            bytes,
            origin: "--memory".to_owned(),
        },
        None => default_bound(),
    };
    tracing::info!(
        bytes = memory.bytes,
        from = memory.origin,
        "memory: the bound of bytes that wait for clients and upstreams"
    );
    let options = Options {
        memory: Some(memory.bytes),
        workers: arguments.workers,
        access_log: access_log(arguments)?,
        tracing: tracing(arguments),
    };
    let proxy = Proxy::start(config, &options).map_err(|error| error.to_string())?;
    let admin = Admin::new(
        &proxy,
        AdminOptions {
            hosts: arguments.admin_hosts.clone(),
            ..AdminOptions::default()
        },
    );
    admin.set_config(dump(&outcome.resources));
    Ok((proxy, admin))
}

/// Loads the current sources; a refused configuration changes nothing.
fn reload(proxy: &Proxy, admin: &Admin, arguments: &RunArguments, builtins: &Builtins) {
    let outcome = meltemi_controller::load(&arguments.paths, builtins);
    log_problems(&outcome);
    let Some(config) = &outcome.config else {
        tracing::error!("the new configuration is refused; the old one stays in effect");
        return;
    };
    if outcome.resources.is_empty() {
        // An editor truncates a file before it writes, or a folder is not mounted yet.
        tracing::error!("the new configuration has no document; the old one stays in effect");
        return;
    }
    if let Some(what) = closes_by_mistake(&outcome, config, proxy) {
        tracing::error!("{what}; the old configuration stays in effect");
        return;
    }
    match proxy.reload(config) {
        Ok(()) => {
            admin.set_config(dump(&outcome.resources));
            tracing::info!("configuration reloaded");
        }
        Err(error) => {
            tracing::error!(%error, "the new configuration is refused; the old one stays in effect");
        }
    }
}

/// Returns the reason to refuse a configuration that would close a live listener whose server is
/// still in the sources. To close the listener, users remove its server. `None` if there is no such
/// listener.
fn closes_by_mistake(outcome: &Outcome, config: &Config, proxy: &Proxy) -> Option<String> {
    let live = proxy.addresses();
    let mut servers = outcome.unserved.iter();
    let written = servers.find_map(|(address, origin)| {
        let (name, _) = live.iter().find(|(_, live)| live == address)?;
        Some(format!(
            "{origin}: the listener {name} is still written, and would close; remove the server to close it"
        ))
    });
    let none = config.listeners().is_empty() && !live.is_empty();
    written.or_else(|| none.then(|| "the new configuration has no listener".to_owned()))
}

fn log_problems(outcome: &Outcome) {
    for problem in &outcome.problems {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
            Severity::Note => tracing::info!("{problem}"),
        }
    }
}

fn access_log(arguments: &RunArguments) -> Result<Option<AccessLog>, String> {
    let Some(format) = arguments.access_log else {
        return Ok(None);
    };
    let format = match format {
        LineFormat::Json => LogFormat::Json,
        LineFormat::Text => LogFormat::Text,
    };
    let target = match &arguments.access_log_file {
        Some(path) => LogTarget::File(path.clone()),
        None => LogTarget::Stdout,
    };
    let opened = AccessLog::open(format, &target);
    opened
        .map(Some)
        .map_err(|error| format!("cannot write the access log: {error}"))
}

/// Returns the settings for traces. As in OpenTelemetry, an empty variable counts as not set.
fn tracing(arguments: &RunArguments) -> Option<Tracing> {
    let endpoint = arguments.otlp_endpoint.clone();
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty())?;
    let name = arguments.otlp_service_name.as_str();
    Some(Tracing {
        endpoint,
        service_name: if name.is_empty() { "meltemi" } else { name }.to_owned(),
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Returns SIGHUP, and the signals that end the process.
    fn new() -> std::io::Result<(Signal, Self)> {
        let hangup = signal(SignalKind::hangup())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok((
            hangup,
            Self {
                terminate,
                interrupt,
            },
        ))
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
