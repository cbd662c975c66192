//! Routable metadata as spans of the wire bytes: no copies, no maps.

use std::borrow::Cow;
use std::ops::ControlFlow;

/// The maximum number of declared keys with a slot. Further metadata is open.
pub const MAX_KEYS: usize = 12;

/// The slot of a declared key: its position in [`Spec::keys`](crate::Spec::keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u8);

/// A range of a message's wire bytes. Offsets count from byte 0 of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The offset of the first byte.
    pub start: u32,
    /// The offset after the last byte.
    pub end: u32,
}

impl Span {
    /// Creates the span `start..end`, in bytes. Offsets past 4 GiB do not occur: attributes are in
    /// bytes that the codec holds, and [`Limits::frame`](crate::Limits::frame) bounds these.
    pub fn new(start: usize, end: usize) -> Self {
        let cap = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: cap(start),
            end: cap(end),
        }
    }

    /// Returns the bytes of the span. `None` if the span is not inside `wire`.
    pub fn of<'b>(&self, wire: &'b [u8]) -> Option<&'b [u8]> {
        wire.get(self.start as usize..self.end as usize)
    }

    /// Returns the length in bytes.
    pub const fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Returns `true` if the span is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A compiled attribute name, to find the attribute in a message.
/// [`Spec::lookup`](crate::Spec::lookup) makes it once, when a rule is compiled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// A declared key with a slot.
    Slot(KeyId),
    /// An entry of the open metadata, by its wire name.
    Open(Box<str>),
}

/// One entry of a message's open metadata. A name may occur more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'b> {
    /// The wire name, without the prefix that [`OpenKeys`](crate::OpenKeys) adds in the
    /// configuration.
    pub name: Cow<'b, [u8]>,
    /// The value.
    pub value: Cow<'b, [u8]>,
}

/// Visits the open metadata in `region` of the message `wire`, in wire order, until `visit` breaks.
///
/// The function is called only on bytes that `decode` has already checked, so it reports no errors.
/// It stops at bytes that it cannot read.
pub type Walk =
    for<'b> fn(wire: &'b [u8], region: Span, visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>);

/// The open metadata of a message.
#[derive(Clone, Debug, Default)]
pub enum Open {
    /// No open metadata, or the [`Interest`](crate::Interest) does not include it.
    #[default]
    None,
    /// Open metadata in the wire bytes. It is read when a rule asks for it.
    Walk {
        /// The position of the metadata.
        region: Span,
        /// The function that reads it.
        walk: Walk,
    },
    /// Names and values that are not on the wire in this form (compressed, or mixed with the body).
    /// For rare cases only: it allocates memory.
    Listed(Box<Vec<(Vec<u8>, Vec<u8>)>>),
}

/// The bit of [`Attributes`] that marks open metadata as undetermined.
const OPEN_BIT: u16 = 1 << 15;

const _: () = assert!(MAX_KEYS < 15, "a bit per slot, and one for open metadata");

/// The maximum number of fixed words in one message without an allocation.
const WORDS: usize = 6;

/// The content of a slot, in eight bytes. Messages are moved, so every byte counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(Span);

impl Slot {
    const ABSENT: Self = Self(Span {
        start: 0,
        end: Self::NOTHING,
    });
    // No span ends here, because the bytes that a codec holds are far smaller.
    const NOTHING: u32 = u32::MAX;
    const WORD: u32 = u32::MAX - 1;
    const KEPT: u32 = u32::MAX - 2;
}

/// The attributes of a message: slots for the protocol's declared keys, and its open metadata.
#[derive(Clone, Debug)]
pub struct Attributes {
    slots: [Slot; MAX_KEYS],
    words: [&'static str; WORDS],
    words_used: u8,
    /// Bit `n` marks slot `n` as undetermined. [`OPEN_BIT`] marks the open metadata.
    undetermined: u16,
    #[expect(clippy::box_collection, reason = "one word in the common case of none")]
    kept: Option<Box<Vec<Vec<u8>>>>,
    open: Open,
}

impl Default for Attributes {
    #[inline]
    fn default() -> Self {
        Self {
            slots: [Slot::ABSENT; MAX_KEYS],
            words: [""; WORDS],
            words_used: 0,
            undetermined: 0,
            kept: None,
            open: Open::None,
        }
    }
}

impl Attributes {
    /// Creates an empty set of attributes.
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates attributes with these fixed words, for a codec that calls
    /// [`Message::of`](crate::Message::of).
    #[inline]
    pub fn of_words<const N: usize>(given: [(KeyId, &'static str); N]) -> Self {
        const { assert!(N <= WORDS, "more words than fit without an allocation") };
        let mut attributes = Self::default();
        for (at, (key, word)) in (0..).zip(given) {
            if let Some(place) = attributes.words.get_mut(usize::from(at)) {
                *place = word;
            }
            let (start, end) = (u32::from(at), Slot::WORD);
            attributes.put(key, Slot(Span { start, end }));
            attributes.words_used = at + 1;
        }
        attributes
    }

    /// Adds open metadata in the wire bytes.
    #[inline]
    #[must_use]
    pub fn with_walk(self, region: Span, walk: Walk) -> Self {
        Self {
            open: Open::Walk { region, walk },
            ..self
        }
    }

    #[inline]
    fn put(&mut self, key: KeyId, slot: Slot) {
        // A key past the last slot is a mistake in the codec, which the check of its Spec reports
        // at start-up. Here the value is ignored.
        if let Some(place) = self.slots.get_mut(usize::from(key.0)) {
            *place = slot;
        }
    }

    /// Sets the value of `key` to this span of the wire bytes.
    #[inline]
    pub fn set_span(&mut self, key: KeyId, span: Span) {
        if span.end < Slot::KEPT {
            self.put(key, Slot(span));
        }
    }

    /// Sets the value of `key` to a fixed word (a category, a transport's name). Up to six in one
    /// message need no allocation.
    #[inline]
    pub fn set_static(&mut self, key: KeyId, value: &'static str) {
        match self.words.get_mut(usize::from(self.words_used)) {
            Some(place) => {
                *place = value;
                let at = u32::from(self.words_used);
                self.words_used += 1;
                self.put(
                    key,
                    Slot(Span {
                        start: at,
                        end: Slot::WORD,
                    }),
                );
            }
            None => self.set_copied(key, value),
        }
    }

    #[inline(never)]
    fn set_copied(&mut self, key: KeyId, value: &str) {
        self.set_kept(key, value.as_bytes().to_vec());
    }

    /// Sets a value of `key` that the codec had to rebuild (chunked, escaped, another character
    /// encoding). For rare cases only: it allocates memory.
    #[inline(never)]
    pub fn set_kept(&mut self, key: KeyId, value: Vec<u8>) {
        let kept = self.kept.get_or_insert_default();
        if let Ok(at) = u32::try_from(kept.len()) {
            kept.push(value);
            self.put(
                key,
                Slot(Span {
                    start: at,
                    end: Slot::KEPT,
                }),
            );
        }
    }

    /// Marks `key` as undetermined: the server may see another value than this message shows, or
    /// the codec could not read the value (an unknown serialization, compression, a limit).
    ///
    /// A value that is also set is the best guess. Routes and load balancers use it. Authorization
    /// does not trust it: a DENY policy matches, an ALLOW policy does not.
    #[inline]
    pub const fn set_undetermined(&mut self, key: KeyId) {
        if (key.0 as usize) < MAX_KEYS {
            self.undetermined |= 1 << key.0;
        }
    }

    /// Marks open entries as undetermined: the server may see other entries than this message
    /// shows. This includes keys with several values, which are open entries.
    #[inline]
    pub const fn set_open_undetermined(&mut self) {
        self.undetermined |= OPEN_BIT;
    }

    /// Returns `true` if the codec could not determine the value of the attribute.
    #[inline]
    pub fn is_undetermined(&self, lookup: &Lookup) -> bool {
        let bit = match lookup {
            Lookup::Slot(key) if usize::from(key.0) < MAX_KEYS => 1 << key.0,
            Lookup::Slot(_) => 0,
            Lookup::Open(_) => OPEN_BIT,
        };
        self.undetermined & bit != 0
    }

    /// Returns `true` if the codec could not determine at least one attribute.
    #[inline]
    pub const fn has_undetermined(&self) -> bool {
        self.undetermined != 0
    }

    /// Sets the open metadata.
    pub fn set_open(&mut self, open: Open) {
        self.open = open;
    }

    /// Returns the open metadata.
    pub const fn open(&self) -> &Open {
        &self.open
    }

    /// Returns the value in a slot. `None` if the message does not have it.
    pub fn slot<'m>(&'m self, key: KeyId, wire: &'m [u8]) -> Option<&'m [u8]> {
        let Slot(span) = *self.slots.get(usize::from(key.0))?;
        let at = span.start as usize;
        match span.end {
            Slot::NOTHING => None,
            Slot::WORD => self.words.get(at).map(|word| word.as_bytes()),
            Slot::KEPT => self.kept.as_ref()?.get(at).map(Vec::as_slice),
            _ => span.of(wire),
        }
    }

    /// Visits every open entry in wire order, until `visit` breaks.
    pub fn walk<'m>(&'m self, wire: &'m [u8], visit: &mut dyn FnMut(Entry<'m>) -> ControlFlow<()>) {
        match &self.open {
            Open::None => {}
            Open::Walk { region, walk } => walk(wire, *region, visit),
            Open::Listed(entries) => {
                for (name, value) in entries.iter() {
                    let entry = Entry {
                        name: Cow::Borrowed(name),
                        value: Cow::Borrowed(value),
                    };
                    if visit(entry).is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// Calls `test` on each value of the attribute until it returns `true`. A declared key with a
    /// slot has at most one value; an open attribute has as many as the message carries.
    pub fn any<'m>(
        &'m self,
        lookup: &Lookup,
        wire: &'m [u8],
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        match lookup {
            Lookup::Slot(key) => self.slot(*key, wire).is_some_and(test),
            Lookup::Open(name) => {
                let mut found = false;
                self.walk(wire, &mut |entry| {
                    if *entry.name == *name.as_bytes() && test(&entry.value) {
                        found = true;
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                });
                found
            }
        }
    }

    /// Returns the first value of the attribute. `None` if it is absent.
    pub fn first<'m>(&'m self, lookup: &Lookup, wire: &'m [u8]) -> Option<Cow<'m, [u8]>> {
        match lookup {
            Lookup::Slot(key) => self.slot(*key, wire).map(Cow::Borrowed),
            Lookup::Open(name) => {
                let mut found = None;
                self.walk(wire, &mut |entry| {
                    if *entry.name == *name.as_bytes() {
                        found = Some(entry.value);
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                });
                found
            }
        }
    }
}

#[cfg(test)]
mod tests;
