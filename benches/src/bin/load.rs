//! A backend or a client by hand; `bench` does the same by itself.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use meltemi_bench::wire::{LANE, Protocol};
use meltemi_bench::{backend, load, os};

/// A server that answers every request, or clients that check every reply.
#[derive(Parser)]
enum Command {
    /// Answer requests; prints the address once it listens.
    Backend {
        /// redis, thrift or dubbo
        protocol: Protocol,
        /// Where to listen; port 0: a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        address: SocketAddr,
        /// How late to answer in the lane `slow`, in ms.
        #[arg(long, default_value_t = 100)]
        delay: u64,
    },
    /// Send requests; prints what it found as JSON.
    Client {
        /// redis, thrift or dubbo
        protocol: Protocol,
        /// Where to send them.
        address: SocketAddr,
        /// Connections.
        #[arg(short, long, default_value_t = 1)]
        connections: usize,
        /// Requests in flight on each; with --rate, the most.
        #[arg(short, long, default_value_t = 1)]
        depth: usize,
        /// Requests per second over all connections; none: as fast as replies come.
        #[arg(short, long)]
        rate: Option<f64>,
        /// Bytes of payload.
        #[arg(short, long, default_value_t = 32)]
        size: usize,
        /// The method, or the first part of the key: echo, slow, hang, block.
        #[arg(long, default_value = LANE)]
        lane: String,
        /// Seconds that are not counted.
        #[arg(long, default_value_t = 0.3)]
        warmup: f64,
        /// Seconds that are counted.
        #[arg(long, default_value_t = 1.5)]
        duration: f64,
        /// The process whose CPU time is told.
        #[arg(long)]
        watch: Option<u32>,
        /// Connections may break; they are made again.
        #[arg(long)]
        tolerant: bool,
    },
}

fn main() -> Result<()> {
    os::raise_file_limit();
    match Command::parse() {
        Command::Backend {
            protocol,
            address,
            delay,
        } => {
            let delay = Duration::from_millis(delay);
            backend::run(
                &backend::Options {
                    protocol,
                    address,
                    delay,
                },
                |address| {
                    println!("{address}");
                    // Whoever started this waits for the line.
                    let _ = std::io::stdout().flush();
                },
            )
        }
        Command::Client {
            protocol,
            address,
            connections,
            depth,
            rate,
            size,
            lane,
            warmup,
            duration,
            watch,
            tolerant,
        } => {
            let outcome = load::run(&load::Options {
                address,
                protocol,
                connections,
                depth,
                rate,
                size,
                lane,
                warmup: Duration::from_secs_f64(warmup),
                duration: Duration::from_secs_f64(duration),
                watch,
                others: Vec::new(),
                tolerant,
            })?;
            println!("{}", serde_json::to_string_pretty(&outcome)?);
            Ok(())
        }
    }
}
