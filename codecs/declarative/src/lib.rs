//! A codec from a description: a private protocol in YAML, no code.
//!
//! A [`Description`](description::Description) tells where a protocol's bytes are;
//! [`Declarative`] is the protocol made from it, equal to a hand-written codec in everything that
//! the router sees. Two are shipped: [`bolt`] (SOFABolt) and [`quill`] (an example of a company's
//! own). The language is in the README.

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

/// SOFABolt, versions 1 and 2, as its Java library speaks it.
///
/// # Errors
/// None: the description is a part of this crate, and a test holds that it is valid.
pub fn bolt() -> Result<Declarative, DescriptionErrors> {
    Declarative::from_yaml(include_str!("../protocols/bolt.yaml"))
}

/// Quill: an invented, but realistic protocol of a company's own, described as an example.
///
/// # Errors
/// None: the description is a part of this crate, and a test holds that it is valid.
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
