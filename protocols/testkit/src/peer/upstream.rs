//! A scripted server. It decodes with a codec, answers as the test defines, and records everything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use meltemi_frame::{Kind, LocalMessage, Output, OwnedMessage, Protocol, Side};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::Answer;
use super::answer::Step;
use super::reader::Reader;

/// A message that an upstream received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its position among all messages that the upstream received, from 0.
    pub index: usize,
    /// The message.
    pub message: OwnedMessage,
}

type Answering = dyn Fn(&Received) -> Answer + Send + Sync;

/// The behaviour of an upstream, besides its answers.
#[derive(Clone, Debug)]
pub struct Script {
    protocol: Arc<dyn Protocol>,
    address: SocketAddr,
    greeting: Answer,
    deaf: bool,
    ignores_pings: bool,
}

impl Script {
    /// Creates an upstream on a free port of loopback that answers pings itself.
    pub fn new(protocol: Arc<dyn Protocol>) -> Self {
        Self {
            protocol,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            greeting: Answer::none(),
            deaf: false,
            ignores_pings: false,
        }
    }

    /// Sets the address to listen on, for example to restart an upstream at its old address.
    #[must_use]
    pub const fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Runs these steps as soon as a connection is made.
    #[must_use]
    pub fn greeting(mut self, answer: Answer) -> Self {
        self.greeting = answer;
        self
    }

    /// Accepts connections, but never reads from them.
    #[must_use]
    pub const fn deaf(mut self) -> Self {
        self.deaf = true;
        self
    }

    /// Does not answer pings.
    #[must_use]
    pub const fn ignoring_pings(mut self) -> Self {
        self.ignores_pings = true;
        self
    }

    /// Starts to serve on the runtime of the caller. `answer` is called for every message that is
    /// not a heartbeat or a piece of a large one.
    ///
    /// # Errors
    /// Fails if the address cannot be listened on.
    pub async fn serve(
        self,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Upstream> {
        let listener = TcpListener::bind(self.address).await?;
        let address = listener.local_addr()?;
        let record = Arc::new(Record::default());
        let serving = Serving {
            script: self,
            answer: Arc::new(answer),
            record: Arc::clone(&record),
        };
        let accepting = tokio::spawn(accept(listener, Arc::new(serving)));
        Ok(Upstream {
            address,
            record,
            accepting: accepting.abort_handle(),
        })
    }
}

/// A scripted server on loopback. Dropping it stops the server and closes its connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    record: Arc<Record>,
    accepting: AbortHandle,
}

#[derive(Debug, Default)]
struct Record {
    log: Mutex<Log>,
    /// Notifies waiters of new records.
    news: Notify,
}

#[derive(Debug, Default)]
struct Log {
    received: Vec<Received>,
    /// One entry per connection: the raw bytes, and `true` if it is still open.
    connections: Vec<(Vec<u8>, bool)>,
}

impl Record {
    fn log(&self) -> MutexGuard<'_, Log> {
        // A panic in another test's thread cannot leave the log in a bad state.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    /// Starts an upstream that decodes `protocol` and answers every request with the result of
    /// `answer`.
    ///
    /// # Errors
    /// Fails if no port of loopback can be listened on.
    pub async fn start(
        protocol: Arc<dyn Protocol>,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Script::new(protocol).serve(answer).await
    }

    /// Returns the address of the server.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        self.record.log().connections.len()
    }

    /// Returns the number of connections that the other side has not closed yet.
    pub fn open_connections(&self) -> usize {
        let log = self.record.log();
        log.connections.iter().filter(|(_, open)| *open).count()
    }

    /// Returns every message received so far, heartbeats included, in order.
    pub fn received(&self) -> Vec<Received> {
        self.record.log().received.clone()
    }

    /// Returns the raw bytes received so far on a connection.
    pub fn bytes(&self, connection: usize) -> Vec<u8> {
        let log = self.record.log();
        let bytes = log
            .connections
            .get(connection)
            .map(|(bytes, _)| bytes.clone());
        bytes.unwrap_or_default()
    }

    /// Waits until `count` messages were received. Returns `false` if the time is over first.
    pub async fn receives(&self, count: usize, within: Duration) -> bool {
        let enough = async {
            loop {
                let news = self.record.news.notified();
                if self.record.log().received.len() >= count {
                    return;
                }
                news.await;
            }
        };
        tokio::time::timeout(within, enough).await.is_ok()
    }

    /// Stops listening and closes every connection, as in a crash.
    pub fn stop(&self) {
        self.accepting.abort();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Serving {
    script: Script,
    answer: Arc<Answering>,
    record: Arc<Record>,
}

async fn accept(listener: TcpListener, serving: Arc<Serving>) {
    // Dropping this task drops the set, and closes every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = {
            let mut log = serving.record.log();
            log.connections.push((Vec::new(), true));
            log.connections.len() - 1
        };
        serving.record.news.notify_waiters();
        connections.spawn(connection(stream, number, Arc::clone(&serving)));
    }
}

async fn connection(stream: TcpStream, number: usize, serving: Arc<Serving>) {
    // Sends pieces at once, because scripts depend on it.
    let _ = stream.set_nodelay(true);
    let (input, output) = stream.into_split();
    let (steps, queue) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    perform(serving.script.greeting.clone(), &steps, &mut tasks);
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let writing = write(output, queue, closing);
    let reading = async {
        if serving.script.deaf {
            // The connection keeps its half of the channel open.
            std::future::pending::<()>().await;
        }
        let steps = steps;
        read(input, number, &serving, &steps, &mut tasks).await;
        drop(steps);
        // Requests before the end are still answered.
        while tasks.join_next().await.is_some() {}
    };
    tokio::select! {
        _ = async { tokio::join!(reading, writing) } => {}
        () = close.notified() => {}
    }
    if let Some((_, open)) = serving.record.log().connections.get_mut(number) {
        *open = false;
    }
    serving.record.news.notify_waiters();
}

async fn read(
    mut input: OwnedReadHalf,
    number: usize,
    serving: &Serving,
    steps: &mpsc::UnboundedSender<Step>,
    tasks: &mut JoinSet<()>,
) {
    let mut reader = Reader::new(&*serving.script.protocol, Side::Server);
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = input.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        reader.push(bytes);
        if let Some((raw, _)) = serving.record.log().connections.get_mut(number) {
            raw.extend_from_slice(bytes);
        }
        while let Ok(Some(message)) = reader.next() {
            let received = {
                let mut log = serving.record.log();
                let index = log.received.len();
                let received = Received {
                    connection: number,
                    index,
                    message,
                };
                log.received.push(received.clone());
                received
            };
            serving.record.news.notify_waiters();
            let answer = match received.message.message().head.kind {
                Kind::Ping if serving.script.ignores_pings => Answer::none(),
                Kind::Ping => pong(&mut reader, &received.message),
                Kind::Pong | Kind::Data => Answer::none(),
                _ => (serving.answer)(&received),
            };
            perform(answer, steps, tasks);
        }
        // Removes tasks that have ended.
        while tasks.try_join_next().is_some() {}
    }
    if let Some((_, open)) = serving.record.log().connections.get_mut(number) {
        *open = false;
    }
    serving.record.news.notify_waiters();
}

fn pong(reader: &mut Reader, ping: &OwnedMessage) -> Answer {
    let mut out = Output::new();
    let codec = reader.codec();
    let to = codec.receipt(&ping.message());
    match codec.synthesize(LocalMessage::Pong { to: &to }, &mut out) {
        Ok(()) => Answer::from(out.drain()),
        Err(_) => Answer::none(),
    }
}

/// Runs all steps before the first wait at once, so that answers stay in the order of the requests.
/// A new task runs the rest.
fn perform(answer: Answer, steps: &mpsc::UnboundedSender<Step>, tasks: &mut JoinSet<()>) {
    let mut rest = answer.0.into_iter();
    while let Some(step) = rest.next() {
        let Step::Wait(time) = step else {
            // Fails only if the connection has ended. No step is needed then.
            let _ = steps.send(step);
            continue;
        };
        let steps = steps.clone();
        tasks.spawn(async move {
            tokio::time::sleep(time).await;
            for step in rest {
                if let Step::Wait(time) = step {
                    tokio::time::sleep(time).await;
                } else if steps.send(step).is_err() {
                    return;
                }
            }
        });
        return;
    }
}

async fn write(
    mut output: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Step>,
    close: Arc<Notify>,
) {
    let mut held: Vec<Bytes> = Vec::new();
    while let Some(step) = queue.recv().await {
        let sent = match step {
            Step::Wait(_) => continue,
            Step::Hold(bytes) => {
                held.push(bytes);
                continue;
            }
            Step::Send(bytes) => output.write_all(&bytes).await,
            Step::Dribble(bytes, pause) => dribble(&mut output, &bytes, pause).await,
            Step::HalfClose => output.shutdown().await,
            Step::Close => {
                close.notify_one();
                return;
            }
        };
        if sent.is_err() {
            return;
        }
        for bytes in held.drain(..) {
            if output.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

/// Writes bytes one at a time.
pub(super) async fn dribble(
    output: &mut OwnedWriteHalf,
    bytes: &[u8],
    pause: Duration,
) -> io::Result<()> {
    for byte in bytes {
        output.write_all(std::slice::from_ref(byte)).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
