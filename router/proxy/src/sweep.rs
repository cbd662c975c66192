//! Everything that happens because time passes: requests, slow frames, silence, heartbeats.

use std::rc::Rc;
use std::time::Duration;

use meltemi_frame::Fault;

use crate::stats::{cluster, listener};
use crate::worker::Worker;

/// How precise deadlines of requests are.
const FINE: Duration = Duration::from_millis(10);

/// How precise everything else is.
const COARSE: Duration = Duration::from_millis(250);

/// How long a heartbeat may take, in milliseconds.
const HEARTBEAT_MS: u64 = 10_000;

/// A connection of a draining listener that has been silent for this long is closed, in
/// microseconds: a request may have been on its way when it was told.
const QUIET_US: u64 = 200_000;

pub(crate) async fn run(worker: Rc<Worker>) {
    let mut last_coarse = tokio::time::Instant::now();
    loop {
        if worker.pending.get() {
            tokio::time::sleep(FINE).await;
        } else {
            tokio::select! {
                () = tokio::time::sleep(COARSE) => {}
                () = worker.wake_sweep.notified() => tokio::time::sleep(FINE).await,
            }
        }
        worker.tick();
        requests(&worker);
        if last_coarse.elapsed() >= COARSE {
            last_coarse = tokio::time::Instant::now();
            upstreams(&worker);
            downstreams(&worker);
            worker.finish_drain();
        }
    }
}

/// Requests whose time is out are answered.
fn requests(worker: &Rc<Worker>) {
    let now = worker.now_ms();
    let upstreams = worker.upstreams.borrow().clone();
    let mut pending = false;
    for upstream in upstreams.iter().filter_map(std::rc::Weak::upgrade) {
        for call in upstream.expire(now) {
            upstream.cluster.group.add(cluster::TIMEOUTS, 1);
            call.fail(
                Fault::Timeout,
                &format!("no answer from {} in time", upstream.endpoint.address),
            );
        }
        pending |= upstream.in_flight() > 0;
    }
    for state in worker.clusters() {
        for call in state.expired(now) {
            state.group.add(cluster::TIMEOUTS, 1);
            call.fail(Fault::Timeout, "no upstream connection became free in time");
        }
        pending |= state.has_waiting();
    }
    worker.pending.set(pending || worker.is_draining());
}

/// Silent connections are asked whether they are there, or closed.
fn upstreams(worker: &Rc<Worker>) {
    worker
        .upstreams
        .borrow_mut()
        .retain(|upstream| upstream.strong_count() > 0);
    let upstreams = worker.upstreams.borrow().clone();
    let now = worker.now_us();
    for upstream in upstreams.iter().filter_map(std::rc::Weak::upgrade) {
        let config = upstream.cluster.config.borrow().clone();
        let idle = Duration::from_micros(upstream.idle_us(now));
        if upstream.in_flight() > 0 || upstream.is_pinned() || !upstream.accepts() {
            continue;
        }
        if !config.idle_timeout.is_zero() && idle >= config.idle_timeout {
            upstream.drain();
        } else if !config.keepalive.is_zero()
            && idle >= config.keepalive
            && upstream.protocol.spec().heartbeat
        {
            upstream.ping(worker, worker.now_ms() + HEARTBEAT_MS);
            worker.something_pending();
        }
    }
}

/// Clients that are too slow, or silent for too long, are let go.
fn downstreams(worker: &Rc<Worker>) {
    worker
        .downstreams
        .borrow_mut()
        .retain(|(down, _)| down.strong_count() > 0);
    let downstreams = worker.downstreams.borrow().clone();
    let now = worker.now_us();
    for (down, watch) in &downstreams {
        let Some(down) = down.upgrade() else { continue };
        let limits = down.limits();
        let since = watch.partial_since_us.get();
        let patience = if watch.detecting.get() {
            limits.detect
        } else {
            limits.slow_frame
        };
        let slow = since > 0 && Duration::from_micros(now.saturating_sub(since)) >= patience;
        let silent = Duration::from_micros(now.saturating_sub(watch.active_us.get()));
        let idle = !limits.idle.is_zero()
            && silent >= limits.idle
            && down.in_flight() == 0
            && down.pinned().is_none();
        if slow {
            if watch.detecting.get() {
                down.group.add(listener::UNDETECTED, 1);
            } else {
                down.group.add(listener::SLOW, 1);
            }
            down.kill();
        } else if idle {
            down.kill();
        } else if watch.draining.get() && silent.as_micros() >= u128::from(QUIET_US) {
            // Its task closes it if nothing is in flight.
            down.wake();
        }
    }
}
