//! When which endpoint is probed next. Time and chance are arguments; nothing here waits or asks.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meltemi_config::Cluster;

use super::ProbeTarget;

/// The least time from one probe of an endpoint to the next, whatever is configured.
const LEAST: Duration = Duration::from_millis(10);

/// The longest: further times cannot be told.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The part of an interval by which a probe may come sooner or later, so that probes of many proxies
/// do not fall together.
const JITTER: f64 = 0.1;

/// What is probed, and when. An endpoint that answers slowly is asked again at once, but never twice at
/// a time.
#[derive(Default)]
pub(super) struct Schedule {
    /// Entries by number. Numbers are given once: what returns under another is a new endpoint.
    entries: HashMap<u64, Entry>,
    numbers: HashMap<(String, SocketAddr), u64>,
    /// Those that are not being probed.
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
    /// Its next probe is at this time.
    Due(Instant),
    /// A probe of it began at this time.
    Probed(Instant),
}

/// An endpoint whose turn it is, or was.
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
    /// Probes these from now on, and no others: new ones at once, those that stay when they
    /// would have been, but no later than an interval from now. Gives the numbers of those that are gone.
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

    /// The next endpoint whose time has come. It is being probed until [`Schedule::probed`].
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

    /// The probe has ended. `chance` is a number from 0 to 1. Tells whose it was, if that is still
    /// wanted.
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

    /// When the next probe is due.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests;
