//! A request with a trace: the context that it carries, and the span that is finished when the
//! request ends. Names follow OpenTelemetry's semantic conventions (1.45).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use meltemi_frame::{Edit, Fault, Message, System};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::Tracer;
use super::context::Context;

/// A request with a trace.
pub(crate) struct Active {
    pub(super) trace: u128,
    pub(super) edits: Vec<Edit>,
    /// The data for the span. `None` if the request is not recorded.
    pub(super) recording: Option<Box<Recording>>,
}

/// The data of a recorded request that is known at its start.
pub(super) struct Recording {
    pub(super) tracer: Arc<Tracer>,
    pub(super) context: Context,
    pub(super) state: TraceState,
    pub(super) started: SystemTime,
    pub(super) system: System,
    pub(super) protocol: String,
    pub(super) service: Option<String>,
    pub(super) operation: String,
    pub(super) listener: String,
    pub(super) server: SocketAddr,
    pub(super) client: SocketAddr,
}

/// The data of a request that is known at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finished<'a> {
    /// The route. Empty if none.
    pub(crate) route: &'a str,
    /// The cluster. Empty if none.
    pub(crate) cluster: &'a str,
    /// The endpoint of the last attempt.
    pub(crate) endpoint: Option<SocketAddr>,
    /// The number of attempts.
    pub(crate) attempts: usize,
    /// `ok` or the kind of failure, as in the access log.
    pub(crate) status: &'a str,
    /// The fault.
    pub(crate) fault: Option<Fault>,
    /// The description of the failure, for people.
    pub(crate) details: &'a str,
}

impl Finished<'_> {
    /// A redirect counts as a success: it is a valid answer.
    fn failed(&self) -> bool {
        !matches!(self.status, "ok" | "redirect")
    }
}

impl Active {
    /// Returns the id of the trace in its standard text form.
    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// Writes the context into the request. Call it once, before the request is sent or copied.
    pub(crate) fn propagate(&mut self, message: &mut Message<'_>) {
        for edit in std::mem::take(&mut self.edits) {
            message.edit(edit);
        }
    }

    /// Finishes the span when the request has ended.
    pub(crate) fn finish(self, facts: Finished<'_>) {
        if let Some(recording) = self.recording {
            let tracer = Arc::clone(&recording.tracer);
            tracer.exporter.hand_over(recording.span(&facts));
        }
    }
}

impl Recording {
    fn span(self, facts: &Finished<'_>) -> SpanData {
        let attributes = self.attributes(facts);
        let flags = TraceFlags::default().with_sampled(true);
        let trace = TraceId::from(self.context.trace);
        let span = SpanId::from(self.context.span);
        let failed = facts.failed();
        let description = if facts.details.is_empty() {
            facts.fault.map_or("", Fault::name)
        } else {
            facts.details
        };
        SpanData {
            span_context: SpanContext::new(trace, span, flags, false, self.state.clone()),
            parent_span_id: self.context.parent.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: self.context.parent.is_some(),
            span_kind: SpanKind::Server,
            name: self.name(),
            start_time: self.started,
            // The clock may have been set back, but a span must not end before its start.
            end_time: SystemTime::now().max(self.started),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if failed {
                Status::error(description.to_owned())
            } else {
                Status::Unset
            },
            instrumentation_scope: scope(),
        }
    }

    /// The span's name by `rpc-spans` and `database-spans`: the operation, qualified by the service
    /// if there is one. Without an operation, the protocol.
    fn name(&self) -> Cow<'static, str> {
        if self.operation.is_empty() {
            return self.protocol.clone().into();
        }
        self.qualified().into()
    }

    fn qualified(&self) -> String {
        match &self.service {
            Some(service) => format!("{service}/{}", self.operation),
            None => self.operation.clone(),
        }
    }

    fn attributes(&self, facts: &Finished<'_>) -> Vec<KeyValue> {
        let mut all = Vec::with_capacity(16);
        let mut add = |name: &'static str, value: &str| {
            if !value.is_empty() {
                all.push(KeyValue::new(name, value.to_owned()));
            }
        };
        match &self.system {
            System::Rpc(system) => {
                add("rpc.system.name", system);
                add("rpc.method", &self.qualified());
                // These conventions no longer contain this attribute, but many tools still use it.
                add("rpc.service", self.service.as_deref().unwrap_or_default());
            }
            System::Database(system) => {
                add("db.system.name", system);
                add("db.operation.name", &self.operation);
            }
            System::Messaging(system) => {
                add("messaging.system", system);
                add("messaging.operation.name", &self.operation);
            }
            _ => {}
        }
        add("meltemi.protocol", &self.protocol);
        add("meltemi.listener", &self.listener);
        add("meltemi.route", facts.route);
        add("meltemi.cluster", facts.cluster);
        if let Some(endpoint) = facts.endpoint {
            add("meltemi.endpoint", &endpoint.to_string());
        }
        let fault = facts.fault.map_or("", Fault::name);
        add("meltemi.fault", fault);
        if facts.failed() {
            add(
                "error.type",
                if fault.is_empty() {
                    facts.status
                } else {
                    fault
                },
            );
        }
        add("server.address", &self.server.ip().to_string());
        add("network.peer.address", &self.client.ip().to_string());
        add("network.transport", "tcp");
        all.push(KeyValue::new("server.port", i64::from(self.server.port())));
        let port = i64::from(self.client.port());
        all.push(KeyValue::new("network.peer.port", port));
        let attempts = i64::try_from(facts.attempts).unwrap_or(i64::MAX);
        all.push(KeyValue::new("meltemi.attempts", attempts));
        all
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("meltemi")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url("https://opentelemetry.io/schemas/1.45.0")
        .build()
}
