//! Tests of the table of kinds: all that it declares is read, and what it calls secret is hidden.

#[path = "../tests/common/mod.rs"]
mod common;
mod fields;
mod generate;
mod secrets;
