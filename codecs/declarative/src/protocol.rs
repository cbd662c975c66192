//! A description as a protocol: what it says of itself, how it is detected, and its proof at load.

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
    /// Compiles a description, and proves that what it makes the mesh say is understood.
    ///
    /// # Errors
    /// Every mistake of the description, in one go.
    pub fn new(description: &Description) -> Result<Self, DescriptionErrors> {
        let plan = compile(description)?;
        let protocol = Self {
            plan: Arc::new(plan),
        };
        protocol.prove()?;
        Ok(protocol)
    }

    /// The same from data, as in the field `spec.declarative` of a resource.
    ///
    /// # Errors
    /// It has not the shape of a description (that first mistake), or its mistakes, in one go.
    pub fn from_json_value(value: &serde_json::Value) -> Result<Self, DescriptionErrors> {
        let description: Description = serde_path_to_error::deserialize(value)
            .map_err(|error| DescriptionErrors::shape(&error.path().to_string(), error.inner()))?;
        Self::new(&description)
    }

    /// The same from a YAML document.
    ///
    /// # Errors
    /// It is not YAML of the shape of a description (that first mistake), or its mistakes, in one go.
    pub fn from_yaml(text: &str) -> Result<Self, DescriptionErrors> {
        let description: Description =
            serde_saphyr::from_str(text).map_err(|error| DescriptionErrors::shape("", &error))?;
        Self::new(&description)
    }

    /// Every template is said and heard: a failure must reach the client as a failed response with
    /// the request's id, a ping and a pong must be that.
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

    /// What this side hears when the other says something, having spoken that variant before.
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

/// An id that no two bytes of are alike, in 7 bits, so that every field of an id holds it.
const ID: i64 = 0x53;

/// The variants that a template answers, as far as they can be a request or a ping.
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

/// The receipt of a request of this variant whose other bytes are not known.
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
        // Words that are text and digits alike.
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
        let problem = format!("it must be understood as {wanted}, but it is: {heard}");
        let remedy =
            "`set` the fields that the rules of `kinds` look at, and give `status.reasons`";
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

/// How long a first line may be for its words to be recognized.
const MAX_LINE: usize = 256;

/// The bytes of a variant, then the kind, which must be one that clients send. Without any bytes of its
/// own a protocol cannot be told from others.
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
