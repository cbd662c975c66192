//! Turns texts into documents of known kinds, checks them against their tables, and selects those
//! in effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_config::{Origin, Problem};

use crate::check;
use crate::near::nearest;
use crate::reference::{self, KINDS, OWN_GROUP};
use crate::schema::{Kind, Reader};
use crate::secrecy;
use crate::source::Text;
use crate::yaml::{Cursor, Document, Node, Value, is_null, parse};

/// Reads every document and checks each one on its own.
pub(crate) fn read(texts: &[Text], problems: &mut Vec<Problem>) -> Vec<Document> {
    let mut documents = Vec::new();
    for text in texts {
        let (nodes, faults) = parse(&text.text);
        problems.extend(faults.into_iter().map(|fault| {
            let origin = origin(&text.name, fault.line);
            let field = if fault.field.is_empty() {
                "document"
            } else {
                &fault.field
            };
            Problem::error(&origin, field, "").says(fault.what)
        }));
        for node in nodes {
            unpack(node, &text.name, &mut documents, problems);
        }
    }
    documents
        .into_iter()
        .filter_map(|document| known(document, problems))
        .collect()
}

/// Returns the documents in effect: the last one for each kind, namespace and name.
pub(crate) fn applied<'a>(
    documents: &'a [Document],
    problems: &mut Vec<Problem>,
) -> Vec<&'a Document> {
    let mut last = BTreeMap::new();
    for (at, document) in documents.iter().enumerate() {
        let key = (&document.group, &*document.object);
        if let Some(before) = last.insert(key, at).and_then(|at| documents.get(at)) {
            problems.push(
                Problem::warning(&document.origin(), "metadata.name", &document.name)
                    .says(format!(
                        "replaces the document of this name at {}",
                        before.origin()
                    ))
                    .remedy("give them different names, or remove one of them"),
            );
        }
    }
    let keep: BTreeSet<usize> = last.into_values().collect();
    keep.into_iter()
        .filter_map(|at| documents.get(at))
        .collect()
}

/// Unpacks one document, or the items of a `List`.
fn unpack(node: Node, file: &Arc<str>, documents: &mut Vec<Document>, problems: &mut Vec<Problem>) {
    let text = |key: &str| {
        let entry = node.field(key).filter(|entry| !is_null(&entry.node));
        entry
            .and_then(|entry| entry.node.text())
            .unwrap_or("")
            .to_owned()
    };
    let line = node.line;
    let Value::Map(entries) = &node.value else {
        problems.push(
            Problem::error(&origin(file, line), "document", "")
                .says("is not a resource")
                .remedy("a resource is a map with apiVersion, kind, metadata and spec"),
        );
        return;
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    for (field, value) in [("apiVersion", &api_version), ("kind", &kind)] {
        if value.is_empty() {
            let names: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
            let hint = names
                .iter()
                .find(|name| nearest(name, [field].into_iter()).is_some());
            let hint = hint.map_or(String::new(), |name| {
                format!(" (is `{name}` meant to be it?)")
            });
            problems.push(
                Problem::error(&origin(file, line), field, "")
                    .says("is missing")
                    .remedy(format!("every document needs apiVersion and kind{hint}")),
            );
        }
    }
    if api_version.is_empty() || kind.is_empty() {
        return;
    }
    if kind == "List" && api_version == "v1" {
        let Value::Map(entries) = node.value else {
            return;
        };
        let items = entries.into_iter().find(|entry| entry.key == "items");
        if let Some(Value::List(items)) = items.map(|entry| entry.node.value) {
            for item in items {
                unpack(item, file, documents, problems);
            }
        }
        return;
    }
    let (group, version) = api_version
        .split_once('/')
        .unwrap_or(("", api_version.as_str()));
    let meta = |key: &str| {
        let meta = &node.field("metadata")?.node;
        let entry = meta.field(key).filter(|entry| !is_null(&entry.node))?;
        entry.node.text().filter(|text| !text.is_empty())
    };
    let name = meta("name").unwrap_or("").to_owned();
    let namespace = meta("namespace").unwrap_or("default").to_owned();
    documents.push(Document {
        file: Arc::clone(file),
        group: group.to_owned(),
        version: version.to_owned(),
        object: format!("{kind} {namespace}/{name}").into(),
        namespace,
        name,
        kind,
        root: node,
    });
}

/// Returns the document, checked and with its secrets marked. `None` if its kind is not read.
fn known(mut document: Document, problems: &mut Vec<Problem>) -> Option<Document> {
    let Some(kind) = reference::kind(&document.group, &document.kind) else {
        problems.extend(unknown(&document, &document.cursor().at("kind")));
        return None;
    };
    secrecy::mark(&mut document.root, &reference::fields(kind));
    let root = document.cursor();
    if !kind.versions.contains(&document.version.as_str()) {
        let known: Vec<String> = kind
            .versions
            .iter()
            .map(|version| format!("{}/{version}", kind.group))
            .collect();
        problems.push(
            root.at("apiVersion")
                .error(format!("{} has no such version", kind.name))
                .remedy(format!("use {}", known.join(" or "))),
        );
        return None;
    }
    if kind.reader == Reader::None {
        problems.push(
            root.at("kind")
                .warning("accepted, not enforced yet")
                .remedy("what this document forbids is not forbidden"),
        );
        return None;
    }
    check_document(&root, kind, problems);
    Some(document)
}

/// Istio's kinds that are ignored.
const OTHERS: [&str; 5] = [
    "EnvoyFilter",
    "Sidecar",
    "ProxyConfig",
    "WorkloadGroup",
    "RequestAuthentication",
];

/// Reports a kind that is not read. Kinds for workloads and for the cluster itself are ignored
/// silently: many files contain them next to our kinds.
fn unknown(document: &Document, at: &Cursor<'_>) -> Option<Problem> {
    let group = document.group.as_str();
    let clusters_own = ["", "apps", "batch", "autoscaling", "policy", "extensions"]
        .contains(&group)
        || group.ends_with(".k8s.io");
    let names = || {
        let kinds = KINDS.iter().filter(|kind| kind.group == group);
        kinds.map(|kind| kind.name)
    };
    if clusters_own {
        // In that group, a Gateway is a different kind; the other groups have no kind with one of
        // our names.
        let foreign = group == "gateway.networking.k8s.io";
        let meant = KINDS.iter().find(|kind| kind.name == document.kind);
        return meant.filter(|_| !foreign).map(|kind| {
            document
                .cursor()
                .at("apiVersion")
                .error(format!("has no kind {}", kind.name))
                .remedy(format!(
                    "the supported {} belongs to {}",
                    kind.name, kind.group
                ))
        });
    }
    if names().next().is_none() {
        let groups = KINDS.iter().map(|kind| kind.group);
        return Some(
            match nearest(group, groups.filter(|group| !group.is_empty())) {
                Some(near) => at
                    .error("belongs to an unknown group")
                    .remedy(format!("did you mean {near}?")),
                None => at.warning("is not a kind that is read here, and is passed over"),
            },
        );
    }
    let near = nearest(&document.kind, names());
    let known = names().collect::<Vec<_>>().join(", ");
    let remedy = match near {
        Some(near) => format!("did you mean {near}? The kinds of {group} are {known}"),
        None => format!("the kinds of {group} that are read are {known}"),
    };
    // Istio's groups have kinds that we do not read; the other groups have none.
    let others = OTHERS.contains(&document.kind.as_str());
    Some(if !others {
        at.error("there is no such kind").remedy(remedy)
    } else {
        at.warning("is not a kind that is read here, and is passed over")
            .remedy(remedy)
    })
}

fn check_document(root: &Cursor<'_>, kind: &Kind, problems: &mut Vec<Problem>) {
    // Our group has kinds with the same names as kinds of other groups.
    let twin = kind.group != OWN_GROUP && reference::kind(OWN_GROUP, kind.name).is_some();
    let other = twin.then(|| {
        let istio = kind.group.ends_with(".istio.io");
        let whose = if istio { "Istio" } else { "Aeraki" };
        format!("{whose}'s {}", kind.name)
    });
    let owner = match &other {
        Some(other) => check::Owner {
            name: other,
            more: "; the kind of this name in meltemi.io/v1alpha1 has more fields",
        },
        None => check::Owner {
            name: kind.name,
            more: "",
        },
    };
    check::fields(root, &reference::fields(kind), owner, problems);
    let name = root.at("metadata").at("name");
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match name.text() {
        None | Some("") => problems.push(
            name.error("is missing")
                .remedy("every document needs a name in its metadata"),
        ),
        Some(text) if !text.chars().all(fits) => problems.push(
            name.error("is not a name")
                .remedy("use letters, digits, - and ."),
        ),
        Some(_) => {}
    }
}

fn origin(file: &Arc<str>, line: usize) -> Origin {
    Origin {
        file: Arc::clone(file),
        line,
        ..Origin::default()
    }
}
