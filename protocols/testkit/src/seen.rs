//! The decoded result of some bytes, in a form that can be compared.

use std::collections::BTreeMap;

use meltemi_frame::{Head, Kind, Message, Redirect, Span, Spec, Status, describe};

use crate::failure::{difference, ensure, show};
use crate::{Failure, Verdict};

/// The parts of a message that must be equal, however its bytes arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub head: Head,
    /// The redirect's address. Its span in the head is cleared, because it moves with the bytes.
    pub redirect: Option<Vec<u8>>,
    pub attributes: BTreeMap<String, Vec<Vec<u8>>>,
    pub wire: Vec<u8>,
    pub offset: usize,
}

impl Seen {
    pub(crate) fn new(spec: &Spec, message: &Message<'_>, offset: usize) -> Self {
        let mut head = message.head;
        let mut redirect = None;
        if let Status::Redirect(Redirect { address, once }) = head.status {
            redirect = Some(address.of(message.wire()).unwrap_or_default().to_vec());
            let address = Span::default();
            head.status = Status::Redirect(Redirect { address, once });
        }
        let owned = |values: Vec<std::borrow::Cow<'_, [u8]>>| {
            values
                .into_iter()
                .map(std::borrow::Cow::into_owned)
                .collect()
        };
        Self {
            head,
            redirect,
            attributes: describe::attributes(spec, message)
                .into_iter()
                .map(|(name, values)| (name, owned(values)))
                .collect(),
            wire: message.wire().to_vec(),
            offset,
        }
    }

    /// Describes the differences, except in the wire bytes and the offset. `None` if there are
    /// none.
    pub(crate) fn differs(&self, other: &Self) -> Option<String> {
        if self.head != other.head || self.redirect != other.redirect {
            return Some(format!(
                "the head differs:\n  one:   {:?}\n  other: {:?}",
                self.head, other.head
            ));
        }
        self.attributes_differ(other)
    }

    pub(crate) fn attributes_differ(&self, other: &Self) -> Option<String> {
        let names = self.attributes.keys().chain(other.attributes.keys());
        names
            .filter(|name| self.attributes.get(*name) != other.attributes.get(*name))
            .map(|name| {
                let of = |seen: &Self| {
                    let values = seen.attributes.get(name);
                    values.map_or_else(
                        || "absent".to_owned(),
                        |values| {
                            let texts: Vec<String> =
                                values.iter().map(|value| show(value)).collect();
                            texts.join(", ")
                        },
                    )
                };
                format!(
                    "attribute `{name}` is {} here and {} there",
                    of(self),
                    of(other)
                )
            })
            .next()
    }
}

/// One result of a decode, with its effect on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Message(Seen),
    /// A message-scope error at this offset, of this length.
    Malformed(usize, usize),
    /// Framing lost at this offset.
    Lost(usize),
}

/// The results for some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub events: Vec<Event>,
    /// The offset of the unfinished last message, or the length of the input if there is none.
    pub rest: usize,
}

impl Run {
    /// Returns the same run with the pieces of each message joined. A codec may split a large
    /// message at positions that depend on the bytes present.
    fn joined(&self) -> Self {
        let mut events: Vec<Event> = Vec::with_capacity(self.events.len());
        for event in &self.events {
            if let (Event::Message(piece), Some(Event::Message(last))) = (event, events.last_mut())
                && piece.head.kind == Kind::Data
                && !last.head.end
            {
                last.wire.extend_from_slice(&piece.wire);
                last.head.end = piece.head.end;
                continue;
            }
            events.push(event.clone());
        }
        Self {
            events,
            rest: self.rest,
        }
    }

    /// Fails unless `other`, whose bytes arrived in pieces, is the same.
    pub(crate) fn is_same_as(&self, other: &Self) -> Verdict {
        self.joined().is_just(&other.joined())
    }

    fn is_just(&self, other: &Self) -> Verdict {
        for (at, event) in self.events.iter().enumerate() {
            let Some(got) = other.events.get(at) else {
                return Err(Failure::new(format!(
                    "message {at} is missing, but was decoded when all bytes arrived at once"
                )));
            };
            match (event, got) {
                (Event::Message(a), Event::Message(b)) => {
                    ensure!(
                        a.offset == b.offset,
                        "message {at} starts at {}, not at {}",
                        b.offset,
                        a.offset
                    );
                    ensure!(
                        a.wire == b.wire,
                        "message {at} at offset {} has other bytes: {}",
                        a.offset,
                        difference(&a.wire, &b.wire)
                    );
                    if let Some(what) = a.differs(b) {
                        return Err(
                            Failure::new(what).within(format!("message {at} (whole / in pieces)"))
                        );
                    }
                }
                _ => ensure!(
                    event == got,
                    "message {at} was {event:?} when all bytes arrived at once, and is now {got:?}"
                ),
            }
        }
        ensure!(
            other.events.len() == self.events.len(),
            "{} messages were decoded, but {} when all bytes arrived at once",
            other.events.len(),
            self.events.len()
        );
        ensure!(
            self.rest == other.rest,
            "the unfinished rest starts at {}, but at {} when all bytes arrived at once",
            other.rest,
            self.rest
        );
        Ok(())
    }
}
