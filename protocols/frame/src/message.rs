//! The common metadata frame: a head, attributes, the wire bytes, and recorded edits.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Attributes, Head, Lookup, Mark};

/// The codec's own notes on where things lie in the message: written by `decode`, read by `encode`
/// (possibly of another codec of the same protocol), and by nobody else.
pub type Layout = [u32; 8];

/// A change to an attribute, by its name as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The attribute has this value and no other.
    Set(Box<str>, Box<[u8]>),
    /// The message gains this value.
    Add(Box<str>, Box<[u8]>),
    /// The attribute is gone.
    Remove(Box<str>),
}

impl Edit {
    /// The attribute.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Add(name, _) | Self::Remove(name) => name,
        }
    }
}

/// One message, or one piece of a large one. It borrows the bytes it arrived as.
#[derive(Clone, Debug)]
pub struct Message<'b> {
    /// What the router must know.
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
    /// A message as decoded from `wire`, which holds exactly its bytes.
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

    /// A message of which everything is known. A codec that makes its messages last of all, with nothing
    /// behind it that could fail or allocate, has them made where the caller finds them; a message
    /// that is made first and filled then is copied on return, all its 370 bytes.
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

    /// The bytes that the message arrived as.
    pub const fn wire(&self) -> &'b [u8] {
        self.wire
    }

    /// The first value of an attribute.
    pub fn attribute(&self, lookup: &Lookup) -> Option<Cow<'_, [u8]>> {
        self.attributes.first(lookup, self.wire)
    }

    /// Records another correlation id for the wire. [`Head::id`] keeps what the peer wrote.
    pub const fn set_id(&mut self, id: i64) {
        self.id = Some(id);
    }

    /// The correlation id to write.
    pub const fn id(&self) -> Option<i64> {
        self.id
    }

    /// Whether the id to write differs from the id that came.
    pub fn id_changed(&self) -> bool {
        self.id != self.head.id
    }

    /// Records the mark of the endpoint that serves the request. The codec removes it from a request
    /// ([`Reach::Continues`](crate::Reach::Continues)), and writes it into a response.
    pub const fn set_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// The mark of the endpoint, if the codec has to remove it or to write it.
    pub const fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Records a change to an attribute. Whether the protocol can carry it is told by
    /// [`Spec::editable`](crate::Spec::editable), when the configuration is loaded.
    pub fn edit(&mut self, edit: Edit) {
        self.edits.get_or_insert_default().push(edit);
    }

    /// The recorded changes, in order.
    pub fn edits(&self) -> &[Edit] {
        self.edits.as_ref().map_or(&[], |edits| edits)
    }

    /// Whether `encode` writes the wire bytes as they came.
    pub fn is_unedited(&self) -> bool {
        !self.id_changed() && self.edits.is_none() && self.mark.is_none()
    }

    /// The same message with its id and mark as recorded, but no changed attributes.
    #[must_use]
    pub fn without_edits(&self) -> Self {
        Self {
            edits: None,
            ..self.clone()
        }
    }

    /// A copy that outlives the read buffer (a retry, a mirror, a filter that waits).
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
    /// The message, borrowing from this copy.
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

    /// What the router must know.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.wire.len()
    }

    /// Whether it holds no bytes.
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
