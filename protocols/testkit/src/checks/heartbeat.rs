//! Checks that heartbeats are sent and answered, and that GoAway is understood.

use meltemi_frame::{Interest, Kind, LocalMessage, Message, Output, Side};

use super::replies::{nothing, spoken};
use super::whole;
use crate::drive::{Arrival, Drive, Step, opposite};
use crate::failure::ensure;
use crate::{Failure, Sample, Subject, Verdict};

/// The pong to a ping in the samples decodes on the side that sent the ping, with the same id. If
/// the protocol claims a heartbeat, the same applies to a ping that the codec creates. If not,
/// `synthesize` refuses to create one.
pub fn pings_are_answered(subject: &Subject) -> Verdict {
    subject.each(|sample| sampled(subject, sample))?;
    if !subject.spec().heartbeat {
        let mut client = subject.codec(Side::Client, &whole());
        return nothing(&mut *client, LocalMessage::Ping { id: 7 })
            .map_err(|failure| failure.within("a ping, though the spec claims no heartbeat"));
    }
    for id in [0, 1, 0x7f] {
        own(subject, id).map_err(|failure| failure.within(format!("a ping of id {id}")))?;
    }
    Ok(())
}

/// The GoAway message of a codec is understood by the other side as GoAway. If the protocol has
/// none, the codec refuses and writes nothing.
pub fn going_away_is_understood(subject: &Subject) -> Verdict {
    let mut server = subject.codec(Side::Server, &whole());
    let mut client = subject.codec(Side::Client, &whole());
    if server
        .synthesize(LocalMessage::GoAway, &mut Output::new())
        .is_err()
    {
        return nothing(&mut *server, LocalMessage::GoAway)
            .map_err(|failure| failure.within("GoAway"));
    }
    let mut server = subject.codec(Side::Server, &whole());
    let seen = spoken(subject, &mut *server, &mut *client, LocalMessage::GoAway)
        .map_err(|failure| failure.within("GoAway"))?;
    ensure!(
        seen.head.kind == Kind::GoAway,
        "GoAway is understood as a {}",
        seen.head.kind.name()
    );
    Ok(())
}

fn drive(subject: &Subject) -> Drive<'_> {
    Drive {
        spec: subject.spec(),
        want: Interest::Route,
        arrival: Arrival::Whole,
        impatient: false,
    }
}

fn sampled(subject: &Subject, sample: &Sample) -> Verdict {
    let mut peer = subject.codec(opposite(sample.side), &whole());
    drive(subject).walk(
        &mut *subject.codec(sample.side, &whole()),
        &sample.bytes,
        &mut |codec, step| match step {
            Step::Message(message, offset) if message.head.kind == Kind::Ping => {
                pong(subject, codec, &mut *peer, message)
                    .map_err(|failure| failure.within(format!("the ping at offset {offset}")))
            }
            _ => Ok(()),
        },
    )?;
    Ok(())
}

fn pong(
    subject: &Subject,
    asked: &mut dyn meltemi_frame::Codec,
    asker: &mut dyn meltemi_frame::Codec,
    ping: &Message<'_>,
) -> Verdict {
    let to = asked.receipt(ping);
    let seen = spoken(subject, asked, asker, LocalMessage::Pong { to: &to })?;
    is_pong(subject, seen.head.kind, seen.head.id, ping.head.id)
}

fn is_pong(subject: &Subject, kind: Kind, id: Option<i64>, wanted: Option<i64>) -> Verdict {
    ensure!(
        kind == Kind::Pong,
        "its answer is understood as a {}, not a pong",
        kind.name()
    );
    if subject.spec().correlation.id_bits().is_some() {
        ensure!(id == wanted, "its pong has the id {id:?}, not {wanted:?}");
    }
    Ok(())
}

/// Decodes a ping of the client-side codec as a server does.
fn own(subject: &Subject, id: i64) -> Verdict {
    let mut client = subject.codec(Side::Client, &whole());
    let mut server = subject.codec(Side::Server, &whole());
    let mut out = Output::new();
    client
        .synthesize(LocalMessage::Ping { id }, &mut out)
        .map_err(|error| Failure::new(format!("claimed, but {error}")))?;
    let bytes = out.drain();
    let mut pings = 0;
    let rest = drive(subject).walk(&mut *server, &bytes, &mut |server, step| {
        let Step::Message(ping, ..) = step else {
            return Err(Failure::new("a server does not understand it"));
        };
        pings += 1;
        let to = server.receipt(ping);
        let say = match ping.head.kind {
            Kind::Ping => LocalMessage::Pong { to: &to },
            // The ping of a protocol may be an ordinary request, which a server-side codec answers.
            Kind::Local => LocalMessage::CodecReply { to: &to },
            Kind::Request => return Ok(()),
            kind => {
                return Err(Failure::new(format!(
                    "a server understands a {}",
                    kind.name()
                )));
            }
        };
        let with_ids = subject.spec().correlation.id_bits().is_some();
        if ping.head.kind == Kind::Ping && with_ids {
            ensure!(
                ping.head.id == Some(id),
                "a server reads the id {:?}",
                ping.head.id
            );
        }
        let seen = spoken(subject, server, &mut *client, say)?;
        is_pong(subject, seen.head.kind, seen.head.id, ping.head.id)
    })?;
    ensure!(
        pings == 1 && rest == bytes.len(),
        "a server reads {pings} messages, and {} bytes are left over",
        bytes.len() - rest
    );
    Ok(())
}
