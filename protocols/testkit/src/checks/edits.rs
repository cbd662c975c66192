//! Checks that the edits which the protocol claims are carried out, and all others are refused.

use std::collections::BTreeMap;

use meltemi_frame::{Edit, EncodeError, Interest, Kind, Lookup, Message, Output, Spec};

use super::ids::{decode_one, messages};
use super::{INTERESTS, whole};
use crate::drive::opposite;
use crate::failure::ensure;
use crate::seen::Seen;
use crate::{Failure, Sample, Subject, Verdict};

/// The values to test. A protocol may refuse some of them, but not all.
const VALUES: [&str; 6] = ["v1", "7", "com.example.Other", "", "naïve ☕", "a b\r\nc"];

/// The open names to test. No protocol declares them.
const NAMES: [&str; 2] = ["x-meltemi-test", "xMeltemiTest"];

/// Every edit that [`Spec::editable`](meltemi_frame::Spec::editable) claims (set, add, remove, and
/// several with a new id at once) is visible when the message is decoded again, and changes nothing
/// else. A message without a place for the edit may refuse it and write nothing, but at least one
/// message of the samples must accept it.
pub fn claimed_edits_round_trip(subject: &Subject) -> Verdict {
    for (name, response) in editable(subject) {
        let half = if response { "responses" } else { "requests" };
        // Counts the messages that accepted the edit, and keeps the last refusal.
        let mut tally = Tally::default();
        subject.each(|sample| {
            on_messages(
                subject,
                sample,
                response,
                &name,
                &mut |message, offset, want| {
                    let edits = Edits {
                        subject,
                        sample,
                        name: &name,
                        shown: shown(subject.spec(), &name),
                        want,
                    };
                    edits.all(message, &mut tally).map_err(|failure| {
                        failure.within(format!("`{name}` of the message at offset {offset}"))
                    })
                },
            )
        })?;
        ensure!(
            tally.taken > 0,
            "the spec claims that `{name}` can be edited on {half}, but no {half} of the samples took it \
             ({} refused, the last one because: {})",
            tally.refused,
            tally.why
        );
    }
    Ok(())
}

/// Every edit that the protocol does not claim, of declared and of unknown names, is refused with
/// [`EncodeError::Edit`], and nothing is written.
pub fn unclaimed_edits_are_refused(subject: &Subject) -> Verdict {
    let spec = subject.spec();
    let declared = spec.keys.iter().map(|key| key.name.to_string());
    let open = spec
        .open
        .iter()
        .flat_map(|open| NAMES.map(|name| format!("{}{name}", open.prefix)));
    let unknown = NAMES.into_iter().map(str::to_owned);
    let names: Vec<String> = declared.chain(open).chain(unknown).collect();
    subject.each(|sample| {
        for name in &names {
            for response in [false, true] {
                if spec.editable(name, response) {
                    continue;
                }
                on_messages(
                    subject,
                    sample,
                    response,
                    name,
                    &mut |message, offset, _| {
                        for edit in [
                            set(name, "v1"),
                            add(name, "v1"),
                            Edit::Remove(name.as_str().into()),
                        ] {
                            refused(subject, sample, message, edit).map_err(|failure| {
                                failure.within(format!("the message at offset {offset}"))
                            })?;
                        }
                        Ok(())
                    },
                )?;
            }
        }
        Ok(())
    })
}

fn set(name: &str, value: &str) -> Edit {
    Edit::Set(name.into(), value.as_bytes().into())
}

fn add(name: &str, value: &str) -> Edit {
    Edit::Add(name.into(), value.as_bytes().into())
}

/// Returns the attributes that can be edited: every declared one, and two names of each open kind.
fn editable(subject: &Subject) -> Vec<(String, bool)> {
    let spec = subject.spec();
    let declared = spec.keys.iter().map(|key| key.name.to_string());
    let open = spec
        .open
        .iter()
        .flat_map(|open| NAMES.map(|name| format!("{}{name}", open.prefix)));
    declared
        .chain(open)
        .flat_map(|name| [(name.clone(), false), (name, true)])
        .filter(|(name, response)| spec.editable(name, *response))
        .collect()
}

/// Returns the name under which an attribute is listed. Several prefixes may lead to an open
/// attribute; it is listed under the first one.
fn shown(spec: &Spec, name: &str) -> String {
    let Some(rest) = spec.open_name(name).filter(|_| spec.key(name).is_none()) else {
        return name.to_owned();
    };
    let leads_back = |full: &String| {
        spec.lookup(full)
            .is_some_and(|(to, _)| to == Lookup::Open(rest.into()))
    };
    let all = spec
        .open
        .iter()
        .map(|open| format!("{}{rest}", open.prefix));
    all.into_iter()
        .find(leads_back)
        .unwrap_or_else(|| name.to_owned())
}

fn on_messages(
    subject: &Subject,
    sample: &Sample,
    response: bool,
    name: &str,
    visit: &mut dyn FnMut(&Message<'_>, usize, Interest) -> Verdict,
) -> Verdict {
    let least = subject
        .spec()
        .lookup(name)
        .map_or(Interest::Route, |(_, interest)| interest);
    for want in INTERESTS.into_iter().filter(|&want| want >= least) {
        messages(subject, sample, want, &mut |message, offset| {
            let fits = match message.head.kind {
                Kind::Request | Kind::OneWay => !response,
                Kind::Response => response,
                _ => false,
            };
            if fits {
                visit(message, offset, want)
            } else {
                Ok(())
            }
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    taken: usize,
    refused: usize,
    why: String,
}

struct Edits<'a> {
    subject: &'a Subject,
    sample: &'a Sample,
    name: &'a str,
    /// The name under which the attribute is listed.
    shown: String,
    want: Interest,
}

impl Edits<'_> {
    fn all(&self, message: &Message<'_>, tally: &mut Tally) -> Verdict {
        let before = Seen::new(self.subject.spec(), message, 0);
        for value in VALUES {
            let after = self.apply(message, &[set(self.name, value)], tally)?;
            if let Some(after) = after {
                self.is(&after, &[value], "set")?;
                self.rest_is_same(&before, &after)?;
            }
            let Some(after) = self.apply(message, &[add(self.name, value)], tally)? else {
                continue;
            };
            let found = after.attributes.get(&self.shown);
            let old = before.attributes.get(&self.shown).map_or(0, Vec::len);
            ensure!(
                found.is_some_and(|all| all.iter().any(|found| found == value.as_bytes())),
                "`{value}` was added but is missing"
            );
            ensure!(
                old > 0 || found.is_some_and(|all| all.len() == 1),
                "`{value}` was added more than once"
            );
            self.rest_is_same(&before, &after)?;
        }
        let first = [set(self.name, "v1"), set(self.name, "7")];
        if let Some(after) = self.apply(message, &first, tally)? {
            self.is(&after, &["7"], "set twice")?;
        }
        let removed = Edit::Remove(self.name.into());
        if let Some(after) = self.apply(message, &[set(self.name, "7"), removed.clone()], tally)? {
            self.is(&after, &[], "set and removed")?;
        }
        if let Some(after) = self.apply(message, &[removed], tally)? {
            self.is(&after, &[], "removed")?;
            self.rest_is_same(&before, &after)?;
        }
        Ok(())
    }

    /// Returns the decoded edited message. `None` if the edit was refused correctly. The edit also
    /// changes the id.
    fn apply(
        &self,
        message: &Message<'_>,
        edits: &[Edit],
        tally: &mut Tally,
    ) -> Result<Option<Seen>, Failure> {
        const ID: i64 = 0x33;
        let mut edited = message.clone();
        for edit in edits {
            edited.edit(edit.clone());
        }
        if message.head.id.is_some() {
            edited.set_id(ID);
        }
        let mut out = Output::new();
        out.put(b"before");
        let mut encoder = self.subject.codec(opposite(self.sample.side), &whole());
        let result = encoder.encode(&edited, &mut out);
        let bytes = out.drain();
        let body = bytes.strip_prefix(b"before");
        ensure!(body.is_some(), "earlier bytes in the output are gone");
        let body = body.unwrap_or_default();
        match result {
            Err(error) => {
                ensure!(
                    body.is_empty(),
                    "{edits:?} was refused ({error}), but {} bytes were written",
                    body.len()
                );
                tally.refused += 1;
                tally.why = error.to_string();
                Ok(None)
            }
            Ok(()) => {
                let mut seen = decode_one(self.subject, self.sample.side, self.want, body)
                    .map_err(|failure| failure.within(format!("{edits:?}")))?;
                if message.head.id.is_some() {
                    ensure!(
                        seen.head.id == Some(ID),
                        "{edits:?} and a new id: the id is {:?}",
                        seen.head.id
                    );
                    seen.head.id = message.head.id;
                }
                tally.taken += 1;
                Ok(Some(seen))
            }
        }
    }

    fn is(&self, after: &Seen, want: &[&str], how: &str) -> Verdict {
        let found = after
            .attributes
            .get(&self.shown)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let same = found.len() == want.len()
            && found
                .iter()
                .zip(want)
                .all(|(found, want)| found == want.as_bytes());
        let texts: Vec<_> = found
            .iter()
            .map(|value| crate::failure::show(value))
            .collect();
        ensure!(
            same,
            "{how}: wanted {want:?}, decoded again it is {texts:?}"
        );
        Ok(())
    }

    /// Only the edited attribute may change, and attributes derived from it: those that had the
    /// same value before (a path that is the service), and those that the codec derives from a
    /// name.
    fn rest_is_same(&self, before: &Seen, after: &Seen) -> Verdict {
        let mut wanted = before.clone();
        let declared = self.subject.spec().key(self.name).is_some();
        if declared {
            wanted.head.safety = after.head.safety;
            wanted.head.timeout = after.head.timeout;
        }
        let old = before.attributes.get(&self.shown);
        let derived = |name: &str| {
            name == self.shown || (declared && old.is_some() && before.attributes.get(name) == old)
        };
        let keep = |attributes: &BTreeMap<String, Vec<Vec<u8>>>| {
            let kept = attributes.iter().filter(|(name, _)| !derived(name));
            kept.map(|(name, values)| (name.clone(), values.clone()))
                .collect()
        };
        let mut got = after.clone();
        wanted.attributes = keep(&before.attributes);
        got.attributes = keep(&after.attributes);
        match wanted.differs(&got) {
            Some(what) => {
                Err(Failure::new(what).within("more than the edit changed (before / after)"))
            }
            None => Ok(()),
        }
    }
}

fn refused(subject: &Subject, sample: &Sample, message: &Message<'_>, edit: Edit) -> Verdict {
    let mut edited = message.clone();
    edited.edit(edit.clone());
    let mut out = Output::new();
    out.put(b"before");
    let result = subject
        .codec(opposite(sample.side), &whole())
        .encode(&edited, &mut out);
    let bytes = out.drain();
    ensure!(
        matches!(result, Err(EncodeError::Edit { .. })),
        "{edit:?} is not claimed by the spec and must be refused with EncodeError::Edit, but gave {result:?}"
    );
    ensure!(
        bytes == b"before"[..],
        "{edit:?} was refused, but the output changed: {}",
        crate::failure::show(&bytes)
    );
    Ok(())
}
