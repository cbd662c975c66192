//! A connection with its buffers, for one thread that is told when there is something to read or write.

use std::io::{self, ErrorKind, Read as _, Write as _};

use anyhow::Result;
use mio::net::TcpStream;

/// What one thread reads into.
pub(crate) const SCRATCH: usize = 256 << 10;

/// A buffer that grew past this is given back when it is empty.
const KEEP: usize = 1 << 20;

/// A connection with its buffers.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) stream: TcpStream,
    /// What came and was not understood yet.
    input: Vec<u8>,
    /// What is to be written, from `written` on.
    pub(crate) out: Vec<u8>,
    written: usize,
}

impl Pipe {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: Vec::new(),
            out: Vec::new(),
            written: 0,
        })
    }

    /// Reads what there is and gives it to `take`, which says how many bytes it is done with; then
    /// once more, until a read comes back short. False once the peer has closed.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize>,
    ) -> Result<bool> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let fresh = &scratch[..count];
            if self.input.is_empty() {
                let done = take(fresh, &mut self.out)?;
                self.input.extend_from_slice(&fresh[done..]);
            } else {
                self.input.extend_from_slice(fresh);
                self.again(&mut take)?;
            }
            if count < scratch.len() {
                return Ok(true);
            }
        }
    }

    /// Gives what was left over to `take` once more.
    pub(crate) fn again(
        &mut self,
        mut take: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize>,
    ) -> Result<()> {
        let done = take(&self.input, &mut self.out)?;
        self.input.drain(..done);
        if self.input.is_empty() && self.input.capacity() > KEEP {
            self.input = Vec::new();
        }
        Ok(())
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        self.out.clear();
        if self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        Ok(())
    }
}
