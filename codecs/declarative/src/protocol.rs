//! A description as a protocol: its specification, its detection, and its check at load.

use std::sync::Arc;

use meltemi_frame::{
    Codec, Decoded, Detect, Interest, Kind, Limits, LocalMessage, Output, Protocol, Reason,
    ReplyContext, Session, Side, SmallBytes, Spec, Status,
};

use crate::codec::{self, Described};
use crate::compile::compile;
use crate::description::Description;
use crate::plan::{Fit, Line, MAX_WORDS, Plan, Template, Variant, View, fits};
use crate::problem::{DescriptionErrors, Problems};

/// A protocol made from a [`Description`].
#[derive(Clone, Debug)]
pub struct Declarative {
    plan: Arc<Plan>,
}

impl Declarative {
    /// Compiles a description, and checks that the codec can decode the proxy's own messages.
    ///
    /// # Errors
    /// Fails with all mistakes of the description at once.
    pub fn new(description: &Description) -> Result<Self, DescriptionErrors> {
        let plan = compile(description)?;
        let protocol = Self {
            plan: Arc::new(plan),
        };
        protocol.prove()?;
        Ok(protocol)
    }

    /// Does the same from JSON, as in the field `spec.declarative` of a resource.
    ///
    /// # Errors
    /// Fails with the first mistake if the data does not have the shape of a description. Otherwise
    /// fails with all its mistakes at once.
    pub fn from_json_value(value: &serde_json::Value) -> Result<Self, DescriptionErrors> {
        let description: Description = serde_path_to_error::deserialize(value)
            .map_err(|error| DescriptionErrors::shape(&error.path().to_string(), error.inner()))?;
        Self::new(&description)
    }

    /// Does the same from a YAML document.
    ///
    /// # Errors
    /// Fails with the first mistake if the data is not YAML in the shape of a description.
    /// Otherwise fails with all its mistakes at once.
    pub fn from_yaml(text: &str) -> Result<Self, DescriptionErrors> {
        let description: Description =
            serde_saphyr::from_str(text).map_err(|error| DescriptionErrors::shape("", &error))?;
        Self::new(&description)
    }

    /// Encodes every template and decodes the result. A failure must reach the client as a failed
    /// response with the request's id. A ping and a pong must decode as such.
    fn prove(&self) -> Result<(), DescriptionErrors> {
        let mut problems = Problems::default();
        let plan = &*self.plan;
        for (at, template) in plan.failure.iter().enumerate() {
            for (n, variant) in served(plan, template) {
                let to = example(n, variant, plan.line.as_ref());
                for reason in Reason::ALL {
                    let say = LocalMessage::Failure {
                        to: &to,
                        reason: *reason,
                        text: "text",
                    };
                    let heard = self.heard(Side::Client, say, n);
                    let wanted = "a failed response with the request's id";
                    let good = |kind, status: Status, id| {
                        kind == Kind::Response
                            && matches!(status, Status::Failed(_))
                            && (variant.id.is_none() || id == to.id)
                    };
                    check(
                        &mut problems,
                        &format!("replies.failure[{at}]"),
                        wanted,
                        heard,
                        &good,
                    );
                }
            }
        }
        for (at, template) in plan.pong.iter().enumerate() {
            for (n, variant) in served(plan, template) {
                let to = example(n, variant, plan.line.as_ref());
                let heard = self.heard(Side::Client, LocalMessage::Pong { to: &to }, n);
                let good =
                    |kind, _, id| kind == Kind::Pong && (variant.id.is_none() || id == to.id);
                check(
                    &mut problems,
                    &format!("replies.pong[{at}]"),
                    "a pong with the ping's id",
                    heard,
                    &good,
                );
            }
        }
        for (at, template) in plan.ping.iter().enumerate() {
            let heard = self.heard(
                Side::Server,
                LocalMessage::Ping { id: ID },
                template.variant,
            );
            check(
                &mut problems,
                &format!("replies.ping[{at}]"),
                "a ping",
                heard,
                &|kind, _, _| kind == Kind::Ping,
            );
        }
        for (at, template) in plan.go_away.iter().enumerate() {
            let heard = self.heard(Side::Client, LocalMessage::GoAway, template.variant);
            check(
                &mut problems,
                &format!("replies.goAway[{at}]"),
                "a goAway",
                heard,
                &|kind, _, _| kind == Kind::GoAway,
            );
        }
        problems.finish()
    }

    /// Returns the message that this side decodes from one that the other side encodes, after a
    /// message of that variant.
    fn heard(
        &self,
        listener: Side,
        say: LocalMessage<'_>,
        spoken: usize,
    ) -> Result<(Kind, Status, Option<i64>), String> {
        let mut out = Output::new();
        codec::say(&self.plan, Some(spoken), say, &mut out).map_err(|error| error.to_string())?;
        let bytes = out.drain();
        let mut codec = self.codec(listener, &Limits::default(), &Session::default());
        match codec.decode(&bytes, Interest::Body) {
            Ok(Decoded::Message(message, taken)) if taken == bytes.len() => {
                Ok((message.head.kind, message.head.status, message.head.id))
            }
            Ok(Decoded::Message(_, taken)) => {
                Err(format!("{taken} of {} bytes are a message", bytes.len()))
            }
            Ok(_) => Err(format!("its {} bytes are not a whole message", bytes.len())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// An id whose bytes all differ. It has 7 bits, so that every id field can store it.
const ID: i64 = 0x53;

/// Returns the variants that a template serves and that can be a request or a ping.
fn served<'p>(
    plan: &'p Plan,
    template: &'p Template,
) -> impl Iterator<Item = (usize, &'p Variant)> {
    let asks = |variant: &Variant| {
        variant.side != Some(Side::Client)
            && variant
                .rules
                .iter()
                .any(|rule| matches!(rule.kind, Kind::Request | Kind::Ping))
    };
    plan.variants
        .iter()
        .enumerate()
        .filter(move |(at, variant)| {
            template.serves.get(*at).copied().unwrap_or(false) && asks(variant)
        })
}

/// Returns the receipt of a request of this variant. Its other bytes are unknown.
fn example(at: usize, variant: &Variant, line: Option<&Line>) -> ReplyContext {
    let mut header = vec![0; variant.header];
    for pattern in &variant.magic {
        if let (Some(place), Some(bytes)) = (
            header.get_mut(pattern.at..pattern.end()),
            pattern.any.first(),
        ) {
            place.copy_from_slice(bytes);
        }
    }
    let mut receipt = ReplyContext::new(variant.id.map(|_| ID));
    receipt.bits = at as u64;
    receipt.name = match line {
        // Words that are both text and digits.
        Some(line) => SmallBytes::new(&[b'1', line.separator].repeat(MAX_WORDS)),
        None => SmallBytes::new(&header),
    };
    receipt
}

type Good<'a> = &'a dyn Fn(Kind, Status, Option<i64>) -> bool;

fn check(
    problems: &mut Problems,
    path: &str,
    wanted: &str,
    heard: Result<(Kind, Status, Option<i64>), String>,
    good: Good<'_>,
) {
    let heard = match heard {
        Ok((kind, status, id)) if good(kind, status, id) => return,
        Ok((kind, status, id)) => format!("a {} ({}, id {id:?})", kind.name(), status.name()),
        Err(what) => what,
    };
    if problems.is_empty() {
        let problem = format!("it must decode as {wanted}, but it is: {heard}");
        let remedy = "`set` the fields that the rules of `kinds` use, and give `status.reasons`";
        problems.add(path, "template", problem, remedy);
    }
}

impl Protocol for Declarative {
    fn spec(&self) -> &Spec {
        &self.plan.spec
    }

    fn detect(&self, prefix: &[u8]) -> Detect {
        if let Some(line) = &self.plan.line {
            return match codec::known_line(&self.plan, line, prefix) {
                Some(true) => Detect::Yes,
                None if prefix.len() < MAX_LINE => Detect::Need(prefix.len() + 1),
                _ => Detect::No,
            };
        }
        let mut need = None;
        for variant in self
            .plan
            .variants
            .iter()
            .filter(|variant| variant.side != Some(Side::Client))
        {
            match detect(variant, prefix) {
                Fit::Yes => return Detect::Yes,
                Fit::Need(bytes) => {
                    need = Some(need.map_or(bytes, |so_far: usize| so_far.min(bytes)));
                }
                Fit::No => {}
            }
        }
        need.map_or(Detect::No, Detect::Need)
    }

    fn codec(&self, side: Side, limits: &Limits, _session: &Session) -> Box<dyn Codec> {
        Box::new(Described::new(Arc::clone(&self.plan), side, limits))
    }
}

/// The maximum length of a first line in detection.
const MAX_LINE: usize = 256;

/// Matches the bytes of a variant, then the kind, which clients must be able to send. A protocol
/// without bytes of its own cannot be separated from others.
fn detect(variant: &Variant, prefix: &[u8]) -> Fit {
    if variant.magic.is_empty() && variant.detect.is_empty() {
        return Fit::No;
    }
    match fits(variant.magic.iter().chain(&variant.detect), prefix) {
        Fit::Yes if prefix.len() < variant.rules_end => Fit::Need(variant.rules_end),
        Fit::Yes if variant.kind(Side::Server, View::of(prefix)).is_ok() => Fit::Yes,
        Fit::Yes => Fit::No,
        other => other,
    }
}
