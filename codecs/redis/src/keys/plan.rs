//! Positions of keys among the arguments. It must not depend on commands or bytes.

/// Positions of the keys among the arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// A destination before the others.
    lead: Option<usize>,
    start: usize,
    /// One past the last key.
    end: usize,
    step: usize,
    /// A destination after the others.
    tail: Option<usize>,
    /// `true` if the server may access keys at other positions, or keys that are not arguments.
    /// Then the positions above are the best guess.
    open: bool,
}

impl Plan {
    /// No position is known, and there may be keys.
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

    /// Returns the same keys, with a destination at `lead`.
    pub(super) const fn with_lead(self, lead: Option<usize>) -> Self {
        Self { lead, ..self }
    }

    /// Returns the same keys, with a destination at `tail`.
    pub(super) const fn with_tail(self, tail: Option<usize>) -> Self {
        Self { tail, ..self }
    }

    /// Returns the same keys. Other keys are possible if `open` is `true`.
    pub(super) const fn or_open(self, open: bool) -> Self {
        Self {
            open: self.open || open,
            ..self
        }
    }

    /// Returns `true` if the server may access other keys than these.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// Returns the position of the first key.
    pub(crate) fn first(&self) -> Option<usize> {
        let first = (self.start < self.end).then_some(self.start);
        self.lead.or(first).or(self.tail)
    }

    /// Returns `true` if there is exactly one key.
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

    /// Returns the position of the last key, 0 if there is none.
    pub(super) fn last(&self) -> usize {
        let steps = self.end.saturating_sub(self.start + 1) / self.step.max(1);
        let ranged = self.start + steps * self.step;
        ranged
            .max(self.lead.unwrap_or(0))
            .max(self.tail.unwrap_or(0))
    }
}
