//! The client of a connection, with the facts that policies test. This module does not depend on
//! the source of these facts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The client and the endpoints of its connection. Built once per connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The source address of the connection.
    pub source: SocketAddr,
    /// The client's address as the last trusted hop reports it, else the address of `source`.
    pub remote: IpAddr,
    /// The listener's port.
    pub port: u16,
    identity: Option<Arc<Identity>>,
}

/// The parts of a client's identity.
#[derive(Debug)]
struct Identity {
    whole: Arc<str>,
    /// The identity without `spiffe://`.
    name: Box<str>,
    trust_domain: Option<Box<str>>,
    namespace: Option<Box<str>>,
    /// `namespace/name`.
    account: Option<Box<str>>,
}

const SCHEME: &str = "spiffe://";

impl Peer {
    /// Creates a client. `principal` is its identity, a SPIFFE URI; in Kubernetes `spiffe://<trust
    /// domain>/ns/<namespace>/sa/<service account>`. A SPIFFE URI of another form has no namespace
    /// and no service account. An identity that is no SPIFFE URI has no trust domain either.
    pub fn new(source: SocketAddr, remote: IpAddr, port: u16, principal: Option<Arc<str>>) -> Self {
        Self {
            source,
            remote,
            port,
            identity: principal.map(|whole| Arc::new(Identity::new(whole))),
        }
    }

    /// Returns the client's identity as given. `None` if it has none.
    pub fn principal(&self) -> Option<&Arc<str>> {
        self.identity.as_ref().map(|identity| &identity.whole)
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| &*identity.name)
    }

    pub(super) fn trust_domain(&self) -> Option<&str> {
        self.identity.as_ref()?.trust_domain.as_deref()
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.identity.as_ref()?.namespace.as_deref()
    }

    pub(super) fn account(&self) -> Option<&str> {
        self.identity.as_ref()?.account.as_deref()
    }
}

impl Identity {
    fn new(whole: Arc<str>) -> Self {
        let name = whole.strip_prefix(SCHEME);
        let mut parts = name.unwrap_or_default().split('/');
        let mut next = || parts.next().unwrap_or_default();
        let trust_domain = name.map(|_| next()).filter(|domain| !domain.is_empty());
        let place = match (next(), next(), next(), next()) {
            ("ns", namespace, "sa", account) if !namespace.is_empty() && !account.is_empty() => {
                Some((namespace, account))
            }
            _ => None,
        };
        let place = place.filter(|_| trust_domain.is_some() && parts.next().is_none());
        Self {
            name: name.unwrap_or(&whole).into(),
            trust_domain: trust_domain.map(Into::into),
            namespace: place.map(|(namespace, _)| namespace.into()),
            account: place.map(|(namespace, account)| format!("{namespace}/{account}").into()),
            whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_taken_apart() {
        let told = |principal: &str| {
            let source = SocketAddr::from(([10, 0, 0, 1], 5));
            let peer = Peer::new(source, source.ip(), 80, Some(principal.into()));
            let own = |text: Option<&str>| text.unwrap_or("-").to_owned();
            assert_eq!(peer.principal().map(|told| &**told), Some(principal));
            [
                own(peer.name()),
                own(peer.trust_domain()),
                own(peer.namespace()),
                own(peer.account()),
            ]
            .join(" ")
        };
        assert_eq!(
            told("spiffe://cluster.local/ns/shop/sa/web"),
            "cluster.local/ns/shop/sa/web cluster.local shop shop/web"
        );
        assert_eq!(told("spiffe://td/other/form"), "td/other/form td - -");
        assert_eq!(told("spiffe://td/ns/a/sa/b/c"), "td/ns/a/sa/b/c td - -");
        assert_eq!(told("spiffe://td/ns//sa/b"), "td/ns//sa/b td - -");
        assert_eq!(told("spiffe:///ns/a/sa/b"), "/ns/a/sa/b - - -");
        assert_eq!(told("CN=web"), "CN=web - - -");
        assert_eq!(told("td/ns/a/sa/b"), "td/ns/a/sa/b - - -");
    }
}
