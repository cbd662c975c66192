//! A YAML tree whose nodes know their lines. Scalars keep their text, so that `version: 1.10` stays
//! "1.10" and does not become a number.

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The line it starts on, counted from 1.
    pub(crate) line: usize,
    /// `true` if the value must never be shown.
    pub(crate) secret: bool,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text, and `true` if it has no quotes (it may then mean a number, a boolean or null).
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
    /// Makes a node that may be shown.
    pub(crate) const fn new(line: usize, value: Value) -> Self {
        Self {
            line,
            secret: false,
            value,
        }
    }

    /// Returns roughly how many bytes a copy of this tree takes.
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

    /// Returns a field. `None` if this is not a map, or has no such field.
    pub(crate) fn field(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Returns a field for changes.
    pub(crate) fn field_mut(&mut self, key: &str) -> Option<&mut Entry> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }
}

impl Entry {
    /// Makes a field that is on no line.
    pub(crate) fn text(key: &str, text: &str) -> Self {
        let value = Value::Scalar(text.to_owned(), false);
        Self {
            key: key.to_owned(),
            line: 0,
            node: Node::new(0, value),
        }
    }
}
