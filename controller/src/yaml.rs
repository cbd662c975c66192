//! YAML with positions: parses text to nodes, and reads them through cursors that know their place
//! in the document. This module must not know any kind.

mod cursor;
mod node;
mod parse;
#[cfg(test)]
pub(crate) mod record;
mod scalar;
mod write;

pub(crate) use cursor::{Cursor, Document};
pub(crate) use node::{Entry, Node, Value};
pub(crate) use parse::parse;
pub(crate) use scalar::{boolean, is_null};
pub(crate) use write::write_document;
