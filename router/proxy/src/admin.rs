//! The admin server: readiness, metrics, configuration and clusters, over HTTP, for loopback.

mod host;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::proxy::acceptor::WorkerHandle;
use crate::proxy::{Proxy, gather_clusters};
use crate::telemetry::stats::Stats;

/// The admin server of a proxy.
#[derive(Clone)]
pub struct Admin {
    stats: Stats,
    lanes: Vec<WorkerHandle>,
    state: Arc<RwLock<State>>,
    options: Arc<AdminOptions>,
}

/// The limits of the admin server.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// The names that clients may use in the `Host` header, besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// The time limit for the head of a request, and for an idle connection.
    pub header_timeout: Duration,
    /// The most open connections. Further ones are closed at once.
    pub connections: usize,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            header_timeout: Duration::from_secs(10),
            connections: 64,
        }
    }
}

#[derive(Default)]
struct State {
    ready: bool,
    config: String,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// The reason why the admin server cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the admin page on {address}: {source}; choose another address with --admin")]
pub struct AdminError {
    /// The address.
    pub address: SocketAddr,
    /// The error of the operating system.
    pub source: io::Error,
}

impl Admin {
    /// Creates an admin server for `proxy`. It is not ready yet.
    pub fn new(proxy: &Proxy, options: AdminOptions) -> Self {
        Self {
            options: Arc::new(options),
            stats: proxy.stats().clone(),
            lanes: proxy.lanes(),
            state: Arc::default(),
        }
    }

    /// Sets whether `/ready` reports ready.
    pub fn set_ready(&self, ready: bool) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .ready = ready;
    }

    /// Sets the configuration that `/config_dump` shows, in its own format.
    pub fn set_config(&self, config: String) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .config = config;
    }

    /// Listens on `address` and returns the real address.
    ///
    /// # Errors
    /// Fails if it cannot listen on the address.
    pub async fn bind(&self, address: SocketAddr) -> Result<(TcpListener, SocketAddr), AdminError> {
        let failed = |source| AdminError { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        Ok((socket, local))
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, socket: TcpListener) {
        let room = Arc::new(Semaphore::new(self.options.connections));
        loop {
            let stream = match socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin server cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                tracing::debug!("the admin server closed a connection: too many are open");
                continue;
            };
            let admin = self.clone();
            tokio::spawn(async move {
                admin.converse(stream).await;
                drop(place);
            });
        }
    }

    /// Answers the requests of one connection.
    async fn converse(self, stream: TcpStream) {
        let patience = self.options.header_timeout;
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(&request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the admin server lost a connection");
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !host::is_ours(request, &self.options.hosts) {
            return page(
                StatusCode::MISDIRECTED_REQUEST,
                "text/plain",
                "the admin server does not accept this host name; add it with --admin-host\n"
                    .to_owned(),
            );
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return page(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "only GET is supported\n".to_owned(),
            );
        }
        let text = "text/plain; charset=utf-8";
        match request.uri().path() {
            "/ready" => {
                if self
                    .state
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .ready
                {
                    page(StatusCode::OK, text, "ready\n".to_owned())
                } else {
                    page(
                        StatusCode::SERVICE_UNAVAILABLE,
                        text,
                        "not ready\n".to_owned(),
                    )
                }
            }
            "/stats/prometheus" => page(
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.stats.prometheus(),
            ),
            "/config_dump" => {
                let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
                page(StatusCode::OK, "application/yaml", state.config.clone())
            }
            "/clusters" => page(StatusCode::OK, "application/json", self.clusters().await),
            "/" => page(
                StatusCode::OK,
                text,
                "/ready\n/stats/prometheus\n/config_dump\n/clusters\n".to_owned(),
            ),
            other => page(
                StatusCode::NOT_FOUND,
                text,
                format!("no page {other}; see / for the list of pages\n"),
            ),
        }
    }

    async fn clusters(&self) -> String {
        let clusters: Vec<_> = gather_clusters(&self.lanes)
            .await
            .into_iter()
            .map(|cluster| {
                let endpoints: Vec<_> = cluster
                    .endpoints
                    .iter()
                    .map(|(address, in_flight, shared, idle)| {
                        serde_json::json!({
                            "address": address.to_string(),
                            "requests_in_flight": in_flight,
                            "shared_connections": shared,
                            "idle_connections": idle,
                        })
                    })
                    .collect();
                serde_json::json!({ "name": cluster.name, "endpoints": endpoints })
            })
            .collect();
        format!("{}\n", serde_json::Value::Array(clusters))
    }
}

fn page(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(kind),
    );
    response
}
