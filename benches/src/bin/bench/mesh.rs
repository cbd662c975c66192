//! Meltemi's configuration, as documents of its own kinds.

use std::net::SocketAddr;

use meltemi_bench::wire::Protocol;
use serde_json::{Value, json};

/// A listener, services, and the routes between.
pub(crate) struct Mesh {
    protocol: Protocol,
    documents: Vec<Value>,
    routes: Vec<Value>,
    first_host: Option<String>,
}

const NETWORKING: &str = "networking.istio.io/v1";
const OURS: &str = "meltemi.io/v1alpha1";
const GATEWAY: &str = "gw";
const SERVICE_PORT: u16 = 9000;

impl Mesh {
    pub(crate) fn new(protocol: Protocol, listen: SocketAddr) -> Self {
        let mut mesh = Self {
            protocol,
            documents: Vec::new(),
            routes: Vec::new(),
            first_host: None,
        };
        mesh.listener(GATEWAY, listen);
        mesh
    }

    /// A further listener.
    pub(crate) fn listener(&mut self, name: &str, listen: SocketAddr) {
        let port = json!({"number": listen.port(), "name": self.port_name(), "protocol": "TCP"});
        let server = json!({"port": port, "bind": listen.ip().to_string(), "hosts": ["*"]});
        self.add(NETWORKING, "Gateway", name, json!({"servers": [server]}));
    }

    fn port_name(&self) -> String {
        format!("tcp-{}", self.protocol.name())
    }

    fn add(&mut self, api: &str, kind: &str, name: &str, spec: Value) {
        let metadata = json!({"name": name, "namespace": "default"});
        self.documents
            .push(json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}));
    }

    /// A service with these endpoints.
    pub(crate) fn service(mut self, name: &str, endpoints: &[SocketAddr]) -> Self {
        let host = host(name);
        let port_name = self.port_name();
        let endpoint = |at: &SocketAddr| json!({"address": at.ip().to_string(), "ports": {port_name.clone(): at.port()}});
        let spec = json!({
            "hosts": [host],
            "ports": [{"number": SERVICE_PORT, "name": port_name, "protocol": "TCP"}],
            "resolution": "STATIC",
            "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        });
        self.add(NETWORKING, "ServiceEntry", name, spec);
        self.first_host.get_or_insert(host);
        self
    }

    /// How requests share a service's connections, and its limits.
    pub(crate) fn policy(mut self, name: &str, sharing: Option<&str>, limits: Value) -> Self {
        let mut spec = json!({"host": host(name), "limits": limits});
        if let Some(sharing) = sharing {
            spec["sharing"] = sharing.into();
        }
        self.add(OURS, "DestinationPolicy", name, spec);
        self
    }

    /// A route to a service for requests that have these attributes.
    pub(crate) fn route(mut self, to: &str, when: &[(&str, &str)], timeout: Option<&str>) -> Self {
        let destination = json!({"host": host(to), "port": {"number": SERVICE_PORT}});
        let mut route = json!({
            "name": format!("route-{}", self.routes.len()),
            "route": [{"destination": destination}],
        });
        if !when.is_empty() {
            let test = |(name, value): &(&str, &str)| {
                // A test of the front of a key ends with a star.
                let test = match value.strip_suffix('*') {
                    Some(front) => json!({"prefix": front}),
                    None => json!({"exact": value}),
                };
                ((*name).to_owned(), test)
            };
            let tests: serde_json::Map<String, Value> = when.iter().map(test).collect();
            route["match"] = json!({"attributes": tests});
        }
        if let Some(timeout) = timeout {
            route["timeout"] = timeout.into();
        }
        self.routes.push(route);
        self
    }

    /// The documents as one file.
    pub(crate) fn text(mut self) -> String {
        let hosts = [self.first_host.take().unwrap_or_default()];
        let gateways = [format!("default/{GATEWAY}")];
        let spec = json!({"hosts": hosts, "gateways": gateways, "routes": self.routes});
        self.add(OURS, "MetaRouter", "routes", spec);
        let documents: Vec<String> = self.documents.iter().map(Value::to_string).collect();
        documents.join("\n---\n")
    }
}

fn host(name: &str) -> String {
    format!("{name}.bench")
}
