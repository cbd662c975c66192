//! Clients that are no load but a burden: idle ones, and one that asks for much and reads nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::payload::Payload;
use crate::wire::{Ask, LANE, Protocol};

/// Sends one request on a fresh connection and waits for the right reply.
pub fn once(protocol: Protocol, address: SocketAddr, timeout: Duration) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    ask(protocol, stream, LANE, 32, timeout)
}

/// Sends one request and waits for the right reply.
pub fn ask(
    protocol: Protocol,
    mut stream: TcpStream,
    lane: &str,
    size: usize,
    timeout: Duration,
) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    let payload = Payload::new(size);
    let mut request = Vec::new();
    protocol.ask(
        &Ask {
            id: 1,
            tag: 1,
            lane,
            payload: &payload,
        },
        &mut request,
    );
    stream.write_all(&request)?;
    let mut input = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        if let Some(reply) = protocol.reply(&input)? {
            match reply.payload {
                Some(bytes) if payload.is(1, bytes) => return Ok(stream),
                Some(_) => bail!("the reply has another's payload"),
                None => bail!(
                    "the reply is an error: {:?}",
                    String::from_utf8_lossy(&input)
                ),
            }
        }
        match stream.read(&mut buffer)? {
            0 => bail!("closed without a reply"),
            count => input.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Tries until the first right reply, and says how long that took from `start`.
pub fn first_reply(protocol: Protocol, address: SocketAddr, start: Instant) -> Result<Duration> {
    loop {
        let Err(error) = once(protocol, address, Duration::from_secs(2)) else {
            return Ok(start.elapsed());
        };
        if start.elapsed() > Duration::from_secs(20) {
            return Err(error).context("no good reply within 20 s of the start");
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// So many connections that did one request each, and now rest.
pub fn idle(protocol: Protocol, address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let one = |number| {
        once(protocol, address, Duration::from_secs(10)).with_context(|| format!("client {number}"))
    };
    (0..count).map(one).collect()
}

/// Sends requests until nothing more is taken for a second, or `requests` are sent, and reads
/// nothing. Says how many bytes went out. The connection stays open as long as the stream lives;
/// the other side may have closed it.
pub fn unread(
    protocol: Protocol,
    address: SocketAddr,
    requests: u32,
    size: usize,
) -> Result<(TcpStream, u64)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let payload = Payload::new(size);
    let mut sent = 0;
    let mut bytes = Vec::new();
    for id in 0..requests {
        bytes.clear();
        protocol.ask(
            &Ask {
                id,
                tag: u64::from(id),
                lane: LANE,
                payload: &payload,
            },
            &mut bytes,
        );
        match stream.write_all(&bytes) {
            Ok(()) => sent += bytes.len() as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            // To be cut off is a fair answer to a client that never reads.
            Err(_) => break,
        }
    }
    Ok((stream, sent))
}

/// Sends a request of so many bytes but for its last, and nothing more.
pub fn half(protocol: Protocol, address: SocketAddr, size: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let payload = Payload::new(size);
    let mut bytes = Vec::new();
    match protocol {
        // The payload of a GET travels the other way.
        Protocol::Redis => {
            bytes
                .extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n").as_bytes());
            payload.put(1, &mut bytes);
        }
        Protocol::Thrift | Protocol::Dubbo => {
            let ask = Ask {
                id: 1,
                tag: 1,
                lane: LANE,
                payload: &payload,
            };
            protocol.ask(&ask, &mut bytes);
            bytes.pop();
        }
    }
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(&bytes)?;
    Ok(stream)
}
