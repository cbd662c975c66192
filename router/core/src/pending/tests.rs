//! Replies by id: fresh ids, tombstones, deadlines, held to a plain model.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const NEVER: u64 = u64::MAX;

#[test]
fn ids_are_given_in_turn_and_answered_once() {
    let mut pending = Pending::new(32);
    let a = pending.insert('a', NEVER).unwrap();
    let b = pending.insert('b', NEVER).unwrap();
    assert_eq!((a, b), (1, 2));
    assert_eq!(pending.classify(b), Reply::Known);
    assert_eq!(pending.peek(b), Some(&'b'));
    *pending.get_mut(b).unwrap() = 'B';
    assert_eq!(pending.remove(b), Some('B'));
    assert_eq!(pending.classify(b), Reply::Unknown);
    assert_eq!(pending.remove(b), None);
    assert_eq!(pending.len(), 1);
    assert_eq!(
        pending.insert('c', NEVER),
        Some(3),
        "an answered id is not given again at once"
    );
}

#[test]
fn a_late_reply_reaches_nobody() {
    let mut pending = Pending::new(32);
    let a = pending.insert('a', NEVER).unwrap();
    assert_eq!(pending.abandon(a), Some('a'));
    assert_eq!(pending.abandon(a), None);
    assert_eq!((pending.len(), pending.tombstones()), (0, 1));
    assert_eq!(pending.classify(a), Reply::Late);
    assert_eq!(pending.get_mut(a), None);
    // Every piece of it is late; its last one settles it.
    assert_eq!(pending.classify(a), Reply::Late);
    assert_eq!(pending.remove(a), None);
    assert_eq!(pending.classify(a), Reply::Late);
    assert!(pending.settle(a) && !pending.settle(a));
    assert_eq!(pending.classify(a), Reply::Unknown);
    assert_eq!(pending.tombstones(), 0);
}

#[test]
fn only_abandoned_ids_are_settled() {
    let mut pending = Pending::new(32);
    let a = pending.insert('a', NEVER).unwrap();
    assert!(!pending.settle(a) && !pending.settle(a + 1));
    assert_eq!(pending.remove(a), Some('a'));
}

#[test]
fn ids_that_were_never_given_are_unknown() {
    let mut pending = Pending::new(8);
    pending.insert('a', NEVER);
    for id in [0, 2, -1, 1 << 8 | 1, i64::MAX, i64::MIN] {
        assert_eq!(pending.classify(id), Reply::Unknown, "{id}");
    }
    assert_eq!(Pending::<char>::new(32).classify(1), Reply::Unknown);
}

#[test]
fn ids_are_sign_extended_for_their_width() {
    let mut pending = Pending::new(8);
    let mut seen = HashSet::new();
    for _ in 0..255 {
        let id = pending.insert((), NEVER).unwrap();
        assert_eq!(i64::from(id as i8), id);
        assert!(id != 0 && seen.insert(id));
        assert!(pending.remove(id).is_some());
    }
    assert!(seen.contains(&-128) && seen.contains(&-1) && seen.contains(&127));
    let mut wide = Pending::new(64);
    wide.next = u64::MAX;
    assert_eq!(wide.insert('a', NEVER), Some(-1));
    assert_eq!(wide.insert('b', NEVER), Some(1), "0 is passed over");
    assert_eq!((wide.remove(-1), wide.remove(1)), (Some('a'), Some('b')));
}

#[test]
fn narrow_ids_are_passed_over_while_in_use_and_run_out() {
    for bits in 2..=10u8 {
        let mut pending = Pending::new(bits);
        let room = ((1u64 << bits) - 1) - ((1u64 << bits) - 1) / 8;
        let ids: Vec<i64> = (0..room)
            .map(|n| pending.insert(n, NEVER).unwrap())
            .collect();
        assert_eq!(pending.insert(0, NEVER), None, "{bits} bits");
        assert_eq!(ids.iter().collect::<HashSet<_>>().len() as u64, room);
        assert_eq!(pending.remove(ids[1]), Some(1));
        let again = pending.insert(99, NEVER).unwrap();
        assert!(!ids.contains(&again) || again == ids[1]);
        assert_eq!(pending.peek(ids[0]), Some(&0));
    }
}

#[test]
fn a_long_request_keeps_its_id_while_others_go_round() {
    let mut pending = Pending::new(8);
    let long = pending.insert(u32::MAX, NEVER).unwrap();
    let dead = pending.insert(u32::MAX, NEVER).unwrap();
    pending.abandon(dead);
    for n in 0..10_000 {
        let id = pending.insert(n, NEVER).unwrap();
        assert!(id != long && id != dead);
        assert_eq!(pending.remove(id), Some(n));
    }
    assert_eq!(pending.remove(long), Some(u32::MAX));
    assert_eq!(pending.classify(dead), Reply::Late);
    assert_eq!(
        pending.slots.len(),
        FIRST_SLOTS,
        "the table stays as small as what is in flight"
    );
}

#[test]
fn tombstones_are_bounded() {
    let mut pending = Pending::new(32);
    let ids: Vec<i64> = (0..3 * REMEMBERED)
        .map(|n| {
            let id = pending.insert(n, NEVER).unwrap();
            pending.abandon(id);
            id
        })
        .collect();
    assert_eq!(pending.tombstones() as u64, REMEMBERED);
    assert_eq!(pending.classify(ids[0]), Reply::Unknown);
    assert_eq!(pending.classify(*ids.last().unwrap()), Reply::Late);
    assert_eq!(pending.abandoned.len() as u64, REMEMBERED);
}

#[test]
fn servers_that_never_answer_cannot_use_up_a_narrow_space() {
    let mut pending = Pending::new(8);
    for n in 0..10_000 {
        let id = pending.insert(n, NEVER).unwrap();
        assert_eq!(pending.abandon(id), Some(n));
    }
    assert!(pending.tombstones() <= 64);
}

#[test]
fn deadlines_abandon_once() {
    let mut pending = Pending::new(32);
    let a = pending.insert('a', 10).unwrap();
    pending.insert('b', NEVER);
    let c = pending.insert('c', 5).unwrap();
    let mut out = Vec::new();
    pending.expired(4, &mut out);
    assert!(out.is_empty());
    assert_eq!(pending.next_deadline(), 5);
    pending.expired(7, &mut out);
    assert_eq!(out, [(c, 'c')]);
    assert_eq!(pending.next_deadline(), 10);
    pending.expired(NEVER, &mut out);
    assert_eq!(out, [(c, 'c'), (a, 'a')]);
    assert_eq!(pending.classify(c), Reply::Late);
    assert_eq!((pending.len(), pending.next_deadline()), (1, NEVER));
}

#[test]
fn a_lost_connection_tells_every_caller_that_still_waits() {
    let mut pending = Pending::new(32);
    let ids: Vec<i64> = "abc"
        .chars()
        .map(|c| pending.insert(c, 9).unwrap())
        .collect();
    pending.abandon(ids[1]);
    let mut told: Vec<char> = pending.drain().collect();
    told.sort_unstable();
    assert_eq!(told, ['a', 'c']);
    assert!(pending.is_empty() && pending.tombstones() == 0);
    assert_eq!(pending.classify(ids[0]), Reply::Unknown);
    assert_eq!(pending.insert('d', 9), Some(4));
}

#[test]
fn nothing_is_allocated_in_the_steady_state() {
    let mut pending = Pending::new(32);
    let mut flying = VecDeque::new();
    for n in 0..10_000 {
        flying.push_back(pending.insert(n, NEVER).unwrap());
        if flying.len() > 100 {
            pending.remove(flying.pop_front().unwrap());
        }
    }
    assert_eq!(pending.slots.len(), 256);
}

proptest! {
    /// Against a model that is a plain map: ids are unique among those that wait or are
    /// remembered, and lead to their own ticket only.
    #[test]
    fn behaves_as_a_map(
        bits in prop::sample::select(vec![2u8, 3, 4, 8, 16, 32, 64]),
        start in any::<u64>(),
        steps in prop::collection::vec((0..7u8, any::<prop::sample::Index>(), 0..50u64), 1..300),
    ) {
        let mut pending = Pending::new(bits);
        pending.next = start & pending.mask();
        let mut waiting: HashMap<i64, (u64, u64)> = HashMap::new();
        let mut given: Vec<i64> = Vec::new();
        for (now, (step, pick, delay)) in (0u64..).zip(steps) {
            let chosen = if given.is_empty() { 0 } else { given[pick.index(given.len())] };
            let is_late = |id: &i64| pending.classify(*id) == Reply::Late;
            let late: HashSet<i64> = given.iter().copied().filter(is_late).collect();
            match step {
                0..=2 => {
                    let taken = pending.len() + pending.tombstones();
                    match pending.insert(now, now + delay) {
                        Some(id) => {
                            prop_assert!(id != 0 && !late.contains(&id));
                            prop_assert!(waiting.insert(id, (now, now + delay)).is_none());
                            given.push(id);
                        }
                        None => prop_assert!(taken as u64 >= pending.space() - pending.space() / 8),
                    }
                }
                3 => prop_assert_eq!(pending.remove(chosen), waiting.remove(&chosen).map(|w| w.0)),
                5 => prop_assert_eq!(pending.settle(chosen), late.contains(&chosen)),
                4 => prop_assert_eq!(pending.abandon(chosen), waiting.remove(&chosen).map(|w| w.0)),
                _ => {
                    let mut out = Vec::new();
                    pending.expired(now, &mut out);
                    for (id, ticket) in out {
                        let (mine, deadline) = waiting.remove(&id).unwrap();
                        prop_assert!(mine == ticket && deadline <= now);
                    }
                    prop_assert!(waiting.values().all(|w| w.1 > now));
                    prop_assert!(waiting.values().all(|w| w.1 >= pending.next_deadline()));
                }
            }
            prop_assert_eq!(pending.len(), waiting.len());
            for (id, (ticket, _)) in &waiting {
                prop_assert_eq!(pending.peek(*id), Some(ticket));
            }
        }
    }
}
