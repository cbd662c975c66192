//! Who may ask for what: policies as Istio means them, whatever kind they were written as.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::Origin;

/// The policies of a listener or a route. A request that a policy of `deny` matches is refused; if there
/// is a policy in `allow`, one that none of them matches is refused, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    /// A match refuses.
    pub deny: Vec<Policy>,
    /// If there is any, one must match.
    pub allow: Vec<Policy>,
    /// A match is counted and logged, and decides nothing.
    pub audit: Vec<Policy>,
}

impl Authorization {
    /// Whether there is no policy at all.
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow.is_empty() && self.audit.is_empty()
    }
}

/// A policy: it matches if one of its rules does; without rules it never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `Kind namespace/name`.
    pub name: String,
    /// Its rules.
    pub rules: Vec<PolicyRule>,
    /// What it makes of attributes that the codec could not determine.
    pub undetermined: Undetermined,
    /// Where it was written.
    pub origin: Origin,
}

/// What a policy makes of an attribute that the codec could not determine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undetermined {
    /// It counts against the request: a test of it passes in a policy that denies or audits, and fails in one that
    /// allows.
    #[default]
    Deny,
    /// The policy tests the values that the codec read, as if they were all.
    BestGuess,
}

/// A rule: one alternative of `from`, one of `to`, and all of `when` must pass; an empty list passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Alternatives, of each of which every clause must pass.
    pub from: Vec<Vec<Clause>>,
    /// Alternatives, of each of which every clause must pass.
    pub to: Vec<Vec<Clause>>,
    /// Every clause must pass.
    pub when: Vec<Clause>,
}

/// A test of one subject: one of the values must match, or with `not` none may. A subject that is absent
/// matches no value. Of an attribute with several values each must pass for a policy to allow; one that
/// passes is enough for a policy to deny or to audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// What is tested.
    pub subject: Subject,
    /// The values.
    pub values: Vec<ValueMatch>,
    /// None of the values may match.
    pub not: bool,
}

/// What a clause tests.
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
    /// The address that the connection comes from.
    SourceIp,
    /// The client's address as the last trusted hop tells it (PROXY protocol), else the same.
    RemoteIp,
    /// The listener's port.
    DestinationPort,
}

/// A test of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// It is there, whatever it is (`*`).
    Present,
    /// It is this.
    Exact(String),
    /// It starts with this (`abc*`).
    Prefix(String),
    /// It ends with this (`*abc`).
    Suffix(String),
    /// It is an address in this block.
    Block(IpBlock),
}

/// A block of addresses (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpBlock(IpNet);

impl IpBlock {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let block = text.parse::<IpNet>().ok();
        block
            .or_else(|| Some(text.parse::<IpAddr>().ok()?.into()))
            .map(Self)
    }

    /// Returns `true` if an address is in the block. An IPv4 address that is mapped into IPv6 counts as itself,
    /// and so does a mapped block of a single address.
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
            // One that differs in a single bit, and any.
            for address in [base ^ (1 << flip), other] {
                prop_assert_eq!(holds(address), same(address));
                let mapped = Ipv4Addr::from(address).to_ipv6_mapped();
                prop_assert_eq!(block.contains(mapped.into()), same(address));
            }
        }

        #[test]
        fn and_so_does_one_of_ipv6(base: u128, bits in 0..=128_u32, flip in 0..128_u32) {
            // Mapped addresses are IPv4's.
            let base = base | 1 << 127;
            let block = IpBlock::parse(&format!("{}/{bits}", Ipv6Addr::from(base))).unwrap();
            let address = base ^ (1 << flip);
            let same = (address ^ base).leading_zeros() >= bits;
            prop_assert_eq!(block.contains(Ipv6Addr::from(address).into()), same);
        }
    }
}
