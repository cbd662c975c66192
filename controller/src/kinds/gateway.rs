//! Reads Gateways: the addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use meltemi_config::Problem;

use super::service::{Labels, labels};
use crate::yaml::{Cursor, Document};

#[derive(Debug)]
pub(crate) struct Gateway<'a> {
    pub(crate) document: &'a Document,
    pub(crate) servers: Vec<Server<'a>>,
    /// The labels of the pods that serve the gateway. Policies select gateways by them.
    pub(crate) labels: Labels,
}

#[derive(Debug)]
pub(crate) struct Server<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    pub(crate) port_name: String,
    pub(crate) port_protocol: String,
    /// `host` or `namespace/host`; empty means all hosts.
    pub(crate) hosts: Vec<String>,
}

impl Server<'_> {
    /// Returns the address to listen on.
    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }
}

impl<'a> Gateway<'a> {
    /// `namespace/name`.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.document.namespace, self.document.name)
    }

    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let spec = document.cursor().at("spec");
        let servers = spec.at("servers").items();
        let servers = servers.iter().filter_map(|server| {
            let port = server.at("port");
            let bind = server.at("bind");
            let address = match bind.text().map(str::parse) {
                None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Some(Ok(address)) => address,
                Some(Err(_)) => {
                    problems.push(
                        bind.error("is not an IP address")
                            .remedy("listeners use TCP; leave it out for all addresses"),
                    );
                    return None;
                }
            };
            Some(Server {
                at: server.clone(),
                bind: address,
                port: port.at("number").number()?,
                port_name: port.at("name").text().unwrap_or("").to_ascii_lowercase(),
                port_protocol: port
                    .at("protocol")
                    .text()
                    .unwrap_or("")
                    .to_ascii_lowercase(),
                hosts: server
                    .at("hosts")
                    .texts()
                    .into_iter()
                    .map(str::to_ascii_lowercase)
                    .collect(),
            })
        });
        Self {
            document,
            servers: servers.collect(),
            labels: labels(&spec.at("selector")),
        }
    }
}

/// Returns `namespace/name` for a name that is written in a namespace.
pub(crate) fn qualify(name: &str, namespace: &str) -> String {
    match name.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(_) => name.to_owned(),
        None => format!("{namespace}/{name}"),
    }
}
