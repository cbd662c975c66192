//! Places of keys among the arguments. It knows neither commands nor bytes.

/// Positions of the keys among the arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// A destination in front.
    lead: Option<usize>,
    start: usize,
    /// One past the last.
    end: usize,
    step: usize,
    /// A destination behind.
    tail: Option<usize>,
    /// The server may touch keys at other places, or keys that are no arguments at all. The places above are the
    /// best guess then.
    open: bool,
}

impl Plan {
    /// No place is known, and there may be keys.
    pub(super) const OPEN: Self = Self {
        lead: None,
        start: 0,
        end: 0,
        step: 0,
        tail: None,
        open: true,
    };

    pub(super) fn range(start: usize, end: usize, step: usize, count: usize) -> Self {
        if start >= end || end > count || step == 0 {
            return Self::default();
        }
        Self {
            start,
            end,
            step,
            ..Self::default()
        }
    }

    pub(super) fn one(position: usize, count: usize) -> Self {
        Self::range(position, position + 1, 1, count)
    }

    /// The same keys, with a destination at `lead`.
    pub(super) const fn with_lead(self, lead: Option<usize>) -> Self {
        Self { lead, ..self }
    }

    /// The same keys, with a destination at `tail`.
    pub(super) const fn with_tail(self, tail: Option<usize>) -> Self {
        Self { tail, ..self }
    }

    /// The same keys; others are possible if `open` is.
    pub(super) const fn or_open(self, open: bool) -> Self {
        Self {
            open: self.open || open,
            ..self
        }
    }

    /// Returns `true` if the server may touch other keys than these.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// The position of the first key.
    pub(crate) fn first(&self) -> Option<usize> {
        let first = (self.start < self.end).then_some(self.start);
        self.lead.or(first).or(self.tail)
    }

    /// Whether there is exactly one.
    pub(crate) fn is_single(&self) -> bool {
        let range = self
            .end
            .saturating_sub(self.start)
            .div_ceil(self.step.max(1));
        range + usize::from(self.lead.is_some()) + usize::from(self.tail.is_some()) == 1
    }

    pub(super) fn has(&self, position: usize) -> bool {
        let ranged = (self.start..self.end).contains(&position)
            && position
                .wrapping_sub(self.start)
                .is_multiple_of(self.step.max(1));
        ranged || self.lead == Some(position) || self.tail == Some(position)
    }

    /// The position of the last key, 0 if there is none.
    pub(super) fn last(&self) -> usize {
        let steps = self.end.saturating_sub(self.start + 1) / self.step.max(1);
        let ranged = self.start + steps * self.step;
        ranged
            .max(self.lead.unwrap_or(0))
            .max(self.tail.unwrap_or(0))
    }
}
