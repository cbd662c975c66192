//! The access log: one line per request. A separate thread writes it, so that a slow disk or
//! terminal never blocks a worker.

mod entry;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::telemetry::stats::{self, MetricSet, Stats};

pub(crate) use entry::Entry;

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
            LogFormat::Json => entry.json(),
            LogFormat::Text => entry.text(),
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
}
