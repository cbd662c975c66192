//! A codec's share of one message: a request goes through a codec of each side, and its reply back,
//! round after round, so that codecs that keep count of what is in flight are used as the router does.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use meltemi_frame::{
    Codec, Decoded, Edit, Interest, Limits, Message, Output, Protocol, Session, Side,
};

use crate::cases::{ROUNDS, WARM, counted};

/// A protocol with one request and its reply.
struct Subject {
    name: &'static str,
    protocol: fn() -> Result<Arc<dyn Protocol>>,
    /// Files of bytes under `codecs`; the first message counts.
    request: &'static str,
    reply: &'static str,
    /// The request can take a further attribute.
    edit: bool,
}

/// The id that requests get.
const NEW_ID: i64 = 0x5eed;

/// What is counted of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    DecodeRoute,
    DecodeHeaders,
    DecodeBody,
    Encode,
    EncodeId,
    EncodeEdit,
    DecodeReply,
    EncodeReply,
}

const OPERATIONS: [(Operation, &str); 8] = [
    (Operation::DecodeRoute, "decode"),
    (Operation::DecodeHeaders, "decode-headers"),
    (Operation::DecodeBody, "decode-body"),
    (Operation::Encode, "encode"),
    (Operation::EncodeId, "encode-id"),
    (Operation::EncodeEdit, "encode-edit"),
    (Operation::DecodeReply, "decode-reply"),
    (Operation::EncodeReply, "encode-reply"),
];

const SUBJECTS: [Subject; 6] = [
    Subject {
        name: "redis",
        protocol: || Ok(Arc::new(meltemi_redis::Redis::new())),
        request: "redis/samples/r2_unicode.server.bin",
        reply: "redis/samples/r2_bin_safe.client.bin",
        edit: false,
    },
    Subject {
        name: "dubbo",
        protocol: || Ok(Arc::new(meltemi_dubbo::Dubbo::new())),
        request: "dubbo/samples/hessian2-33-attachments.server.bin",
        reply: "dubbo/samples/hessian2-26-add.client.bin",
        edit: true,
    },
    Subject {
        name: "thrift-framed",
        protocol: || Ok(Arc::new(meltemi_thrift::Thrift::new())),
        request: "thrift/samples/py_binary_strict_framed_add.server.bin",
        reply: "thrift/samples/py_binary_strict_framed_add.client.bin",
        edit: false,
    },
    Subject {
        name: "thrift-header",
        protocol: || Ok(Arc::new(meltemi_thrift::Thrift::new())),
        request: "thrift/samples/py_header_binary_hdr_add.server.bin",
        reply: "thrift/samples/header_binary_reply.client.bin",
        edit: true,
    },
    Subject {
        name: "bolt",
        protocol: || described(meltemi_declarative::bolt()),
        request: "declarative/samples/bolt/sofarpc_headers.server.bin",
        reply: "declarative/samples/bolt/p1_exception.client.bin",
        edit: true,
    },
    Subject {
        name: "quill",
        protocol: || described(meltemi_declarative::quill()),
        request: "declarative/samples/quill/call.server.bin",
        reply: "declarative/samples/quill/reply.client.bin",
        edit: true,
    },
];

fn described<P: Protocol, E: std::fmt::Debug>(made: Result<P, E>) -> Result<Arc<dyn Protocol>> {
    made.map(|protocol| Arc::new(protocol) as _)
        .map_err(|error| anyhow!("{error:?}"))
}

/// The names of the cases: only what a protocol can do.
pub(crate) fn names() -> Vec<String> {
    let mut names = Vec::new();
    for subject in &SUBJECTS {
        let has_id = (subject.protocol)()
            .is_ok_and(|protocol| protocol.spec().correlation.id_bits().is_some());
        for (operation, name) in OPERATIONS {
            let possible = match operation {
                Operation::EncodeId => has_id,
                Operation::EncodeEdit => subject.edit,
                _ => true,
            };
            if possible {
                names.push(format!("{}/{name}", subject.name));
            }
        }
    }
    names
}

/// Runs a case.
pub(crate) fn run(subject: &str, operation: &str) -> Result<()> {
    let found = SUBJECTS
        .iter()
        .find(|one| one.name == subject)
        .context("no such subject")?;
    let operation = OPERATIONS
        .iter()
        .find(|one| one.1 == operation)
        .context("no such operation")?;
    Bench::new(found, operation.0)?.run()
}

struct Bench {
    server: Box<dyn Codec>,
    client: Box<dyn Codec>,
    request: Vec<u8>,
    reply: Vec<u8>,
    operation: Operation,
    edit: Option<Edit>,
    /// What goes to the server, and to the client.
    sent: Output,
    returned: Output,
    /// Reads once what was sent.
    witness: Box<dyn Codec>,
}

impl Bench {
    fn new(subject: &Subject, operation: Operation) -> Result<Self> {
        let protocol = (subject.protocol)()?;
        let codec = |side| protocol.codec(side, &Limits::default(), &Session::default());
        let first = |name, side| -> Result<Vec<u8>> {
            let bytes = sample(name)?;
            let length = whole(codec(side).decode(&bytes, Interest::Route))?
                .wire()
                .len();
            Ok(bytes[..length].to_vec())
        };
        let open = protocol.spec().open.iter().find(|open| open.edit_requests);
        let edit = open
            .filter(|_| operation == Operation::EncodeEdit)
            .map(|open| Edit::Set(format!("{}x-via", open.prefix).into(), (*b"edge").into()));
        Ok(Self {
            server: codec(Side::Server),
            client: codec(Side::Client),
            request: first(subject.request, Side::Server)?,
            reply: first(subject.reply, Side::Client)?,
            operation,
            edit,
            sent: Output::new(),
            returned: Output::new(),
            witness: codec(Side::Server),
        })
    }

    fn run(&mut self) -> Result<()> {
        self.prove()?;
        for _ in 0..WARM {
            self.round(None)?;
        }
        for _ in 0..ROUNDS {
            self.round(Some(self.operation))?;
        }
        Ok(())
    }

    /// Whether what is counted does what it should: a request that keeps its old id costs little.
    fn prove(&mut self) -> Result<()> {
        self.round(None)?;
        let mut sent = Output::new();
        std::mem::swap(&mut sent, &mut self.sent);
        let sent = sent.drain();
        let id = whole(self.witness.decode(&sent, Interest::Route))?.head.id;
        if self.operation == Operation::EncodeId && id != Some(NEW_ID) {
            bail!("the id was not changed: {id:?}");
        }
        if (self.edit.is_some() || id == Some(NEW_ID)) == (*sent == *self.request) {
            bail!("what was sent is not what was asked for: {sent:?}");
        }
        Ok(())
    }

    fn round(&mut self, count: Option<Operation>) -> Result<()> {
        use Operation as O;
        let counts = |operations: &[O]| count.is_some_and(|one| operations.contains(&one));
        let want = match self.operation {
            O::DecodeHeaders | O::EncodeEdit => Interest::Headers,
            O::DecodeBody => Interest::Body,
            _ => Interest::Route,
        };
        let (server, client) = (&mut self.server, &mut self.client);
        let (sent, returned) = (&mut self.sent, &mut self.returned);

        let decoded = counted(
            counts(&[O::DecodeRoute, O::DecodeHeaders, O::DecodeBody]),
            || server.decode(&self.request, want),
        );
        let mut request = whole(decoded)?;
        let theirs = request.head.id;
        if self.operation == O::EncodeId {
            request.set_id(NEW_ID);
        }
        if let Some(edit) = &self.edit {
            request.edit(edit.clone());
        }
        sent.truncate(0);
        counted(counts(&[O::Encode, O::EncodeId, O::EncodeEdit]), || {
            client.encode(&request, sent)
        })?;

        let decoded = counted(counts(&[O::DecodeReply]), || {
            client.decode(&self.reply, Interest::Route)
        });
        let mut reply = whole(decoded)?;
        // As the router does: the client gets the id that it sent.
        if let Some(id) = theirs {
            reply.set_id(id);
        }
        returned.truncate(0);
        counted(counts(&[O::EncodeReply]), || {
            server.encode(&reply, returned)
        })?;
        Ok(())
    }
}

fn whole<'b>(decoded: Result<Decoded<'b>, meltemi_frame::DecodeError>) -> Result<Message<'b>> {
    match decoded {
        Ok(Decoded::Message(message, _)) => Ok(message),
        other => bail!("the sample is not a whole message: {other:?}"),
    }
}

fn sample(name: &str) -> Result<Vec<u8>> {
    let codecs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../codecs");
    std::fs::read(codecs.join(name)).with_context(|| name.to_owned())
}
