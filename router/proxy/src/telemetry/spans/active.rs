//! A request whose trace goes on: the context that it carries, and the span that is told of it at its
//! end, in the words of OpenTelemetry's semantic conventions (1.45).

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

/// A request whose trace goes on.
pub(crate) struct Active {
    pub(super) trace: u128,
    pub(super) edits: Vec<Edit>,
    /// What is known for its span; `None`: it is not recorded.
    pub(super) recording: Option<Box<Recording>>,
}

/// What is known of a recorded request from its beginning.
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

/// What is known of a request at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finished<'a> {
    /// The route that it took; empty: none.
    pub(crate) route: &'a str,
    /// The cluster that it went to; empty: none.
    pub(crate) cluster: &'a str,
    /// The endpoint of the last attempt.
    pub(crate) endpoint: Option<SocketAddr>,
    /// How often it was sent.
    pub(crate) attempts: usize,
    /// `ok`, or how it failed, as in the access log.
    pub(crate) status: &'a str,
    /// The failure.
    pub(crate) fault: Option<Fault>,
    /// The same for a person.
    pub(crate) details: &'a str,
}

impl Finished<'_> {
    /// A redirect is what was asked for as much as an answer is.
    fn failed(&self) -> bool {
        !matches!(self.status, "ok" | "redirect")
    }
}

impl Active {
    /// The id of the trace, as it is written everywhere.
    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The request carries its context from here on. To be called once, before it is sent or copied.
    pub(crate) fn propagate(&mut self, message: &mut Message<'_>) {
        for edit in std::mem::take(&mut self.edits) {
            message.edit(edit);
        }
    }

    /// The request has ended.
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
            // A clock that was set back must not make a span end before it began.
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

    /// `rpc-spans`, `database-spans`: the operation, qualified where there is a service; the system where
    /// none is known.
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
                // Not of these conventions any more, but what many tools still look for.
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
