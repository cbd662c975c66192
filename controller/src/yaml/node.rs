//! A YAML tree in which everything knows its line. Scalars stay the text that was written, so that
//! `version: 1.10` is "1.10" and not a number.

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The line it starts on, counted from 1.
    pub(crate) line: usize,
    /// What stands here is never shown.
    pub(crate) secret: bool,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text, and whether it stands without quotes (so that it may mean a number, a flag or nothing).
    Scalar(String, bool),
    List(Vec<Node>),
    /// In written order; keys are unique.
    Map(Vec<Entry>),
}

/// One field of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The line of the key.
    pub(crate) line: usize,
    pub(crate) node: Node,
}

impl Node {
    /// A node that may be shown.
    pub(crate) const fn new(line: usize, value: Value) -> Self {
        Self {
            line,
            secret: false,
            value,
        }
    }

    /// What a copy of this tree costs, in bytes, near enough.
    pub(crate) fn cost(&self) -> usize {
        const NODE: usize = 64;
        NODE + match &self.value {
            Value::Scalar(text, _) => text.len(),
            Value::List(items) => items.iter().map(Self::cost).sum(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| entry.key.len() + NODE + entry.node.cost())
                .sum(),
        }
    }

    /// The value of a field, if this is a map that has it.
    pub(crate) fn field(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn field_mut(&mut self, key: &str) -> Option<&mut Entry> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// A scalar's text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }
}

impl Entry {
    /// A field that stands on no line.
    pub(crate) fn text(key: &str, text: &str) -> Self {
        let value = Value::Scalar(text.to_owned(), false);
        Self {
            key: key.to_owned(),
            line: 0,
            node: Node::new(0, value),
        }
    }
}
