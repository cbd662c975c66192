//! The policies that apply to a request, and the decisions that need no external service: for
//! people.

use std::fmt;

use meltemi_config::{GlobalLimit, LocalLimit, LocalLimits};
use meltemi_frame::Message;

use crate::{Access, Authorizer, Peer, Policies};

/// The policies of a listener or route that apply to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Asked {
    /// The decision of the authorization policies. `None` if there are none.
    pub access: Option<AccessGiven>,
    /// The local limits that take a token for it.
    pub local_limits: Vec<LimitAsked>,
    /// The external limit services that are called for it.
    pub global_limits: Vec<ServiceAsked>,
}

/// The decision of authorization policies on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AccessGiven {
    /// `true` if the request is allowed.
    pub allowed: bool,
    /// The policy that decided. `None` if there are no ALLOW policies or none of them matches.
    pub policy: Option<String>,
    /// The AUDIT policies that match.
    pub audits: Vec<String>,
}

/// A local limit that takes a token for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LimitAsked {
    /// The limit's name.
    pub name: String,
    /// The position of the rule that decides, from 0.
    pub rule: usize,
    /// The bucket's size and refill rate.
    pub bucket: String,
    /// The keys whose values have separate buckets.
    pub per: Vec<String>,
}

/// An external limit service that is called for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ServiceAsked {
    /// The limit's name.
    pub name: String,
    /// The cluster of the service.
    pub cluster: String,
    /// The domain.
    pub domain: String,
    /// The descriptors that are sent to it: lists of keys and values.
    pub descriptors: Vec<Vec<(String, String)>>,
    /// The timeout of the call.
    pub timeout: String,
    /// `true` if the request is denied when the service does not respond.
    pub deny_on_failure: bool,
}

impl Asked {
    /// Returns the policies that apply to a message. `policies` must be compiled from these limits.
    pub(super) fn new(
        policies: Option<&Policies>,
        local: &[std::sync::Arc<LocalLimits>],
        global: &[std::sync::Arc<GlobalLimit>],
        message: &Message<'_>,
        peer: &Peer,
    ) -> Self {
        let Some(policies) = policies else {
            return Self::default();
        };
        let source = peer.remote;
        let local = policies.local().iter().zip(local);
        let local = local.filter_map(|(limiter, plain)| {
            let rule = limiter.rule(message)?;
            Some(LimitAsked::new(&plain.name, rule, plain.rules.get(rule)?))
        });
        let global = policies.global().iter().zip(global);
        let global = global.filter_map(|(limiter, plain)| {
            Some(ServiceAsked {
                descriptors: limiter.descriptors(message, source)?,
                name: plain.name.clone(),
                cluster: plain.cluster.clone(),
                domain: plain.domain.clone(),
                timeout: format!("{:?}", plain.timeout),
                deny_on_failure: plain.deny_on_failure,
            })
        });
        Self {
            access: policies
                .authorization()
                .map(|authorizer| AccessGiven::new(authorizer, message, peer)),
            local_limits: local.collect(),
            global_limits: global.collect(),
        }
    }
}

impl AccessGiven {
    pub(super) fn new(authorizer: &Authorizer, message: &Message<'_>, peer: &Peer) -> Self {
        let (allowed, policy) = match authorizer.decide(message, peer) {
            Access::Allowed => (true, authorizer.allowing(message, peer)),
            Access::Denied { policy, .. } => (false, policy),
        };
        Self {
            allowed,
            policy: policy.map(str::to_owned),
            audits: authorizer
                .audits(message, peer)
                .map(str::to_owned)
                .collect(),
        }
    }
}

impl LimitAsked {
    fn new(name: &str, rule: usize, plain: &LocalLimit) -> Self {
        let bucket = plain.bucket;
        Self {
            name: name.to_owned(),
            rule,
            bucket: format!(
                "{} tokens, {} more in {:?}",
                bucket.size, bucket.fill, bucket.interval
            ),
            per: plain.per.clone(),
        }
    }
}

impl fmt::Display for AccessGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.allowed, &self.policy) {
            (true, Some(policy)) => write!(f, "access allowed by `{policy}`"),
            (true, None) => f.write_str("access allowed: nothing denies it"),
            (false, Some(policy)) => write!(f, "access denied by `{policy}`"),
            (false, None) => f.write_str("access denied: no policy allows it"),
        }?;
        if !self.allowed {
            f.write_str("; what follows is for requests that may")?;
        }
        for policy in &self.audits {
            write!(f, "\naudited by `{policy}`")?;
        }
        Ok(())
    }
}

impl fmt::Display for LimitAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limit `{}` rule {}: {}",
            self.name, self.rule, self.bucket
        )?;
        if !self.per.is_empty() {
            write!(f, ", for each {}", self.per.join(" and "))?;
        }
        Ok(())
    }
}

impl fmt::Display for ServiceAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, cluster, domain) = (&self.name, &self.cluster, &self.domain);
        write!(f, "limit `{name}` of {cluster}, domain {domain}:")?;
        for descriptor in &self.descriptors {
            let pairs = descriptor
                .iter()
                .map(|(key, value)| format!("{key}={value}"));
            write!(f, " ({})", pairs.collect::<Vec<_>>().join(", "))?;
        }
        let then = if self.deny_on_failure {
            "refused"
        } else {
            "let through"
        };
        write!(f, "; {then} without an answer in {}", self.timeout)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(access) = &self.access {
            writeln!(f, "{access}")?;
        }
        for limit in &self.local_limits {
            writeln!(f, "{limit}")?;
        }
        for limit in &self.global_limits {
            writeln!(f, "{limit}")?;
        }
        Ok(())
    }
}
