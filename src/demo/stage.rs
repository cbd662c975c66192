//! Starts services, controller and router, as an embedding program would.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use meltemi_controller::Builtins;
use meltemi_frame::{Protocol, Registry};
use meltemi_proxy::{Options, Proxy, StartError};

use super::VERSIONS;
use super::ports::{CONFIGURATION, PLACES, Ports};
use super::service::Service;
use super::speech::Speech;

/// Another program may take a free port before the router listens on it.
const TRIES: usize = 5;
/// How long connections may take to end.
const DRAIN: Duration = Duration::from_secs(1);

/// Everything that runs, except the clients.
pub(super) struct Stage {
    proxy: Proxy,
    ports: Ports,
    registry: Registry,
}

impl Stage {
    /// Starts everything. When this returns, the router accepts connections.
    ///
    /// # Errors
    /// Fails if a protocol or a port is missing. The error is a text for users.
    pub(super) fn set(builtins: &Builtins) -> Result<Self, String> {
        let mut ports = Ports::default();
        for place in &PLACES {
            let protocol = find(&builtins.registry, place.speech)?;
            for (port, version) in place.services.into_iter().zip(VERSIONS) {
                let service = Service {
                    protocol: Arc::clone(&protocol),
                    speech: place.speech,
                    version,
                };
                let socket = ports.bind(port).and_then(listening);
                let socket = socket.map_err(|error| format!("no port for a service: {error}"))?;
                tokio::spawn(service.serve(socket));
            }
        }
        let proxy = route(builtins, &mut ports)?;
        Ok(Self {
            proxy,
            ports,
            registry: builtins.registry.clone(),
        })
    }

    /// Returns the protocol with that name.
    pub(super) fn protocol(&self, speech: &Speech) -> Result<Arc<dyn Protocol>, String> {
        find(&self.registry, speech)
    }

    /// Returns the address of the router for a protocol.
    pub(super) fn router(&self, speech: &Speech) -> Result<SocketAddr, String> {
        let place = PLACES
            .iter()
            .find(|place| place.speech.protocol == speech.protocol);
        let port = place.map(|place| self.ports.of(place.router));
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        port.map(address)
            .ok_or_else(|| format!("no listener for {}", speech.protocol))
    }

    /// Returns the ports in use.
    pub(super) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Stops everything.
    pub(super) async fn end(self) {
        // Connections of users are closed.
        self.proxy.drain(DRAIN).await;
    }
}

/// Loads the configuration and starts a router with it.
fn route(builtins: &Builtins, ports: &mut Ports) -> Result<Proxy, String> {
    let options = Options {
        workers: 1,
        ..Options::default()
    };
    let mut tries = 0;
    loop {
        tries += 1;
        for place in &PLACES {
            // Binds the port to check that it is free, and releases it for the router.
            let free = match tries {
                1 => ports.bind(place.router),
                _ => ports.bind_elsewhere(place.router),
            };
            free.map_err(|error| format!("no port for the router: {error}"))?;
        }
        let text = ports.put_into(CONFIGURATION);
        let outcome = meltemi_controller::load_str("demo.yaml", &text, builtins);
        let Some(config) = outcome.config else {
            crate::check::report(&outcome.problems);
            return Err("the demo's configuration is refused".to_owned());
        };
        match Proxy::start(&config, &options) {
            Ok(proxy) => return Ok(proxy),
            Err(StartError::Bind { .. }) if tries < TRIES => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn find(registry: &Registry, speech: &Speech) -> Result<Arc<dyn Protocol>, String> {
    let name = speech.protocol;
    let found = registry.find(name).cloned();
    found.ok_or_else(|| {
        format!("the demo needs the protocol {name}, which this program does not have")
    })
}

fn listening(socket: TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket)
}
