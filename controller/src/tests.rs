//! Tests of the table of kinds: every declared field is read, and every secret field is hidden.

#[path = "../tests/common/mod.rs"]
mod common;
mod fields;
mod generate;
mod secrets;
