//! A codec from a description: a private protocol in YAML, without code.
//!
//! A [`Description`](description::Description) defines the positions of a protocol's data.
//! [`Declarative`] is the protocol made from it. For the router it is equal to a hand-written
//! codec. Two descriptions are included: [`bolt`] (SOFABolt) and [`quill`] (an example of a private
//! protocol). The README documents the language.

mod checksum;
mod codec;
mod compile;
pub mod description;
mod entries;
mod hessian;
mod intern;
mod number;
mod plan;
mod problem;
mod protocol;
mod scalar;
mod words;

pub use problem::{DescriptionError, DescriptionErrors};
pub use protocol::Declarative;

/// SOFABolt, versions 1 and 2, as its Java library implements it.
///
/// # Errors
/// None: the description is a part of this crate, and a test checks that it is valid.
pub fn bolt() -> Result<Declarative, DescriptionErrors> {
    Declarative::from_yaml(include_str!("../protocols/bolt.yaml"))
}

/// Quill: an invented, but realistic private protocol, described as an example.
///
/// # Errors
/// None: the description is a part of this crate, and a test checks that it is valid.
pub fn quill() -> Result<Declarative, DescriptionErrors> {
    Declarative::from_yaml(include_str!("../protocols/quill.yaml"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_shipped_descriptions_are_valid() {
        for made in [super::bolt(), super::quill()] {
            if let Err(errors) = made {
                panic!("{errors}");
            }
        }
    }
}
