//! The common form of a message: a head, attributes, the wire bytes, and recorded edits.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Attributes, Head, Lookup, Mark};

/// The codec's own notes on positions in the message. `decode` writes them and `encode` reads them
/// (possibly in another codec of the same protocol). No other code uses them.
pub type Layout = [u32; 8];

/// A change to an attribute, by its configuration name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Replaces all values of the attribute by this value.
    Set(Box<str>, Box<[u8]>),
    /// Adds this value to the attribute.
    Add(Box<str>, Box<[u8]>),
    /// Removes the attribute.
    Remove(Box<str>),
}

impl Edit {
    /// Returns the attribute's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Add(name, _) | Self::Remove(name) => name,
        }
    }
}

/// One message, or one piece of a large one. It borrows its wire bytes.
#[derive(Clone, Debug)]
pub struct Message<'b> {
    /// The facts that the router needs.
    pub head: Head,
    /// Routable metadata.
    pub attributes: Attributes,
    /// The codec's own notes.
    pub layout: Layout,
    wire: &'b [u8],
    id: Option<i64>,
    mark: Option<Mark>,
    #[expect(
        clippy::box_collection,
        reason = "one word in the common case of no edits"
    )]
    edits: Option<Box<Vec<Edit>>>,
}

impl<'b> Message<'b> {
    /// Creates a message that was decoded from `wire`, which must hold exactly its bytes.
    #[inline]
    pub fn new(head: Head, wire: &'b [u8]) -> Self {
        Self {
            head,
            attributes: Attributes::new(),
            layout: Layout::default(),
            wire,
            id: head.id,
            mark: None,
            edits: None,
        }
    }

    /// Creates a complete message. If a codec calls this last, with nothing after it that can fail
    /// or allocate, the message is built in the caller's memory. A message that is created first
    /// and filled later is copied on return: 370 bytes.
    #[inline]
    pub const fn of(head: Head, attributes: Attributes, layout: Layout, wire: &'b [u8]) -> Self {
        Self {
            id: head.id,
            head,
            attributes,
            layout,
            wire,
            mark: None,
            edits: None,
        }
    }

    /// Returns the bytes of the message as they arrived.
    pub const fn wire(&self) -> &'b [u8] {
        self.wire
    }

    /// Returns the first value of an attribute. `None` if it is absent.
    pub fn attribute(&self, lookup: &Lookup) -> Option<Cow<'_, [u8]>> {
        self.attributes.first(lookup, self.wire)
    }

    /// Records another correlation id for the wire. [`Head::id`] keeps the id that the peer wrote.
    pub const fn set_id(&mut self, id: i64) {
        self.id = Some(id);
    }

    /// Returns the correlation id to write.
    pub const fn id(&self) -> Option<i64> {
        self.id
    }

    /// Returns `true` if the id to write differs from the id that arrived.
    pub fn id_changed(&self) -> bool {
        self.id != self.head.id
    }

    /// Records the mark of the endpoint that serves the request. The codec removes it from a request
    /// ([`Reach::Continues`](crate::Reach::Continues)), and writes it into a response.
    pub const fn set_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// Returns the mark of the endpoint, if the codec has to remove or write it.
    pub const fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Records a change to an attribute. [`Spec::editable`](crate::Spec::editable) decides whether
    /// the protocol can carry it; it is checked when the configuration is loaded.
    pub fn edit(&mut self, edit: Edit) {
        self.edits.get_or_insert_default().push(edit);
    }

    /// Returns the recorded changes, in order.
    pub fn edits(&self) -> &[Edit] {
        self.edits.as_ref().map_or(&[], |edits| edits)
    }

    /// Returns `true` if `encode` writes the wire bytes as they arrived.
    pub fn is_unedited(&self) -> bool {
        !self.id_changed() && self.edits.is_none() && self.mark.is_none()
    }

    /// Returns the message with its recorded id and mark, but without changed attributes.
    #[must_use]
    pub fn without_edits(&self) -> Self {
        Self {
            edits: None,
            ..self.clone()
        }
    }

    /// Returns a copy that outlives the read buffer (for a retry, a mirror, a filter that waits).
    pub fn to_owned_message(&self) -> OwnedMessage {
        OwnedMessage {
            head: self.head,
            attributes: self.attributes.clone(),
            layout: self.layout,
            wire: Bytes::copy_from_slice(self.wire),
            id: self.id,
            mark: self.mark,
            edits: self.edits.clone(),
        }
    }
}

/// A message that owns its bytes.
#[derive(Clone, Debug)]
pub struct OwnedMessage {
    head: Head,
    attributes: Attributes,
    layout: Layout,
    wire: Bytes,
    id: Option<i64>,
    mark: Option<Mark>,
    #[expect(
        clippy::box_collection,
        reason = "one word in the common case of no edits"
    )]
    edits: Option<Box<Vec<Edit>>>,
}

impl OwnedMessage {
    /// Returns the message, borrowed from this copy.
    pub fn message(&self) -> Message<'_> {
        Message {
            head: self.head,
            attributes: self.attributes.clone(),
            layout: self.layout,
            wire: &self.wire,
            id: self.id,
            mark: self.mark,
            edits: self.edits.clone(),
        }
    }

    /// Returns the facts that the router needs.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the number of wire bytes.
    pub fn len(&self) -> usize {
        self.wire.len()
    }

    /// Returns `true` if there are no wire bytes.
    pub fn is_empty(&self) -> bool {
        self.wire.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn edits_are_recorded_and_survive_a_copy() {
        let wire = *b"abc";
        let mut message = Message::new(Head::new(Kind::Request, Some(7)), &wire);
        assert!(message.is_unedited());
        message.set_id(9);
        message.edit(Edit::Set("a".into(), (*b"b").into()));
        let owned = message.to_owned_message();
        let copy = owned.message();
        assert_eq!(
            (copy.head.id, copy.id(), copy.edits().len()),
            (Some(7), Some(9), 1)
        );
        assert_eq!(copy.wire(), b"abc");
        assert!(!copy.is_unedited() && copy.id_changed());
    }
}
