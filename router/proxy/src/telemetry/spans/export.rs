//! Hands spans to a collector over OTLP, from the background runtime: a bounded queue before it, which
//! drops and counts when the collector cannot keep up. It must not know what a span says.

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

/// How many spans may wait. Each takes about a kilobyte.
const QUEUE: usize = 4096;

/// How many go to the collector in one request.
const BATCH: usize = 512;

/// How long a span waits for others to go with it.
const GATHER: Duration = Duration::from_secs(1);

/// How long the collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where spans are handed over.
#[derive(Debug)]
pub(super) struct Exporter {
    queue: mpsc::Sender<Item>,
    /// A batch is together, or somebody waits.
    wake: Arc<Notify>,
    dropped: Arc<AtomicU64>,
}

enum Item {
    Span(Box<SpanData>),
    /// Everything before it has been handed over, or was lost.
    Flushed(oneshot::Sender<()>),
}

impl Exporter {
    /// Starts it. Connects when there is something to hand over.
    pub(super) fn start(
        tracing: &Tracing,
        runtime: &Handle,
        stats: &Stats,
    ) -> Result<Self, String> {
        // The channel is made within a runtime.
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

    /// Never waits.
    pub(super) fn hand_over(&self, span: SpanData) {
        if self.queue.try_send(Item::Span(Box::new(span))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.capacity() <= QUEUE - BATCH {
            self.wake.notify_one();
        }
    }

    /// Waits until all that was handed over has gone to the collector, or was lost.
    pub(super) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        // Woken first: the queue may be full.
        self.wake.notify_one();
        if self.queue.send(Item::Flushed(done)).await.is_ok() {
            self.wake.notify_one();
            // An exporter that is gone has nothing more to hand over.
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
        // One wake-up for a batch, not one for each span.
        while let Some(first) = items.recv().await {
            let mut next = Some(first);
            if matches!(next, Some(Item::Span(_))) {
                let wake = self.wake.notified();
                // Either will do.
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
                // Who waited may have lost patience.
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
                    tracing::info!(collector, "spans are taken again");
                }
            }
            Err(error) => {
                self.counters.add(spans::FAILED, count);
                // Once, not for every batch.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(collector, %error, "spans are lost");
                }
            }
        }
    }
}
