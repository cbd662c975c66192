//! Asks an endpoint, on a connection of its own, whether it is fit for requests: whether it accepts
//! connections, answers its protocol's heartbeat, or serves an operation. Whom to ask and when is told by
//! `prober`; what the answers are for is not known here.

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

/// The most of an answer that is held, in bytes. Larger ones are known by their fronts, where their
/// protocol can.
const HELD: usize = 1 << 20;

/// The least room for the next read, in bytes.
const READ: usize = 4 << 10;

/// The id of a question: every one has a connection for itself.
const ID: i64 = 1;

/// Asks `address` this and waits for the answer, no longer than `timeout` for everything together.
/// Tells how long it took. `session` is what the connection is from its first byte on: login, dialect.
///
/// # Errors
/// Whatever is in the way of a good answer.
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

/// What is asked on a connection, and what is known of the answer.
struct Question {
    codec: Box<dyn Codec>,
    out: Output,
    correlation: Correlation,
    heartbeat: bool,
}

impl Question {
    /// The question, if there is more to it than whether a connection is accepted.
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

    /// Takes everything whole from the front of the input, up to the answer.
    fn hear(&mut self, input: &mut BytesMut) -> Result<Heard, ProbeError> {
        while !input.is_empty() {
            let (answer, taken) = match self.codec.decode(input, Interest::Route) {
                Ok(Decoded::Incomplete(need)) => return Ok(Heard::Nothing(need)),
                Ok(Decoded::Skip(taken)) => (None, taken),
                // No answer to a heartbeat is as long as that.
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

    /// Whether this is the answer, and which. What a server says besides (its own heartbeats, what it
    /// pushes) is none.
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
            // Whoever says where else to ask, answers.
            Status::Ok | Status::Redirect(_) => Ok(()),
            Status::Failed(Fault::Application) if !self.heartbeat => Ok(()),
            Status::Failed(Fault::NoRoute) if !self.heartbeat => Err(ProbeError::NoOperation),
            Status::Failed(fault) => Err(ProbeError::Failed(fault)),
        })
    }
}

/// What the input held.
enum Heard {
    Answer,
    /// No answer yet; the input must hold this many bytes before it is worth another look.
    Nothing(usize),
}
