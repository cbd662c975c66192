//! A place in a document: reads the value there, and reports problems with it.

use std::sync::Arc;
use std::time::Duration;

use meltemi_config::{Origin, Problem, Share};

use super::node::{Node, Value};
use super::scalar::{boolean, is_null, json_scalar};

/// A Kubernetes-style document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) file: Arc<str>,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `Kind namespace/name`.
    pub(crate) object: Arc<str>,
    pub(crate) root: Node,
}

impl Document {
    /// Returns the cursor at the root of the document.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor {
            document: self,
            node: Some(&self.root),
            line: self.root.line,
            path: String::new(),
        }
    }

    #[cfg(test)]
    fn note_read(&self, path: &str) {
        super::record::note((self.group.clone(), self.kind.clone(), path.to_owned()));
    }

    /// Returns the position of the document.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            file: Arc::clone(&self.file),
            line: self.root.line,
            object: Arc::clone(&self.object),
        }
    }
}

/// A place in a document. A place may have no value; then it has the line of its parent.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    document: &'a Document,
    node: Option<&'a Node>,
    line: usize,
    path: String,
}

impl<'a> Cursor<'a> {
    /// Returns the place of the field with this name.
    pub(crate) fn at(&self, key: &str) -> Self {
        let entry = self.node.and_then(|node| node.field(key));
        let path = self.below(key);
        #[cfg(test)]
        self.document.note_read(&path);
        Self {
            document: self.document,
            node: entry.map(|entry| &entry.node).filter(|node| !is_null(node)),
            line: entry.map_or(self.line, |entry| entry.line),
            path,
        }
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Returns the items of a list.
    pub(crate) fn items(&self) -> Vec<Self> {
        #[cfg(test)]
        self.document.note_read(&self.path);
        let Some(Value::List(items)) = self.node.map(|node| &node.value) else {
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(at, node)| Self {
                document: self.document,
                node: Some(node).filter(|node| !is_null(node)),
                line: node.line,
                path: format!("{}[{at}]", self.path),
            })
            .collect()
    }

    /// Returns the fields of a map that are not null.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Some(Value::Map(entries)) = self.node.map(|node| &node.value) else {
            return Vec::new();
        };
        #[cfg(test)]
        self.document.note_read(&self.path);
        entries
            .iter()
            .filter(|entry| !is_null(&entry.node))
            .map(|entry| {
                let place = Self {
                    document: self.document,
                    node: Some(&entry.node),
                    line: entry.line,
                    path: self.below(&entry.key),
                };
                (entry.key.as_str(), place)
            })
            .collect()
    }

    /// Returns `true` if a value is present.
    pub(crate) const fn exists(&self) -> bool {
        self.node.is_some()
    }

    /// Returns the node.
    pub(crate) const fn node(&self) -> Option<&'a Node> {
        self.node
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<&'a str> {
        #[cfg(test)]
        self.document.note_read(&self.path);
        self.node.and_then(Node::text)
    }

    /// Returns a whole number.
    pub(crate) fn integer(&self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// Returns a whole number that fits the type.
    pub(crate) fn number<T: TryFrom<i64>>(&self) -> Option<T> {
        T::try_from(self.integer()?).ok()
    }

    /// Returns a number with fractions.
    pub(crate) fn decimal(&self) -> Option<f64> {
        self.text()?.parse().ok()
    }

    /// Returns a percentage.
    pub(crate) fn percent(&self) -> Option<Share> {
        self.decimal().map(Share::percent)
    }

    /// Returns a number with three decimals, in thousandths.
    pub(crate) fn thousandths(&self) -> Option<u32> {
        // The cast clamps a float that is out of range to the nearest bound.
        self.decimal()
            .map(|number| (number * 1000.0).round() as u32)
    }

    /// Returns a boolean.
    pub(crate) fn flag(&self) -> Option<bool> {
        #[cfg(test)]
        self.document.note_read(&self.path);
        self.node.and_then(boolean)
    }

    /// Returns a duration.
    pub(crate) fn duration(&self) -> Option<Duration> {
        meltemi_config::parse_duration(self.text()?)
    }

    /// Returns the texts of a list.
    pub(crate) fn texts(&self) -> Vec<&'a str> {
        self.items().iter().filter_map(Self::text).collect()
    }

    /// Follows a path such as `fields[0].name` from here. If a part of it does not exist, returns
    /// the last existing place, with the full path.
    pub(crate) fn descend(&self, path: &str) -> Self {
        let mut here = self.clone();
        for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let next = match step.parse::<usize>() {
                Ok(at) if matches!(here.node.map(|n| &n.value), Some(Value::List(_))) => {
                    here.items().into_iter().nth(at)
                }
                _ => Some(here.at(step)),
            };
            match next {
                Some(next) if next.exists() || next.line != here.line => here = next,
                _ => break,
            }
        }
        here.path = match (self.path.is_empty(), path.is_empty()) {
            (_, true) => self.path.clone(),
            (true, _) => path.to_owned(),
            (false, _) if path.starts_with('[') => format!("{}{path}", self.path),
            (false, false) => format!("{}.{path}", self.path),
        };
        here
    }

    /// Returns the position of this place.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            line: self.line,
            ..self.document.origin()
        }
    }

    /// Makes an error at this place.
    pub(crate) fn error(&self, what: impl Into<String>) -> Problem {
        Problem::error(&self.origin(), &self.path, &self.shown()).says(what)
    }

    /// Makes a warning at this place.
    pub(crate) fn warning(&self, what: impl Into<String>) -> Problem {
        Problem::warning(&self.origin(), &self.path, &self.shown()).says(what)
    }

    /// Makes a note at this place.
    pub(crate) fn note(&self, what: impl Into<String>) -> Problem {
        Problem::note(&self.origin(), &self.path, &self.shown()).says(what)
    }

    /// Returns the value for display: secrets are never shown.
    fn shown(&self) -> String {
        const LONGEST: usize = 80;
        if self.node.is_some_and(|node| node.secret) {
            return String::new();
        }
        let text = self.text().unwrap_or("");
        match text.char_indices().nth(LONGEST) {
            None => text.to_owned(),
            Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
        }
    }

    /// Returns the value as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        #[cfg(test)]
        self.document.note_read(&self.path);
        self.node.map_or(serde_json::Value::Null, json)
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Scalar(text, plain) => json_scalar(text, *plain),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), json(&entry.node)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
