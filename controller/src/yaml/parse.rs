//! Parses YAML text to nodes. Depth and the size of alias copies are bounded. Stricter than YAML: a
//! duplicate key is an error. A syntax error affects only its own document.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::node::{Entry, Node, Value};

/// How deep nodes may nest.
const DEPTH: usize = 64;
/// How many bytes aliases may copy in one document (stops a "billion laughs" attack).
const ALIASES: usize = 4 << 20;

/// An error in the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    /// The key with the error; may be empty.
    pub(crate) field: String,
    pub(crate) what: String,
}

/// Returns the documents of a text (without empty ones), and the errors in it.
pub(crate) fn parse(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for (chunk, line) in split(text) {
        let mut builder = Builder {
            offset: line,
            ..Builder::default()
        };
        if let Err(fault) = builder.stream(chunk) {
            faults.push(fault);
        }
        faults.append(&mut builder.faults);
        documents.append(&mut builder.documents);
    }
    (documents, faults)
}

/// Splits the text before each `---` at the start of a line. Returns each piece with the number of
/// lines before it. Everywhere in YAML such a line ends a document, even within quotes (1.2.2,
/// section 9.1.2).
fn split(text: &str) -> Vec<(&str, usize)> {
    let mut pieces = Vec::new();
    let (mut start, mut at, mut first_line, mut line) = (0, 0, 0, 0);
    let mut directives = false;
    for row in text.split_inclusive('\n') {
        let marker = row
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marker && at > start && !directives {
            pieces.extend(text.get(start..at).map(|piece| (piece, first_line)));
            (start, first_line) = (at, line);
        }
        // A directive belongs to the marker after it.
        directives = row.starts_with('%') || (directives && !marker);
        at += row.len();
        line += 1;
    }
    pieces.extend(text.get(start..).map(|piece| (piece, first_line)));
    pieces
}

#[derive(Default)]
struct Builder {
    offset: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    copied: usize,
    documents: Vec<Node>,
    faults: Vec<Fault>,
}

/// An unfinished container.
struct Frame {
    line: usize,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        lines: HashMap<String, usize>,
        /// The key whose value comes next, and the line of the key.
        key: Option<(String, usize)>,
    },
}

impl Builder {
    fn stream(&mut self, text: &str) -> Result<(), Fault> {
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| Fault {
                line: error.marker().line().max(1) + self.offset,
                field: String::new(),
                what: format!("not YAML: {}", error.info()),
            })?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let line = span.start.line().max(1) + self.offset;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let string = tag.is_some_and(|tag| tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !string;
                let value = Value::Scalar(text.into_owned(), plain);
                self.put(Node::new(line, value), anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(fault(line, "the alias names an anchor that encloses it"));
                };
                self.copied = self.copied.saturating_add(node.cost());
                if self.copied > ALIASES {
                    return Err(fault(line, "aliases copy more than 4 MiB"));
                }
                let node = node.clone();
                if self.stack.len() + depth(&node) > DEPTH {
                    return Err(fault(line, "nested deeper than 64"));
                }
                self.put(node, 0)
            }
            Event::SequenceStart(anchor, _) => self.open(line, anchor, Inside::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(
                line,
                anchor,
                Inside::Map {
                    entries: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else {
                    return Ok(());
                };
                let value = match frame.inside {
                    Inside::List(items) => Value::List(exact(items)),
                    Inside::Map { entries, .. } => Value::Map(exact(self.merged(entries))),
                };
                let line = frame.line;
                self.put(Node::new(line, value), frame.anchor)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                self.copied = 0;
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {
                Ok(())
            }
        }
    }

    fn open(&mut self, line: usize, anchor: usize, inside: Inside) -> Result<(), Fault> {
        if self.stack.len() >= DEPTH {
            return Err(fault(line, "nested deeper than 64"));
        }
        self.stack.push(Frame {
            line,
            anchor,
            inside,
        });
        Ok(())
    }

    /// Adds a finished node to its container.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor != 0 {
            self.copied = self.copied.saturating_add(node.cost());
            if self.copied > ALIASES {
                return Err(fault(node.line, "anchors and aliases copy more than 4 MiB"));
            }
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            if !super::scalar::is_null(&node) {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut frame.inside {
            Inside::List(items) => items.push(node),
            Inside::Map {
                entries,
                lines,
                key,
            } => match key.take() {
                None => {
                    let line = node.line;
                    let Value::Scalar(text, _) = node.value else {
                        return Err(fault(line, "a key must be text"));
                    };
                    *key = Some((text, line));
                }
                Some((name, line)) => match lines.get(&name) {
                    Some(first) => self.faults.push(Fault {
                        line,
                        field: name.clone(),
                        what: format!("this key is on line {first} already"),
                    }),
                    None => {
                        lines.insert(name.clone(), line);
                        entries.push(Entry {
                            key: name,
                            line,
                            node,
                        });
                    }
                },
            },
        }
        Ok(())
    }

    /// Applies merge keys (`<<: *defaults`) as Kubernetes tools do: explicit fields win.
    fn merged(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let Some(at) = entries.iter().position(|entry| entry.key == "<<") else {
            return entries;
        };
        let merge = entries.remove(at);
        let sources = match merge.node.value {
            Value::List(items) => items,
            value => vec![Node::new(merge.node.line, value)],
        };
        let mut own: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        for source in sources {
            match source.value {
                Value::Map(inherited) => {
                    entries.extend(
                        inherited
                            .into_iter()
                            .filter(|entry| own.insert(entry.key.clone())),
                    );
                }
                _ => self.faults.push(Fault {
                    line: merge.line,
                    field: "<<".to_owned(),
                    what: "only maps can be merged".to_owned(),
                }),
            }
        }
        entries
    }
}

fn fault(line: usize, what: &str) -> Fault {
    Fault {
        line,
        field: String::new(),
        what: what.to_owned(),
    }
}

/// Frees unused capacity: most containers hold one or two items, but a vector starts with four.
fn exact<T>(mut items: Vec<T>) -> Vec<T> {
    items.shrink_to_fit();
    items
}

/// Returns the depth of a finished node, at most [`DEPTH`].
fn depth(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(..) => 0,
        Value::List(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| depth(&entry.node))
            .max()
            .unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, String)> {
        parse(text)
            .1
            .into_iter()
            .map(|fault| (fault.line, fault.what))
            .collect()
    }

    #[test]
    fn everything_knows_its_line() {
        let (documents, faults) = parse("# c\n---\na:\n  b:\n  - x\n  - y: 1\n---\nc: d\n");
        assert!(faults.is_empty());
        let inner = &documents[0].field("a").unwrap().node;
        assert_eq!(inner.field("b").unwrap().line, 4);
        let Value::List(items) = &inner.field("b").unwrap().node.value else {
            panic!("a list");
        };
        assert_eq!((items[0].line, items[1].line), (5, 6));
        assert_eq!(documents[1].field("c").unwrap().line, 8);
    }

    #[test]
    fn a_key_that_comes_twice_is_an_error() {
        let (documents, faults) = parse("a: 1\nb: 2\na: 3\n");
        assert_eq!(
            (
                faults[0].line,
                faults[0].field.as_str(),
                faults[0].what.as_str()
            ),
            (3, "a", "this key is on line 1 already")
        );
        assert_eq!(documents[0].field("a").unwrap().node.text(), Some("1"));
    }

    #[test]
    fn a_syntax_error_spoils_its_own_document_only() {
        let (documents, faults) = parse("a: 1\n---\nb: [1\n---\nc: 'x\n---\nd: 4\n");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(documents.iter().any(|node| node.field("a").is_some()));
        assert!(documents.iter().any(|node| node.field("d").is_some()));
    }

    #[test]
    fn directives_stay_with_their_document() {
        let (documents, faults) = parse("%YAML 1.2\n---\na: 1\n---\nb: 2\n");
        assert_eq!((documents.len(), faults.len()), (2, 0), "{faults:?}");
    }

    #[test]
    fn anchors_aliases_and_merges() {
        let (documents, faults) = parse("base: &b {x: 1, y: 2}\none: *b\ntwo:\n  <<: *b\n  y: 3\n");
        assert!(faults.is_empty(), "{faults:?}");
        let one = &documents[0].field("one").unwrap().node;
        assert_eq!(one.field("y").unwrap().node.text(), Some("2"));
        let two = &documents[0].field("two").unwrap().node;
        assert_eq!(two.field("x").unwrap().node.text(), Some("1"));
        assert_eq!(two.field("y").unwrap().node.text(), Some("3"));
    }

    #[test]
    fn bombs_are_defused() {
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for n in 1..12 {
            let many = vec![format!("*a{}", n - 1); 9].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{many}]\n"));
        }
        assert!(lines(&laughs)[0].1.contains("4 MiB"));
        // The parser has its own limit for flow collections.
        assert!(!lines(&"[".repeat(100_000)).is_empty());
        assert!(lines(&"[".repeat(70))[0].1.contains("deeper than 64"));
        assert!(lines(&"- ".repeat(100_000))[0].1.contains("deeper than 64"));
        assert!(!lines("a: &a [*a]\n").is_empty());
    }
}
