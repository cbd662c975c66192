//! The table of every kind and every field that is read. Documents are checked against it, and the
//! reference page is generated from it.

mod aeraki;
mod common;
mod destination_rule;
mod fitness;
mod istio;
mod own;
mod page;
mod rules;
mod security;
mod table;
mod virtual_service;

pub(crate) use own::GROUP as OWN_GROUP;
pub use page::reference_markdown;
pub(crate) use table::{KINDS, fields, kind};
