//! A protocol of one-byte verbs, `<verb><id><length><pairs…>`, to see every kind of line.

use super::*;
use crate::{
    Correlation, Detect, EncodeError, Entry, Fault, Head, KeySpec, LocalMessage, Open, OpenKeys,
    Output, Span, Unsupported, Violation,
};

struct Verbs(Spec);

fn protocol() -> Verbs {
    let spec = Spec::new("verbs", "verb", Correlation::Id { bits: 8 })
        .keys([
            KeySpec::request("verb", "the verb").both(),
            KeySpec::request("k", "keys").many(),
            KeySpec::request("d", "declared, never there"),
        ])
        .open([OpenKeys::new("", "pairs").at(Interest::Route)]);
    Verbs(spec)
}

impl Protocol for Verbs {
    fn spec(&self) -> &Spec {
        &self.0
    }
    fn detect(&self, _: &[u8]) -> Detect {
        Detect::No
    }
    fn codec(&self, _: Side, _: &Limits, _: &Session) -> Box<dyn Codec> {
        Box::new(Reader)
    }
}

struct Reader;

fn walk<'b>(wire: &'b [u8], region: Span, visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>) {
    for pair in region.of(wire).unwrap_or_default().chunks_exact(2) {
        let entry = Entry {
            name: (&pair[..1]).into(),
            value: (&pair[1..]).into(),
        };
        if visit(entry).is_break() {
            return;
        }
    }
}

impl Codec for Reader {
    fn decode<'b>(&mut self, input: &'b [u8], _: Interest) -> Result<Decoded<'b>, DecodeError> {
        let kind = match input[0] {
            b'\n' => return Ok(Decoded::Skip(1)),
            b'0' => return Ok(Decoded::Skip(0)),
            b'!' => {
                return Err(DecodeError::Message {
                    violation: Violation::Invalid("bang"),
                    length: 2,
                    answer: None,
                });
            }
            b'?' => return Err(DecodeError::lost(Violation::Invalid("what"))),
            b'R' => Kind::Response,
            _ => Kind::Request,
        };
        if input.len() < 3 {
            return Ok(Decoded::Incomplete(0));
        }
        let length = 3 + usize::from(input[2] - b'0');
        if input.len() < length {
            return Ok(Decoded::Incomplete(length));
        }
        let mut message = Message::new(Head::new(kind, Some(input[1].into())), &input[..length]);
        if kind == Kind::Response {
            message.head.status = Status::Failed(Fault::Application);
        } else {
            message.head.timeout = Some(std::time::Duration::from_millis(1500));
        }
        message.attributes.set_span(KeyId(0), Span::new(0, 1));
        message.attributes.set_open(Open::Walk {
            region: Span::new(3, length),
            walk,
        });
        Ok(Decoded::Message(message, length))
    }
    fn encode(&mut self, _: &Message<'_>, _: &mut Output) -> Result<(), EncodeError> {
        Ok(())
    }
    fn synthesize(&mut self, _: LocalMessage<'_>, _: &mut Output) -> Result<(), Unsupported> {
        Ok(())
    }
}

fn all(bytes: &[u8]) -> Vec<Value> {
    let protocol = protocol();
    let limits = Limits::default();
    lines(&protocol, Side::Server, bytes, &limits, Interest::Headers).collect()
}

#[test]
fn a_message_has_every_field() {
    let got = all(b"\nq\x078k1x2k3d4");
    let want = json!({
        "kind": "request", "id": 7, "end": true, "status": null, "safety": "unknown",
        "timeout_ms": 1500, "offset": 1, "length": 11,
        // `d` is declared and has no value: the entry of that name cannot be reached by a rule.
        "attributes": { "verb": "q", "k": ["1", "3"], "x": "2" },
    });
    assert_eq!(got, [want]);
    assert_eq!(
        text_line(&got[0]),
        r#"request 7 k=["1","3"] verb=q x=2 timeout_ms=1500 length=11 offset=1"#
    );
}

#[test]
fn an_open_name_is_the_one_that_leads_back_to_the_entry() {
    let mut spec = protocol().0;
    let mut other = spec.open[0].clone();
    other.prefix = "tag.".into();
    spec.open.push(other);
    let shown = |name| open_name(&spec, name);
    assert_eq!(shown("x").as_deref(), Some("x"));
    assert_eq!(shown("tag.x").as_deref(), Some("tag.tag.x"));
    assert_eq!(shown("k").as_deref(), Some("k"));
    assert_eq!(shown("verb"), None);
    spec.open.clear();
    assert_eq!(open_name(&spec, "x"), None);
}

#[test]
fn repeated_names_and_a_single_declared_many_are_arrays() {
    let got = all(b"q\x016x1x2k3");
    let want = json!({ "verb": "q", "k": ["3"], "x": ["1", "2"] });
    assert_eq!(got[0]["attributes"], want);
}

#[test]
fn a_failed_response_tells_the_fault() {
    let got = all(b"R\x092x ");
    assert_eq!(
        (&got[0]["status"], &got[0]["fault"]),
        (&json!("failed"), &json!("application"))
    );
    let text = text_line(&got[0]);
    assert_eq!(
        text,
        r#"response 9 failed application verb=R x=" " length=5 offset=0"#
    );
}

#[test]
fn errors_of_a_message_are_survived_and_errors_of_the_connection_are_not() {
    let got = all(b"!!q\x010?q\x010");
    assert_eq!(
        got[0],
        json!({"error": {"scope": "message", "what": "bang", "offset": 0}})
    );
    assert_eq!(got[1]["offset"], 2);
    assert_eq!(
        got[2],
        json!({"error": {"scope": "connection", "what": "what", "offset": 5}})
    );
    assert_eq!(got.len(), 3);
    assert_eq!(
        text_line(&got[2]),
        "error offset=5 scope=connection what=what"
    );
}

#[test]
fn unfinished_input_tells_what_is_there_and_what_is_needed() {
    let line =
        |offset, have, need| json!({"incomplete": {"offset": offset, "have": have, "need": need}});
    assert_eq!(all(b"q\x010q\x019k1")[1], line(3, 5, 12));
    assert_eq!(all(b"q"), [line(0, 1, 2)]);
    assert_eq!(
        text_line(&line(0, 1, 2)),
        "incomplete have=1 need=2 offset=0"
    );
}

#[test]
fn a_codec_that_takes_nothing_ends_the_walk() {
    assert_eq!(all(b"0").len(), 1);
}

#[test]
fn undetermined_attributes_are_named() {
    let spec = protocol().0;
    let mut found = Message::new(Head::new(Kind::Request, Some(1)), b"x");
    let named = |found: &Message<'_>| message(&spec, found, 0, 1).get("undetermined").cloned();
    assert_eq!(named(&found), None);
    found.attributes.set_undetermined(KeyId(0));
    assert_eq!(named(&found), Some(json!(["verb"])));
    // Keys with several values are open entries.
    found.attributes.set_open_undetermined();
    assert_eq!(named(&found), Some(json!(["verb", "k", "<name>"])));
    let line = text_line(&message(&spec, &found, 0, 1));
    assert!(line.contains("undetermined="), "{line}");
}
