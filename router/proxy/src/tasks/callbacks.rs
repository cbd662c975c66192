//! Requests from servers to clients (callbacks). They are forwarded on connections that belong to
//! one client. On other connections they are refused, and the operator gets a warning.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use meltemi_frame::Message;

use crate::tasks::response::{self, Paused};
use crate::telemetry::stats::cluster;
use crate::upstream::Upstream;

/// How many operations are named in the log. The limit is needed because servers choose the names.
const NAMED: usize = 256;

/// The clusters and operations that were already logged, for the whole process.
static SEEN: Mutex<Option<HashSet<(String, String)>>> = Mutex::new(None);

/// Handles a request from a server. Forwards it if the connection belongs to one client.
pub(crate) fn called(upstream: &Rc<Upstream>, message: &mut Message<'_>) -> Option<Paused> {
    let Some(down) = upstream.owner() else {
        refuse(upstream, message);
        return None;
    };
    upstream.cluster.group.add(cluster::CALLBACKS, 1);
    let pressure = down.called(upstream, message);
    response::slow(upstream, down, None, pressure, false)
}

/// Counts a refused server request. Logs a warning once for each cluster and operation.
fn refuse(upstream: &Upstream, message: &Message<'_>) {
    upstream.cluster.group.add(cluster::SERVER_REQUESTS, 1);
    let spec = upstream.protocol.spec();
    let operation = spec
        .lookup(&spec.operation)
        .and_then(|(lookup, _)| message.attribute(&lookup))
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .unwrap_or_default();
    let name = upstream.cluster.config.borrow().name.to_string();
    if first((name.clone(), operation.clone())) {
        let endpoint = upstream.endpoint.address;
        tracing::warn!(
            cluster = name,
            %endpoint,
            operation,
            "a server calls its client (a callback) over a connection that clients share: the call is \
             not forwarded; `sharing: exclusive` of a DestinationPolicy gives each client connections \
             of its own, over which it is"
        );
    }
}

fn first(call: (String, String)) -> bool {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_default();
    seen.len() < NAMED && seen.insert(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_once_and_not_all_are() {
        let call = |at: usize| ("callbacks-test".to_owned(), at.to_string());
        assert!(first(call(0)) && !first(call(0)) && first(call(1)));
        for at in 0..NAMED {
            first(call(at));
        }
        assert!(!first(call(NAMED + 1)));
    }
}
