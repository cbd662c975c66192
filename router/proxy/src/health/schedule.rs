//! Decides which endpoint is probed next, and when. Time and random numbers are arguments. Does no
//! I/O and never waits.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meltemi_config::Cluster;

use super::ProbeTarget;

/// The shortest interval between two probes of an endpoint, whatever is configured.
const LEAST: Duration = Duration::from_millis(10);

/// The longest interval. It keeps sums of times in range.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The part of an interval by which a probe may be earlier or later, so that the probes of many
/// proxies do not coincide.
const JITTER: f64 = 0.1;

/// The schedule of probes. A slow endpoint is probed again at once, but never by two probes at a
/// time.
#[derive(Default)]
pub(super) struct Schedule {
    /// The entries by number. A number is never reused: an endpoint that returns is a new entry.
    entries: HashMap<u64, Entry>,
    numbers: HashMap<(String, SocketAddr), u64>,
    /// The entries without a running probe.
    due: BTreeSet<(Instant, u64)>,
    last: u64,
}

struct Entry {
    cluster: Arc<Cluster>,
    address: SocketAddr,
    turn: Turn,
}

#[derive(Clone, Copy)]
enum Turn {
    /// The time of the next probe.
    Due(Instant),
    /// The start of the running probe.
    Probed(Instant),
}

/// An endpoint that is due or was probed.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) number: u64,
    pub(super) cluster: Arc<Cluster>,
    pub(super) address: SocketAddr,
}

fn interval(cluster: &Cluster) -> Duration {
    let check = cluster.health.as_ref();
    check.map_or(LEAST, |check| check.interval.clamp(LEAST, LONGEST))
}

impl Schedule {
    /// Replaces the endpoints to probe. New endpoints are due at once. The others keep their time,
    /// but wait no longer than an interval from now. Returns the numbers of the removed endpoints.
    pub(super) fn replace(&mut self, targets: &[ProbeTarget], now: Instant) -> Vec<u64> {
        let mut stay = HashMap::new();
        let checked = targets.iter().filter(|one| one.cluster.health.is_some());
        for ProbeTarget { cluster, addresses } in checked {
            for address in addresses {
                let key = (cluster.name.clone(), *address);
                if stay.contains_key(&key) {
                    continue;
                }
                let number = match self.numbers.remove(&key) {
                    Some(number) => {
                        self.keep(number, cluster, now);
                        number
                    }
                    None => self.add(cluster, *address, now),
                };
                stay.insert(key, number);
            }
        }
        let gone: Vec<u64> = std::mem::replace(&mut self.numbers, stay)
            .into_values()
            .collect();
        for number in &gone {
            if let Some(Entry {
                turn: Turn::Due(at),
                ..
            }) = self.entries.remove(number)
            {
                self.due.remove(&(at, *number));
            }
        }
        gone
    }

    fn add(&mut self, cluster: &Arc<Cluster>, address: SocketAddr, now: Instant) -> u64 {
        self.last += 1;
        self.due.insert((now, self.last));
        let entry = Entry {
            cluster: Arc::clone(cluster),
            address,
            turn: Turn::Due(now),
        };
        self.entries.insert(self.last, entry);
        self.last
    }

    fn keep(&mut self, number: u64, cluster: &Arc<Cluster>, now: Instant) {
        let Some(entry) = self.entries.get_mut(&number) else {
            return;
        };
        entry.cluster = Arc::clone(cluster);
        let latest = now + interval(cluster);
        if let Turn::Due(at) = entry.turn
            && at > latest
        {
            self.due.remove(&(at, number));
            self.due.insert((latest, number));
            entry.turn = Turn::Due(latest);
        }
    }

    /// Returns the next endpoint that is due. Its probe runs until [`Schedule::probed`].
    pub(super) fn next(&mut self, now: Instant) -> Option<Subject> {
        let &(at, number) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        let entry = self.entries.get_mut(&number)?;
        entry.turn = Turn::Probed(now);
        Some(Subject {
            number,
            cluster: Arc::clone(&entry.cluster),
            address: entry.address,
        })
    }

    /// Ends a probe. `chance` is a random number from 0 to 1. Returns the endpoint if it is still
    /// scheduled.
    pub(super) fn probed(&mut self, number: u64, now: Instant, chance: f64) -> Option<Subject> {
        let entry = self.entries.get_mut(&number)?;
        let Turn::Probed(began) = entry.turn else {
            return None;
        };
        let wait = interval(&entry.cluster).mul_f64(1.0 - JITTER + 2.0 * JITTER * chance);
        let at = (began + wait).max(now);
        entry.turn = Turn::Due(at);
        self.due.insert((at, number));
        Some(Subject {
            number,
            cluster: Arc::clone(&entry.cluster),
            address: entry.address,
        })
    }

    /// Returns when the next probe is due.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests;
