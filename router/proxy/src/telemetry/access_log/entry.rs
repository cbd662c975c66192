//! The record of one request, and its line in the log. The writer of the line is not known here.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use meltemi_frame::Fault;

/// The record of one request for its line.
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
    pub(crate) response_bytes: usize,
    pub(crate) duration_us: u64,
    pub(crate) status: &'static str,
    pub(crate) fault: &'static str,
    pub(crate) details: String,
    /// The endpoint of each attempt, in order.
    pub(crate) endpoints: Vec<SocketAddr>,
    /// When the last attempt was sent, in microseconds of the worker's clock.
    pub(crate) sent_us: u64,
    /// The reason for each attempt after the first.
    pub(crate) retries: Vec<&'static str>,
    /// The authorization policy that denied the request.
    pub(crate) policy: String,
    /// The attribute that a policy tests and the codec could not determine.
    pub(crate) undetermined: String,
    /// The rate limit that denied the request.
    pub(crate) limit: String,
    /// The injected faults.
    pub(crate) injected: Injected,
    /// The clusters that got a copy.
    pub(crate) mirrors: Vec<String>,
    /// The trace of the request.
    pub(crate) trace_id: String,
    /// The time from the last attempt to the first byte of the response.
    pub(crate) upstream_duration_us: Option<u64>,
}

/// The most attempts of one request that are listed.
const LISTED: usize = 32;

impl Entry {
    /// Records an attempt at an endpoint.
    pub(crate) fn add_endpoint(&mut self, endpoint: SocketAddr) {
        // The last endpoint is always listed, because the response comes from it.
        self.endpoints.truncate(LISTED - 1);
        self.endpoints.push(endpoint);
    }

    /// Records that the last attempt failed and another one follows.
    pub(crate) fn add_retry(&mut self, fault: Fault) {
        if self.retries.len() < LISTED {
            self.retries.push(fault.name());
        }
    }

    /// Returns the number of attempts.
    pub(crate) const fn attempts(&self) -> usize {
        self.endpoints.len()
    }

    /// Returns the endpoint of the last attempt.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoints.last().copied()
    }

    /// Returns the line as a JSON object.
    pub(super) fn json(&self) -> String {
        let mut line = serde_json::json!({
            "time_ms": u64::try_from(milliseconds_since_epoch()).unwrap_or(u64::MAX),
            "listener": self.listener,
            "protocol": self.protocol,
            "kind": self.kind,
            "downstream": self.downstream.map(|address| address.to_string()),
            "id": self.id,
            "service": self.service,
            "operation": self.operation,
            "request_bytes": self.request_bytes,
            "route": self.route,
            "cluster": self.cluster,
            "endpoint": self.endpoint().map(|address| address.to_string()),
            "response_bytes": self.response_bytes,
            "duration_us": self.duration_us,
            "status": self.status,
            "fault": self.fault,
            "details": self.details,
            "attempts": self.attempts(),
            "endpoints": self.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "retries": self.retries,
            "policy": self.policy,
            "limit": self.limit,
            "injected_delay_ms": self.injected.delay_ms,
            "injected_abort": self.injected.abort,
            "mirrors": self.mirrors,
            "trace_id": self.trace_id,
            "upstream_duration_us": self.upstream_duration_us,
            "undetermined": self.undetermined,
        })
        .to_string();
        line.push('\n');
        line
    }

    /// Returns the line as `key=value` pairs.
    pub(super) fn text(&self) -> String {
        let mut line = String::with_capacity(256);
        // Writing to a String cannot fail. Names come from clients, so they are escaped: one request is
        // always one line.
        let _ = writeln!(
            line,
            "time_ms={} listener={} protocol={} kind={} downstream={} id={} service={:?} operation={:?} \
         request_bytes={} route={:?} cluster={:?} endpoint={} response_bytes={} duration_us={} \
         status={} fault={} details={:?} attempts={} endpoints={} retries={} policy={:?} limit={:?} \
         injected_delay_ms={} injected_abort={} mirrors={:?} trace_id={} upstream_duration_us={} \
         undetermined={:?}",
            milliseconds_since_epoch(),
            self.listener,
            self.protocol,
            self.kind,
            or_dash(self.downstream),
            or_dash(self.id),
            self.service,
            self.operation,
            self.request_bytes,
            self.route,
            self.cluster,
            or_dash(self.endpoint()),
            self.response_bytes,
            self.duration_us,
            self.status,
            word(self.fault),
            self.details,
            self.attempts(),
            list(&self.endpoints),
            list(&self.retries),
            self.policy,
            self.limit,
            or_dash(self.injected.delay_ms),
            self.injected.abort,
            self.mirrors.join(","),
            word(&self.trace_id),
            or_dash(self.upstream_duration_us),
            self.undetermined,
        );
        line
    }
}

/// Faults that were injected into a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injected {
    /// The injected delay.
    pub(crate) delay_ms: Option<u64>,
    /// `true` if the request was answered with an injected failure.
    pub(crate) abort: bool,
}

fn milliseconds_since_epoch() -> u128 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |age| age.as_millis())
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

const fn word(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Returns the values, separated by commas.
fn list(values: &[impl ToString]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    or_dash((!values.is_empty()).then(|| values.join(",")))
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
        assert_eq!(entry.text().matches('\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(entry.json().trim_end()).unwrap();
        assert_eq!(parsed["operation"], "a\nb\" c");
    }

    fn decided() -> Entry {
        Entry {
            status: "failed",
            endpoints: ["10.0.0.1:20880", "10.0.0.2:20880", "10.0.0.1:20880"]
                .map(|address| address.parse().unwrap())
                .into(),
            retries: vec!["connect", "reset"],
            policy: "shop/only \"ada\"".into(),
            undetermined: "method".into(),
            limit: "per user".into(),
            injected: Injected {
                delay_ms: Some(250),
                abort: true,
            },
            mirrors: vec!["outbound|1||a".into(), "outbound|1||b".into()],
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            upstream_duration_us: Some(1200),
            ..Entry::default()
        }
    }

    #[test]
    fn every_decision_has_a_field() {
        let line = decided().text();
        for part in [
            " attempts=3 endpoints=10.0.0.1:20880,10.0.0.2:20880,10.0.0.1:20880 retries=connect,reset ",
            r#" policy="shop/only \"ada\"" limit="per user" injected_delay_ms=250 injected_abort=true "#,
            r#" mirrors="outbound|1||a,outbound|1||b" trace_id=4bf92f3577b34da6a3ce929d0e0e4736 "#,
            " upstream_duration_us=1200 undetermined=\"method\"\n",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let line: serde_json::Value = serde_json::from_str(decided().json().trim_end()).unwrap();
        assert_eq!(line["attempts"], 3);
        assert_eq!(line["endpoints"][1], "10.0.0.2:20880");
        assert_eq!(line["retries"], serde_json::json!(["connect", "reset"]));
        assert_eq!(line["policy"], "shop/only \"ada\"");
        assert_eq!(line["undetermined"], "method");
        assert_eq!(line["limit"], "per user");
        assert_eq!(line["injected_delay_ms"], 250);
        assert_eq!(line["injected_abort"], true);
        assert_eq!(line["mirrors"][0], "outbound|1||a");
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["upstream_duration_us"], 1200);
    }

    #[test]
    fn what_was_not_decided_is_plainly_absent() {
        let line = Entry::default().text();
        for part in [
            " attempts=0 endpoints=- retries=- policy=\"\" limit=\"\" injected_delay_ms=- ",
            " injected_abort=false mirrors=\"\" trace_id=- upstream_duration_us=- undetermined=\"\"\n",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let line = Entry::default().json();
        let line: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!(line["endpoints"], serde_json::json!([]));
        assert!(line["injected_delay_ms"].is_null() && line["upstream_duration_us"].is_null());
    }
}
