//! The periodic work of a worker: request timeouts, slow messages, idle connections, heartbeats.

use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use meltemi_config::Cluster;
use meltemi_frame::Fault;

use crate::cluster::ClusterState;
use crate::context::ticker::COARSE;
use crate::dispatch::retry;
use crate::telemetry::stats::{cluster, listener};
use crate::upstream::Upstream;
use crate::worker::{Worker, relief};

/// The longest time for a heartbeat. Also how long a connection with requests in flight may receive
/// nothing before it gets a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The timeout of a heartbeat is at most this multiple of the keepalive interval.
const HEARTBEAT_FACTOR: u32 = 3;

/// A connection that is silent for this long releases memory, in microseconds.
const SILENT_US: u64 = 1_000_000;

pub(crate) async fn run(worker: Rc<Worker>) {
    let mut last_coarse = tokio::time::Instant::now();
    loop {
        worker.context.services.ticker.due().await;
        worker.context.tick();
        requests(&worker);
        if last_coarse.elapsed() >= COARSE {
            last_coarse = tokio::time::Instant::now();
            upstreams(&worker);
            downstreams(&worker);
            worker.context.services.memory.refresh();
            fitness(&worker);
            if !worker.context.services.ticker.is_pending() {
                worker.trim();
            }
            worker.finish_drain();
        }
    }
}

/// Answers the requests that timed out.
fn requests(worker: &Rc<Worker>) {
    let now = worker.context.now_ms();
    let upstreams = worker.connector.all();
    let mut pending = false;
    // A request that is sent after this point starts the ticker again.
    worker.context.services.ticker.set_idle();
    for upstream in upstreams {
        for call in upstream.expire(now) {
            upstream.cluster.group.add(cluster::TIMEOUTS, 1);
            retry::fail(
                &worker.context,
                call,
                Fault::Timeout,
                &format!("no answer from {} in time", upstream.endpoint.address),
            );
        }
        pending |= upstream.has_deadline();
    }
    for state in worker.clusters() {
        for call in state.expired(now) {
            state.group.add(cluster::TIMEOUTS, 1);
            let text = "no upstream connection became free in time";
            call.refuse(&worker.context, Fault::Timeout, text);
        }
        if state.has_waiting() {
            // Another worker may have freed a connection.
            state.serve_waiting(&worker.context);
            pending |= state.has_waiting();
        }
        state.make_way();
    }
    pending |= relief::relieve(worker);
    if pending || worker.is_draining() {
        worker.context.services.ticker.set_pending();
    }
}

/// Ejects outliers and readmits endpoints whose ejection time is over.
fn fitness(worker: &Worker) {
    for state in worker.clusters() {
        let Some(fleet) = state.fleet() else { continue };
        for (address, ejection) in fleet.sweep(worker.context.now_us()) {
            crate::cluster::registry::tell_ejection(&state.group, address, &ejection);
        }
    }
}

/// Sends heartbeats on silent connections, or closes them.
fn upstreams(worker: &Rc<Worker>) {
    worker.connector.prune();
    let upstreams = worker.connector.all();
    let now = worker.context.now_us();
    let mut sessions = Sessions::default();
    for upstream in upstreams {
        upstream.report();
        let config = Arc::clone(&upstream.cluster.config.borrow());
        if upstream.is_pinned() || !upstream.accepts() {
            continue;
        }
        let idle = Duration::from_micros(upstream.idle_us(now));
        let unheard = Duration::from_micros(upstream.unheard_us(now));
        let busy = upstream.in_flight() > 0;
        if idle >= Duration::from_micros(SILENT_US) {
            upstream.trim();
        }
        let heartbeat = !config.keepalive.is_zero() && upstream.protocol.spec().heartbeat;
        // A server with in-order replies answers a heartbeat only after the request that it works
        // on.
        let asks = heartbeat && !(busy && upstream.answers_in_order());
        // A connection that belongs to a client stays open, because the server may send requests.
        let owned = upstream.owner().is_some();
        if !owned && !busy && !config.idle_timeout.is_zero() && idle >= config.idle_timeout {
            upstream.drain();
        } else if !owned && !busy && is_unwanted(&upstream, &config, now) {
            if sessions.has_client(worker, &upstream) {
                upstream.spare(now);
            } else {
                upstream.endpoint.forget(&upstream);
                upstream.drain();
            }
        } else if asks
            && !upstream.is_asked()
            // Requests that are sent make a dead connection look active.
            && unheard >= config.keepalive.min(if busy { HEARTBEAT } else { Duration::MAX })
        {
            let patience = HEARTBEAT.min(config.keepalive.saturating_mul(HEARTBEAT_FACTOR));
            upstream.ping(worker.context.after(patience));
            worker.context.something_pending();
        }
    }
}

/// Returns `true` if a connection with a client session has been unused for so long that it must
/// close, unless a client with that session is connected.
fn is_unwanted(upstream: &Upstream, config: &Cluster, now_us: u64) -> bool {
    let patience = config.session_idle_timeout;
    !patience.is_zero()
        && Duration::from_micros(upstream.unwanted_us(now_us)) >= patience
        && !upstream.session().same(&config.login)
}

/// The sessions of connected clients, by cluster. Built only when needed.
#[derive(Default)]
struct Sessions(Vec<(Rc<ClusterState>, HashSet<u64>)>);

impl Sessions {
    /// Returns `true` if a connected client may use this connection again.
    fn has_client(&mut self, worker: &Worker, upstream: &Upstream) -> bool {
        let cluster = &upstream.cluster;
        let key = upstream.session().key();
        let mut known = self.0.iter();
        if let Some((_, keys)) = known.find(|(other, _)| Rc::ptr_eq(other, cluster)) {
            return keys.contains(&key);
        }
        let downstreams = worker.downstreams.borrow();
        let downstreams = downstreams.iter().filter_map(Weak::upgrade);
        let keys: HashSet<u64> = downstreams
            .filter(|down| !down.is_closed())
            .map(|down| down.upstream_session(cluster).key())
            .collect();
        let has = keys.contains(&key);
        self.0.push((Rc::clone(cluster), keys));
        has
    }
}

/// Closes the connections of clients that are too slow or silent for too long.
fn downstreams(worker: &Rc<Worker>) {
    worker
        .downstreams
        .borrow_mut()
        .retain(|down| down.strong_count() > 0);
    let downstreams = worker.downstreams.borrow().clone();
    let now = worker.context.now_us();
    for down in downstreams.iter().filter_map(Weak::upgrade) {
        down.report();
        let watch = &down.activity;
        let view = down.view();
        let limits = &view.listener.limits;
        let since = watch.partial_since_us.get();
        let (patience, counter) = if watch.detecting.get() {
            (limits.detect, listener::UNDETECTED)
        } else {
            (limits.slow_frame, listener::SLOW)
        };
        let slow = since > 0 && Duration::from_micros(now.saturating_sub(since)) >= patience;
        let silent_us = now.saturating_sub(watch.active_us.get());
        let idle = !limits.idle.is_zero()
            && Duration::from_micros(silent_us) >= limits.idle
            && down.in_flight() == 0
            && !down.is_tied();
        if slow {
            down.count(counter, 1);
            down.kill();
        } else if idle {
            down.kill();
        } else if watch.unread.get() || watch.may_end(now) {
            // Wakes the task: it checks whether the client has left or all work is done.
            down.wake();
        } else if silent_us >= SILENT_US {
            down.trim();
        }
    }
}
