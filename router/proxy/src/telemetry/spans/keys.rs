//! Where a protocol's messages carry trace contexts, and how its spans are named. Compiled from its
//! `Spec` together with the configuration.

use std::ops::ControlFlow;

use meltemi_frame::{Interest, Lookup, Message, Open, Spec, System};

/// The entries that carry contexts, in the spelling for requests that have none of them.
pub(super) const NAMES: [&str; 8] = [
    "traceparent",
    "tracestate",
    "b3",
    "X-B3-TraceId",
    "X-B3-SpanId",
    "X-B3-ParentSpanId",
    "X-B3-Sampled",
    "X-B3-Flags",
];
pub(super) const TRACEPARENT: usize = 0;
pub(super) const TRACESTATE: usize = 1;
pub(super) const B3: usize = 2;
pub(super) const B3_TRACE: usize = 3;
pub(super) const B3_SPAN: usize = 4;
pub(super) const B3_PARENT: usize = 5;
pub(super) const B3_SAMPLED: usize = 6;
pub(super) const B3_FLAGS: usize = 7;

/// Longer values are ignored, in bytes. A `tracestate` of up to 512 bytes must be propagated.
const LONGEST: usize = 4096;

/// Where a protocol's messages carry trace contexts, and how its spans are named.
#[derive(Debug)]
pub(crate) struct TraceKeys {
    pub(super) system: System,
    pub(super) protocol: String,
    pub(super) operation: Option<Lookup>,
    pub(super) service: Option<Lookup>,
    /// The prefix of entry names in the configuration. `None` if the protocol has no entries.
    prefix: Option<Box<str>>,
    /// `true` if the entries can be written.
    editable: bool,
}

/// An entry of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// The name in the peer's spelling.
    pub(super) name: Box<str>,
    pub(super) value: Box<[u8]>,
    /// `true` if the entry occurs more than once or is too long.
    pub(super) again: bool,
}

/// The entries of a request, in the order of [`NAMES`].
pub(super) type Carrier = [Option<Carried>; NAMES.len()];

impl TraceKeys {
    /// Returns the keys of a protocol.
    pub(crate) fn of(spec: &Spec) -> Self {
        // With the shortest prefix, the name is most likely the one that clients use.
        let carries = spec.open.iter().filter(|open| {
            let name = format!("{}{}", open.prefix, NAMES[TRACEPARENT]);
            matches!(spec.lookup(&name), Some((Lookup::Open(name), _)) if *name == *NAMES[TRACEPARENT])
        });
        let open = carries.min_by_key(|open| (!open.edit_requests, open.prefix.len()));
        let lookup = |name: &str| spec.lookup(name).map(|(lookup, _)| lookup);
        Self {
            system: spec.system.clone(),
            protocol: spec.name.to_string(),
            operation: lookup(&spec.operation),
            service: spec.service.as_deref().and_then(lookup),
            prefix: open.map(|open| (*open.prefix).into()),
            editable: open.is_some_and(|open| open.edit_requests),
        }
    }

    /// Returns how deep requests must be decoded.
    pub(crate) const fn interest(&self) -> Interest {
        match self.prefix {
            Some(_) => Interest::Headers,
            None => Interest::Route,
        }
    }

    /// Reads the entries of a request.
    pub(super) fn read(&self, message: &Message<'_>) -> Carrier {
        let mut carrier = Carrier::default();
        if self.prefix.is_none() {
            return carrier;
        }
        message.attributes.walk(message.wire(), &mut |entry| {
            let known = |name: &&str| entry.name.eq_ignore_ascii_case(name.as_bytes());
            let place = NAMES.iter().position(known);
            let place = place.and_then(|at| carrier.get_mut(at));
            match (place, std::str::from_utf8(&entry.name)) {
                (Some(Some(carried)), _) => carried.again = true,
                (Some(place), Ok(name)) => {
                    *place = Some(Carried {
                        name: name.into(),
                        value: entry.value.get(..LONGEST).unwrap_or(&entry.value).into(),
                        again: entry.value.len() > LONGEST,
                    });
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        carrier
    }

    /// Returns the name of an entry in the form that edits need. `None` if this message cannot
    /// carry it.
    pub(super) fn edited(&self, message: &Message<'_>, name: &str) -> Option<Box<str>> {
        // A message without a place for entries shows none. A message that is only partly here
        // cannot grow in every protocol.
        let carries = !matches!(message.attributes.open(), Open::None) && message.head.end;
        let prefix = self.prefix.as_ref().filter(|_| self.editable && carries)?;
        Some(format!("{prefix}{name}").into())
    }

    /// Returns the service, if any, and the operation of a request.
    pub(super) fn names(&self, message: &Message<'_>) -> (Option<String>, String) {
        let text = |lookup: &Option<Lookup>| {
            let value = message.attribute(lookup.as_ref()?)?;
            let short = value.get(..256).unwrap_or(&value);
            Some(String::from_utf8_lossy(short).into_owned())
        };
        let service = text(&self.service).filter(|service| !service.is_empty());
        (service, text(&self.operation).unwrap_or_default())
    }
}
