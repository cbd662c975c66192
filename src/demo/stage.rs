//! Starts services, controller and router, as a program that embeds them would.

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

/// Between asking the system for a free port and listening on it, another program may take it.
const TRIES: usize = 5;
/// How long connections may take to end.
const DRAIN: Duration = Duration::from_secs(1);

/// Everything that runs besides the clients.
pub(super) struct Stage {
    proxy: Proxy,
    ports: Ports,
    registry: Registry,
}

impl Stage {
    /// Starts it all: when this returns, the router accepts.
    ///
    /// # Errors
    /// A protocol or a port is missing; for people.
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

    /// The protocol of that name.
    pub(super) fn protocol(&self, speech: &Speech) -> Result<Arc<dyn Protocol>, String> {
        find(&self.registry, speech)
    }

    /// Where the router listens for a protocol.
    pub(super) fn router(&self, speech: &Speech) -> Result<SocketAddr, String> {
        let place = PLACES
            .iter()
            .find(|place| place.speech.protocol == speech.protocol);
        let port = place.map(|place| self.ports.of(place.router));
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        port.map(address)
            .ok_or_else(|| format!("no listener for {}", speech.protocol))
    }

    /// Which ports are in use.
    pub(super) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Ends it.
    pub(super) async fn end(self) {
        // Guests that stay are cut off.
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
            // Bound to see that it is free, and let go again for the router.
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
