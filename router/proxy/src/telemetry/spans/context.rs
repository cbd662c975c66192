//! Trace contexts: reads the context of a request, derives the new one, and lists the changes to
//! the request. W3C is always written, B3 only if the request came with it. Random numbers are
//! arguments.

use opentelemetry::trace::TraceState;

use super::b3::{self, Said, Several};
use super::keys::{
    B3, B3_FLAGS, B3_PARENT, B3_SAMPLED, B3_SPAN, B3_TRACE, Carrier, NAMES, TRACEPARENT, TRACESTATE,
};
use super::w3c;

/// The span that sent the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: u128,
    pub(super) span: u64,
    /// `true` if the trace is recorded. `None` if the proxy decides.
    pub(super) sampled: Option<bool>,
    /// The trace must be recorded, whatever the other settings are (B3).
    pub(super) debug: bool,
    /// The tracer writes trace ids of 64 bits (B3).
    pub(super) short: bool,
}

/// The proxy's own span for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) parent: Option<u64>,
    pub(super) sampled: bool,
    debug: bool,
    short: bool,
}

/// A change to one entry of a request: its name and the new value. `None` removes the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) name: Box<str>,
    pub(super) value: Option<String>,
}

/// The trace context of an incoming request, read once.
pub(super) struct Incoming<'c> {
    carrier: &'c Carrier,
    w3c: Option<Parent>,
    said: Option<Said>,
    /// The `tracestate` of other tracers, if it is valid.
    state: Option<TraceState>,
    /// There is a `tracestate` that must not be propagated.
    stray_state: bool,
}

/// Parses exactly `length` hexadecimal digits.
pub(super) fn digits(text: &str, length: usize) -> Option<u128> {
    let good = text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| u128::from_str_radix(text, 16).ok())?
}

impl<'c> Incoming<'c> {
    pub(super) fn read(carrier: &'c Carrier) -> Self {
        let value = |at: usize| {
            let carried = carrier.get(at)?.as_ref()?;
            (!carried.again).then_some(&*carried.value)
        };
        // A header that occurs twice is malformed.
        let several = [B3_TRACE, B3_SPAN, B3_PARENT, B3_SAMPLED, B3_FLAGS];
        let doubtful = several.iter().any(|at| {
            let carried = carrier.get(*at).and_then(Option::as_ref);
            carried.is_some_and(|carried| carried.again)
        });
        let several = (!doubtful).then(|| Several {
            trace: value(B3_TRACE),
            span: value(B3_SPAN),
            parent: value(B3_PARENT),
            sampled: value(B3_SAMPLED),
            flags: value(B3_FLAGS),
        });
        let single = value(B3).and_then(b3::read_single);
        let w3c = value(TRACEPARENT).and_then(w3c::read);
        let state = value(TRACESTATE).and_then(|state| {
            let state = std::str::from_utf8(state).ok()?;
            state.parse::<TraceState>().ok()
        });
        // A `tracestate` without a valid parent is useless, and a malformed one is dropped (section
        // 3.3.1). Several headers are allowed.
        let stray = value(TRACESTATE).is_some() && state.is_none();
        let there = carrier.get(TRACESTATE).is_some_and(Option::is_some);
        Self {
            carrier,
            w3c,
            state: state.filter(|_| w3c.is_some()),
            stray_state: stray || there && w3c.is_none(),
            said: single.or_else(|| b3::read_several(&several?)),
        }
    }

    fn has(&self, at: usize) -> bool {
        self.carrier.get(at).is_some_and(Option::is_some)
    }

    fn has_several(&self) -> bool {
        (B3_TRACE..=B3_FLAGS).any(|at| self.has(at))
    }

    /// Returns the `tracestate` for the span.
    pub(super) fn state(&self) -> TraceState {
        self.state.clone().unwrap_or_default()
    }

    /// Returns the proxy's span for this request. `draw` decides whether a new trace is recorded.
    pub(super) fn context(&self, random: [u64; 3], draw: bool) -> Context {
        let [high, low, span] = random;
        let new = ((u128::from(high) << 64) | u128::from(low)).max(1);
        let parent = match (self.w3c, self.said) {
            (Some(parent), _) | (None, Some(Said::Parent(parent))) => Some(parent),
            _ => None,
        };
        let alone = match self.said {
            Some(Said::Decision { sampled, debug }) => Some((sampled, debug)),
            _ => None,
        };
        Context {
            trace: parent.map_or(new, |parent| parent.trace),
            span: span.max(1),
            parent: parent.map(|parent| parent.span),
            sampled: match (parent, alone) {
                (Some(parent), _) => parent.sampled.unwrap_or(draw),
                (None, Some((sampled, _))) => sampled,
                (None, None) => draw,
            },
            debug: match (parent, alone) {
                (Some(parent), _) => parent.debug,
                (None, alone) => alone.is_some_and(|(_, debug)| debug),
            },
            short: parent.is_some_and(|parent| parent.short),
        }
    }

    /// Returns the changes that make the request carry this context and no other.
    pub(super) fn writes(&self, context: &Context) -> Vec<Write> {
        let mut writes = Vec::new();
        let b3 = self.has(B3) || self.has_several();
        if self.stray_state {
            self.remove(&mut writes, TRACESTATE);
        }
        if self.w3c.is_some() && !context.sampled && !b3 {
            // The request already contains the decision, and there is no recorded span here to be
            // its parent.
            return writes;
        }
        let Context { trace, span, .. } = *context;
        self.set(
            &mut writes,
            TRACEPARENT,
            w3c::write(trace, span, context.sampled),
        );
        let id = b3::trace(trace, context.short);
        if self.has(B3) {
            let (sampled, debug) = (context.sampled, context.debug);
            let value = b3::write_single(&id, span, sampled, debug, context.parent);
            self.set(&mut writes, B3, value);
        }
        if self.has_several() {
            self.set(&mut writes, B3_TRACE, id);
            self.set(&mut writes, B3_SPAN, format!("{span:016x}"));
            match context.parent {
                Some(parent) => self.set(&mut writes, B3_PARENT, format!("{parent:016x}")),
                None => self.remove(&mut writes, B3_PARENT),
            }
            // Debug implies the decision, which must then not be sent.
            if context.debug {
                self.set(&mut writes, B3_FLAGS, "1".to_owned());
                self.remove(&mut writes, B3_SAMPLED);
            } else {
                self.set(
                    &mut writes,
                    B3_SAMPLED,
                    u8::from(context.sampled).to_string(),
                );
                self.remove(&mut writes, B3_FLAGS);
            }
        }
        writes
    }

    fn set(&self, writes: &mut Vec<Write>, at: usize, value: String) {
        if let Some(name) = self.spelling(at) {
            writes.push(Write {
                name,
                value: Some(value),
            });
        }
    }

    fn remove(&self, writes: &mut Vec<Write>, at: usize) {
        if let (true, Some(name)) = (self.has(at), self.spelling(at)) {
            writes.push(Write { name, value: None });
        }
    }

    /// Returns the name in the spelling of the request. A new name follows the spelling of similar
    /// names in the request.
    fn spelling(&self, at: usize) -> Option<Box<str>> {
        if let Some(carried) = self.carrier.get(at)? {
            return Some(carried.name.clone());
        }
        let name = *NAMES.get(at)?;
        let mut others = self.carrier.iter().skip(B3_TRACE).flatten();
        let lower = others.any(|other| !other.name.bytes().any(|byte| byte.is_ascii_uppercase()));
        Some(if lower {
            name.to_ascii_lowercase().into()
        } else {
            name.into()
        })
    }
}

#[cfg(test)]
mod tests;
