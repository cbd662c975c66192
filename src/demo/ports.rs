//! The ports of the demo: those in `demo.yaml`, or others if those are in use.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use super::speech::{DUBBO, QUILL, REDIS, Speech, THRIFT};

/// The configuration as written.
pub(super) const CONFIGURATION: &str = include_str!("demo.yaml");

/// The ports of one protocol in `demo.yaml`.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) speech: &'static Speech,
    pub(super) router: u16,
    /// The ports of v1 and v2.
    pub(super) services: [u16; 2],
}

/// All ports.
pub(super) static PLACES: [Place; 4] = [
    Place {
        speech: &DUBBO,
        router: 20880,
        services: [20881, 20882],
    },
    Place {
        speech: &THRIFT,
        router: 19090,
        services: [19091, 19092],
    },
    Place {
        speech: &REDIS,
        router: 16379,
        services: [16381, 16382],
    },
    Place {
        speech: &QUILL,
        router: 17777,
        services: [17778, 17779],
    },
];

/// The actual port for each port in `demo.yaml`.
#[derive(Debug, Default)]
pub(super) struct Ports(BTreeMap<u16, u16>);

impl Ports {
    /// Binds a socket to the port in `demo.yaml`, or to a free one.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub(super) fn bind(&mut self, written: u16) -> io::Result<TcpListener> {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, written)) {
            Ok(socket) => self.note(written, socket),
            Err(_) => self.bind_elsewhere(written),
        }
    }

    /// Binds a socket to a free port, which replaces the port in `demo.yaml`.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub(super) fn bind_elsewhere(&mut self, written: u16) -> io::Result<TcpListener> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        self.note(written, socket)
    }

    fn note(&mut self, written: u16, socket: TcpListener) -> io::Result<TcpListener> {
        self.0.insert(written, socket.local_addr()?.port());
        Ok(socket)
    }

    /// Returns the actual port for a port in `demo.yaml`.
    pub(super) fn of(&self, written: u16) -> u16 {
        self.0.get(&written).copied().unwrap_or(written)
    }

    /// Returns the text with every port of `demo.yaml` replaced by the actual one.
    pub(super) fn put_into(&self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, digits) = rest.split_at(start);
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            let (number, after) = digits.split_at(end);
            replaced.push_str(before);
            match number.parse() {
                Ok(port) if self.0.contains_key(&port) => {
                    replaced.push_str(&self.of(port).to_string());
                }
                _ => replaced.push_str(number),
            }
            rest = after;
        }
        replaced.push_str(rest);
        replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_controller::Builtins;

    fn builtins() -> Builtins {
        Builtins {
            locality: meltemi_config::Locality::default(),
            registry: crate::builtins::registry(),
            declare: crate::builtins::declare,
        }
    }

    #[test]
    fn the_configuration_loads_without_a_warning_and_has_every_port() {
        let outcome = meltemi_controller::load_str("demo.yaml", CONFIGURATION, &builtins());
        assert!(outcome.problems.is_empty(), "{:#?}", outcome.problems);
        let config = outcome.config.expect("a configuration");
        for place in &PLACES {
            let found = config
                .listeners()
                .iter()
                .find(|one| one.address.port() == place.router);
            let listener = found.expect("a listener");
            assert_eq!(
                listener.served[0].protocol.spec().name,
                place.speech.protocol
            );
            for (at, port) in place.services.iter().enumerate() {
                let subset = format!("|{}|", super::super::VERSIONS[at]);
                let of_subset = config
                    .clusters()
                    .iter()
                    .filter(|one| one.name.contains(&subset));
                let mut endpoints = of_subset.flat_map(|one| &one.endpoints);
                assert!(
                    endpoints.any(|one| one.address.to_string() == format!("127.0.0.1:{port}"))
                );
            }
        }
    }

    #[test]
    fn every_flow_has_its_route() {
        let outcome = meltemi_controller::load_str("demo.yaml", CONFIGURATION, &builtins());
        let config = outcome.config.expect("a configuration");
        for flow in &super::super::flow::FLOWS {
            let served = config
                .listeners()
                .iter()
                .flat_map(|listener| &listener.served);
            let mut served = served.filter(|one| one.protocol.spec().name == flow.speech.protocol);
            let routes = &served.next().expect("its protocol").routes;
            let route = routes
                .iter()
                .find(|route| route.name == flow.route)
                .expect("its route");
            let sum: u32 = route.clusters.iter().map(|target| target.weight).sum();
            let v2 = route
                .clusters
                .iter()
                .filter(|target| target.cluster.contains("|v2|"));
            let v2: u32 = v2.map(|target| target.weight).sum();
            assert!(
                (f64::from(v2) / f64::from(sum) - flow.v2).abs() < 1e-9,
                "{}",
                flow.route
            );
        }
    }

    #[test]
    fn whole_numbers_are_replaced_and_nothing_else() {
        let mut ports = Ports::default();
        ports.0.insert(1000, 2000);
        ports.0.insert(2000, 3000);
        assert_eq!(
            ports.put_into("1000 v2000 10001 2000:x 1000"),
            "2000 v3000 10001 3000:x 2000"
        );
        assert_eq!(ports.put_into("no number"), "no number");
    }

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let written = taken.local_addr().expect("its address").port();
        let mut ports = Ports::default();
        let socket = ports.bind(written).expect("another");
        assert_ne!(ports.of(written), written);
        assert_eq!(
            ports.of(written),
            socket.local_addr().expect("its address").port()
        );
    }
}
