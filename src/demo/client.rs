//! A small client: sends one request after the other through the router, and checks every response.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meltemi_frame::{Kind, Protocol, Side, Status};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::VERSIONS;
use super::flow::Flow;
use super::speech::hello;
use super::tally::Tally;
use super::wire::Wire;

/// The shortest pause between two requests, in milliseconds, and the number of different lengths.
/// With equal pauses, clients would synchronise and wait for each other.
const PAUSE_MS: u64 = 4;
const PAUSES: u64 = 9;
/// The client's timeout for a response.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before the client reconnects.
const AGAIN: Duration = Duration::from_millis(200);

/// A client.
pub(super) struct Client {
    pub(super) protocol: Arc<dyn Protocol>,
    pub(super) flow: &'static Flow,
    /// The address of the router.
    pub(super) router: SocketAddr,
    pub(super) tally: Arc<Mutex<Tally>>,
    /// The number of the last request; no two clients use the same number.
    pub(super) number: u64,
}

impl Client {
    /// Sends requests until `stop` is set, and ends after the last response.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            if let Err(error) = self.converse(&stop).await {
                self.note(|tally| tally.wrong(error.to_string()));
                sleep(AGAIN).await;
            }
        }
    }

    async fn converse(&mut self, stop: &watch::Receiver<bool>) -> io::Result<()> {
        let stream = TcpStream::connect(self.router).await?;
        let mut wire = Wire::new(stream, &*self.protocol, Side::Client);
        while !*stop.borrow() {
            self.number += 1;
            let asked = Instant::now();
            let version = timeout(PATIENCE, self.ask(&mut wire))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            let micros = asked.elapsed().as_micros();
            self.note(|tally| tally.right(version, micros));
            sleep(self.pause()).await;
        }
        Ok(())
    }

    /// Sends one request. Returns the position of the version that replied.
    async fn ask(&self, wire: &mut Wire) -> io::Result<usize> {
        let ask = self.flow.ask(self.number);
        // The clients of all connections start with the same ids, as many libraries do.
        let own_id = i64::try_from(self.number % 1000).unwrap_or(0);
        let id = self.protocol.spec().correlation.id_bits().map(|_| own_id);
        let request = (self.flow.speech.request)(own_id, &ask);
        wire.write(Kind::Request, id, &request).await?;
        loop {
            let Some(message) = wire.read().await? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let message = message.message();
            if message.head.kind != Kind::Response {
                continue;
            }
            if message.head.id != id {
                return Err(wrong(format!(
                    "the answer to {:?} came for {id:?}",
                    message.head.id
                )));
            }
            if message.head.status != Status::Ok {
                return Err(wrong(String::from_utf8_lossy(message.wire()).into_owned()));
            }
            let text = (self.flow.speech.text)(message.wire()).unwrap_or_default();
            let of = |version: &&str| hello(&ask.name, version).as_bytes() == text;
            return VERSIONS.iter().position(of).ok_or_else(|| {
                let text = String::from_utf8_lossy(text);
                wrong(format!("`{}` got the reply `{text}`", ask.name))
            });
        }
    }

    fn pause(&self) -> Duration {
        let scattered = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Duration::from_millis(PAUSE_MS + scattered % PAUSES)
    }

    fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
