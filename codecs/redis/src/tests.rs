//! Dialogues: a client, a server-side codec, a client-side codec and a server, without sockets.

mod pins;
mod pubsub;
mod requests;
mod responses;
mod sessions;

use meltemi_frame::{
    Bind, Codec, DecodeError, Decoded, Head, Interest, Kind, Limits, LocalMessage, Output,
    Protocol, Reason, Session, Side,
};

use crate::Redis;

/// One client and its one upstream connection, as a router would tie them.
struct Dialogue {
    server: Box<dyn Codec>,
    client: Box<dyn Codec>,
    /// What the upstream has received.
    upstream: Vec<u8>,
    /// What the client has received.
    downstream: Vec<u8>,
}

impl Dialogue {
    fn new() -> Self {
        Self::with(&Redis::new(), &Session::default())
    }

    fn with(protocol: &dyn Protocol, session: &Session) -> Self {
        let limits = Limits::default();
        Self {
            server: protocol.codec(Side::Server, &limits, &Session::default()),
            client: protocol.codec(Side::Client, &limits, session),
            upstream: Vec::new(),
            downstream: Vec::new(),
        }
    }

    /// The client asks; what is not local is forwarded, what is local is answered.
    fn ask(&mut self, bytes: &str) -> Head {
        let decoded = self
            .server
            .decode(bytes.as_bytes(), Interest::Route)
            .unwrap();
        let Decoded::Message(message, taken) = decoded else {
            panic!("{decoded:?}")
        };
        assert_eq!(taken, bytes.len(), "{bytes:?}");
        let mut out = Output::new();
        if message.head.kind == Kind::Local {
            let to = self.server.receipt(&message);
            self.server
                .synthesize(LocalMessage::CodecReply { to: &to }, &mut out)
                .unwrap();
            self.downstream.extend_from_slice(&out.drain());
        } else {
            self.client.encode(&message, &mut out).unwrap();
            self.upstream.extend_from_slice(&out.drain());
        }
        message.head
    }

    /// The server says something; it goes to the client. Tells what it was taken for.
    fn say(&mut self, bytes: &str) -> Kind {
        let decoded = self
            .client
            .decode(bytes.as_bytes(), Interest::Route)
            .unwrap();
        let Decoded::Message(message, taken) = decoded else {
            panic!("{decoded:?}")
        };
        assert_eq!(taken, bytes.len(), "{bytes:?}");
        let mut out = Output::new();
        self.server.encode(&message, &mut out).unwrap();
        self.downstream.extend_from_slice(&out.drain());
        message.head.kind
    }

    /// Asks, and has it answered by one response.
    fn exchange(&mut self, request: &str, reply: &str) -> Head {
        let head = self.ask(request);
        assert_eq!(head.kind, Kind::Request, "{request:?}");
        assert_eq!(self.say(reply), Kind::Response, "{reply:?}");
        head
    }

    /// The router answers the oldest request itself.
    fn fail(&mut self) {
        let mut out = Output::new();
        let to = meltemi_frame::ReplyContext::default();
        let say = LocalMessage::Failure {
            to: &to,
            reason: Reason::Unavailable,
            text: "",
        };
        self.server.synthesize(say, &mut out).unwrap();
    }

    fn pinned(&self) -> bool {
        self.server.pinned()
    }

    /// The session's commands, in words.
    fn session(&self) -> String {
        commands(self.server.session().preamble())
    }

    fn local(&mut self, request: &str) -> String {
        self.downstream.clear();
        assert_eq!(self.ask(request).kind, Kind::Local, "{request:?}");
        String::from_utf8(self.downstream.clone()).unwrap()
    }
}

/// Arrays of bulk strings in words, one command a line.
pub(crate) fn commands(mut bytes: &[u8]) -> String {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let args = crate::args::Args::read(bytes);
        let words: Vec<_> = args.walk().map(|word| word.bytes(bytes).unwrap()).collect();
        all.push(
            words
                .iter()
                .map(|word| String::from_utf8_lossy(word))
                .collect::<Vec<_>>()
                .join(" "),
        );
        let mut codec = Redis::new().codec(Side::Server, &Limits::default(), &Session::default());
        let Ok(Decoded::Message(_, length)) = codec.decode(bytes, Interest::Route) else {
            panic!()
        };
        bytes = &bytes[length..];
    }
    all.join("\n")
}

fn lost(result: Result<Decoded<'_>, DecodeError>) -> DecodeError {
    match result {
        Err(error @ DecodeError::Connection { .. }) => error,
        other => panic!("{other:?}"),
    }
}

const OK: &str = "+OK\r\n";
const ERR: &str = "-ERR no\r\n";
const FREE: Bind = Bind::Free;

/// Requests of every kind that a connection must follow, for tests by chance.
pub(crate) const REQUESTS: &[&str] = &[
    "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
    "GET k\r\n",
    "PING\r\n",
    "MULTI\r\n",
    "EXEC\r\n",
    "DISCARD\r\n",
    "WATCH k\r\n",
    "UNWATCH\r\n",
    "SELECT 1\r\n",
    "HELLO 3\r\n",
    "HELLO 9 x\r\n",
    "AUTH u p\r\n",
    "RESET\r\n",
    "WAIT 1 0\r\n",
    "ASKING\r\n",
    "MONITOR\r\n",
    "CLIENT ID\r\n",
    "CLIENT REPLY OFF\r\n",
    "CLIENT REPLY SKIP\r\n",
    "CLIENT REPLY ON\r\n",
    "CLIENT TRACKING ON\r\n",
    "SUBSCRIBE c d\r\n",
    "UNSUBSCRIBE\r\n",
    "PSUBSCRIBE c\r\n",
];

/// Replies, whether they fit or not.
pub(crate) const REPLIES: &[&str] = &[
    "+OK\r\n",
    "+QUEUED\r\n",
    "+1.5 [0 x] \"get\"\r\n",
    "-ERR no\r\n",
    "-NOAUTH no\r\n",
    "$1\r\nv\r\n",
    "$-1\r\n",
    "*-1\r\n",
    ":7\r\n",
    "*0\r\n",
    "%0\r\n",
    "|1\r\n+a\r\n:1\r\n+OK\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
    "*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n",
    "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nv\r\n",
    ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
    ">2\r\n$10\r\ninvalidate\r\n*0\r\n",
    "$30\r\nvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n",
];
