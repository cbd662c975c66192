//! The least that a proxy in user space can do: one thread copies bytes between two sockets and looks
//! at none of them. Every ratio in the report is to this.
//!
//! `plain` waits until there is something and reads until there is nothing, as most would write it.
//! `tuned` lets tokio stop after a short read, which saves a system call per message.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Copies bytes between every client and a server.
#[derive(Parser)]
struct Arguments {
    /// Where clients connect.
    listen: SocketAddr,
    /// Where the server is.
    server: SocketAddr,
    /// How it reads.
    #[arg(long, default_value = "plain")]
    mode: Mode,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Plain,
    Tuned,
}

fn main() -> Result<()> {
    meltemi_bench::os::raise_file_limit();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(serve(&arguments))
}

async fn serve(arguments: &Arguments) -> Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    let (server, mode) = (arguments.server, arguments.mode);
    loop {
        let (client, _) = listener.accept().await?;
        // A connection that breaks is its own affair.
        tokio::spawn(async move { relay(client, server, mode).await });
    }
}

async fn relay(client: TcpStream, server: SocketAddr, mode: Mode) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let up = tokio::spawn(copy(client_reads, server_writes, mode));
    let down = copy(server_reads, client_writes, mode).await;
    up.abort();
    down
}

thread_local! {
    /// One for all: an idle connection has no buffer of its own.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Mode) -> std::io::Result<()> {
    loop {
        let passed = match mode {
            Mode::Plain => {
                from.readable().await?;
                BUFFER.with_borrow_mut(|buffer| {
                    let count = from.try_read(buffer)?;
                    pass(&to, &buffer[..count])
                })
            }
            Mode::Tuned => poll_fn(|context| tuned(&mut from, &to, context)).await,
        };
        match passed {
            Ok(Passed::End) => return Ok(()),
            Ok(Passed::All) => {}
            Ok(Passed::Rest(rest)) => to.write_all(&rest).await?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn tuned(
    from: &mut OwnedReadHalf,
    to: &OwnedWriteHalf,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<Passed>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(from).poll_read(context, &mut read))?;
        Poll::Ready(pass(to, read.filled()))
    })
}

enum Passed {
    End,
    All,
    Rest(Vec<u8>),
}

/// Writes once.
fn pass(to: &OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<Passed> {
    if bytes.is_empty() {
        return Ok(Passed::End);
    }
    let written = match to.try_write(bytes) {
        Ok(written) => written,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    if written == bytes.len() {
        Ok(Passed::All)
    } else {
        Ok(Passed::Rest(bytes[written..].to_vec()))
    }
}
