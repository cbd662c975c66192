//! Applies authorization policies to listeners and routes, and translates their tests for a
//! protocol.

mod blind;

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_config::{Authorization, Clause, Policy, PolicyRule, Problem, Subject, ValueMatch};
use meltemi_frame::Spec;

use super::attributes::{header_name, suspicious};
use super::directory::Directory;
use crate::kinds::{
    AccessPolicy, AccessRule, Action, Flavour, Gateway, Resources, Target, Term, What,
};

/// The namespace whose policies apply to all namespaces (Istio's root namespace).
const ROOT: &str = "istio-system";
/// The protocol of Aeraki's kind.
const DUBBO: &str = "dubbo";

/// All policies, with their targets.
pub(super) struct Policies<'r> {
    all: Vec<Chosen<'r>>,
}

struct Chosen<'r> {
    policy: &'r AccessPolicy<'r>,
    /// `namespace/name`.
    gateways: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

impl<'r> Policies<'r> {
    pub(super) fn new(
        resources: &'r Resources<'r>,
        directory: &Directory<'r>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let chosen = resources
            .access
            .iter()
            .map(|policy| choose(policy, resources, directory, problems));
        Self {
            all: chosen.collect(),
        }
    }

    /// Returns the policies of a protocol on a listener.
    pub(super) fn of_listener(
        &self,
        gateway: &Gateway<'_>,
        spec: &Spec,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Authorization>> {
        let id = gateway.id();
        self.compile(|one| one.gateways.contains(&id), spec, problems)
    }

    /// Returns the policies for the routes of hosts.
    pub(super) fn of_hosts(
        &self,
        hosts: &[String],
        spec: &Spec,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Authorization>> {
        let meant = |one: &Chosen<'_>| hosts.iter().any(|host| one.hosts.contains(host));
        self.compile(meant, spec, problems)
    }

    fn compile(
        &self,
        meant: impl Fn(&Chosen<'_>) -> bool,
        spec: &Spec,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Authorization>> {
        let mut all = Authorization::default();
        for one in self.all.iter().filter(|one| meant(one)) {
            let policy = one.policy;
            if policy.flavour == Flavour::Dubbo && spec.name != DUBBO {
                continue;
            }
            let rules = policy.rules.iter();
            let compiled = Policy {
                name: policy.document.object.to_string(),
                rules: rules
                    .filter_map(|rule| compile_rule(policy, rule, spec, problems))
                    .collect(),
                undetermined: policy.undetermined,
                origin: policy.document.origin(),
            };
            problems.extend(blind::note(policy, &compiled, spec));
            match policy.action {
                Action::Allow => all.allow.push(compiled),
                Action::Deny => all.deny.push(compiled),
                Action::Audit => all.audit.push(compiled),
            }
        }
        (!all.is_empty()).then(|| Arc::new(all))
    }
}

/// Returns the targets of a policy: those that it names, or else the gateways of its namespace.
fn choose<'r>(
    policy: &'r AccessPolicy<'r>,
    resources: &Resources<'_>,
    directory: &Directory<'_>,
    problems: &mut Vec<Problem>,
) -> Chosen<'r> {
    let namespace = policy.document.namespace.as_str();
    let mut chosen = Chosen {
        policy,
        gateways: BTreeSet::new(),
        hosts: BTreeSet::new(),
    };
    for target in &policy.targets {
        aim(&mut chosen, target, resources, directory, problems);
    }
    if !policy.targets.is_empty() {
        return chosen;
    }
    let labels = policy.selector.as_ref().map(|(labels, _)| labels);
    let found = resources.gateways.iter().filter(|gateway| {
        let has = |(key, value): (&String, &String)| gateway.labels.get(key) == Some(value);
        (namespace == ROOT || namespace == gateway.document.namespace)
            && labels.is_none_or(|labels| labels.iter().all(has))
    });
    chosen.gateways = found.map(Gateway::id).collect();
    if chosen.gateways.is_empty() {
        let nothing = match &policy.selector {
            Some((_, at)) => at.warning(
                "applies to nothing: no Gateway of this namespace has these labels in its selector",
            ),
            None => policy.document.cursor().at("spec").warning(format!(
                "applies to nothing: no Gateway that is loaded is in the namespace {namespace}"
            )),
        };
        problems.push(nothing.remedy(
            "name its targets in targetRefs; policies in istio-system apply to every namespace",
        ));
    }
    chosen
}

/// Adds the targets that a reference names.
fn aim(
    chosen: &mut Chosen<'_>,
    target: &Target<'_>,
    resources: &Resources<'_>,
    directory: &Directory<'_>,
    problems: &mut Vec<Problem>,
) {
    let namespace = chosen.policy.document.namespace.as_str();
    let name = target.name;
    let found = match target.kind {
        "Gateway" => {
            let id = format!("{namespace}/{name}");
            let found = resources.gateways.iter().any(|one| one.id() == id);
            chosen.gateways.insert(id);
            found
        }
        "Service" | "ServiceEntry" => {
            let entries = resources.services.iter().filter(|entry| {
                target.kind == "ServiceEntry"
                    && entry.document.namespace == namespace
                    && entry.document.name == name
            });
            let mut hosts: BTreeSet<String> =
                entries.flat_map(|entry| entry.hosts.clone()).collect();
            let host = name.to_ascii_lowercase();
            if hosts.is_empty()
                && let Some(service) = directory.find(&host, namespace)
            {
                hosts.insert(service.host.to_owned());
            }
            let found = !hosts.is_empty();
            chosen.hosts.append(&mut hosts);
            found
        }
        _ => false,
    };
    if !found {
        problems.push(
            target
                .at
                .at("name")
                .warning(format!(
                    "applies to nothing: there is no {} {namespace}/{name}",
                    target.kind
                ))
                .remedy("what this policy forbids is not forbidden"),
        );
    }
}

/// Translates a rule for a protocol. `None` if the rule never matches.
fn compile_rule(
    policy: &AccessPolicy<'_>,
    rule: &AccessRule<'_>,
    spec: &Spec,
    problems: &mut Vec<Problem>,
) -> Option<PolicyRule> {
    let mut foreign = false;
    let mut clauses = |terms: &[Term<'_>]| -> Vec<Clause> {
        let mut all = Vec::new();
        for term in terms {
            match subject(&term.what, spec) {
                Some(subject) => {
                    warn_impossible(term, &subject, spec, problems);
                    if let What::Attribute(name) | What::Header(name) = &term.what
                        && spec.key(name).is_none()
                    {
                        suspicious(&term.at, name, spec, problems);
                    }
                    all.push(Clause {
                        subject,
                        values: term.values.clone(),
                        not: term.not,
                    });
                }
                None => {
                    foreign = true;
                    problems.push(unknown(policy, term, spec));
                }
            }
        }
        all
    };
    let mut compiled = PolicyRule {
        from: rule.from.iter().map(|terms| clauses(terms)).collect(),
        to: rule.to.iter().map(|terms| clauses(terms)).collect(),
        when: clauses(&rule.when),
    };
    see_through(&mut compiled.to, policy.action, spec);
    // Istio's behaviour without HTTP: allow less, deny and audit more.
    (!foreign || policy.action != Action::Allow).then_some(compiled)
}

/// Warns of values that no request can have.
fn warn_impossible(term: &Term<'_>, subject: &Subject, spec: &Spec, problems: &mut Vec<Problem>) {
    let Subject::Attribute(name) = subject else {
        return;
    };
    for value in &term.values {
        if let Some(why) = value.impossible(name, spec) {
            problems.push(term.at.warning(why.what).remedy(why.remedy));
        }
    }
}

/// Prevents clients from using a generic call, which has a name of its own, to avoid a policy on
/// operations: a policy that denies an operation also denies generic calls that mean it. An
/// exception from an allowed set applies to generic calls, too. A generic call is not allowed just
/// because the operation that it means is allowed.
fn see_through(alternatives: &mut Vec<Vec<Clause>>, action: Action, spec: &Spec) {
    let Some(meant) = spec.generic_key() else {
        return;
    };
    let operation = Subject::Attribute(spec.operation.to_string());
    let on_operation = |clause: &&Clause| clause.subject == operation;
    // Values that no generic call can mean are left out.
    let meant = |clause: &Clause| {
        let possible = |value: &&ValueMatch| value.impossible(&meant.name, spec).is_none();
        let values: Vec<_> = clause.values.iter().filter(possible).cloned().collect();
        let subject = Subject::Attribute(meant.name.to_string());
        (values.is_empty() == clause.values.is_empty()).then_some(Clause {
            subject,
            values,
            not: clause.not,
        })
    };
    if action == Action::Allow {
        for clauses in alternatives {
            let excepted = clauses.iter().filter(on_operation);
            let more: Vec<Clause> = excepted.filter(|one| one.not).filter_map(meant).collect();
            clauses.extend(more);
        }
        return;
    }
    let names = |clause: &Clause| !clause.not && !clause.values.contains(&ValueMatch::Present);
    let named = alternatives
        .iter()
        .filter(|clauses| clauses.iter().filter(on_operation).any(names));
    let more: Vec<Vec<Clause>> = named
        .filter_map(|clauses| {
            let mut seen = Vec::new();
            for clause in clauses {
                match (on_operation(&clause), meant(clause)) {
                    (false, _) => seen.push(clause.clone()),
                    (true, Some(meant)) => seen.push(meant),
                    // An exception for what no generic call means excepts nothing.
                    (true, None) if clause.not => {}
                    (true, None) => return None,
                }
            }
            Some(seen)
        })
        .collect();
    alternatives.extend(more);
}

/// Returns the subject of a test. `None` if requests of the protocol do not have it.
fn subject(what: &What, spec: &Spec) -> Option<Subject> {
    let known = |name: &str| {
        let on_requests = spec.key(name).is_none_or(|key| key.request);
        let found = spec.lookup(name).filter(|_| on_requests);
        found.map(|_| Subject::Attribute(name.to_owned()))
    };
    match what {
        What::Subject(subject) => Some(subject.clone()),
        What::Operation => known(&spec.operation),
        What::Service => spec.service.as_deref().and_then(known),
        What::Key => ["keys", "key"]
            .into_iter()
            .filter(|name| spec.key(name).is_some())
            .find_map(known),
        What::Header(name) => header_name(name, spec).and_then(|name| known(&name)),
        What::Attribute(name) => known(name),
        What::Http(_) => None,
    }
}

/// Makes the problem for a test of a subject that the protocol does not have.
fn unknown(policy: &AccessPolicy<'_>, term: &Term<'_>, spec: &Spec) -> Problem {
    let name = &spec.name;
    let what = match &term.what {
        What::Operation => "no operation".to_owned(),
        What::Service => "no service".to_owned(),
        What::Key => "no key".to_owned(),
        What::Header(attribute) | What::Attribute(attribute) => {
            format!("no attribute `{attribute}` on requests")
        }
        What::Http(_) | What::Subject(_) => "nothing of the kind".to_owned(),
    };
    let has = format!("it has {}", spec.known_names());
    if policy.flavour == Flavour::Own {
        return term.at.error(format!("{name} has {what}")).remedy(format!(
            "{has}; name the listeners or services that the policy is for in targetRefs"
        ));
    }
    let outcome = match policy.action {
        Action::Allow => "so this rule never matches, and allows nothing",
        Action::Deny => "so it is passed over, and the rule denies whatever it is",
        Action::Audit => "so it is passed over, and the rule sees whatever it is",
    };
    let remedy = match &term.what {
        What::Http(instead) => (*instead).to_owned(),
        _ => has,
    };
    term.at
        .warning(format!("{name} has {what}, {outcome}"))
        .remedy(remedy)
}
