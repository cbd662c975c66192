//! Istio's AuthorizationPolicy, ours, and Aeraki's DubboAuthorizationPolicy: who may ask for what. What a
//! test means in a protocol is not known here.

use meltemi_config::{IpBlock, Problem, Subject, ValueMatch};

use super::service::{Labels, labels};
use crate::near::nearest;
use crate::yaml::{Cursor, Document};

/// A policy.
#[derive(Debug)]
pub(crate) struct AccessPolicy<'a> {
    pub(crate) document: &'a Document,
    pub(crate) flavour: Flavour,
    pub(crate) action: Action,
    /// Labels that a Gateway's selector must have.
    pub(crate) selector: Option<(Labels, Cursor<'a>)>,
    pub(crate) targets: Vec<Target<'a>>,
    pub(crate) rules: Vec<AccessRule<'a>>,
}

/// Which kind a policy is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Istio's, which may say that its methods are operations.
    Istio { operations: bool },
    /// Aeraki's.
    Dubbo,
    /// Ours.
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    Audit,
}

/// What a policy is for.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
}

/// A rule: one of `from`, one of `to`, and `when` must pass.
#[derive(Debug)]
pub(crate) struct AccessRule<'a> {
    pub(crate) from: Vec<Group<'a>>,
    pub(crate) to: Vec<Group<'a>>,
    pub(crate) when: Group<'a>,
}

/// Tests of which all must pass.
pub(crate) type Group<'a> = Vec<Term<'a>>;

/// A test: one of the values must match, or with `not` none may.
#[derive(Debug)]
pub(crate) struct Term<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) what: What,
    pub(crate) values: Vec<ValueMatch>,
    pub(crate) not: bool,
}

/// What is tested.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// What every protocol has.
    Subject(Subject),
    /// The operation of the protocol.
    Operation,
    /// Its service.
    Service,
    /// Any of its keys.
    Key,
    /// An attribute of that name, or a header of that name.
    Header(String),
    /// An attribute.
    Attribute(String),
    /// What only HTTP has; and what to write instead.
    Http(&'static str),
}

/// How values are written.
#[derive(Clone, Copy)]
enum How {
    Text,
    Block,
    Port,
    Account,
}

/// Lets Istio's `methods` and `paths` mean operations and services.
const OPERATIONS: &str = "meltemi.io/operations";
const NO_HINT: &str = "nothing but HTTP has it";

impl<'a> AccessPolicy<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let root = document.cursor();
        let spec = root.at("spec");
        let flavour = match document.group.as_str() {
            "security.istio.io" => Flavour::Istio {
                operations: root.at("metadata").at("annotations").at(OPERATIONS).text()
                    == Some("true"),
            },
            "dubbo.aeraki.io" => Flavour::Dubbo,
            _ => Flavour::Own,
        };
        let action = spec.at("action");
        if action.text() == Some("CUSTOM") {
            problems.push(
                action
                    .error("asks a provider outside, and nobody is asked here")
                    .remedy("write what is allowed or denied as rules of ALLOW or DENY"),
            );
        }
        let mut policy = Self {
            document,
            flavour,
            action: match action.text() {
                Some("DENY") => Action::Deny,
                Some("AUDIT") => Action::Audit,
                _ => Action::Allow,
            },
            selector: None,
            targets: targets(&spec, &document.namespace, problems),
            rules: Vec::new(),
        };
        let selector = spec.at("selector");
        if selector.exists() {
            if !policy.targets.is_empty() {
                problems.push(
                    selector
                        .error("targetRefs are given, too")
                        .remedy("give one of them"),
                );
            }
            policy.selector = Some((labels(&selector.at("matchLabels")), selector));
        }
        let rules = spec.at("rules").items();
        if rules.is_empty() {
            match policy.action {
                Action::Allow => {}
                Action::Deny => problems.push(
                    spec.at("rules")
                        .error("a DENY policy without rules denies nothing")
                        .remedy("add rules; `- {}` denies everything"),
                ),
                Action::Audit => problems.push(
                    spec.at("rules")
                        .warning("an AUDIT policy without rules sees nothing")
                        .remedy("add rules; `- {}` sees everything"),
                ),
            }
        }
        let reader = Reader {
            flavour,
            namespace: &document.namespace,
        };
        policy.rules = rules
            .iter()
            .map(|rule| AccessRule {
                from: reader.alternatives(&rule.at("from"), "source", problems),
                to: reader.alternatives(&rule.at("to"), "operation", problems),
                when: reader.conditions(&rule.at("when"), problems),
            })
            .collect();
        policy
    }
}

fn targets<'a>(spec: &Cursor<'a>, namespace: &str, problems: &mut Vec<Problem>) -> Vec<Target<'a>> {
    let (one, several) = (spec.at("targetRef"), spec.at("targetRefs"));
    if one.exists() && several.exists() {
        problems.push(
            one.error("targetRefs are given, too")
                .remedy("give targetRefs alone"),
        );
    }
    let mut all = several.items();
    all.extend(one.exists().then_some(one));
    all.into_iter()
        .filter_map(|at| {
            let other = at.at("namespace");
            if other.text().is_some_and(|other| other != namespace) {
                problems.push(
                    other
                        .error("is another namespace than the policy's")
                        .remedy("put the policy into the namespace of what it is for"),
                );
            }
            Some(Target {
                kind: at.at("kind").text()?,
                name: at.at("name").text()?,
                at,
            })
        })
        .collect()
}

struct Reader<'d> {
    flavour: Flavour,
    namespace: &'d str,
}

impl Reader<'_> {
    /// The alternatives of `from` or `to`, each in a field of its own.
    fn alternatives<'a>(
        &self,
        here: &Cursor<'a>,
        field: &str,
        problems: &mut Vec<Problem>,
    ) -> Vec<Group<'a>> {
        let items = here.items();
        if here.exists() && items.is_empty() {
            problems.push(
                here.error("is empty")
                    .remedy("leave it out where everything is meant"),
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
                            .remedy("leave it out where everything is meant"),
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

    /// What a field of a source or an operation is about. The table of the kind has said which of
    /// them it has.
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

    /// A condition's key.
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

    fn conditions<'a>(&self, here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Group<'a> {
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

    /// The test of a list of values; an empty list is as none.
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
                            .remedy("it stands for any text only at one end of a value"),
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

/// Keys that Istio has besides, of which nothing is known here.
const ISTIO_KEYS: [&str; 5] = [
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "connection.sni",
];

/// Istio: a service account says namespace and identity already.
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
                .remedy("service accounts say both; give one of them"),
        );
    }
}
