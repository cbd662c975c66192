//! Request counters by operation name. Clients choose the names, so the number of counters is
//! limited.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use meltemi_frame::{Lookup, Message, bytes_eq};

use crate::telemetry::stats::{MetricSet, OPERATION, Stats};

/// The most operations of one protocol on one listener that are counted by name. Others count as
/// `other`.
const OPERATIONS: usize = 512;

/// The longest name of an operation, with its service, that is counted by name, in bytes.
const OPERATION_LENGTH: usize = 128;

/// The size of the cache that finds operations without hashing. Most clients use few operations. A
/// power of two.
const RECENT: usize = 16;

/// Where the messages of a protocol contain the names of operations.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) protocol: String,
    pub(crate) operation: Option<Lookup>,
    pub(crate) service: Option<Lookup>,
}

/// The counters for the operations of one protocol on one listener. They survive reloads.
pub(crate) struct Operations {
    listener: String,
    names: Names,
    known: RefCell<HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>>,
    /// The first group is `other`.
    groups: RefCell<Vec<Arc<MetricSet>>>,
    /// A cache of recent names with the indexes of their groups.
    recent: [RefCell<Recent>; RECENT],
    key: RefCell<Vec<u8>>,
    stats: Stats,
}

#[derive(Default)]
struct Recent {
    service: Box<[u8]>,
    operation: Box<[u8]>,
    place: Cell<usize>,
}

/// A name as text, up to [`OPERATION_LENGTH`].
fn shortened(name: &[u8]) -> String {
    match name.get(..OPERATION_LENGTH) {
        Some(front) if name.len() > OPERATION_LENGTH => {
            format!("{}…", String::from_utf8_lossy(front))
        }
        _ => String::from_utf8_lossy(name).into_owned(),
    }
}

impl Operations {
    pub(crate) fn new(listener: &str, names: &Names, stats: &Stats) -> Self {
        let labels = vec![
            listener.to_owned(),
            names.protocol.clone(),
            String::new(),
            "other".to_owned(),
        ];
        Self {
            listener: listener.to_owned(),
            names: names.clone(),
            known: RefCell::default(),
            groups: RefCell::new(vec![stats.group(&OPERATION, labels)]),
            recent: Default::default(),
            key: RefCell::default(),
            stats: stats.clone(),
        }
    }

    /// Returns `true` if these counters can be used for the listener and the names. `false` if they
    /// belong to another protocol, or if the protocol now declares its names elsewhere.
    pub(crate) fn suits(&self, listener: &str, names: &Names) -> bool {
        let other = self.listener != listener || self.names.protocol != names.protocol;
        other || self.names == *names
    }

    /// Returns the service and operation of a request. A longer name ends with `…`: a client must not fill
    /// the log, or the memory of its queue.
    pub(crate) fn names(&self, message: &Message<'_>) -> (String, String) {
        let text = |lookup: &Option<Lookup>| {
            let value = lookup.as_ref().and_then(|lookup| message.attribute(lookup));
            value.map(|value| shortened(&value)).unwrap_or_default()
        };
        (text(&self.names.service), text(&self.names.operation))
    }

    /// Returns the index of the counters for the operation of a request.
    pub(crate) fn of(&self, message: &Message<'_>) -> usize {
        let slot = |lookup: &Option<Lookup>| match lookup {
            Some(Lookup::Slot(id)) => message.attributes.slot(*id, message.wire()),
            _ => None,
        };
        let service = slot(&self.names.service).unwrap_or_default();
        let operation = slot(&self.names.operation).unwrap_or_default();
        let last = operation.last().copied().unwrap_or(0);
        let at = (operation.len() ^ usize::from(last)) % RECENT;
        let Some(recent) = self.recent.get(at) else {
            return 0;
        };
        {
            let recent = recent.borrow();
            if bytes_eq(&recent.operation, operation) && bytes_eq(&recent.service, service) {
                return recent.place.get();
            }
        }
        let place = self.find(service, operation, message);
        if place > 0 {
            *recent.borrow_mut() = Recent {
                service: service.into(),
                operation: operation.into(),
                place: Cell::new(place),
            };
        }
        place
    }

    fn find(&self, service: &[u8], operation: &[u8], message: &Message<'_>) -> usize {
        let mut key = self.key.borrow_mut();
        key.clear();
        key.extend_from_slice(service);
        // Text names never contain this byte. If a binary name does, two names may share a counter.
        key.push(0xff);
        key.extend_from_slice(operation);
        if let Some(place) = self.known.borrow().get(key.as_slice()) {
            return *place;
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= OPERATIONS || key.len() > OPERATION_LENGTH {
            return 0;
        }
        let (service, operation) = self.names(message);
        let labels = vec![
            self.listener.clone(),
            self.names.protocol.clone(),
            service,
            operation,
        ];
        let mut groups = self.groups.borrow_mut();
        let place = groups.len();
        groups.push(self.stats.group(&OPERATION, labels));
        known.insert(key.as_slice().into(), place);
        place
    }

    /// Calls `count` with the counters at an index.
    pub(crate) fn with(&self, place: usize, count: impl FnOnce(&MetricSet)) {
        if let Some(group) = self.groups.borrow().get(place) {
            count(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened() {
        assert_eq!(shortened(&[b'x'; 128]).len(), 128);
        let long = shortened(&vec![b'x'; 1 << 20]);
        assert!(long.len() < 140 && long.ends_with('…'));
    }
}
