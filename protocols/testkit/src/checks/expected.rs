//! Checks that the samples decode to their expected lines.

use meltemi_frame::{Interest, describe};
use serde_json::Value;

use super::whole;
use crate::failure::ensure;
use crate::{Failure, Sample, Subject, Verdict};

/// Every sample decodes to the lines in its `.jsonl` file: the same number of lines, and every
/// expected field is equal. Both sides must have samples, some of them clean.
pub fn samples_decode_as_expected(subject: &Subject) -> Verdict {
    subject.each(|sample| one(subject, sample))?;
    let clean = subject.samples.iter().any(Sample::is_clean);
    ensure!(
        clean,
        "no sample is clean: every one expects an error or is unfinished"
    );
    for side in [meltemi_frame::Side::Server, meltemi_frame::Side::Client] {
        ensure!(
            subject.samples.iter().any(|sample| sample.side == side),
            "there is no *.{}.bin: samples of a {} are required too",
            side.name(),
            side.peer()
        );
    }
    Ok(())
}

fn one(subject: &Subject, sample: &Sample) -> Verdict {
    let protocol = &*subject.protocol;
    let lines = describe::lines(
        protocol,
        sample.side,
        &sample.bytes,
        &whole(),
        Interest::Headers,
    );
    // A broken codec may return an event for every byte, so the expected number bounds the lines
    // that are read.
    let got: Vec<Value> = lines.take(sample.expect.len() + 1).collect();
    for (at, want) in sample.expect.iter().enumerate() {
        let Some(line) = got.get(at) else {
            return Err(Failure::new(format!(
                "line {}: missing, wanted\n  {want}",
                at + 1
            )));
        };
        if let Some(field) = missing(want, line, String::new()) {
            return Err(Failure::new(format!(
                "line {}: {field}\n  wanted: {want}\n  got:    {line}",
                at + 1
            )));
        }
    }
    match got.get(sample.expect.len()) {
        None => Ok(()),
        Some(line) => Err(Failure::new(format!(
            "line {}: not expected\n  {line}",
            sample.expect.len() + 1
        ))),
    }
}

/// Returns the path of the first field of `want` that `got` does not have with the same value.
fn missing(want: &Value, got: &Value, path: String) -> Option<String> {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => want.iter().find_map(|(name, value)| {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match got.get(name) {
                Some(found) => missing(value, found, path),
                // A missing field counts as null.
                None if value.is_null() => None,
                None => Some(format!("`{path}` is missing, wanted {value}")),
            }
        }),
        _ if want == got => None,
        _ => Some(format!("`{path}` is {got}, wanted {want}")),
    }
}
