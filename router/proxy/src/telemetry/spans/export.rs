//! Sends spans to a collector over OTLP, from the background runtime. The queue is bounded: spans
//! are dropped and counted when the collector cannot keep up. Must not depend on the content of
//! spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use super::Tracing;
use crate::telemetry::stats::{MetricSet, SPANS, Stats, spans};

/// The most spans in the queue. Each takes about 1 KB.
const QUEUE: usize = 4096;

/// The most spans in one request to the collector.
const BATCH: usize = 512;

/// How long a span waits for others to share its request.
const GATHER: Duration = Duration::from_secs(1);

/// The timeout of a request to the collector.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The entrance of the export queue.
#[derive(Debug)]
pub(super) struct Exporter {
    queue: mpsc::Sender<Item>,
    /// Wakes the exporter when a batch is complete or a flush waits.
    wake: Arc<Notify>,
    dropped: Arc<AtomicU64>,
}

enum Item {
    Span(Box<SpanData>),
    /// Requests a notification when everything before it was exported or lost.
    Flushed(oneshot::Sender<()>),
}

impl Exporter {
    /// Starts the exporter. It connects when the first span arrives.
    pub(super) fn start(
        tracing: &Tracing,
        runtime: &Handle,
        stats: &Stats,
    ) -> Result<Self, String> {
        // Creating the channel requires a runtime.
        let _inside = runtime.enter();
        let built = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(&tracing.endpoint)
            .with_timeout(TIMEOUT)
            .build();
        let mut exporter = built.map_err(|error| error.to_string())?;
        let resource = Resource::builder().with_service_name(tracing.service_name.clone());
        exporter.set_resource(&resource.build());
        let (queue, items) = mpsc::channel(QUEUE);
        let wake = Arc::new(Notify::new());
        let dropped = Arc::default();
        let background = Background {
            exporter,
            collector: tracing.endpoint.clone(),
            wake: Arc::clone(&wake),
            dropped: Arc::clone(&dropped),
            counters: stats.group(&SPANS, vec![tracing.endpoint.clone()]),
            failing: false,
        };
        runtime.spawn(background.run(items));
        Ok(Self {
            queue,
            wake,
            dropped,
        })
    }

    /// Queues a span. Never blocks.
    pub(super) fn hand_over(&self, span: SpanData) {
        if self.queue.try_send(Item::Span(Box::new(span))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.capacity() <= QUEUE - BATCH {
            self.wake.notify_one();
        }
    }

    /// Waits until all queued spans were exported or lost.
    pub(super) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        // Wakes the exporter first, because the queue may be full.
        self.wake.notify_one();
        if self.queue.send(Item::Flushed(done)).await.is_ok() {
            self.wake.notify_one();
            // An exporter that has stopped has nothing left to export.
            let _ = wait.await;
        }
    }
}

struct Background {
    exporter: OtlpExporter,
    collector: String,
    wake: Arc<Notify>,
    dropped: Arc<AtomicU64>,
    counters: Arc<MetricSet>,
    failing: bool,
}

impl Background {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        // One wake-up per batch, not one per span.
        while let Some(first) = items.recv().await {
            let mut next = Some(first);
            if matches!(next, Some(Item::Span(_))) {
                let wake = self.wake.notified();
                // Either the time or the wake-up ends the wait.
                let _ = tokio::time::timeout(GATHER, wake).await;
            }
            let mut batch = Vec::new();
            let mut flushed = Vec::new();
            while let Some(item) = next {
                match item {
                    Item::Span(span) => batch.push(*span),
                    Item::Flushed(done) => flushed.push(done),
                }
                if batch.len() >= BATCH {
                    self.export(std::mem::take(&mut batch)).await;
                    for done in flushed.drain(..) {
                        let _ = done.send(());
                    }
                }
                next = items.try_recv().ok();
            }
            self.export(batch).await;
            for done in flushed {
                // The caller may have timed out.
                let _ = done.send(());
            }
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        self.counters.add(spans::DROPPED, dropped);
        if batch.is_empty() {
            return;
        }
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let collector = &self.collector;
        match self.exporter.export(batch).await {
            Ok(()) => {
                self.counters.add(spans::EXPORTED, count);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(collector, "the collector accepts spans again");
                }
            }
            Err(error) => {
                self.counters.add(spans::FAILED, count);
                // Logs once, not for every batch.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(collector, %error, "spans are lost because the export fails");
                }
            }
        }
    }
}
