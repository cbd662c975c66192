//! Checks that the hot path allocates no memory.

use allocation_counter::measure;
use meltemi_frame::{
    Bind, Codec, DecodeError, Decoded, Interest, Kind, LocalMessage, Output, ReplyContext, Side,
};

use super::whole;
use crate::drive::opposite;
use crate::failure::ensure;
use crate::{Failure, Sample, Subject, Verdict};

/// The maximum size in bytes of messages that must not allocate.
const SMALL: usize = 4096;
/// The number of rounds that may fill the codec's own buffers, and of rounds that are counted.
const WARM: usize = 8;
const ROUNDS: usize = 64;

/// In the steady state, decoding at [`Interest::Route`] and encoding a message of up to 4 KiB
/// allocates nothing. Every request is answered between rounds, as the router does. A codec's own
/// queue may still grow in one round of eight, but no message may need an allocation each time.
/// Samples that change the state of their connection (`AUTH`, `MULTI`) are left out.
pub fn steady_state_allocates_nothing(subject: &Subject) -> Verdict {
    for case in &subject.options.allocates {
        let named = |sample: &Sample| case == sample.case() || *case == sample.name;
        let known = subject.samples.iter().any(named);
        ensure!(known, "`{case}` is excused, but there is no such sample");
    }
    let mut counted = 0;
    subject.each(|sample| {
        let excused = &subject.options.allocates;
        let excused = excused
            .iter()
            .any(|case| case == sample.case() || *case == sample.name);
        let steady = sample.bytes.len() <= SMALL && sample.is_clean() && is_steady(subject, sample);
        if excused || !steady {
            return Ok(());
        }
        counted += 1;
        rounds(subject, sample)
    })?;
    ensure!(
        counted > 0,
        "no clean sample of up to {SMALL} bytes could be counted"
    );
    Ok(())
}

fn is_steady(subject: &Subject, sample: &Sample) -> bool {
    let mut codec = subject.codec(sample.side, &whole());
    let mut rest = &*sample.bytes;
    while !rest.is_empty() {
        let taken = match codec.decode(rest, Interest::Route) {
            Ok(Decoded::Message(message, taken)) => {
                let head = message.head;
                if head.bind != Bind::Free || head.close || head.kind == Kind::GoAway {
                    return false;
                }
                taken
            }
            Ok(Decoded::Skip(taken)) => taken,
            _ => return false,
        };
        if taken == 0 {
            return false;
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    true
}

fn rounds(subject: &Subject, sample: &Sample) -> Verdict {
    let mut here = subject.codec(sample.side, &whole());
    let mut there = subject.codec(opposite(sample.side), &whole());
    let mut out = Output::new();
    out.put(&[0; 4 * SMALL]);
    let mut allocating = [0_usize; 2];
    for round in 0..WARM + ROUNDS {
        let (decode, encode) = one_round(subject, sample, &mut *here, &mut *there, &mut out)?;
        if round >= WARM {
            for (sum, count) in allocating.iter_mut().zip([decode, encode]) {
                *sum += usize::from(count > 0);
            }
        }
    }
    for (verb, rounds) in ["decode", "encode"].iter().zip(allocating) {
        ensure!(
            rounds <= ROUNDS / 8,
            "{verb} allocates in {rounds} of {ROUNDS} rounds (an unedited message of up to {SMALL} bytes, \
             Interest::Route, the output's memory kept)"
        );
    }
    Ok(())
}

/// Returns the number of allocations of `decode` and `encode` for the whole sample.
fn one_round(
    subject: &Subject,
    sample: &Sample,
    here: &mut dyn Codec,
    there: &mut dyn Codec,
    out: &mut Output,
) -> Result<(u64, u64), Failure> {
    let (mut decodes, mut encodes) = (0, 0);
    let mut rest = &*sample.bytes;
    while !rest.is_empty() {
        let mut decoded = None;
        decodes += measure(|| decoded = Some(here.decode(rest, Interest::Route))).count_total;
        let mut answer: Option<(ReplyContext, bool)> = None;
        let taken = match decoded {
            Some(Ok(Decoded::Message(message, taken))) => {
                bytes::Buf::advance(out, out.len());
                let mut result = Ok(());
                encodes += measure(|| result = there.encode(&message, out)).count_total;
                result.map_err(|error| Failure::new(format!("it did not encode: {error}")))?;
                if sample.side == Side::Server && message.head.kind.expects_reply() {
                    answer = Some((here.receipt(&message), message.head.kind == Kind::Local));
                }
                taken
            }
            Some(Ok(Decoded::Skip(taken))) => taken,
            other => {
                let what = other.map_or_else(String::new, |other| crate::drive::name(&other));
                return Err(Failure::new(format!(
                    "sent again on the same connection it gives {what}"
                )));
            }
        };
        if let Some((to, local)) = answer {
            reply(subject, here, there, &to, local);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok((decodes, encodes))
}

/// Answers a request, so that neither codec waits for it forever. Not counted.
fn reply(
    subject: &Subject,
    here: &mut dyn Codec,
    there: &mut dyn Codec,
    to: &ReplyContext,
    local: bool,
) {
    let say = match subject.spec().replies.first() {
        _ if local => LocalMessage::CodecReply { to },
        Some(&reason) => LocalMessage::Failure {
            to,
            reason,
            text: "no",
        },
        None => return,
    };
    let mut out = Output::new();
    if here.synthesize(say, &mut out).is_ok() {
        let bytes = out.drain();
        let mut rest = &*bytes;
        while let Ok(Decoded::Message(_, taken) | Decoded::Skip(taken))
        | Err(DecodeError::Message { length: taken, .. }) =
            there.decode(rest, Interest::Route)
        {
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
    }
}
