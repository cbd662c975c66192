//! Every metric that there is: its name, its help, its labels. How they are counted is not known here.

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
    REQUESTS = counter("meltemi_downstream_requests", "Requests received, one-way ones included");
    ONE_WAY = counter("meltemi_downstream_oneways", "One-way requests received");
    HEARTBEATS = counter("meltemi_downstream_heartbeats", "Heartbeats of clients answered");
    MALFORMED = counter("meltemi_downstream_malformed", "Messages of clients that could not be decoded");
    AUDITED = counter("meltemi_downstream_audited", "Requests that a policy of audit matched");
    UNDETERMINED = counter("meltemi_downstream_undetermined", "Requests denied because the codec could not determine an attribute that a policy tests");
    RX_BYTES = counter("meltemi_downstream_rx_bytes", "Bytes received from clients");
    TX_BYTES = counter("meltemi_downstream_tx_bytes", "Bytes put into the output buffers of clients");
}

family! {
    /// Per listener and kind of fault.
    FAULTS, faults, ["listener", "fault"], None,
    REPLIES = counter("meltemi_local_replies", "Requests that the proxy itself answered (or dropped, if one-way), by the fault found");
}

family! {
    /// Per route.
    ROUTE, route, ["listener", "route"], None,
    REQUESTS = counter("meltemi_route_requests", "Requests that took the route");
}

family! {
    /// Per cluster.
    CLUSTER, cluster, ["cluster"], None,
    REQUESTS = counter("meltemi_upstream_requests", "Requests sent to the cluster");
    OK = counter("meltemi_upstream_responses_ok", "Responses without a failure");
    FAILED = counter("meltemi_upstream_responses_failed", "Responses that say that the call failed");
    TIMEOUTS = counter("meltemi_upstream_timeouts", "Requests whose time ran out");
    RESETS = counter("meltemi_upstream_resets", "Requests whose connection ended before the response");
    STRAY = counter("meltemi_upstream_stray_responses", "Responses that answer nothing, or come too late");
    SERVER_REQUESTS = counter("meltemi_upstream_server_requests", "Requests from servers to clients, which are not forwarded");
    CONNECTS = counter("meltemi_upstream_connections", "Upstream connections made");
    CONNECT_FAILURES = counter("meltemi_upstream_connect_failures", "Upstream connections that could not be made");
    ACTIVE = gauge("meltemi_upstream_connections_active", "Upstream connections open or being made now");
    OVERFLOW = counter("meltemi_upstream_overflow", "Requests refused at a limit of the cluster");
    MOVED = counter("meltemi_upstream_moved", "Requests that went elsewhere because their connection ended before anything of them was sent");
    RETRIES = counter("meltemi_upstream_retries", "Requests sent again");
    RETRY_OVERFLOW = counter("meltemi_upstream_retries_refused", "Requests not sent again because too many were under retry");
    MIRRORED = counter("meltemi_mirror_requests", "Copies of requests drawn for the cluster");
    MIRROR_SAME = counter("meltemi_mirror_answers_same", "Answers to copies that were the same as those to the originals");
    MIRROR_DIFFERENT = counter("meltemi_mirror_answers_different", "Answers to copies that differed from those to the originals");
    MIRROR_LOST = counter("meltemi_mirror_answers_lost", "Copies of which an answer did not come or could not be compared");
    EJECTIONS = counter("meltemi_outlier_ejections", "Endpoints ejected because of what became of their requests");
    RX_BYTES = counter("meltemi_upstream_rx_bytes", "Bytes received from upstreams");
    TX_BYTES = counter("meltemi_upstream_tx_bytes", "Bytes put into the output buffers of upstreams");
}

family! {
    /// Per cluster whose endpoints are probed.
    HEALTH, health, ["cluster"], None,
    PROBES = counter("meltemi_health_probes", "Probes of endpoints that have ended");
    FAILURES = counter("meltemi_health_probe_failures", "Probes of endpoints that were not answered well");
}

family! {
    /// Per operation: the protocol's method or command, with its service where there is one.
    OPERATION, operation, ["listener", "protocol", "service", "operation"],
    Some(("meltemi_request_duration_seconds", "From a request's last byte in to its response's last byte out")),
    REQUESTS = counter("meltemi_requests", "Requests of the operation");
    FAILED = counter("meltemi_requests_failed", "Requests of the operation that ended in a failure, the upstream's or a local one");
}

family! {
    /// Per limit that a service decides.
    GLOBAL_LIMIT, global_limit, ["limit"], None,
    ASKED = counter("meltemi_global_limit_asked", "Questions to the rate limit service");
    OVER = counter("meltemi_global_limit_over", "Questions that it answered with no");
    FAILED = counter("meltemi_global_limit_failed", "Questions that got no answer, or none that could be understood");
}

family! {
    /// Per collector of traces.
    SPANS, spans, ["collector"], None,
    EXPORTED = counter("meltemi_spans_exported", "Spans that the collector took");
    FAILED = counter("meltemi_spans_failed", "Spans that the collector did not take");
    DROPPED = counter("meltemi_spans_dropped", "Spans dropped because the collector could not keep up");
}

family! {
    /// Of the access log.
    ACCESS_LOG, access_log, ["target"], None,
    DROPPED = counter("meltemi_access_log_dropped", "Lines lost because the target could not keep up or did not take them");
}

/// Every family, for the metrics reference.
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
