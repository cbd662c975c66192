//! The three protocols, as much of them as a client and a server of one echo method need. Written for
//! the benchmark alone and from the specifications: a codec that is measured must not check itself.

mod dubbo;
mod redis;
mod thrift;

use std::fmt;
use std::str::FromStr;

use crate::payload::Payload;

/// A protocol under load.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RESP2: `GET <lane>:<tag>:<size>`; the value is the payload. Payloads travel one way.
    Redis,
    /// Framed binary: `string <lane>(1: string payload)`. Payloads travel both ways.
    Thrift,
    /// Dubbo 2 with Hessian2: `demo.Echo.<lane>(String)`. Payloads travel both ways.
    Dubbo,
}

/// The interface that the Dubbo requests call.
pub const INTERFACE: &str = "demo.Echo";

/// The lane (method, or first part of the key) of ordinary requests.
pub const LANE: &str = "echo";
/// Requests in this lane are answered late.
pub const SLOW: &str = "slow";
/// Requests in this lane are never answered.
pub const HANG: &str = "hang";
/// Like [`HANG`], but the client says so itself, where the protocol can: Redis' `BLPOP`.
pub const BLOCK: &str = "block";

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The correlation id, where the protocol has one.
    pub id: u32,
    /// What no other request has.
    pub tag: u64,
    /// The method, or the first part of the key.
    pub lane: &'a str,
    /// What it carries, or asks for.
    pub payload: &'a Payload,
}

/// One reply at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'b> {
    /// How many bytes it takes.
    pub length: usize,
    /// The correlation id, where the protocol has one.
    pub id: Option<u32>,
    /// The payload; `None` if the reply is an error.
    pub payload: Option<&'b [u8]>,
}

/// One request, as a backend sees it. Its answer has been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// How many bytes the request takes.
    pub length: usize,
    /// When its answer goes out.
    pub when: When,
}

/// When an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// After the backend's delay.
    Later,
    /// Never.
    Never,
}

/// Bytes that are not of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad(pub &'static str);

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Bad {}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Thrift, Self::Dubbo];

    /// The name on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Thrift => "thrift",
            Self::Dubbo => "dubbo",
        }
    }

    /// Whether a server answers one connection in the order of its requests.
    pub const fn in_order(self) -> bool {
        !matches!(self, Self::Dubbo)
    }

    /// The largest payload: Dubbo's are single chunks of a Hessian2 string.
    pub const fn largest(self) -> usize {
        match self {
            Self::Redis | Self::Thrift => 512 << 20,
            Self::Dubbo => 65_535,
        }
    }

    /// Appends a request.
    pub fn ask(self, ask: &Ask<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Redis => redis::ask(ask, out),
            Self::Thrift => thrift::ask(ask, out),
            Self::Dubbo => dubbo::ask(ask, out),
        }
    }

    /// The reply at the front of the input, if all of it is there.
    pub fn reply(self, input: &[u8]) -> Result<Option<Reply<'_>>, Bad> {
        match self {
            Self::Redis => redis::reply(input),
            Self::Thrift => thrift::reply(input),
            Self::Dubbo => dubbo::reply(input),
        }
    }

    /// Answers the request at the front of the input, if all of it is there.
    pub fn serve(self, input: &[u8], out: &mut Vec<u8>) -> Result<Option<Served>, Bad> {
        match self {
            Self::Redis => redis::serve(input, out),
            Self::Thrift => thrift::serve(input, out),
            Self::Dubbo => dubbo::serve(input, out),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of redis, thrift, dubbo"))
    }
}

fn when(lane: &[u8]) -> When {
    if lane == SLOW.as_bytes() {
        When::Later
    } else if lane == HANG.as_bytes() || lane == BLOCK.as_bytes() {
        When::Never
    } else {
        When::Now
    }
}

/// Four bytes, the highest first.
fn number(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_answered_in_every_protocol_and_size() {
        for protocol in Protocol::ALL {
            let sizes = [16, 31, 32, 1023, 1024, 16 << 10, 65_535, 1 << 20];
            for size in sizes.into_iter().filter(|size| *size <= protocol.largest()) {
                let payload = Payload::new(size);
                let ask = Ask {
                    id: 7,
                    tag: 0xabcdef,
                    lane: LANE,
                    payload: &payload,
                };
                let (mut request, mut answer) = (Vec::new(), Vec::new());
                protocol.ask(&ask, &mut request);
                for short in [0, 1, 5, request.len() / 2, request.len() - 1] {
                    let served = protocol.serve(&request[..short], &mut answer);
                    assert_eq!(
                        (served, answer.len()),
                        (Ok(None), 0),
                        "{protocol:?} {size} {short}"
                    );
                }
                let served = protocol.serve(&request, &mut answer).unwrap().unwrap();
                assert_eq!(
                    served,
                    Served {
                        length: request.len(),
                        when: When::Now
                    }
                );
                for short in [0, 1, 5, answer.len() / 2, answer.len() - 1] {
                    assert_eq!(
                        protocol.reply(&answer[..short]),
                        Ok(None),
                        "{protocol:?} {size}"
                    );
                }
                let reply = protocol.reply(&answer).unwrap().unwrap();
                assert_eq!(reply.length, answer.len());
                assert_eq!(reply.id, (protocol != Protocol::Redis).then_some(7));
                let text = reply.payload.unwrap();
                assert!(payload.is(0xabcdef, text), "{protocol:?} {size}");
            }
        }
    }

    #[test]
    fn lanes_say_when() {
        for protocol in Protocol::ALL {
            for (lane, when) in [
                (SLOW, When::Later),
                (HANG, When::Never),
                (BLOCK, When::Never),
            ] {
                let (mut request, mut answer) = (Vec::new(), Vec::new());
                let payload = Payload::new(16);
                protocol.ask(
                    &Ask {
                        id: 1,
                        tag: 1,
                        lane,
                        payload: &payload,
                    },
                    &mut request,
                );
                let served = protocol.serve(&request, &mut answer).unwrap().unwrap();
                assert_eq!((served.length, served.when), (request.len(), when));
            }
        }
    }
}
