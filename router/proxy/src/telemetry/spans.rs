//! Traces: reads the trace context of a request, propagates it, and exports a span to a collector.
//! Does nothing if no collector is configured. Must not depend on when a request is sent or ends.

mod active;
mod b3;
mod context;
mod export;
mod keys;
mod w3c;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use meltemi_config::Listener;
use meltemi_frame::{Edit, Message};
use tokio::runtime::Handle;

use crate::telemetry::stats::Stats;
use active::Recording;
pub(crate) use active::{Active, Finished};
use context::{Incoming, Write};
use export::Exporter;
pub(crate) use keys::TraceKeys;

/// The settings for the export of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// The collector's address. It must support OTLP over gRPC without TLS, such as
    /// `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// The service name of this program in traces.
    pub service_name: String,
}

/// Creates spans for the requests of all workers.
#[derive(Debug)]
pub(crate) struct Tracer {
    exporter: Exporter,
}

impl Tracer {
    /// Starts the export on this runtime.
    ///
    /// # Errors
    /// Fails if the collector's address is invalid. The error contains the reason.
    pub(crate) fn start(
        tracing: &Tracing,
        runtime: &Handle,
        stats: &Stats,
    ) -> Result<Arc<Self>, String> {
        if !tracing.endpoint.starts_with("http://") {
            let why =
                "it is not an address of OTLP over gRPC without TLS, such as http://127.0.0.1:4317";
            return Err(why.to_owned());
        }
        let exporter = Exporter::start(tracing, runtime, stats)?;
        Ok(Arc::new(Self { exporter }))
    }

    /// Starts a request: continues its trace or begins a new one, recorded or not.
    pub(crate) fn begin(
        self: &Arc<Self>,
        message: &Message<'_>,
        keys: &TraceKeys,
        listener: &Listener,
        client: SocketAddr,
        mut random: impl FnMut() -> u64,
    ) -> Box<Active> {
        let carrier = keys.read(message);
        let incoming = Incoming::read(&carrier);
        let draw = random() % 1_000_000 < u64::from(listener.sampling.as_millionths());
        let context = incoming.context([random(), random(), random()], draw);
        let writes = incoming.writes(&context).into_iter();
        let edits = writes.filter_map(|Write { name, value }| {
            let name = keys.edited(message, &name)?;
            Some(match value {
                Some(value) => Edit::Set(name, value.into_bytes().into()),
                None => Edit::Remove(name),
            })
        });
        let edits = edits.collect();
        let recording = context.sampled.then(|| {
            let (service, operation) = keys.names(message);
            Box::new(Recording {
                tracer: Arc::clone(self),
                context,
                state: incoming.state(),
                started: SystemTime::now(),
                system: keys.system.clone(),
                protocol: keys.protocol.clone(),
                service,
                operation,
                listener: listener.name.clone(),
                server: listener.address,
                client,
            })
        });
        Box::new(Active {
            trace: context.trace,
            edits,
            recording,
        })
    }

    /// Waits until every span was exported or lost.
    pub(crate) async fn flush(&self) {
        self.exporter.flush().await;
    }
}

#[cfg(test)]
mod tests;
