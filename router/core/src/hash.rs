//! The hash of a request, for balancers that hash: selects and hashes the key attributes. The hash
//! is the same in every process and in every run, so that several proxies send the same key to the
//! same endpoint.

use std::net::IpAddr;

use meltemi_config::Balancing;
use meltemi_frame::{Interest, Lookup, Message, Spec};
use xxhash_rust::xxh64::xxh64;

/// The name that stands for the client's address.
pub(crate) const SOURCE: &str = "source.ip";

/// The suffix of an attribute name that enables the hash-tag rule.
const TAGGED: &str = "{}";

/// Returns the hash of these bytes, the same in every process and in every run. Use it on an
/// endpoint's address as text, for the `keys` of [`Balancer::new`](crate::Balancer::new).
pub fn stable_hash(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0)
}

/// The hash policy of one cluster, for one protocol. Empty if the cluster does not hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct HashPolicy(Box<[Key]>);

#[derive(Clone, Debug)]
enum Key {
    Source,
    Attribute { lookup: Lookup, tagged: bool },
}

impl HashPolicy {
    /// Compiles the hash policy of `balancing` for a protocol. Also returns the decode depth that
    /// it needs. Several protocols may use one cluster: a key that this protocol does not have
    /// counts as absent.
    pub(crate) fn compile(balancing: &Balancing, spec: &Spec) -> (Self, Interest) {
        let (Balancing::RingHash { keys: names, .. } | Balancing::Maglev { keys: names, .. }) =
            balancing
        else {
            return (Self::default(), Interest::Route);
        };
        let mut interest = Interest::Route;
        let mut keys = Vec::with_capacity(names.len());
        for name in names {
            if name == SOURCE {
                keys.push(Key::Source);
                continue;
            }
            let (attribute, tagged) = match name.strip_suffix(TAGGED) {
                Some(attribute) => (attribute, true),
                None => (name.as_str(), false),
            };
            if let Some((lookup, depth)) = spec.lookup(attribute) {
                interest = interest.max(depth);
                keys.push(Key::Attribute { lookup, tagged });
            }
        }
        (Self(keys.into()), interest)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the hash of a request. `None` if none of the keys is present. With one key it is
    /// xxHash64 of the (first) value with seed 0, as in Envoy. Each further key is hashed with the
    /// hash so far as its seed.
    pub(crate) fn hash(&self, message: &Message<'_>, source: IpAddr) -> Option<u64> {
        let mut hash = None;
        for key in &self.0 {
            let seed = hash.unwrap_or(0);
            match key {
                Key::Source => hash = Some(hash_address(source, seed)),
                Key::Attribute { lookup, tagged } => {
                    // `first` would clone values that the codec had to rebuild; `any` lends them.
                    message
                        .attributes
                        .any(lookup, message.wire(), &mut |value| {
                            let value = if *tagged { hash_tag(value) } else { value };
                            hash = Some(xxh64(value, seed));
                            true
                        });
                }
            }
        }
        hash
    }
}

fn hash_address(address: IpAddr, seed: u64) -> u64 {
    // A client has the same address on a dual-stack socket as on an IPv4 socket.
    match address.to_canonical() {
        IpAddr::V4(address) => xxh64(&address.octets(), seed),
        IpAddr::V6(address) => xxh64(&address.octets(), seed),
    }
}

/// Returns the part of a key that is hashed (Redis cluster specification, "Hash tags"): the part
/// between the first `{` and the first `}` after it, if not empty; else the whole key.
fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = || {
        let open = key.iter().position(|&byte| byte == b'{')?;
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|&byte| byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    };
    tag().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn ring(keys: &[&str]) -> Balancing {
        Balancing::RingHash {
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            minimum_ring_size: 1024,
        }
    }

    fn hash(keys: &[&str], attributes: &[(&str, &str)]) -> Option<u64> {
        let (policy, _) = HashPolicy::compile(&ring(keys), &fixture::spec());
        policy.hash(&fixture::message(attributes), [10, 0, 0, 1].into())
    }

    #[test]
    fn tags_follow_the_redis_specification() {
        // The examples of the specification.
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo}bar{"), b"foo}bar{");
        assert_eq!(hash_tag(b""), b"");
    }

    #[test]
    fn one_key_hashes_as_in_envoy() {
        assert_eq!(
            hash(&["method"], &[("method", "say")]),
            Some(xxh64(b"say", 0))
        );
        // A published vector of xxHash64, so that the algorithm cannot change in silence.
        assert_eq!(stable_hash(b""), 0xef46_db37_51d8_e999);
        assert_eq!(stable_hash(b"a"), 0xd24e_c4f1_a98c_6e5b);
    }

    #[test]
    fn absent_keys_do_not_count() {
        assert_eq!(hash(&["method"], &[]), None);
        assert_eq!(hash(&["not-in-this-protocol"], &[("method", "say")]), None);
        assert_eq!(
            hash(&["service", "method"], &[("method", "say")]),
            hash(&["method"], &[("method", "say")])
        );
    }

    #[test]
    fn every_key_counts_in_its_order() {
        let both = [("service", "a"), ("method", "b")];
        let swapped = [("service", "b"), ("method", "a")];
        assert_ne!(
            hash(&["service", "method"], &both),
            hash(&["service"], &both)
        );
        assert_ne!(
            hash(&["service", "method"], &both),
            hash(&["service", "method"], &swapped)
        );
    }

    #[test]
    fn of_many_values_the_first_counts() {
        let many = [("keys", "a"), ("keys", "b")];
        assert_eq!(hash(&["keys"], &many), hash(&["keys"], &[("keys", "a")]));
    }

    #[test]
    fn tagged_attributes_meet_on_their_tag() {
        let key = |key| [("keys", key)];
        let tagged = |value| hash(&["keys{}"], &key(value));
        assert_eq!(tagged("{u1}.a"), tagged("{u1}.b"));
        assert_eq!(tagged("u1"), tagged("x{u1}"));
        assert_ne!(
            hash(&["keys"], &key("{u1}.a")),
            hash(&["keys"], &key("{u1}.b"))
        );
    }

    #[test]
    fn a_client_is_its_address_whatever_the_socket() {
        let (policy, interest) = HashPolicy::compile(&ring(&["source.ip"]), &fixture::spec());
        let hash = |address: &str| policy.hash(&fixture::message(&[]), address.parse().unwrap());
        assert_eq!(interest, Interest::Route);
        assert_eq!(hash("10.0.0.1"), hash("::ffff:10.0.0.1"));
        assert_ne!(hash("10.0.0.1"), hash("10.0.0.2"));
        assert!(hash("2001:db8::1").is_some());
    }

    #[test]
    fn keys_tell_how_deep_to_look() {
        let interest = |keys: &[&str]| HashPolicy::compile(&ring(keys), &fixture::spec()).1;
        assert_eq!(interest(&["method"]), Interest::Route);
        assert_eq!(interest(&["method", "header.tenant"]), Interest::Headers);
    }
}
