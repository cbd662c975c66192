//! Downstream reply order for protocols that reply in request order. Decides which reply may be
//! written now, and holds the others. It writes nothing itself.

use std::collections::VecDeque;

/// The unanswered requests of one downstream connection, oldest first.
///
/// `R` is the buffer for a reply that must wait. For every piece of a reply: if [`Order::is_turn`]
/// returns `true`, write the piece directly; else append it to [`Order::buffer`]. After the last
/// piece call [`Order::finish`]; if it returns `true`, write out [`Order::ready`].
#[derive(Debug)]
pub struct Order<R> {
    entries: VecDeque<Entry<R>>,
    /// The sequence number of the front entry.
    first: u64,
}

#[derive(Debug, Default)]
struct Entry<R> {
    waiting: R,
    /// `true` if `waiting` may hold data.
    waits: bool,
    complete: bool,
}

impl<R> Default for Order<R> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
        }
    }
}

impl<R: Default> Order<R> {
    /// Creates an empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a request that needs a reply. Returns its sequence number.
    pub fn push(&mut self) -> u64 {
        let number = self.first + self.entries.len() as u64;
        self.entries.push_back(Entry::default());
        number
    }

    /// Returns `true` if the next piece of the reply may be written directly now. This requires
    /// that all earlier replies, and all buffered pieces of this one, are written.
    pub fn is_turn(&self, number: u64) -> bool {
        number == self.first
            && self
                .entries
                .front()
                .is_some_and(|entry| !entry.waits && !entry.complete)
    }

    /// Returns the buffer of a reply whose turn has not come. `None` if the request is already
    /// answered or the number is unknown.
    pub fn buffer(&mut self, number: u64) -> Option<&mut R> {
        let entry = self.entry(number).filter(|entry| !entry.complete)?;
        entry.waits = true;
        Some(&mut entry.waiting)
    }

    /// Marks a reply as complete, written or buffered. Returns `true` if [`Order::ready`] has data
    /// now.
    pub fn finish(&mut self, number: u64) -> bool {
        match self.entries.front() {
            // The usual case: the reply was written directly.
            Some(front) if number == self.first && !front.waits => self.pop(),
            _ => {
                if let Some(entry) = self.entry(number) {
                    entry.complete = true;
                }
            }
        }
        while let Some(front) = self.entries.front() {
            if front.waits || !front.complete {
                return front.waits;
            }
            self.pop();
        }
        false
    }

    /// Takes, in order, all buffered data whose turn has come: complete replies, and the buffered
    /// part of the first incomplete one. The rest of that one is then written directly.
    pub fn ready(&mut self) -> impl Iterator<Item = R> + use<'_, R> {
        std::iter::from_fn(|| {
            loop {
                let front = self.entries.front_mut()?;
                let waited = std::mem::take(&mut front.waits);
                let waiting = waited.then(|| std::mem::take(&mut front.waiting));
                if front.complete {
                    self.pop();
                } else if !waited {
                    return None;
                }
                if waiting.is_some() {
                    return waiting;
                }
            }
        })
    }

    /// Releases unused memory.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Returns the number of requests whose reply is not complete.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if every request is answered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the sequence number of the oldest request whose reply is not complete. `None` if
    /// there is none.
    pub fn first(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.first)
    }

    fn pop(&mut self) {
        if self.entries.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry<R>> {
        let at = number.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Handles a piece of a reply as the proxy does.
    fn write(order: &mut Order<String>, number: u64, piece: &str, last: bool, out: &mut String) {
        if order.is_turn(number) {
            out.push_str(piece);
        } else {
            order.buffer(number).unwrap().push_str(piece);
        }
        if last && order.finish(number) {
            out.extend(order.ready());
        }
    }

    #[test]
    fn the_oldest_is_written_directly() {
        let (mut order, mut out) = (Order::new(), String::new());
        let a = order.push();
        assert!(order.is_turn(a));
        write(&mut order, a, "a", true, &mut out);
        assert_eq!(out, "a");
        assert!(order.is_empty() && !order.is_turn(a));
        assert!(order.buffer(a).is_none(), "nobody is answered twice");
    }

    #[test]
    fn a_reply_that_comes_early_waits() {
        let (mut order, mut out) = (Order::new(), String::new());
        let [a, b, c] = [order.push(), order.push(), order.push()];
        write(&mut order, c, "c", true, &mut out);
        write(&mut order, b, "b", true, &mut out);
        assert_eq!(out, "");
        write(&mut order, a, "a", true, &mut out);
        assert_eq!(out, "abc");
        assert!(order.is_empty());
    }

    #[test]
    fn what_is_there_of_the_next_reply_goes_out_and_the_rest_follows_directly() {
        let (mut order, mut out) = (Order::new(), String::new());
        let [a, b, c] = [order.push(), order.push(), order.push()];
        write(&mut order, c, "c", true, &mut out);
        write(&mut order, b, "b1", false, &mut out);
        write(&mut order, a, "a", true, &mut out);
        assert_eq!(out, "ab1");
        assert!(order.is_turn(b));
        write(&mut order, b, "b2", true, &mut out);
        assert_eq!(out, "ab1b2c");
    }

    #[test]
    fn what_waits_is_not_lost_if_its_reply_ends_before_it_is_taken() {
        let mut order = Order::<String>::new();
        let [a, b] = [order.push(), order.push()];
        order.buffer(b).unwrap().push('b');
        assert!(order.finish(a) && order.finish(b));
        assert_eq!(order.ready().collect::<String>(), "b");
        assert!(order.is_empty());
    }

    #[test]
    fn an_empty_reply_takes_its_turn() {
        let mut order = Order::<String>::new();
        let [a, b] = [order.push(), order.push()];
        assert!(!order.finish(b));
        assert_eq!(order.len(), 2);
        assert!(!order.finish(a));
        assert!(order.is_empty());
    }

    #[test]
    fn a_number_that_never_was_changes_nothing() {
        let mut order = Order::<String>::new();
        order.push();
        assert!(!order.is_turn(7) && order.buffer(7).is_none() && !order.finish(7));
        assert_eq!((order.len(), order.first()), (1, Some(0)));
    }

    proptest! {
        /// Pieces of replies may arrive in any order; they leave in the order of requests.
        #[test]
        fn replies_leave_in_the_order_of_requests(
            pieces in prop::collection::vec(1..4usize, 1..12),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 48),
        ) {
            let (mut order, mut out, mut expected) = (Order::new(), String::new(), String::new());
            let mut open = Vec::new();
            for &count in &pieces {
                let number = order.push();
                open.push((number, 0, count));
                for piece in 0..count {
                    expected.push_str(&format!("{number}.{piece} "));
                }
            }
            for pick in picks {
                if open.is_empty() { break; }
                let at = pick.index(open.len());
                let (number, piece, count) = open[at];
                let last = piece + 1 == count;
                write(&mut order, number, &format!("{number}.{piece} "), last, &mut out);
                prop_assert!(expected.starts_with(&out));
                if last { open.remove(at); } else { open[at].1 += 1; }
            }
            while let Some((number, piece, count)) = open.pop() {
                for piece in piece..count {
                    write(&mut order, number, &format!("{number}.{piece} "), piece + 1 == count, &mut out);
                }
            }
            prop_assert_eq!(out, expected);
            prop_assert!(order.is_empty());
        }
    }
}
