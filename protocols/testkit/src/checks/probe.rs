//! Checks that a codec's probes are valid calls.

use meltemi_frame::{Codec, Interest, Kind, LocalMessage, Message, Output, Side};

use super::replies::{nothing, spoken};
use super::whole;
use crate::drive::{Arrival, Drive, Step};
use crate::failure::{ensure, show};
use crate::{Failure, Subject, Verdict};

/// Operations that every protocol with probes can call. The protocol decides whether the part
/// before the dot is a service's name or a part of the operation.
const PLAIN: [&str; 2] = ["kit.ask", "kit.Service.ask"];

/// If the protocol claims probes, a server decodes a probe of the codec as one whole request with
/// that operation and id, and the codec decodes the server's refusal as the response to it. An
/// operation that the protocol cannot write is refused, and never written as another one. If the
/// protocol claims no probes, all are refused.
pub fn probes_are_calls(subject: &Subject) -> Verdict {
    if !subject.spec().probes {
        let mut client = subject.codec(Side::Client, &whole());
        let say = LocalMessage::Probe {
            id: 7,
            operation: PLAIN[0],
        };
        return nothing(&mut *client, say)
            .map_err(|failure| failure.within("a probe, though the spec claims none"));
    }
    for operation in PLAIN {
        for id in [0, 1, 0x7f] {
            probe(subject, id, operation, false)
                .map_err(|failure| failure.within(format!("a probe of `{operation}`, id {id}")))?;
        }
    }
    let long = format!("kit.{}", "ask".repeat(30_000));
    for operation in ["", " ", ".", "kit.", "kit.a sk\r\n", "kit.\"ü\"\0", &long] {
        probe(subject, 1, operation, true).map_err(|failure| {
            let start: String = operation.chars().take(20).collect();
            failure.within(format!("a probe of {start:?}"))
        })?;
    }
    Ok(())
}

/// Decodes a probe as a server does, and the reply as the codec does.
fn probe(subject: &Subject, id: i64, operation: &str, may_refuse: bool) -> Verdict {
    let mut client = subject.codec(Side::Client, &whole());
    let mut server = subject.codec(Side::Server, &whole());
    let mut out = Output::new();
    out.put(b"before");
    let said = client.synthesize(LocalMessage::Probe { id, operation }, &mut out);
    let bytes = out.drain();
    let Some(bytes) = bytes.strip_prefix(b"before") else {
        return Err(Failure::new("earlier bytes in the output are gone"));
    };
    if let Err(error) = said {
        ensure!(may_refuse, "claimed, but {error}");
        ensure!(
            bytes.is_empty(),
            "it was refused, but {} was written",
            show(bytes)
        );
        return Ok(());
    }
    let drive = Drive {
        spec: subject.spec(),
        want: Interest::Route,
        arrival: Arrival::Whole,
        impatient: false,
    };
    let mut requests = 0;
    let rest = drive.walk(&mut *server, bytes, &mut |server, step| {
        let Step::Message(request, ..) = step else {
            return Err(Failure::new("a server does not understand it"));
        };
        requests += 1;
        is_call(subject, request, id, operation)?;
        answer(subject, server, &mut *client, request)
    })?;
    ensure!(
        requests == 1 && rest == bytes.len(),
        "a server reads {requests} messages, and {} bytes are left over",
        bytes.len() - rest
    );
    Ok(())
}

fn is_call(subject: &Subject, request: &Message<'_>, id: i64, operation: &str) -> Verdict {
    let (spec, head) = (subject.spec(), &request.head);
    ensure!(
        head.kind == Kind::Request && head.end,
        "a server understands a {}{}",
        head.kind.name(),
        if head.end { "" } else { " that is not whole" }
    );
    if spec.correlation.id_bits().is_some() {
        ensure!(head.id == Some(id), "a server reads the id {:?}", head.id);
    }
    let read = |name: &str| -> Option<Vec<u8>> {
        let (lookup, _) = spec.lookup(name)?;
        let value = request.attributes.first(&lookup, request.wire())?;
        Some(value.into_owned())
    };
    let called = read(&spec.operation).unwrap_or_default();
    let whole = called == operation.as_bytes();
    let behind_service = || {
        let service = spec.service.as_deref().and_then(read);
        service.is_some_and(|service| {
            let before = operation.as_bytes().strip_suffix(called.as_slice());
            let before = before.filter(|before| before.starts_with(&service));
            // Only the separator is in neither part.
            before.is_some_and(|before| before.len() == service.len() + 1)
        })
    };
    ensure!(
        !called.is_empty() && (whole || behind_service()),
        "a server reads the operation {}",
        show(&called)
    );
    Ok(())
}

/// Refuses the probe for the first claimed reason, and checks that the codec decodes the refusal as the
/// response.
fn answer(
    subject: &Subject,
    server: &mut dyn Codec,
    client: &mut dyn Codec,
    request: &Message<'_>,
) -> Verdict {
    let Some(&reason) = subject.spec().replies.first() else {
        return Ok(());
    };
    let to = server.receipt(request);
    let say = LocalMessage::Failure {
        to: &to,
        reason,
        text: "no",
    };
    let seen = spoken(subject, server, client, say)?;
    ensure!(
        seen.head.kind == Kind::Response && seen.head.id == request.head.id,
        "its answer is understood as a {} with the id {:?}",
        seen.head.kind.name(),
        seen.head.id
    );
    Ok(())
}
