//! Traces: what a request says of its trace is read, handed on with it, and told to a collector.
//! Nothing of it runs unless a collector is named. It must not know when a request is sent or ends.

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

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// The collector, which speaks OTLP over gRPC without TLS, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// What this program is called in traces.
    pub service_name: String,
}

/// Traces requests of all workers.
#[derive(Debug)]
pub(crate) struct Tracer {
    exporter: Exporter,
}

impl Tracer {
    /// Starts exporting, on this runtime.
    ///
    /// # Errors
    /// What is wrong with the collector's address, and what to do.
    pub(crate) fn start(
        tracing: &Tracing,
        runtime: &Handle,
        stats: &Stats,
    ) -> Result<Arc<Self>, String> {
        if !tracing.endpoint.starts_with("http://") {
            let why =
                "it is no address of OTLP over gRPC without TLS, such as http://127.0.0.1:4317";
            return Err(why.to_owned());
        }
        let exporter = Exporter::start(tracing, runtime, stats)?;
        Ok(Arc::new(Self { exporter }))
    }

    /// A request begins: the trace that it belongs to goes on, or one begins, recorded or not.
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

    /// Waits until every span has gone to the collector, or was lost.
    pub(crate) async fn flush(&self) {
        self.exporter.flush().await;
    }
}

#[cfg(test)]
mod tests;
