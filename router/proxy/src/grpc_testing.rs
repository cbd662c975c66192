//! A gRPC server for tests, as good or bad as a test wants it to be. It has a runtime of its own, so
//! that dropping it ends its connections as the end of a process would.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// What a question is answered with.
pub(crate) enum Reply {
    /// A message.
    Message(Vec<u8>),
    /// No message, but this gRPC status.
    Status(&'static str),
    /// Nothing, ever.
    Silence,
}

type Answer = Arc<dyn Fn(&str, &[u8]) -> Reply + Send + Sync>;

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Connections accepted so far.
    pub(crate) accepted: Arc<AtomicUsize>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    /// Answers each message, of this path, with what `answer` says.
    pub(crate) fn start(answer: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer)
    }

    /// The same at an address that is known.
    pub(crate) fn start_at(
        address: SocketAddr,
        answer: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let answer: Answer = Arc::new(answer);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                let service = hyper::service::service_fn(move |request| {
                    respond(Arc::clone(&answer), request)
                });
                let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // Tests take back thousands of questions at once, which looks like an attack.
                server.max_pending_accept_reset_streams(Some(1 << 16));
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            address,
            accepted,
            runtime: Some(runtime),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }
}

async fn respond(
    answer: Answer,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map(|all| all.to_bytes());
    let body = body.unwrap_or_default();
    // One byte tells whether the message is compressed, four how long it is.
    let (status, message) = match answer(&path, body.get(5..).unwrap_or_default()) {
        Reply::Message(message) => ("0", Some(message)),
        Reply::Status(status) => (status, None),
        Reply::Silence => std::future::pending().await,
    };
    let mut framed = BytesMut::new();
    if let Some(message) = message {
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap());
        framed.put_slice(&message);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(response)
}
