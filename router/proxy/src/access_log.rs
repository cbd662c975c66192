//! The access log: one line per request, written by a thread of its own, so that a slow disk or
//! terminal never holds a worker.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::SystemTime;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// `key=value` pairs.
    Text,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// How many lines may wait for the writer. Past it lines are dropped and counted: a log that cannot
/// keep up must not hold up requests, nor take memory without bound.
const QUEUE: usize = 16_384;

/// The access log of a process.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: LogFormat,
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

/// What is known of one request when it ends.
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
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) response_bytes: usize,
    pub(crate) duration_us: u64,
    pub(crate) status: &'static str,
    pub(crate) fault: &'static str,
    pub(crate) details: String,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
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
        let (lines, queue) = sync_channel::<String>(QUEUE);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&mut sink, &queue))?;
        Ok(Self {
            format,
            lines,
            dropped: Arc::default(),
        })
    }

    /// Lines that were dropped because the writer could not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&self, entry: &Entry) {
        let line = match self.format {
            LogFormat::Json => json(entry),
            LogFormat::Text => text(entry),
        };
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(sink: &mut dyn std::io::Write, queue: &Receiver<String>) {
    let mut batch = String::new();
    while let Ok(line) = queue.recv() {
        batch.push_str(&line);
        batch.extend(queue.try_iter().take(256));
        // There is nowhere to report a failing log to.
        let _ = sink.write_all(batch.as_bytes()).and_then(|()| sink.flush());
        batch.clear();
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
        "endpoint": entry.endpoint.map(|address| address.to_string()),
        "response_bytes": entry.response_bytes,
        "duration_us": entry.duration_us,
        "status": entry.status,
        "fault": entry.fault,
        "details": entry.details,
    })
    .to_string();
    line.push('\n');
    line
}

fn text(entry: &Entry) -> String {
    let mut line = String::with_capacity(256);
    let address = |address: Option<SocketAddr>| {
        address.map_or_else(|| "-".to_owned(), |address| address.to_string())
    };
    // Writing to a String cannot fail. Names come from the wire: escaped, so that one request is
    // one line whatever a client sends.
    let _ = writeln!(
        line,
        "time_ms={} listener={} protocol={} kind={} downstream={} id={} service={:?} operation={:?} \
         request_bytes={} route={:?} cluster={:?} endpoint={} response_bytes={} duration_us={} \
         status={} fault={} details={:?}",
        milliseconds_since_epoch(),
        entry.listener,
        entry.protocol,
        entry.kind,
        address(entry.downstream),
        entry.id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
        entry.service,
        entry.operation,
        entry.request_bytes,
        entry.route,
        entry.cluster,
        address(entry.endpoint),
        entry.response_bytes,
        entry.duration_us,
        entry.status,
        if entry.fault.is_empty() {
            "-"
        } else {
            entry.fault
        },
        entry.details,
    );
    line
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
