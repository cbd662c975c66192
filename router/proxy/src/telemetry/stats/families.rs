//! All metrics: names, help texts and labels. Must not depend on how they are counted.

use super::{Family, counter, gauge};

macro_rules! family {
    ($(#[$doc:meta])* $name:ident, $module:ident, [$($label:literal),*], $histogram:expr,
     $($index:ident = $make:ident($metric:literal, $help:literal);)*) => {
        $(#[$doc])*
        pub static $name: Family = Family {
            labels: &[$($label),*],
            metrics: &[$($make($metric, $help)),*],
            histogram: $histogram,
        };
        pub(crate) mod $module {
            #[derive(Clone, Copy)]
            #[allow(clippy::enum_variant_names)]
            pub(crate) enum Index { $($index),* }
            $(pub(crate) const $index: usize = Index::$index as usize;)*
        }
    };
}

family! {
    /// Per listener.
    LISTENER, listener, ["listener"], None,
    CONNECTIONS = counter("meltemi_downstream_connections", "Downstream connections accepted");
    ACTIVE = gauge("meltemi_downstream_connections_active", "Downstream connections open now");
    REFUSED = counter("meltemi_downstream_connections_refused", "Downstream connections closed at once, over the listener's limit");
    UNDETECTED = counter("meltemi_downstream_undetected", "Downstream connections whose protocol was not recognised");
    SLOW = counter("meltemi_downstream_slow", "Downstream connections closed because a message took too long to arrive");
    CUT_OFF = counter("meltemi_downstream_cut_off", "Downstream connections closed because their client did not read");
    WAITING = gauge("meltemi_downstream_waiting_bytes", "Bytes buffered for clients: output, delayed requests, partial input; updated in steps of 64 KiB and every 250 ms");
    STOPPED = counter("meltemi_downstream_memory_stopped", "Times the proxy stopped reading from a client because memory was short");
    MEMORY_CUT_OFF = counter("meltemi_downstream_memory_cut_off", "Clients cut off because memory was short and their connection held most of it");
    REQUESTS = counter("meltemi_downstream_requests", "Requests received, including one-way requests");
    ONE_WAY = counter("meltemi_downstream_oneways", "One-way requests received");
    HEARTBEATS = counter("meltemi_downstream_heartbeats", "Heartbeats from clients that were answered");
    MALFORMED = counter("meltemi_downstream_malformed", "Messages from clients that could not be decoded");
    AUDITED = counter("meltemi_downstream_audited", "Requests that matched an AUDIT policy");
    UNDETERMINED = counter("meltemi_downstream_undetermined", "Requests denied because the codec could not determine an attribute that a policy tests");
    RX_BYTES = counter("meltemi_downstream_rx_bytes", "Bytes received from clients");
    TX_BYTES = counter("meltemi_downstream_tx_bytes", "Bytes put into the output buffers of clients");
}

family! {
    /// Per listener and fault.
    FAULTS, faults, ["listener", "fault"], None,
    REPLIES = counter("meltemi_local_replies", "Requests that the proxy itself answered (or dropped, if one-way), by fault");
}

family! {
    /// Per route.
    ROUTE, route, ["listener", "route"], None,
    REQUESTS = counter("meltemi_route_requests", "Requests that matched the route");
}

family! {
    /// Per cluster.
    CLUSTER, cluster, ["cluster"], None,
    REQUESTS = counter("meltemi_upstream_requests", "Requests sent to the cluster");
    OK = counter("meltemi_upstream_responses_ok", "Responses without a failure");
    FAILED = counter("meltemi_upstream_responses_failed", "Responses that report a failed call");
    TIMEOUTS = counter("meltemi_upstream_timeouts", "Requests that timed out");
    RESETS = counter("meltemi_upstream_resets", "Requests whose connection closed before the response");
    STRAY = counter("meltemi_upstream_stray_responses", "Responses that match no request or arrive too late");
    SERVER_REQUESTS = counter("meltemi_upstream_server_requests", "Requests from servers that were refused because their connection belongs to no client");
    CALLBACKS = counter("meltemi_upstream_callbacks", "Requests from servers that were forwarded to the client that owns the connection");
    CONNECTS = counter("meltemi_upstream_connections", "Upstream connections opened");
    CONNECT_FAILURES = counter("meltemi_upstream_connect_failures", "Upstream connections that could not be opened");
    ACTIVE = gauge("meltemi_upstream_connections_active", "Upstream connections open or connecting now");
    WAITING = gauge("meltemi_upstream_waiting_bytes", "Bytes buffered for upstreams: output and partial input; updated in steps of 64 KiB and every 250 ms");
    MEMORY_CUT_OFF = counter("meltemi_upstream_memory_cut_off", "Upstream connections closed because memory was short and they held most of it");
    OVERFLOW = counter("meltemi_upstream_overflow", "Requests refused because the cluster was at a limit");
    MOVED = counter("meltemi_upstream_moved", "Requests moved to another connection because theirs failed before they were sent");
    RETRIES = counter("meltemi_upstream_retries", "Requests retried");
    RETRY_OVERFLOW = counter("meltemi_upstream_retries_refused", "Requests not retried because too many retries were in flight");
    MIRRORED = counter("meltemi_mirror_requests", "Copies of requests for the cluster");
    MIRROR_SAME = counter("meltemi_mirror_answers_same", "Responses to copies that were equal to the original response");
    MIRROR_DIFFERENT = counter("meltemi_mirror_answers_different", "Responses to copies that differed from the original response");
    MIRROR_LOST = counter("meltemi_mirror_answers_lost", "Copies whose response was missing or could not be compared");
    EJECTIONS = counter("meltemi_outlier_ejections", "Endpoints ejected because their requests failed");
    RX_BYTES = counter("meltemi_upstream_rx_bytes", "Bytes received from upstreams");
    TX_BYTES = counter("meltemi_upstream_tx_bytes", "Bytes put into the output buffers of upstreams");
}

family! {
    /// Per cluster whose endpoints are probed.
    HEALTH, health, ["cluster"], None,
    PROBES = counter("meltemi_health_probes", "Completed probes of endpoints");
    FAILURES = counter("meltemi_health_probe_failures", "Failed probes of endpoints");
}

family! {
    /// Per operation: the protocol's method or command, with its service if there is one.
    OPERATION, operation, ["listener", "protocol", "service", "operation"],
    Some(("meltemi_request_duration_seconds", "Time from the last byte of the request to the last byte of its response")),
    REQUESTS = counter("meltemi_requests", "Requests of the operation");
    FAILED = counter("meltemi_requests_failed", "Requests of the operation that failed, at the upstream or locally");
}

family! {
    /// Per limit of a rate limit service.
    GLOBAL_LIMIT, global_limit, ["limit"], None,
    ASKED = counter("meltemi_global_limit_asked", "Requests to the rate limit service");
    OVER = counter("meltemi_global_limit_over", "Requests that the service answered with OVER_LIMIT");
    FAILED = counter("meltemi_global_limit_failed", "Requests to the service without a valid answer");
}

family! {
    /// Per trace collector.
    SPANS, spans, ["collector"], None,
    EXPORTED = counter("meltemi_spans_exported", "Spans that the collector accepted");
    FAILED = counter("meltemi_spans_failed", "Spans that the collector did not accept");
    DROPPED = counter("meltemi_spans_dropped", "Spans dropped because the collector could not keep up");
}

family! {
    /// For the access log.
    ACCESS_LOG, access_log, ["target"], None,
    DROPPED = counter("meltemi_access_log_dropped", "Lines lost because the target was too slow or failed");
}

/// All families, for the metrics reference.
pub static FAMILIES: &[&Family] = &[
    &LISTENER,
    &FAULTS,
    &ROUTE,
    &CLUSTER,
    &HEALTH,
    &OPERATION,
    &GLOBAL_LIMIT,
    &SPANS,
    &ACCESS_LOG,
];
