//! Reads the tests of an authorization policy: maps fields and keys to subjects, and texts to
//! values.

use meltemi_config::{IpBlock, Problem, Subject, ValueMatch};

use super::{Flavour, Group, Term, What};
use crate::near::nearest;
use crate::yaml::Cursor;

/// How values are written.
#[derive(Clone, Copy)]
enum How {
    Text,
    Block,
    Port,
    Account,
}

const NO_HINT: &str = "nothing but HTTP has it";

/// Reads the tests of a policy.
pub(super) struct Reader<'d> {
    pub(super) flavour: Flavour,
    pub(super) namespace: &'d str,
}

impl Reader<'_> {
    /// Reads the alternatives of `from` or `to`; each is in a field of its own.
    pub(super) fn alternatives<'a>(
        &self,
        here: &Cursor<'a>,
        field: &str,
        problems: &mut Vec<Problem>,
    ) -> Vec<Group<'a>> {
        let items = here.items();
        if here.exists() && items.is_empty() {
            problems.push(
                here.error("is empty")
                    .remedy("leave it out to match everything"),
            );
        }
        let groups = items.iter().map(|item| item.at(field));
        groups
            .filter(Cursor::exists)
            .map(|group| {
                let terms = self.terms(&group, problems);
                if terms.is_empty() {
                    problems.push(
                        group
                            .error("is empty")
                            .remedy("leave it out to match everything"),
                    );
                }
                if field == "source" {
                    accounts_alone(&group, problems);
                }
                terms
            })
            .collect()
    }

    fn terms<'a>(&self, group: &Cursor<'a>, problems: &mut Vec<Problem>) -> Group<'a> {
        let mut terms = Vec::new();
        for (name, at) in group.entries() {
            let positive = name
                .strip_prefix("not")
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
            let not = positive.is_some();
            let bare = match positive {
                None => name.to_owned(),
                Some(rest) => {
                    let (first, tail) = rest.split_at(1);
                    first.to_ascii_lowercase() + tail
                }
            };
            if bare == "attributes" {
                for (attribute, at) in at.entries() {
                    let what = What::Attribute(attribute.to_owned());
                    terms.extend(self.term(&at, what, How::Text, not, problems));
                }
            } else if let Some((what, how)) = self.meaning(&bare) {
                terms.extend(self.term(&at, what, how, not, problems));
            }
        }
        terms
    }

    /// Returns the subject of a field of a source or an operation. The table of the kind has
    /// already checked which fields exist.
    fn meaning(&self, field: &str) -> Option<(What, How)> {
        let about = |subject| What::Subject(subject);
        let rpc = |what| match self.flavour {
            Flavour::Istio { operations: false } => What::Http(
                "with the annotation meltemi.io/operations: \"true\" methods are operations (methods, \
                 commands) and paths are services (interfaces)",
            ),
            _ => what,
        };
        Some(match field {
            "principals" => (about(Subject::Principal), How::Text),
            "namespaces" => (about(Subject::Namespace), How::Text),
            "serviceAccounts" => (about(Subject::ServiceAccount), How::Account),
            "trustDomains" => (about(Subject::TrustDomain), How::Text),
            "ipBlocks" => (about(Subject::SourceIp), How::Block),
            "remoteIpBlocks" => (about(Subject::RemoteIp), How::Block),
            "ports" => (about(Subject::DestinationPort), How::Port),
            "services" | "interfaces" => (What::Service, How::Text),
            "operations" => (What::Operation, How::Text),
            "keys" => (What::Key, How::Text),
            "methods" => (rpc(What::Operation), How::Text),
            "paths" => (rpc(What::Service), How::Text),
            "requestPrincipals" | "hosts" => (What::Http(NO_HINT), How::Text),
            _ => return None,
        })
    }

    /// Returns the subject of a condition's key.
    fn key(&self, key: &str) -> Option<(What, How)> {
        let inside = |name: &str| {
            let rest = key.strip_prefix(name)?.strip_prefix('[')?;
            rest.strip_suffix(']').filter(|rest| !rest.is_empty())
        };
        if let Some(name) = inside("attributes") {
            return Some((What::Attribute(name.to_owned()), How::Text));
        }
        if let Some(name) = inside("request.headers") {
            return Some((What::Header(name.to_owned()), How::Text));
        }
        let field = match key {
            "source.ip" => "ipBlocks",
            "remote.ip" => "remoteIpBlocks",
            "source.namespace" => "namespaces",
            "source.principal" => "principals",
            "source.serviceAccount" => "serviceAccounts",
            "destination.port" => "ports",
            _ => {
                let foreign = ISTIO_KEYS.contains(&key)
                    || inside("request.auth.claims").is_some()
                    || key.starts_with("experimental.");
                return (foreign && self.flavour != Flavour::Own)
                    .then_some((What::Http(NO_HINT), How::Text));
            }
        };
        self.meaning(field)
    }

    /// Reads the conditions of `when`.
    pub(super) fn conditions<'a>(
        &self,
        here: &Cursor<'a>,
        problems: &mut Vec<Problem>,
    ) -> Group<'a> {
        let mut terms = Vec::new();
        for item in here.items() {
            let key = item.at("key");
            let Some(text) = key.text() else {
                continue;
            };
            let Some((what, how)) = self.key(text) else {
                let near = nearest(text, KEYS.into_iter());
                let hint = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
                problems.push(
                    key.error("is not a key that can be tested")
                        .remedy(format!("{hint}The keys are {}", KEYS.join(", "))),
                );
                continue;
            };
            let before = terms.len();
            for (field, not) in [("values", false), ("notValues", true)] {
                terms.extend(self.term(&item.at(field), what.clone(), how, not, problems));
            }
            if terms.len() == before {
                problems.push(
                    item.error("has no values")
                        .remedy("give values or notValues"),
                );
            }
        }
        terms
    }

    /// Reads the test of a list of values. An empty list counts as absent.
    fn term<'a>(
        &self,
        at: &Cursor<'a>,
        what: What,
        how: How,
        not: bool,
        problems: &mut Vec<Problem>,
    ) -> Option<Term<'a>> {
        let items = at.items();
        let values = items
            .iter()
            .filter_map(|item| self.value(item, item.text()?, how, problems));
        let values = values.collect();
        (!items.is_empty()).then(|| Term {
            at: at.clone(),
            what,
            values,
            not,
        })
    }

    fn value(
        &self,
        at: &Cursor<'_>,
        text: &str,
        how: How,
        problems: &mut Vec<Problem>,
    ) -> Option<ValueMatch> {
        match how {
            How::Block => {
                let block = IpBlock::parse(text);
                if block.is_none() {
                    problems.push(
                        at.error("is not a block of addresses")
                            .remedy("write an address or a CIDR block such as 10.0.0.0/8"),
                    );
                }
                block.map(ValueMatch::Block)
            }
            How::Port => {
                let port = text.parse::<u16>().ok().filter(|port| *port > 0);
                if port.is_none() {
                    problems.push(at.error("is not a port").remedy("write 1 to 65535"));
                }
                port.map(|port| ValueMatch::Exact(port.to_string()))
            }
            How::Account => {
                if text.is_empty() || text.contains('*') || text.matches('/').count() > 1 {
                    problems.push(
                        at.error("is not a service account")
                            .remedy("write name or namespace/name, without `*`"),
                    );
                }
                Some(ValueMatch::Exact(match text.contains('/') {
                    true => text.to_owned(),
                    false => format!("{}/{text}", self.namespace),
                }))
            }
            How::Text => {
                if text.is_empty() {
                    problems.push(at.error("is empty").remedy("`*` stands for any value"));
                }
                let (found, rest) = if text == "*" {
                    (ValueMatch::Present, "")
                } else if let Some(rest) = text.strip_prefix('*') {
                    (ValueMatch::Suffix(rest.to_owned()), rest)
                } else if let Some(rest) = text.strip_suffix('*') {
                    (ValueMatch::Prefix(rest.to_owned()), rest)
                } else {
                    (ValueMatch::Exact(text.to_owned()), text)
                };
                if rest.contains('*') {
                    problems.push(
                        at.warning("this `*` stands for itself")
                            .remedy("it is a wildcard only at the start or the end of a value"),
                    );
                }
                Some(found)
            }
        }
    }
}

/// Keys of conditions.
const KEYS: [&str; 8] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "destination.port",
    "request.headers[<name>]",
    "attributes[<name>]",
];

/// Further keys of Istio, which are not supported here.
const ISTIO_KEYS: [&str; 5] = [
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "connection.sni",
];

/// Istio's rule: a service account already includes namespace and identity.
fn accounts_alone(source: &Cursor<'_>, problems: &mut Vec<Problem>) {
    let given = |names: [&'static str; 2]| names.into_iter().find(|name| source.at(name).exists());
    let accounts = given(["serviceAccounts", "notServiceAccounts"]);
    let others =
        given(["principals", "notPrincipals"]).or_else(|| given(["namespaces", "notNamespaces"]));
    if let (Some(accounts), Some(other)) = (accounts, others) {
        problems.push(
            source
                .at(accounts)
                .error(format!("{other} are given, too"))
                .remedy("service accounts include both; give one of them"),
        );
    }
}
