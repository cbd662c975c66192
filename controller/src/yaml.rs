//! YAML with positions: text to nodes, and cursors that know where in the document they stand.
//! It knows nothing of kinds.

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
