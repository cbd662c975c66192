//! Fault injection: selects the faults for a request. It does not wait and sends no reply.

use std::time::Duration;

use meltemi_config::{Abort, FaultRule, Share};
use meltemi_frame::{Interest, Message, Spec};

use super::hits;
use crate::matching::Tests;

/// The faults of a route. Never empty.
#[derive(Clone, Debug)]
pub struct Faults(Box<[Compiled]>);

#[derive(Clone, Debug)]
struct Compiled {
    tests: Tests,
    delay: Option<(Duration, Share)>,
    abort: Option<Abort>,
}

/// The faults that apply to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampledFaults<'a> {
    /// The delay before the request is sent or answered: the sum of all delays drawn. `None` if
    /// there is none.
    pub delay: Option<Duration>,
    /// The error response that is sent instead of the request. `None` if there is none.
    pub abort: Option<&'a Abort>,
}

impl Faults {
    /// Returns `None` if there are none. Raises `request` to the decode depth that the faults need.
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

    /// Draws each fault independently, in order, its delay before its abort. Stops after the first
    /// abort. `random()` returns any number, evenly distributed.
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

    /// Returns the positions of the faults that can apply to a message.
    pub(crate) fn matching(&self, message: &Message<'_>) -> impl Iterator<Item = usize> {
        let each = self.0.iter().enumerate();
        each.filter_map(|(at, fault)| fault.tests.pass(message).then_some(at))
    }
}
