//! Keys that separate requests for limits: an attribute of the request, or the client's address.

use std::net::IpAddr;

use meltemi_frame::{Interest, Lookup, Message, Spec};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::hash::SOURCE;
use crate::matching::lookup;

#[derive(Clone, Debug)]
pub(super) enum Key {
    /// The client's address.
    Source,
    /// The first value of an attribute.
    Attribute(Lookup),
}

impl Key {
    pub(super) fn compile(name: &str, spec: &Spec, interest: &mut Interest) -> Self {
        if name == SOURCE {
            Self::Source
        } else {
            Self::Attribute(lookup(name, spec, interest))
        }
    }

    /// Mixes the value into a hash. A missing attribute hashes as a value distinct from all others.
    pub(super) fn mix(&self, hash: u64, message: &Message<'_>, source: IpAddr) -> u64 {
        let mut mixed = None;
        match self {
            Self::Source => {
                mixed = Some(match source.to_canonical() {
                    IpAddr::V4(address) => xxh3_64_with_seed(&address.octets(), hash),
                    IpAddr::V6(address) => xxh3_64_with_seed(&address.octets(), hash),
                });
            }
            // All requests with an undetermined value share one bucket, so hiding the value gains
            // nothing.
            Self::Attribute(lookup) if message.attributes.is_undetermined(lookup) => {
                mixed = Some(hash.rotate_left(16).wrapping_mul(0xd6e8_feb8_6659_fd93));
            }
            Self::Attribute(lookup) => {
                // `first` would clone values that the codec had to rebuild; `any` lends them.
                let mut mix = |value: &[u8]| {
                    mixed = Some(xxh3_64_with_seed(value, hash));
                    true
                };
                message.attributes.any(lookup, message.wire(), &mut mix);
            }
        }
        mixed.unwrap_or_else(|| hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns the value as text. `None` if the attribute is absent.
    pub(super) fn text(&self, message: &Message<'_>, source: IpAddr) -> Option<String> {
        match self {
            Self::Source => Some(source.to_canonical().to_string()),
            Self::Attribute(lookup) => message
                .attribute(lookup)
                .map(|value| String::from_utf8_lossy(&value).into_owned()),
        }
    }
}
