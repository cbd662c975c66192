//! Authorization policies with Istio's semantics, whatever kind of object they come from.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::Origin;

/// The policies of a listener or a route. A request is denied if a policy in `deny` matches it. If
/// `allow` is not empty, a request that none of its policies matches is denied, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    /// Policies that deny matching requests.
    pub deny: Vec<Policy>,
    /// Policies that allow matching requests. If there are any, one must match.
    pub allow: Vec<Policy>,
    /// Policies whose matches are only counted and logged.
    pub audit: Vec<Policy>,
}

impl Authorization {
    /// Returns `true` if there are no policies.
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow.is_empty() && self.audit.is_empty()
    }
}

/// A policy. It matches if one of its rules matches; without rules it never matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `Kind namespace/name`.
    pub name: String,
    /// Its rules.
    pub rules: Vec<PolicyRule>,
    /// How it treats attributes that the codec could not determine.
    pub undetermined: Undetermined,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// How a policy treats an attribute that the codec could not determine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undetermined {
    /// The attribute counts against the request: a test of it passes in a DENY or AUDIT policy, and
    /// fails in an ALLOW policy.
    #[default]
    Deny,
    /// The policy tests the values that the codec read, as if they were complete.
    BestGuess,
}

/// A rule. One alternative of `from`, one of `to`, and all of `when` must pass. An empty list
/// always passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Alternatives. In each one, every clause must pass.
    pub from: Vec<Vec<Clause>>,
    /// Alternatives. In each one, every clause must pass.
    pub to: Vec<Vec<Clause>>,
    /// Every clause must pass.
    pub when: Vec<Clause>,
}

/// A test of one subject: one of the values must match, or with `not` none of them. An absent
/// subject matches no value. If an attribute has several values, every one must pass in an ALLOW
/// policy, and one is enough in a DENY or AUDIT policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The subject of the test.
    pub subject: Subject,
    /// The accepted values; with `not`, the rejected ones.
    pub values: Vec<ValueMatch>,
    /// `true` if none of the values may match.
    pub not: bool,
}

/// The subject of a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An attribute of the request.
    Attribute(String),
    /// The client's identity without `spiffe://`, as in `cluster.local/ns/default/sa/web`.
    Principal,
    /// The namespace in the client's identity.
    Namespace,
    /// The service account in the client's identity, as `namespace/name`.
    ServiceAccount,
    /// The trust domain in the client's identity.
    TrustDomain,
    /// The source address of the connection.
    SourceIp,
    /// The client's address as the last trusted hop reports it (PROXY protocol), else the source
    /// address.
    RemoteIp,
    /// The listener's port.
    DestinationPort,
}

/// A test of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// The subject is present, with any value (`*`).
    Present,
    /// The value equals this text.
    Exact(String),
    /// The value starts with this text (`abc*`).
    Prefix(String),
    /// The value ends with this text (`*abc`).
    Suffix(String),
    /// The value is an address in this block.
    Block(IpBlock),
}

/// A block of addresses (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpBlock(IpNet);

impl IpBlock {
    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or a single address. `None` if the text is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let block = text.parse::<IpNet>().ok();
        block
            .or_else(|| Some(text.parse::<IpAddr>().ok()?.into()))
            .map(Self)
    }

    /// Returns `true` if an address is in the block. An IPv4 address that is mapped into IPv6
    /// counts as the IPv4 address; so does a mapped block of a single address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical()) || self.0.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_hold_their_addresses() {
        let holds = |block: &str, address: &str| {
            IpBlock::parse(block)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("1.2.3.4", "1.2.3.4") && !holds("1.2.3.4", "1.2.3.5"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8::1") && holds("::/0", "::1"));
        for bad in ["", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "::/129"] {
            assert_eq!(IpBlock::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_a_block_or_none(text in "[0-9a-f:./]{0,24}|\\PC{0,12}", address: u128) {
            if let Some(block) = IpBlock::parse(&text) {
                let base: IpAddr = text.split('/').next().unwrap().parse().unwrap();
                prop_assert!(block.contains(base));
                let _ = block.contains(IpAddr::from(address.to_be_bytes()));
            }
        }

        #[test]
        fn a_block_holds_what_has_its_first_bits(base: u32, bits in 0..=32_u32, other: u32, flip in 0..32_u32) {
            let block = IpBlock::parse(&format!("{}/{bits}", Ipv4Addr::from(base))).unwrap();
            let holds = |address: u32| block.contains(Ipv4Addr::from(address).into());
            let same = |address: u32| (address ^ base).leading_zeros() >= bits;
            // An address that differs in a single bit, and an arbitrary one.
            for address in [base ^ (1 << flip), other] {
                prop_assert_eq!(holds(address), same(address));
                let mapped = Ipv4Addr::from(address).to_ipv6_mapped();
                prop_assert_eq!(block.contains(mapped.into()), same(address));
            }
        }

        #[test]
        fn and_so_does_one_of_ipv6(base: u128, bits in 0..=128_u32, flip in 0..128_u32) {
            // A mapped address counts as an IPv4 address.
            let base = base | 1 << 127;
            let block = IpBlock::parse(&format!("{}/{bits}", Ipv6Addr::from(base))).unwrap();
            let address = base ^ (1 << flip);
            let same = (address ^ base).leading_zeros() >= bits;
            prop_assert_eq!(block.contains(Ipv6Addr::from(address).into()), same);
        }
    }
}
