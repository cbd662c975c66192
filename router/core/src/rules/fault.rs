//! Faults that are injected: which of them hit a request. How to wait and how to answer is not known here.

use std::time::Duration;

use meltemi_config::{Abort, FaultRule, Share};
use meltemi_frame::{Interest, Message, Spec};

use super::hits;
use crate::matching::Tests;

/// The faults of a route; there is at least one.
#[derive(Clone, Debug)]
pub struct Faults(Box<[Compiled]>);

#[derive(Clone, Debug)]
struct Compiled {
    tests: Tests,
    delay: Option<(Duration, Share)>,
    abort: Option<Abort>,
}

/// The faults that hit a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampledFaults<'a> {
    /// It waits so long before it is sent or answered: all delays that hit, together.
    pub delay: Option<Duration>,
    /// It is answered with this and not sent.
    pub abort: Option<&'a Abort>,
}

impl Faults {
    /// `None` if there are none; `request` becomes as deep as they need.
    pub(crate) fn compile(
        rules: &[FaultRule],
        spec: &Spec,
        request: &mut Interest,
    ) -> Option<Self> {
        let compile = |rule: &FaultRule| Compiled {
            tests: Tests::compile(&rule.matches, spec, request),
            delay: rule.delay,
            abort: rule.abort.clone(),
        };
        let compiled: Box<[_]> = rules.iter().map(compile).collect();
        (!compiled.is_empty()).then_some(Self(compiled))
    }

    /// Draws every fault by itself, in order, the delay of one before its abort. After an abort
    /// nothing more is drawn. `random()`: any number, evenly.
    pub fn draw(
        &self,
        message: &Message<'_>,
        random: &mut dyn FnMut() -> u64,
    ) -> SampledFaults<'_> {
        let mut drawn = SampledFaults::default();
        for fault in self.0.iter().filter(|fault| fault.tests.pass(message)) {
            if let Some((delay, share)) = fault.delay
                && hits(share, random)
            {
                let before = drawn.delay.unwrap_or_default();
                drawn.delay = Some(before.saturating_add(delay));
            }
            if let Some(abort) = &fault.abort
                && hits(abort.share, random)
            {
                drawn.abort = Some(abort);
                break;
            }
        }
        drawn
    }

    /// The faults that can hit a message, by their positions.
    pub(crate) fn matching(&self, message: &Message<'_>) -> impl Iterator<Item = usize> {
        let each = self.0.iter().enumerate();
        each.filter_map(|(at, fault)| fault.tests.pass(message).then_some(at))
    }
}
