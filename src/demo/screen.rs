//! Shows the counts of the demo: a table that is redrawn in place, or one line per second if there
//! is no terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};

use super::flow::{FLOWS, Flow};
use super::ports::Ports;
use super::tally::Tally;
use crate::terminal::{DIM, ERROR, GOOD, out};

const BAR: usize = 10;

/// The screen.
pub(super) struct Screen {
    live: bool,
    /// The number of lines of the drawn table.
    drawn: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        let stdout = io::stdout();
        // Redrawing needs escape sequences.
        let escapes = AutoStream::choice(&stdout) != ColorChoice::Never;
        Self {
            live: stdout.is_terminal() && escapes,
            drawn: 0,
        }
    }

    /// Returns how often to draw.
    pub(super) fn pace(&self) -> Duration {
        Duration::from_millis(if self.live { 250 } else { 1000 })
    }

    /// Prints the addresses to which users can connect.
    pub(super) fn invite(&self, ports: &Ports) -> io::Result<()> {
        let [dubbo, thrift, redis, quill] = super::ports::PLACES
            .each_ref()
            .map(|one| ports.of(one.router));
        let mut out = out();
        writeln!(
            out,
            "Meltemi routes four protocols on loopback; each has a service of version v1 and one of v2."
        )?;
        writeln!(out, "Connect your own client:")?;
        writeln!(
            out,
            "  redis    redis-cli -p {redis} get user:7     (or order:7)"
        )?;
        writeln!(
            out,
            "  dubbo    dubbo://127.0.0.1:{dubbo}/demo.Greeter     String greet(String)"
        )?;
        writeln!(
            out,
            "  thrift   127.0.0.1:{thrift}, framed binary     string search(1: string name)"
        )?;
        writeln!(out, "  quill    127.0.0.1:{quill}")?;
        writeln!(
            out,
            "{DIM}`meltemi demo --config` prints the configuration. Ctrl-C ends.{DIM:#}\n"
        )
    }

    /// Draws the current counts.
    pub(super) fn draw(&mut self, elapsed: Duration, tallies: &[Tally]) -> io::Result<()> {
        if self.live {
            self.table(elapsed, tallies)
        } else {
            line(elapsed, tallies)
        }
    }

    fn table(&mut self, elapsed: Duration, tallies: &[Tally]) -> io::Result<()> {
        let mut text = String::new();
        if self.drawn > 0 {
            // Moves to the first line of the table, and clears everything below.
            text.push_str(&format!("\x1b[{}F\x1b[J", self.drawn));
        }
        let head = [
            "protocol", "route", "requests", "replies", "v1", "v2", "p50",
        ];
        let [protocol, route, about, replies, v1, v2, p50] = head;
        text.push_str(&format!(
            "{DIM}{protocol:<9}{route:<8}{about:<16}{replies:>8}   {v1:<18}{v2:<18}{p50:>8}   after {} s{DIM:#}\n",
            elapsed.as_secs()
        ));
        for (flow, tally) in FLOWS.iter().zip(tallies) {
            text.push_str(&row(flow, tally));
        }
        self.drawn = FLOWS.len() + 1;
        let mut out = out();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Prints the result. Returns `true` if it is as configured.
    pub(super) fn sum_up(&self, tallies: &[Tally]) -> io::Result<bool> {
        let mut out = out();
        let mut good = true;
        writeln!(out)?;
        for (flow, tally) in FLOWS.iter().zip(tallies) {
            let (name, total) = (name(flow), tally.total());
            match tally.check(flow.v2) {
                Ok(()) => writeln!(
                    out,
                    "{GOOD}ok{GOOD:#}     {name:<15}{total:>7} replies, {}; configured: {}",
                    shares(tally.share(1)),
                    shares(flow.v2)
                )?,
                Err(what) => {
                    good = false;
                    writeln!(
                        out,
                        "{ERROR}failed{ERROR:#} {name:<15}{total:>7} replies; {what}"
                    )?;
                }
            }
        }
        Ok(good)
    }
}

fn row(flow: &Flow, tally: &Tally) -> String {
    let shown = |version| {
        let share = tally.share(version);
        let full = (share * BAR as f64).round() as usize;
        format!("{:>5.1} % {:<BAR$}", share * 100.0, "█".repeat(full))
    };
    let errors = match &tally.last_error {
        Some(error) => format!("   {ERROR}{} wrong: {error:.40}{ERROR:#}", tally.errors),
        None => String::new(),
    };
    format!(
        "{:<9}{:<8}{:<16}{:>8}   {}{}{:>5.2} ms{errors}\n",
        flow.speech.protocol,
        flow.route,
        flow.about,
        tally.total(),
        shown(0),
        shown(1),
        tally.median_ms().unwrap_or(0.0),
    )
}

fn line(elapsed: Duration, tallies: &[Tally]) -> io::Result<()> {
    let flows = FLOWS.iter().zip(tallies).map(|(flow, tally)| {
        let errors = match tally.errors {
            0 => String::new(),
            errors => format!(" {errors} wrong"),
        };
        let (name, [v1, v2]) = (name(flow), tally.counts);
        format!("{name} {v1}+{v2}{errors}")
    });
    let flows: Vec<String> = flows.collect();
    writeln!(out(), "{:>3} s  {}", elapsed.as_secs(), flows.join("  "))
}

fn name(flow: &Flow) -> String {
    format!("{}/{}", flow.speech.protocol, flow.route)
}

fn shares(v2: f64) -> String {
    format!("{:.1} % v1, {:.1} % v2", (1.0 - v2) * 100.0, v2 * 100.0)
}
