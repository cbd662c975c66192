//! Thrift: framed, unframed, `THeader` and `TTHeader`; strict, lax and compact binary, and JSON.
//!
//! The first message of a connection sets its dialect; it needs no configuration. Messages are
//! routed by their fronts. A framed body is never walked, and an unframed one only to find its end.

use meltemi_frame::{Codec, Detect, Limits, Protocol, Session, Side, Spec};

mod codec;
mod cursor;
mod dialect;
mod envelope;
mod front;
mod header;
mod inflate;
mod json;
mod keys;
mod outcome;
mod plain;
mod present;
mod probe;
mod reply;
mod rewrite;
mod scan;
mod sniff;
#[cfg(test)]
mod testing;
mod write;

/// The Thrift protocol.
#[derive(Debug)]
pub struct Thrift {
    spec: Spec,
}

impl Thrift {
    /// Returns the protocol, with the name `thrift`.
    pub fn new() -> Self {
        Self { spec: keys::spec() }
    }
}

impl Default for Thrift {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol for Thrift {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn detect(&self, prefix: &[u8]) -> Detect {
        sniff::detect(prefix)
    }

    fn codec(&self, side: Side, limits: &Limits, session: &Session) -> Box<dyn Codec> {
        Box::new(codec::ThriftCodec::new(side, limits, session.dialect_id()))
    }

    /// Parses a transport, a dash and an encoding (`unframed-compact`), with the values of the
    /// attributes `transport` and `protocol`. If only one is given, the other has its default:
    /// `framed`, or `binary`.
    fn dialect(&self, name: &str) -> Result<Session, String> {
        let dialect = dialect::Dialect::named(name).ok_or_else(|| {
            format!(
                "thrift has no dialect `{name}`; use a transport (framed, unframed, header, ttheader), \
                 an encoding (binary, lax, compact, json), or both as in `unframed-compact`"
            )
        })?;
        Ok(codec::session(dialect))
    }
}
