//! One rate limit service: a cluster of gRPC endpoints. All requests share one HTTP/2 connection
//! per endpoint. Must not depend on the callers or on their timeouts.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use meltemi_config::{Address, Cluster};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::Question;
use super::wire::{OK, OVER_LIMIT, PATH, RateLimitRequest, RateLimitResponse};

/// The most requests that may wait for one service. A service that hangs must not use unlimited
/// memory. Each request takes some kilobytes.
pub(super) const IN_FLIGHT: usize = 4096;

/// The largest accepted answer, in bytes.
const ANSWER: usize = 64 << 10;

/// The first pause after an endpoint could not be reached. It doubles up to a maximum.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The interval of pings on a connection with requests in flight, and the timeout of a ping.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// A rate limit service.
pub(super) struct Service {
    name: String,
    /// The endpoints with their priorities.
    remotes: Vec<(u32, Arc<Remote>)>,
    turn: AtomicUsize,
    places: Arc<Semaphore>,
}

/// An endpoint of a service.
struct Remote {
    address: Address,
    connect_timeout: Duration,
    channel: Channel,
    rest: Mutex<Rest>,
}

/// The pause of an endpoint that could not be reached.
#[derive(Default)]
struct Rest {
    failures: u32,
    until: Option<Instant>,
}

impl Service {
    /// Creates the service of a cluster. Keeps the connections of `known`. Must be called within a
    /// runtime.
    pub(super) fn new(cluster: &Cluster, known: Option<&Self>) -> Self {
        let usable = cluster
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.weight > 0);
        let remotes = usable.filter_map(|endpoint| {
            let kept = known.and_then(|known| known.remote(&endpoint.address, cluster));
            let remote = kept.or_else(|| Remote::new(&endpoint.address, cluster))?;
            Some((endpoint.priority, remote))
        });
        Self {
            name: cluster.name.clone(),
            remotes: remotes.collect(),
            turn: AtomicUsize::new(0),
            places: known.map_or_else(
                || Arc::new(Semaphore::new(IN_FLIGHT)),
                |known| Arc::clone(&known.places),
            ),
        }
    }

    fn remote(&self, address: &Address, cluster: &Cluster) -> Option<Arc<Remote>> {
        let mut remotes = self.remotes.iter().map(|(_, remote)| remote);
        let found = remotes.find(|remote| {
            remote.address == *address && remote.connect_timeout == cluster.connect_timeout
        });
        found.cloned()
    }

    /// Reserves a place for one more request. Fails with the reason if there is none.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, String> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| format!("{IN_FLIGHT} requests already wait for {}", self.name))
    }

    /// Sends a request to one endpoint. Returns `true` if the request may pass.
    pub(super) async fn ask(&self, question: &Question) -> Result<bool, String> {
        let remote = self
            .pick(Instant::now())
            .ok_or_else(|| format!("no endpoint of {} can be reached at present", self.name))?;
        let answer = remote.ask(RateLimitRequest::of(question)).await;
        match answer.map(|answer| answer.overall_code) {
            Ok(OK) => Ok(true),
            Ok(OVER_LIMIT) => Ok(false),
            Ok(code) => Err(format!("{} answered with the code {code}", self.name)),
            Err(status) => Err(format!("{}: {}", self.name, told(&status))),
        }
    }

    /// Returns the next usable endpoint of the first priority that has one.
    fn pick(&self, now: Instant) -> Option<&Remote> {
        let awake = || {
            let remotes = self.remotes.iter();
            remotes.filter(|(_, remote)| remote.is_awake(now))
        };
        let priority = awake().map(|(priority, _)| *priority).min()?;
        let among = || awake().filter(|(other, _)| *other == priority);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = turn.checked_rem(among().count())?;
        let picked = among().nth(at).or_else(|| among().next());
        picked.map(|(_, remote)| &**remote)
    }
}

impl Remote {
    fn new(address: &Address, cluster: &Cluster) -> Option<Arc<Self>> {
        let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let cluster = &cluster.name;
                tracing::warn!(
                    cluster,
                    %address,
                    %error,
                    "an endpoint of a rate limit service has an invalid address"
                );
                return None;
            }
        };
        let channel = endpoint
            .connect_timeout(cluster.connect_timeout)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .connect_lazy();
        Some(Arc::new(Self {
            address: address.clone(),
            connect_timeout: cluster.connect_timeout,
            channel,
            rest: Mutex::default(),
        }))
    }

    async fn ask(&self, question: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER);
        let answer = match client.ready().await {
            Ok(()) => {
                let path = PathAndQuery::from_static(PATH);
                let codec = ProstCodec::default();
                client.unary(Request::new(question), path, codec).await
            }
            Err(error) => Err(Status::from_error(error.into())),
        };
        match &answer {
            Ok(_) => self.works(),
            // An error with a source was found here. An error without one comes from the service.
            Err(status) if status.source().is_some() => self.fails(Instant::now()),
            Err(_) => {}
        }
        answer.map(tonic::Response::into_inner)
    }

    fn is_awake(&self, now: Instant) -> bool {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.until.is_none_or(|until| until <= now)
    }

    fn works(&self) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Rest::default();
    }

    fn fails(&self, now: Instant) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        // All requests on one connection fail together. They count as one failure.
        if rest.until.is_some_and(|until| now < until) {
            return;
        }
        let doubled = PAUSE.saturating_mul(1_u32.checked_shl(rest.failures).unwrap_or(u32::MAX));
        let pause = doubled.min(LONGEST_PAUSE);
        // A random value between half the pause and all of it, so that many proxies do not return
        // at once.
        rest.until = now.checked_add(pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        rest.failures = rest.failures.saturating_add(1);
    }
}

/// Returns the error text with its causes.
fn told(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    let mut behind = status.source();
    while let Some(error) = behind {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        behind = error.source();
    }
    text
}
