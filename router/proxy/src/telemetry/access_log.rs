//! The access log: one line per request. A separate thread writes it, so that a slow disk or
//! terminal never blocks a worker.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use meltemi_frame::Fault;

use crate::telemetry::stats::{self, MetricSet, Stats};

/// The format of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// `key=value` pairs.
    Text,
}

/// The destination of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// The most lines in the writer's queue. Further lines are dropped and counted: a slow log must not
/// delay requests or use unlimited memory.
const QUEUE: usize = 16_384;

/// The most lines in one write.
const BATCH: usize = 256;
/// The time between two attempts of a flush to enter a full queue.
const RETRY: Duration = Duration::from_millis(5);

/// The access log of a process.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: LogFormat,
    queue: SyncSender<Message>,
    dropped: Arc<Dropped>,
}

/// A message to the writer.
#[derive(Debug)]
enum Message {
    Line(String),
    /// Requests a notification when all lines before it are written.
    Flush(SyncSender<()>),
}

/// Counts the lost lines, in the metrics of the proxy that uses the log.
#[derive(Debug)]
struct Dropped {
    target: Arc<str>,
    group: OnceLock<Arc<MetricSet>>,
}

impl Dropped {
    fn add(&self, lines: usize) {
        if let Some(group) = self.group.get() {
            let lines = u64::try_from(lines).unwrap_or(u64::MAX);
            group.add_shared(stats::access_log::DROPPED, lines);
        }
    }
}

/// The record of one request for its line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Entry {
    pub(crate) listener: String,
    pub(crate) protocol: String,
    pub(crate) kind: &'static str,
    pub(crate) downstream: Option<SocketAddr>,
    pub(crate) id: Option<i64>,
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) request_bytes: usize,
    pub(crate) route: String,
    pub(crate) cluster: String,
    pub(crate) response_bytes: usize,
    pub(crate) duration_us: u64,
    pub(crate) status: &'static str,
    pub(crate) fault: &'static str,
    pub(crate) details: String,
    /// The endpoint of each attempt, in order.
    pub(crate) endpoints: Vec<SocketAddr>,
    /// When the last attempt was sent, in microseconds of the worker's clock.
    pub(crate) sent_us: u64,
    /// The reason for each attempt after the first.
    pub(crate) retries: Vec<&'static str>,
    /// The authorization policy that denied the request.
    pub(crate) policy: String,
    /// The attribute that a policy tests and the codec could not determine.
    pub(crate) undetermined: String,
    /// The rate limit that denied the request.
    pub(crate) limit: String,
    /// The injected faults.
    pub(crate) injected: Injected,
    /// The clusters that got a copy.
    pub(crate) mirrors: Vec<String>,
    /// The trace of the request.
    pub(crate) trace_id: String,
    /// The time from the last attempt to the first byte of the response.
    pub(crate) upstream_duration_us: Option<u64>,
}

/// The most attempts of one request that are listed.
const LISTED: usize = 32;

impl Entry {
    /// Records an attempt at an endpoint.
    pub(crate) fn add_endpoint(&mut self, endpoint: SocketAddr) {
        // The last endpoint is always listed, because the response comes from it.
        self.endpoints.truncate(LISTED - 1);
        self.endpoints.push(endpoint);
    }

    /// Records that the last attempt failed and another one follows.
    pub(crate) fn add_retry(&mut self, fault: Fault) {
        if self.retries.len() < LISTED {
            self.retries.push(fault.name());
        }
    }

    /// Returns the number of attempts.
    pub(crate) const fn attempts(&self) -> usize {
        self.endpoints.len()
    }

    /// Returns the endpoint of the last attempt.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoints.last().copied()
    }
}

/// Faults that were injected into a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injected {
    /// The injected delay.
    pub(crate) delay_ms: Option<u64>,
    /// `true` if the request was answered with an injected failure.
    pub(crate) abort: bool,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// Fails if the file cannot be opened for appending.
    pub fn open(format: LogFormat, target: &LogTarget) -> std::io::Result<Self> {
        let mut sink: Box<dyn std::io::Write + Send> = match target {
            LogTarget::Stdout => Box::new(std::io::stdout()),
            LogTarget::File(path) => Box::new(
                std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(path)?,
            ),
        };
        let target = match target {
            LogTarget::Stdout => "stdout".into(),
            LogTarget::File(path) => path.to_string_lossy().into(),
        };
        let dropped = Arc::new(Dropped {
            target,
            group: OnceLock::new(),
        });
        let counter = Arc::clone(&dropped);
        let (queue, messages) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&mut sink, &messages, &counter))?;
        Ok(Self {
            format,
            queue,
            dropped,
        })
    }

    /// Adds the counter of dropped lines to these metrics, unless it already belongs to others.
    pub(crate) fn count_in(&self, stats: &Stats) {
        let target = &self.dropped.target;
        self.dropped
            .group
            .get_or_init(|| stats.group(&stats::ACCESS_LOG, [Arc::clone(target)]));
    }

    pub(crate) fn write(&self, entry: &Entry) {
        let line = match self.format {
            LogFormat::Json => json(entry),
            LogFormat::Text => text(entry),
        };
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.dropped.add(1);
        }
    }

    /// Waits until all lines so far are written, but no longer than `bound`. Blocks the thread.
    /// Returns `true` if they were written.
    pub(crate) fn flush(&self, bound: Duration) -> bool {
        let started = Instant::now();
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if started.elapsed() < bound => {
                    message = back;
                    std::thread::sleep(RETRY);
                }
                Err(_) => return false,
            }
        }
        let left = bound.saturating_sub(started.elapsed());
        written.recv_timeout(left).is_ok()
    }
}

fn write_lines(sink: &mut dyn std::io::Write, queue: &Receiver<Message>, dropped: &Dropped) {
    let mut batch = String::new();
    let mut waiting = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut lines = 0;
        for message in std::iter::once(first).chain(queue.try_iter().take(BATCH)) {
            match message {
                Message::Line(line) => {
                    batch.push_str(&line);
                    lines += 1;
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        let written = sink.write_all(batch.as_bytes()).and_then(|()| sink.flush());
        if written.is_err() {
            dropped.add(lines);
        }
        batch.clear();
        for done in waiting.drain(..) {
            // The caller may have timed out.
            let _ = done.send(());
        }
    }
}

fn milliseconds_since_epoch() -> u128 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |age| age.as_millis())
}

fn json(entry: &Entry) -> String {
    let mut line = serde_json::json!({
        "time_ms": u64::try_from(milliseconds_since_epoch()).unwrap_or(u64::MAX),
        "listener": entry.listener,
        "protocol": entry.protocol,
        "kind": entry.kind,
        "downstream": entry.downstream.map(|address| address.to_string()),
        "id": entry.id,
        "service": entry.service,
        "operation": entry.operation,
        "request_bytes": entry.request_bytes,
        "route": entry.route,
        "cluster": entry.cluster,
        "endpoint": entry.endpoint().map(|address| address.to_string()),
        "response_bytes": entry.response_bytes,
        "duration_us": entry.duration_us,
        "status": entry.status,
        "fault": entry.fault,
        "details": entry.details,
        "attempts": entry.attempts(),
        "endpoints": entry.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "retries": entry.retries,
        "policy": entry.policy,
        "limit": entry.limit,
        "injected_delay_ms": entry.injected.delay_ms,
        "injected_abort": entry.injected.abort,
        "mirrors": entry.mirrors,
        "trace_id": entry.trace_id,
        "upstream_duration_us": entry.upstream_duration_us,
        "undetermined": entry.undetermined,
    })
    .to_string();
    line.push('\n');
    line
}

fn text(entry: &Entry) -> String {
    let mut line = String::with_capacity(256);
    // Writing to a String cannot fail. Names come from clients, so they are escaped: one request is
    // always one line.
    let _ = writeln!(
        line,
        "time_ms={} listener={} protocol={} kind={} downstream={} id={} service={:?} operation={:?} \
         request_bytes={} route={:?} cluster={:?} endpoint={} response_bytes={} duration_us={} \
         status={} fault={} details={:?} attempts={} endpoints={} retries={} policy={:?} limit={:?} \
         injected_delay_ms={} injected_abort={} mirrors={:?} trace_id={} upstream_duration_us={} \
         undetermined={:?}",
        milliseconds_since_epoch(),
        entry.listener,
        entry.protocol,
        entry.kind,
        or_dash(entry.downstream),
        or_dash(entry.id),
        entry.service,
        entry.operation,
        entry.request_bytes,
        entry.route,
        entry.cluster,
        or_dash(entry.endpoint()),
        entry.response_bytes,
        entry.duration_us,
        entry.status,
        word(entry.fault),
        entry.details,
        entry.attempts(),
        list(&entry.endpoints),
        list(&entry.retries),
        entry.policy,
        entry.limit,
        or_dash(entry.injected.delay_ms),
        entry.injected.abort,
        entry.mirrors.join(","),
        word(&entry.trace_id),
        or_dash(entry.upstream_duration_us),
        entry.undetermined,
    );
    line
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

const fn word(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Returns the values, separated by commas.
fn list(values: &[impl ToString]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    or_dash((!values.is_empty()).then(|| values.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a log whose messages go to the test instead of a writer.
    fn manual() -> (AccessLog, Receiver<Message>, Stats) {
        let (queue, messages) = sync_channel(QUEUE);
        let stats = Stats::default();
        let log = AccessLog {
            format: LogFormat::Text,
            queue,
            dropped: Arc::new(Dropped {
                target: "test".into(),
                group: OnceLock::new(),
            }),
        };
        log.count_in(&stats);
        (log, messages, stats)
    }

    fn dropped(stats: &Stats) -> u64 {
        let values = stats.values("meltemi_access_log_dropped");
        values[&vec!["test".to_owned()]]
    }

    #[test]
    fn dropped_lines_are_counted_and_a_flush_is_bounded() {
        let (log, messages, stats) = manual();
        for _ in 0..QUEUE + 3 {
            log.write(&Entry::default());
        }
        assert_eq!(dropped(&stats), 3);
        let started = Instant::now();
        assert!(!log.flush(Duration::from_millis(50)));
        assert!(started.elapsed() < Duration::from_secs(5));
        // Makes room for the flush message, but nobody replies to it.
        drop(messages.try_recv());
        assert!(!log.flush(Duration::from_millis(50)));
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_as_dropped() {
        struct Full;
        impl std::io::Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (log, messages, stats) = manual();
        for _ in 0..5 {
            log.write(&Entry::default());
        }
        let counter = Arc::clone(&log.dropped);
        drop(log);
        write_lines(&mut Full, &messages, &counter);
        assert_eq!(dropped(&stats), 5);
    }

    #[test]
    fn a_line_is_one_line_whatever_a_client_sends() {
        let entry = Entry {
            operation: "a\nb\" c".into(),
            kind: "request",
            ..Entry::default()
        };
        assert_eq!(text(&entry).matches('\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(json(&entry).trim_end()).unwrap();
        assert_eq!(parsed["operation"], "a\nb\" c");
    }

    fn decided() -> Entry {
        Entry {
            status: "failed",
            endpoints: ["10.0.0.1:20880", "10.0.0.2:20880", "10.0.0.1:20880"]
                .map(|address| address.parse().unwrap())
                .into(),
            retries: vec!["connect", "reset"],
            policy: "shop/only \"ada\"".into(),
            undetermined: "method".into(),
            limit: "per user".into(),
            injected: Injected {
                delay_ms: Some(250),
                abort: true,
            },
            mirrors: vec!["outbound|1||a".into(), "outbound|1||b".into()],
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            upstream_duration_us: Some(1200),
            ..Entry::default()
        }
    }

    #[test]
    fn every_decision_has_a_field() {
        let line = text(&decided());
        for part in [
            " attempts=3 endpoints=10.0.0.1:20880,10.0.0.2:20880,10.0.0.1:20880 retries=connect,reset ",
            r#" policy="shop/only \"ada\"" limit="per user" injected_delay_ms=250 injected_abort=true "#,
            r#" mirrors="outbound|1||a,outbound|1||b" trace_id=4bf92f3577b34da6a3ce929d0e0e4736 "#,
            " upstream_duration_us=1200 undetermined=\"method\"\n",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let line: serde_json::Value = serde_json::from_str(json(&decided()).trim_end()).unwrap();
        assert_eq!(line["attempts"], 3);
        assert_eq!(line["endpoints"][1], "10.0.0.2:20880");
        assert_eq!(line["retries"], serde_json::json!(["connect", "reset"]));
        assert_eq!(line["policy"], "shop/only \"ada\"");
        assert_eq!(line["undetermined"], "method");
        assert_eq!(line["limit"], "per user");
        assert_eq!(line["injected_delay_ms"], 250);
        assert_eq!(line["injected_abort"], true);
        assert_eq!(line["mirrors"][0], "outbound|1||a");
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["upstream_duration_us"], 1200);
    }

    #[test]
    fn what_was_not_decided_is_plainly_absent() {
        let line = text(&Entry::default());
        for part in [
            " attempts=0 endpoints=- retries=- policy=\"\" limit=\"\" injected_delay_ms=- ",
            " injected_abort=false mirrors=\"\" trace_id=- upstream_duration_us=- undetermined=\"\"\n",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let line = json(&Entry::default());
        let line: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!(line["endpoints"], serde_json::json!([]));
        assert!(line["injected_delay_ms"].is_null() && line["upstream_duration_us"].is_null());
    }
}
