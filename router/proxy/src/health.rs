//! Probes one endpoint on a connection of its own: whether it accepts connections, answers its
//! protocol's heartbeat, or serves an operation. `prober` decides which endpoints to probe and
//! when. Must not depend on how the results are used.

mod error;
mod prober;
mod schedule;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use meltemi_config::Probe;
use meltemi_frame::{
    Codec, Correlation, Decoded, Fault, Head, Interest, Kind, Limits, LocalMessage, Output,
    Protocol, Session, Side, Status, Violation,
};
use tokio::net::TcpStream;

use crate::transport::stream::Stream;

pub use error::ProbeError;
pub use prober::{ProbeTarget, Prober};

/// The most bytes of an answer that are buffered. Longer answers are judged by their first part, if
/// their protocol allows it.
const HELD: usize = 1 << 20;

/// The least room for a read, in bytes.
const READ: usize = 4 << 10;

/// The request id of a probe. Every probe has its own connection.
const ID: i64 = 1;

/// Probes `address` and waits for the answer. `timeout` covers everything, including the connect.
/// Returns how long the probe took. `session` is the state of the connection from its first byte:
/// login, dialect.
///
/// # Errors
/// Fails if there is no good answer.
pub async fn probe(
    protocol: Option<&Arc<dyn Protocol>>,
    address: SocketAddr,
    what: &Probe,
    session: &Session,
    timeout: Duration,
) -> Result<Duration, ProbeError> {
    let started = Instant::now();
    let question = Question::of(protocol, what, session)?;
    let asking = async {
        let connecting = TcpStream::connect(address).await;
        let stream = connecting.map_err(ProbeError::Connect)?;
        match question {
            Some(question) => question.ask(stream.into()).await,
            None => Ok(()),
        }
    };
    match tokio::time::timeout(timeout, asking).await {
        Ok(answered) => answered.map(|()| started.elapsed()),
        Err(_) => Err(ProbeError::TimedOut(timeout)),
    }
}

/// The request of a probe, and the codec for its answer.
struct Question {
    codec: Box<dyn Codec>,
    out: Output,
    correlation: Correlation,
    heartbeat: bool,
}

impl Question {
    /// Creates the request. `None` if the probe only connects.
    fn of(
        protocol: Option<&Arc<dyn Protocol>>,
        what: &Probe,
        session: &Session,
    ) -> Result<Option<Self>, ProbeError> {
        let (say, heartbeat) = match what {
            Probe::Tcp => return Ok(None),
            Probe::Heartbeat => (LocalMessage::Ping { id: ID }, true),
            Probe::Call(operation) => (LocalMessage::Probe { id: ID, operation }, false),
        };
        let protocol = protocol.ok_or(ProbeError::NoProtocol)?;
        let limits = Limits {
            frame: HELD,
            ..Limits::default()
        };
        let mut codec = protocol.codec(Side::Client, &limits, session);
        let mut out = Output::new();
        out.put(session.preamble());
        codec.synthesize(say, &mut out)?;
        Ok(Some(Self {
            codec,
            out,
            correlation: protocol.spec().correlation,
            heartbeat,
        }))
    }

    async fn ask(mut self, mut stream: Stream) -> Result<(), ProbeError> {
        let writing =
            poll_fn(|cx| crate::transport::buffers::write(&mut stream, &mut self.out, cx));
        writing.await.map_err(ProbeError::Reset)?;
        let mut input = BytesMut::new();
        let mut need = 1_usize;
        loop {
            input.reserve(need.saturating_sub(input.len()).clamp(READ, HELD));
            let reading = tokio_util::io::read_buf(&mut stream, &mut input);
            if reading.await.map_err(ProbeError::Reset)? == 0 {
                return Err(ProbeError::Closed);
            }
            if input.len() < need {
                continue;
            }
            match self.hear(&mut input)? {
                Heard::Answer => return Ok(()),
                Heard::Nothing(more) if more > HELD => {
                    return Err(ProbeError::NoAnswer(Violation::TooLarge {
                        length: more as u64,
                        limit: HELD as u64,
                    }));
                }
                Heard::Nothing(more) => need = more,
            }
        }
    }

    /// Consumes all complete messages at the front of the input, up to the answer.
    fn hear(&mut self, input: &mut BytesMut) -> Result<Heard, ProbeError> {
        while !input.is_empty() {
            let (answer, taken) = match self.codec.decode(input, Interest::Route) {
                Ok(Decoded::Incomplete(need)) => return Ok(Heard::Nothing(need)),
                Ok(Decoded::Skip(taken)) => (None, taken),
                // No heartbeat answer is this long.
                Ok(Decoded::Message(message, taken)) if self.heartbeat && !message.head.end => {
                    return Err(ProbeError::NoAnswer(Violation::TooLarge {
                        length: taken as u64,
                        limit: HELD as u64,
                    }));
                }
                Ok(Decoded::Message(message, taken)) => (self.judge(&message.head), taken),
                Err(error) => return Err(ProbeError::NoAnswer(error.violation().clone())),
            };
            if let Some(answer) = answer {
                return answer.map(|()| Heard::Answer);
            }
            input.advance(taken.clamp(1, input.len()));
        }
        Ok(Heard::Nothing(1))
    }

    /// Returns the result if this message is the answer. Other messages of the server, such as its
    /// own heartbeats and pushes, are not.
    fn judge(&self, head: &Head) -> Option<Result<(), ProbeError>> {
        let by_id = matches!(self.correlation, Correlation::Id { .. });
        match head.kind {
            Kind::GoAway => return Some(Err(ProbeError::Leaving)),
            Kind::Pong if !self.heartbeat => return None,
            Kind::Pong | Kind::Response => {}
            _ => return None,
        }
        if by_id && head.id != Some(ID) {
            return None;
        }
        Some(match head.status {
            // A redirect shows that the server works.
            Status::Ok | Status::Redirect(_) => Ok(()),
            Status::Failed(Fault::Application) if !self.heartbeat => Ok(()),
            Status::Failed(Fault::NoRoute) if !self.heartbeat => Err(ProbeError::NoOperation),
            Status::Failed(fault) => Err(ProbeError::Failed(fault)),
        })
    }
}

/// The result of decoding the input.
enum Heard {
    Answer,
    /// No answer yet. The input needs at least this many bytes.
    Nothing(usize),
}
