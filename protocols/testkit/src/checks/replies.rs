//! Checks that local replies reach the client as the failed response to the request.

use meltemi_frame::{
    Codec, DecodeError, Interest, Kind, LocalMessage, Message, Output, Reason, ReplyContext, Side,
    Status,
};

use super::whole;
use crate::drive::{Arrival, Drive, Step};
use crate::failure::{ensure, show};
use crate::seen::{Event, Seen};
use crate::{Failure, Sample, Subject, Verdict};

/// Texts that must not break the form of a reply: line ends, other alphabets, quotes, length.
fn texts() -> [String; 4] {
    [
        "no route".into(),
        "no route\r\nfor \"ü\": \u{0}\u{7f} -ERR".into(),
        String::new(),
        "long ".repeat(1000),
    ]
}

/// Every request of the samples is answered locally with every claimed reason and with difficult
/// texts. The client that has sent it decodes one failed response with its id. A request that the
/// codec answers itself ([`Kind::Local`]) gets that reply too. Malformed requests that can be
/// answered get a reply as well.
pub fn claimed_replies_reach_the_client(subject: &Subject) -> Verdict {
    let texts = texts();
    for (at, reason) in subject.spec().replies.iter().enumerate() {
        for text in [at % texts.len(), 0]
            .map(|at| texts.get(at))
            .into_iter()
            .flatten()
        {
            servers(subject).try_for_each(|sample| {
                conversation(subject, sample, Answer::Failure(*reason, text))
                    .map_err(|failure| failure.within(format!("{}: {reason:?}", sample.name)))
            })?;
        }
    }
    servers(subject).try_for_each(|sample| {
        conversation(subject, sample, Answer::Own).map_err(|failure| failure.within(&sample.name))
    })
}

/// A reason that the protocol does not claim is refused, and nothing is written.
pub fn unclaimed_replies_are_refused(subject: &Subject) -> Verdict {
    let claimed = &subject.spec().replies;
    for reason in Reason::ALL
        .iter()
        .filter(|reason| !claimed.contains(reason))
    {
        servers(subject).try_for_each(|sample| {
            first_request(subject, sample, Kind::Request, |codec, request| {
                let to = codec.receipt(request);
                nothing(
                    codec,
                    LocalMessage::Failure {
                        to: &to,
                        reason: *reason,
                        text: "no",
                    },
                )
                .map_err(|failure| failure.within(format!("{reason:?}, which is not claimed")))
            })
            .map_err(|failure| failure.within(&sample.name))
        })?;
    }
    Ok(())
}

/// A one-way request gets no reply, not even an error: its receipt produces no bytes.
pub fn one_way_is_never_answered(subject: &Subject) -> Verdict {
    servers(subject).try_for_each(|sample| {
        first_request(subject, sample, Kind::OneWay, |codec, request| {
            let to = codec.receipt(request);
            for reason in Reason::ALL {
                nothing_out(
                    codec,
                    LocalMessage::Failure {
                        to: &to,
                        reason: *reason,
                        text: "no",
                    },
                )
                .map_err(|failure| failure.within(format!("{reason:?} to a one-way")))?;
            }
            Ok(())
        })
        .map_err(|failure| failure.within(&sample.name))
    })
}

fn servers(subject: &Subject) -> impl Iterator<Item = &Sample> {
    subject
        .samples
        .iter()
        .filter(|sample| sample.side == Side::Server)
}

fn drive(subject: &Subject) -> Drive<'_> {
    Drive {
        spec: subject.spec(),
        want: Interest::Route,
        arrival: Arrival::Whole,
        impatient: false,
    }
}

#[derive(Clone, Copy)]
enum Answer<'a> {
    /// Fails every request for this reason.
    Failure(Reason, &'a str),
    /// The codec's own reply for local requests, and any failure for the others, so that the order
    /// is kept.
    Own,
}

/// Plays a sample like the router: a client-side codec encodes the messages that the server-side
/// codec decodes (it may remember them), and every request is answered in its turn.
fn conversation(subject: &Subject, sample: &Sample, answer: Answer<'_>) -> Verdict {
    let mut server = subject.codec(Side::Server, &whole());
    let mut client = subject.codec(Side::Client, &whole());
    drive(subject).walk(&mut *server, &sample.bytes, &mut |server, step| {
        let (to, local, offset) = match step {
            Step::Message(message, offset) => {
                let mut up = Output::new();
                client.encode(message, &mut up).map_err(|error| {
                    Failure::new(format!("the request at offset {offset}: {error}"))
                })?;
                if !message.head.kind.expects_reply() {
                    return Ok(());
                }
                (
                    server.receipt(message),
                    message.head.kind == Kind::Local,
                    offset,
                )
            }
            Step::Error(
                DecodeError::Message {
                    answer: Some(to), ..
                }
                | DecodeError::Connection {
                    answer: Some(to), ..
                },
                offset,
            ) => ((**to).clone(), false, offset),
            Step::Error(..) => return Ok(()),
        };
        let say = match answer {
            _ if local => LocalMessage::CodecReply { to: &to },
            Answer::Failure(reason, text) => LocalMessage::Failure {
                to: &to,
                reason,
                text,
            },
            Answer::Own => match subject.spec().replies.first() {
                Some(&reason) => LocalMessage::Failure {
                    to: &to,
                    reason,
                    text: "no",
                },
                None => return Ok(()),
            },
        };
        let place = || format!("the answer to the request at offset {offset}");
        let seen = spoken(subject, server, &mut *client, say)
            .map_err(|failure| failure.within(place()))?;
        check_answer(subject, &seen, &to, local).map_err(|failure| failure.within(place()))
    })?;
    Ok(())
}

/// Decodes the output of one codec with the other one. It must be exactly one message.
pub(super) fn spoken(
    subject: &Subject,
    speaker: &mut dyn Codec,
    listener: &mut dyn Codec,
    say: LocalMessage<'_>,
) -> Result<Seen, Failure> {
    let mut out = Output::new();
    out.put(b"before");
    let said = speaker.synthesize(say, &mut out);
    let bytes = out.drain();
    let body = bytes.strip_prefix(b"before");
    ensure!(body.is_some(), "earlier bytes in the output are gone");
    let body = body.unwrap_or_default();
    said.map_err(|error| Failure::new(error.to_string()))?;
    let mut run = drive(subject).run(listener, body)?;
    match (
        run.events.pop(),
        run.events.is_empty(),
        run.rest == body.len(),
    ) {
        (Some(Event::Message(seen)), true, true) => Ok(seen),
        (last, first, _) => Err(Failure::new(format!(
            "it must be one message to the other side, but {} (last: {last:?}): {}",
            if first {
                "is none or is unfinished"
            } else {
                "is several"
            },
            show(body)
        ))),
    }
}

fn check_answer(subject: &Subject, seen: &Seen, to: &ReplyContext, local: bool) -> Verdict {
    let head = &seen.head;
    ensure!(
        head.kind == Kind::Response,
        "it is a {}, not a response",
        head.kind.name()
    );
    ensure!(head.end, "it is not the end of the response");
    ensure!(
        local || matches!(head.status, Status::Failed(_)),
        "its status is {}, not failed",
        head.status.name()
    );
    if subject.spec().correlation.id_bits().is_some() {
        ensure!(
            head.id == to.id,
            "its id is {:?}, that of the request was {:?}",
            head.id,
            to.id
        );
    }
    Ok(())
}

/// Runs `test` on a codec that has just read the first message of this kind in a sample.
fn first_request(
    subject: &Subject,
    sample: &Sample,
    kind: Kind,
    mut test: impl FnMut(&mut dyn Codec, &Message<'_>) -> Verdict,
) -> Verdict {
    let mut over = false;
    drive(subject).walk(
        &mut *subject.codec(Side::Server, &whole()),
        &sample.bytes,
        &mut |codec, step| match step {
            Step::Message(message, offset) if message.head.kind == kind && !over => {
                over = true;
                test(codec, message).map_err(|failure| failure.within(format!("offset {offset}")))
            }
            _ => Ok(()),
        },
    )?;
    Ok(())
}

/// Fails unless the codec refuses the message and writes nothing.
pub(super) fn nothing(codec: &mut dyn Codec, say: LocalMessage<'_>) -> Verdict {
    let mut out = Output::new();
    out.put(b"before");
    let said = codec.synthesize(say, &mut out);
    let bytes = out.drain();
    ensure!(
        said.is_err(),
        "it must be refused with Unsupported, but wrote {}",
        show(&bytes)
    );
    ensure!(
        bytes == b"before"[..],
        "it was refused, but the output changed: {}",
        show(&bytes)
    );
    Ok(())
}

/// Fails if the codec writes anything. Its result may be a success or an error.
fn nothing_out(codec: &mut dyn Codec, say: LocalMessage<'_>) -> Verdict {
    let mut out = Output::new();
    out.put(b"before");
    let said = codec.synthesize(say, &mut out);
    let bytes = out.drain();
    ensure!(
        bytes == b"before"[..],
        "nothing may be written, but the result is {said:?} and {}",
        show(&bytes)
    );
    Ok(())
}
