//! A redis-server of the test's own, and enough of a client to ask it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use super::generate::{Command, wire};

pub(super) struct Server {
    process: Child,
    stream: BufReader<TcpStream>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Text(String),
    Error(String),
    Number(i64),
    List(Vec<Reply>),
}

impl Reply {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            other => panic!("{other:?}"),
        }
    }
}

impl Server {
    pub(super) fn start() -> Self {
        for _ in 0..10 {
            // Somebody else may take the port before the server does.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut process = Process::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--dir", "/tmp"])
                .args(["--port", &port.to_string()])
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until && process.try_wait().unwrap().is_none() {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                    stream.set_nodelay(true).unwrap();
                    stream
                        .set_read_timeout(Some(Duration::from_secs(10)))
                        .unwrap();
                    let stream = BufReader::new(stream);
                    return Self { process, stream };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("redis-server does not start");
    }

    pub(super) fn ask(&mut self, words: &[&str]) -> Reply {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        self.stream.get_mut().write_all(&wire(&words)).unwrap();
        self.read()
    }

    fn read(&mut self) -> Reply {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(rest.parse().unwrap()),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Text(String::from_utf8(bytes).unwrap())
            }
            "*" => {
                let count = rest.parse().unwrap();
                Reply::List((0..count).map(|_| self.read()).collect())
            }
            _ => panic!("{line}"),
        }
    }

    /// Every command and subcommand of the server.
    pub(super) fn commands(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        collect(&self.ask(&["COMMAND"]), &mut commands);
        commands.sort_by(|a, b| a.name.cmp(&b.name));
        commands
    }
}

fn collect(reply: &Reply, commands: &mut Vec<Command>) {
    for entry in reply.list() {
        let fields = entry.list();
        commands.push(Command {
            name: fields[0].text().to_owned(),
            arity: fields[1].number(),
            is_container: !fields[9].list().is_empty(),
        });
        collect(&fields[9], commands);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
