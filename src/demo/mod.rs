//! `meltemi demo`: shows the main job on one machine. It has small services in two versions, a
//! router in front of them, clients that send real requests, and a table of the versions that
//! replied.
//!
//! It is also an example: `stage` starts controller and router as an embedding program would, and
//! `speech` shows the bytes that the codecs turn into messages.

mod client;
mod flow;
mod ports;
mod screen;
mod service;
mod speech;
mod stage;
mod tally;
mod wire;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meltemi_controller::Builtins;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::cli::DemoArguments;
use crate::terminal::{fail, print_bytes};
use client::Client;
use flow::FLOWS;
use screen::Screen;
use stage::Stage;
use tally::Tally;

/// The names of the services: the labels of `demo.yaml`.
const VERSIONS: [&str; 2] = ["v1", "v2"];

/// The duration of `--once`.
const ONCE: Duration = Duration::from_secs(10);
/// Clients per flow, each with a connection of its own.
const CLIENTS: u64 = 2;
/// How long the last responses may take.
const LAST: Duration = Duration::from_secs(6);

/// Runs the demo. Exit code 0 if every reply was right and, with `--once`, the split was as
/// configured.
pub(crate) fn demo(arguments: &DemoArguments, builtins: &Builtins) -> ExitCode {
    if arguments.config {
        return print_bytes(ports::CONFIGURATION.as_bytes());
    }
    // The screen is for the table: only errors are logged.
    if let Err(what) = crate::run::start_log("error") {
        return fail(what);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let shown = match runtime {
        Ok(runtime) => runtime.block_on(show(arguments.once, builtins)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => fail(what),
    }
}

/// Runs services, router and clients. Returns `true` if all went as configured.
async fn show(once: bool, builtins: &Builtins) -> Result<bool, String> {
    let stage = Stage::set(builtins)?;
    let tallies: Vec<Arc<Mutex<Tally>>> = FLOWS.iter().map(|_| Arc::default()).collect();
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    let mut first_number = 0;
    for (flow, tally) in FLOWS.iter().zip(&tallies) {
        for _ in 0..CLIENTS {
            first_number += 1_000_000;
            let client = Client {
                protocol: stage.protocol(flow.speech)?,
                flow,
                router: stage.router(flow.speech)?,
                tally: Arc::clone(tally),
                number: first_number,
            };
            clients.spawn(client.run(stopped.clone()));
        }
    }

    let mut screen = Screen::new();
    // A closed pipe (`| head`) is no failure: the demo continues without output.
    let _ = screen.invite(stage.ports());
    let told_to_end = watch_until_end(&mut screen, once, &tallies).await;
    // Fails only if all clients have ended.
    let _ = stop.send(true);
    let all_in_time = timeout(LAST, async { while clients.join_next().await.is_some() {} }).await;

    let good = screen.sum_up(&snapshot(&tallies)).unwrap_or(true);
    stage.end().await;
    Ok(told_to_end || (good && all_in_time.is_ok()))
}

/// Draws until the time is over (returns `false`) or the user ends it (returns `true`).
async fn watch_until_end(screen: &mut Screen, once: bool, tallies: &[Arc<Mutex<Tally>>]) -> bool {
    let started = Instant::now();
    let mut pace = interval(screen.pace());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and there is nothing to show yet.
    pace.tick().await;
    let ctrl_c = tokio::signal::ctrl_c();
    tokio::pin!(ctrl_c);
    loop {
        tokio::select! {
            _ = pace.tick() => {
                let _ = screen.draw(started.elapsed(), &snapshot(tallies));
            }
            () = sleep_until(started + ONCE), if once => return false,
            _ = &mut ctrl_c => return true,
        }
    }
}

fn snapshot(tallies: &[Arc<Mutex<Tally>>]) -> Vec<Tally> {
    let lock =
        |tally: &Arc<Mutex<Tally>>| tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tallies.iter().map(lock).collect()
}
