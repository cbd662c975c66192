//! Upstream correlation for multiplexed protocols: allocates wire ids, and finds the caller for the
//! id of a reply. It does not depend on the ticket type, and reads no clock.

use std::collections::VecDeque;

/// The state of the id that a reply carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// A caller waits for it.
    Known,
    /// The caller is gone: discard the reply silently.
    Late,
    /// The id was never used, is already answered, or was abandoned so long ago that it is
    /// forgotten.
    Unknown,
}

/// The unanswered requests of one upstream connection, by wire id.
///
/// Ids are allocated in ascending order from 1 and wrap around at the end of the id space, so that
/// an id is reused as late as possible. Ids in use and abandoned ids are skipped. 0 is never
/// allocated: many protocols use it for "no reply". The low bits of an id select its slot; the
/// other bits are its generation. Every operation is O(1) amortised, and in the steady state
/// allocates no memory.
#[derive(Debug)]
pub struct Pending<T> {
    /// The length is a power of two, at most the size of the id space. At most half of the slots
    /// are occupied until the table is as large as the id space.
    slots: Vec<Slot<T>>,
    bits: u32,
    next: u64,
    waiting: usize,
    tombstones: usize,
    /// Abandoned ids with the numbers of their abandonments, oldest first. Some of them may have
    /// been answered since.
    abandoned: VecDeque<(u64, u64)>,
    abandonments: u64,
    /// A lower bound of all deadlines.
    earliest: u64,
}

#[derive(Debug)]
enum Slot<T> {
    Vacant,
    Waiting {
        id: u64,
        deadline: u64,
        ticket: T,
    },
    /// `number` counts abandonments. It separates this one from a later one of the same id.
    Tombstone {
        id: u64,
        number: u64,
    },
}

impl<T> Slot<T> {
    const fn id(&self) -> Option<u64> {
        match self {
            Self::Vacant => None,
            Self::Waiting { id, .. } | Self::Tombstone { id, .. } => Some(*id),
        }
    }
}

/// How many further abandonments an abandoned id is remembered for, at least, if the id space is at
/// least four times as large; else a quarter of the id space.
const REMEMBERED: u64 = 4096;

const FIRST_SLOTS: usize = 16;

impl<T> Pending<T> {
    /// Creates an empty table for a protocol with ids of `id_bits` bits (clamped to 2..=64).
    pub fn new(id_bits: u8) -> Self {
        Self {
            slots: Vec::new(),
            bits: u32::from(id_bits).clamp(2, 64),
            next: 1,
            waiting: 0,
            tombstones: 0,
            abandoned: VecDeque::new(),
            abandonments: 0,
            earliest: u64::MAX,
        }
    }

    /// Adds a request. `deadline` is a tick; `u64::MAX` means no deadline. Returns the wire id,
    /// sign-extended as codecs report ids.
    ///
    /// Returns `None` if seven eighths of the id space are in use, which can only happen with
    /// narrow ids. The free eighth keeps an id from being reused right after its reply.
    pub fn insert(&mut self, ticket: T, deadline: u64) -> Option<i64> {
        if self.is_full() {
            return None;
        }
        let taken = self.waiting + self.tombstones;
        if (taken + 1) * 2 > self.slots.len() {
            self.grow();
        }
        // Terminates: at least one slot is vacant, and consecutive ids visit every slot. Amortised
        // it takes two steps while half of the slots are vacant, and at most eight in any case.
        let (id, at) = loop {
            let id = self.next;
            self.next = id.wrapping_add(1) & self.mask();
            let at = self.at(id);
            if id != 0 && matches!(self.slots.get(at), Some(Slot::Vacant)) {
                break (id, at);
            }
        };
        *self.slots.get_mut(at)? = Slot::Waiting {
            id,
            deadline,
            ticket,
        };
        self.waiting += 1;
        self.earliest = self.earliest.min(deadline);
        Some(self.extend(id))
    }

    /// Returns `true` if [`Pending::insert`] has no free id.
    pub const fn is_full(&self) -> bool {
        let taken = self.waiting + self.tombstones;
        taken as u64 >= self.space() - self.space() / 8
    }

    /// Returns the state of the id that a reply carries.
    pub fn classify(&self, id: i64) -> Reply {
        match self.slot(id) {
            Some(Slot::Waiting { .. }) => Reply::Known,
            Some(Slot::Tombstone { .. }) => Reply::Late,
            _ => Reply::Unknown,
        }
    }

    /// Returns the ticket of the caller that waits for this id. `None` if no caller waits.
    pub fn peek(&self, id: i64) -> Option<&T> {
        match self.slot(id)? {
            Slot::Waiting { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    /// Returns the ticket of the caller that waits for this id. `None` if no caller waits.
    pub fn get_mut(&mut self, id: i64) -> Option<&mut T> {
        let at = self.find(id)?;
        match self.slots.get_mut(at)? {
            Slot::Waiting { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    /// Ends a reply and removes its caller. `None` if no caller waits. An abandoned id stays
    /// abandoned: see [`Pending::settle`].
    pub fn remove(&mut self, id: i64) -> Option<T> {
        let at = self.find(id)?;
        match self.slots.get(at)? {
            Slot::Waiting { .. } => self.replace(at, Slot::Vacant),
            _ => None,
        }
    }

    /// Ends a late reply, so that its id can be reused. Returns `true` if the id was abandoned.
    pub fn settle(&mut self, id: i64) -> bool {
        let late = self.classify(id) == Reply::Late;
        if let Some(at) = self.find(id).filter(|_| late) {
            self.replace(at, Slot::Vacant);
        }
        late
    }

    /// Removes a caller that is gone or no longer waits, and remembers that a reply may still
    /// arrive. `None` if no caller waits for this id.
    pub fn abandon(&mut self, id: i64) -> Option<T> {
        let at = self.find(id)?;
        self.bury(at)
    }

    /// Abandons every request whose deadline has passed, and appends them to `out`.
    pub fn expired(&mut self, now: u64, out: &mut Vec<(i64, T)>) {
        if now < self.earliest {
            return;
        }
        self.earliest = u64::MAX;
        for at in 0..self.slots.len() {
            let Some(&Slot::Waiting { id, deadline, .. }) = self.slots.get(at) else {
                continue;
            };
            if deadline > now || deadline == u64::MAX {
                self.earliest = self.earliest.min(deadline);
            } else if let Some(ticket) = self.bury(at) {
                out.push((self.extend(id), ticket));
            }
        }
    }

    /// Returns a tick before which no request expires. The tick may be early, but is never late.
    pub const fn next_deadline(&self) -> u64 {
        self.earliest
    }

    /// Iterates over the tickets of waiting callers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Waiting { ticket, .. } => Some(ticket),
            _ => None,
        })
    }

    /// Removes and returns all waiting callers, in no order, and forgets abandoned ids. For a
    /// connection that has ended.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let slots = std::mem::take(&mut self.slots);
        self.abandoned.clear();
        self.waiting = 0;
        self.tombstones = 0;
        self.earliest = u64::MAX;
        slots.into_iter().filter_map(|slot| match slot {
            Slot::Waiting { ticket, .. } => Some(ticket),
            _ => None,
        })
    }

    /// Returns the number of waiting callers.
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Returns `true` if no caller waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Returns the number of abandoned ids that may still be answered.
    pub const fn tombstones(&self) -> usize {
        self.tombstones
    }

    const fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// Returns the number of ids, 0 excluded.
    const fn space(&self) -> u64 {
        self.mask()
    }

    /// Returns the id as a codec reports it.
    #[expect(clippy::cast_possible_wrap, reason = "that is what sign extension is")]
    const fn extend(&self, id: u64) -> i64 {
        let unused = 64 - self.bits;
        (id << unused) as i64 >> unused
    }

    fn at(&self, id: u64) -> usize {
        // The length is a power of two; the masked value fits a usize because the length does.
        (id & (self.slots.len() as u64).wrapping_sub(1)) as usize
    }

    #[expect(clippy::cast_sign_loss, reason = "the reverse of sign extension")]
    fn find(&self, id: i64) -> Option<usize> {
        let raw = id as u64 & self.mask();
        // Ids that do not fit the width were never allocated.
        if self.extend(raw) != id && raw != id as u64 {
            return None;
        }
        let at = self.at(raw);
        (self.slots.get(at)?.id() == Some(raw)).then_some(at)
    }

    fn slot(&self, id: i64) -> Option<&Slot<T>> {
        self.slots.get(self.find(id)?)
    }

    /// Stores `new` in a slot, and returns the ticket that was there.
    fn replace(&mut self, at: usize, new: Slot<T>) -> Option<T> {
        let place = self.slots.get_mut(at)?;
        if matches!(new, Slot::Tombstone { .. }) {
            self.tombstones += 1;
        }
        match std::mem::replace(place, new) {
            Slot::Vacant => None,
            Slot::Tombstone { .. } => {
                self.tombstones -= 1;
                None
            }
            Slot::Waiting { ticket, .. } => {
                self.waiting -= 1;
                Some(ticket)
            }
        }
    }

    fn bury(&mut self, at: usize) -> Option<T> {
        let &Slot::Waiting { id, .. } = self.slots.get(at)? else {
            return None;
        };
        let number = self.abandonments;
        self.abandonments += 1;
        let ticket = self.replace(at, Slot::Tombstone { id, number });
        if self.abandoned.len() as u64 >= REMEMBERED.min(self.space() / 4).max(1)
            && let Some((id, number)) = self.abandoned.pop_front()
        {
            let at = self.at(id);
            if matches!(self.slots.get(at), Some(Slot::Tombstone { number: n, .. }) if *n == number)
            {
                self.replace(at, Slot::Vacant);
            }
        }
        self.abandoned.push_back((id, number));
        ticket
    }

    /// Doubles the table, up to the size of the id space. Ids with different slots keep different
    /// slots.
    fn grow(&mut self) {
        let most = 1 << self.bits.min(usize::BITS - 2);
        let length = (self.slots.len() * 2).max(FIRST_SLOTS).min(most);
        if length <= self.slots.len() {
            return;
        }
        let fresh = std::iter::repeat_with(|| Slot::Vacant)
            .take(length)
            .collect();
        for slot in std::mem::replace(&mut self.slots, fresh) {
            if let Some(id) = slot.id() {
                let at = self.at(id);
                if let Some(place) = self.slots.get_mut(at) {
                    *place = slot;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
