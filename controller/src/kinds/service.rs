//! Reads ServiceEntry and WorkloadEntry: services, and the addresses of their endpoints.

use std::collections::BTreeMap;

use meltemi_config::{Locality, Problem};

use crate::yaml::{Cursor, Document};

pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) struct ServiceEntry<'a> {
    pub(crate) document: &'a Document,
    /// In lower case.
    pub(crate) hosts: Vec<String>,
    pub(crate) ports: Vec<ServicePort<'a>>,
    resolution: Resolution,
    pub(crate) endpoints: Vec<Workload<'a>>,
    /// Labels that WorkloadEntries of the namespace must have.
    pub(crate) selector: Option<Labels>,
    /// The labels of the entry's metadata. They apply to the host if the host itself is the
    /// endpoint.
    pub(crate) labels: Labels,
    /// The Dubbo interface of the service.
    pub(crate) interface: Option<String>,
}

#[derive(Debug)]
pub(crate) struct ServicePort<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) number: u16,
    /// The name as written; `ports` of endpoints refer to it.
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) target: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    None,
    Static,
    Dns,
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Workload<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) address: String,
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) labels: Labels,
    pub(crate) weight: u32,
    pub(crate) locality: Locality,
}

#[derive(Debug)]
pub(crate) struct WorkloadEntry<'a> {
    pub(crate) document: &'a Document,
    pub(crate) workload: Workload<'a>,
}

impl<'a> ServiceEntry<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let spec = document.cursor().at("spec");
        let metadata = document.cursor().at("metadata");
        let resolution = spec.at("resolution");
        let resolved = match resolution.text() {
            Some("STATIC") => Resolution::Static,
            Some("DNS" | "DNS_ROUND_ROBIN") => Resolution::Dns,
            _ => Resolution::None,
        };
        let endpoints = spec.at("endpoints");
        let selector = spec.at("workloadSelector");
        if endpoints.exists() && selector.exists() {
            problems.push(
                selector
                    .error("endpoints are given, too")
                    .remedy("give endpoints or a workloadSelector"),
            );
        }
        if resolved == Resolution::None {
            problems.push(
                resolution
                    .warning("without STATIC or DNS the service has no endpoints here")
                    .remedy("use STATIC with endpoints or a workloadSelector, or DNS"),
            );
        }
        let hosts: Vec<String> = spec
            .at("hosts")
            .items()
            .iter()
            .filter_map(|host| {
                let text = host.text()?;
                if text.is_empty() || text == "*" {
                    problems.push(host.error("is not a host").remedy("name the service"));
                    return None;
                }
                Some(text.to_ascii_lowercase())
            })
            .collect();
        let entry = Self {
            document,
            ports: ports(&spec, problems),
            resolution: resolved,
            endpoints: endpoints
                .items()
                .iter()
                .filter_map(|endpoint| workload(endpoint, problems))
                .collect(),
            selector: selector.exists().then(|| labels(&selector.at("labels"))),
            labels: labels(&metadata.at("labels")),
            interface: metadata
                .at("annotations")
                .at("interface")
                .text()
                .map(str::to_owned),
            hosts,
        };
        if resolved == Resolution::Static {
            for endpoint in &entry.endpoints {
                if endpoint.address.parse::<std::net::IpAddr>().is_err() {
                    problems.push(
                        endpoint
                            .at
                            .at("address")
                            .error("is not an IP address, which STATIC resolution needs")
                            .remedy("use resolution: DNS for names"),
                    );
                }
            }
        }
        entry
    }
}

impl ServiceEntry<'_> {
    /// Returns `true` if the endpoints are host names.
    pub(crate) fn is_dns(&self) -> bool {
        self.resolution == Resolution::Dns
    }
}

fn ports<'a>(spec: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<ServicePort<'a>> {
    let mut ports: Vec<ServicePort<'a>> = Vec::new();
    for port in spec.at("ports").items() {
        let Some(number) = port.at("number").number() else {
            continue;
        };
        let name = port.at("name").text().unwrap_or("").to_owned();
        if ports.iter().any(|other| other.number == number) {
            problems.push(port.at("number").error("two ports have this number"));
        } else if ports.iter().any(|other| other.name == name) {
            problems.push(port.at("name").error("two ports have this name"));
        }
        ports.push(ServicePort {
            number,
            name,
            protocol: port
                .at("protocol")
                .text()
                .unwrap_or("")
                .to_ascii_lowercase(),
            target: port.at("targetPort").number().unwrap_or(number),
            at: port,
        });
    }
    ports
}

impl<'a> WorkloadEntry<'a> {
    /// Reads the entry. Without a usable address it selects nothing, which is reported.
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let root = document.cursor();
        let spec = root.at("spec");
        let mut workload = workload(&spec, problems).unwrap_or_else(|| Workload {
            at: spec.clone(),
            address: String::new(),
            ports: BTreeMap::new(),
            labels: Labels::new(),
            weight: 0,
            locality: Locality::default(),
        });
        for (name, value) in labels(&root.at("metadata").at("labels")) {
            workload.labels.entry(name).or_insert(value);
        }
        Self { document, workload }
    }
}

fn workload<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Workload<'a>> {
    let address = here.at("address");
    let text = address.text()?;
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let usable = text.parse::<std::net::IpAddr>().is_ok()
        || (!text.is_empty() && text.len() <= 253 && text.chars().all(name));
    if !usable {
        problems.push(
            address
                .error("is neither an IP address nor a host name")
                .remedy("other kinds of sockets, and ports in the address, are not supported"),
        );
        return None;
    }
    Some(Workload {
        at: here.clone(),
        address: text.to_ascii_lowercase(),
        ports: here
            .at("ports")
            .entries()
            .into_iter()
            .filter_map(|(name, port)| Some((name.to_owned(), port.number()?)))
            .collect(),
        labels: labels(&here.at("labels")),
        weight: here.at("weight").number().unwrap_or(1),
        locality: Locality::parse(here.at("locality").text().unwrap_or("")),
    })
}

/// Reads a map of texts.
pub(super) fn labels(here: &Cursor<'_>) -> Labels {
    here.entries()
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.text()?.to_owned())))
        .collect()
}
