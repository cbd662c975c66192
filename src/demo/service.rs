//! A small service: one version of the service of one protocol, on one socket.

use std::io;
use std::sync::Arc;

use meltemi_frame::{Kind, LocalMessage, Protocol, Reason, Side};
use tokio::net::{TcpListener, TcpStream};

use super::speech::Speech;
use super::wire::Wire;

/// A service.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) protocol: Arc<dyn Protocol>,
    pub(super) speech: &'static Speech,
    /// The version that the service gives in its replies.
    pub(super) version: &'static str,
}

impl Service {
    /// Serves all clients until it is dropped.
    pub(super) async fn serve(self, socket: TcpListener) {
        // Accepting fails if file descriptors run out or a client has already left: the next
        // attempt may succeed.
        loop {
            if let Ok((stream, _)) = socket.accept().await {
                let service = self.clone();
                tokio::spawn(async move {
                    // A client that disconnects, or sends an invalid message, loses its connection.
                    let _ = service.converse(stream).await;
                });
            } else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }

    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        let mut wire = Wire::new(stream, &*self.protocol, Side::Server);
        while let Some(request) = wire.read().await? {
            let request = request.message();
            let to = wire.receipt(&request);
            match request.head.kind {
                Kind::Request => {
                    match (self.speech.reply)(&request, self.protocol.spec(), self.version) {
                        Some(reply) => {
                            wire.write(Kind::Response, request.head.id, &reply).await?;
                        }
                        None => {
                            let reason = Reason::BadRequest;
                            let text = "the demo does not know this";
                            wire.say(LocalMessage::Failure {
                                to: &to,
                                reason,
                                text,
                            })
                            .await?;
                        }
                    }
                }
                Kind::Local => wire.say(LocalMessage::CodecReply { to: &to }).await?,
                Kind::Ping => wire.say(LocalMessage::Pong { to: &to }).await?,
                // One-way requests, and other messages without a reply.
                _ => {}
            }
            if request.head.close {
                break;
            }
        }
        Ok(())
    }
}
