//! Local limits: selects the rule for a request, and takes a token from its bucket.
//!
//! The buckets belong to the process, not to a configuration. A [`LimitStore`] outlives a
//! configuration, and a new configuration reuses the buckets of unchanged rules.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use meltemi_config::{LocalLimit, LocalLimits, Origin};
use meltemi_frame::{Interest, Message, Spec};

use super::bucket::{Bucket, Rate};
use super::buckets::Buckets;
use super::key::Key;
use crate::matching::Tests;

/// The buckets of all local limits of a process. Clones share the same store.
#[derive(Clone, Debug)]
pub struct LimitStore(Arc<Store>);

#[derive(Debug)]
struct Store {
    seed: u64,
    known: Mutex<Known>,
}

/// States by limit name. The limits own the states; this map only finds them.
#[derive(Debug, Default)]
struct Known {
    states: HashMap<String, Vec<Weak<State>>>,
    /// The number of names at which unused names are removed.
    full: usize,
}

/// The state of one rule, shared by all workers and configurations that have the rule.
#[derive(Debug)]
struct State {
    rule: LocalLimit,
    rate: Rate,
    seed: u64,
    buckets: BucketSet,
}

#[derive(Debug)]
enum BucketSet {
    One(Bucket),
    ByValue(Buckets),
}

impl LimitStore {
    /// Creates an empty store. `seed` must be unknown to clients, so that they cannot choose values
    /// that share a bucket.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Store {
            seed,
            known: Mutex::default(),
        }))
    }

    /// Returns the seed, which clients must not know.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Returns the state of a rule. Reuses the state in use, if there is one.
    fn state(&self, name: &str, rule: &LocalLimit) -> Arc<State> {
        // The position in the configuration file does not matter.
        let rule = LocalLimit {
            origin: Origin::default(),
            ..rule.clone()
        };
        let known = &mut *self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.states.len() >= known.full {
            let alive = |states: &Vec<Weak<State>>| states.iter().any(|one| one.strong_count() > 0);
            known.states.retain(|_, states| alive(states));
            known.full = (known.states.len() * 2).max(16);
        }
        let states = known.states.entry(name.to_owned()).or_default();
        states.retain(|state| state.strong_count() > 0);
        let found = states.iter().filter_map(Weak::upgrade);
        if let Some(found) = found.into_iter().find(|state| state.rule == rule) {
            return found;
        }
        let state = Arc::new(State {
            rate: Rate::new(&rule.bucket),
            seed: self.0.seed,
            buckets: if rule.per.is_empty() {
                BucketSet::One(Bucket::default())
            } else {
                BucketSet::ByValue(Buckets::new(rule.values))
            },
            rule,
        });
        states.push(Arc::downgrade(&state));
        state
    }
}

/// Compiled local limits. Clones share their buckets, also with other configurations that have the
/// same rules.
#[derive(Clone, Debug)]
pub struct LocalLimiter {
    name: Arc<str>,
    rules: Box<[Rule]>,
}

#[derive(Clone, Debug)]
struct Rule {
    tests: Tests,
    per: Box<[Key]>,
    state: Arc<State>,
}

impl LocalLimiter {
    /// Compiles limits for a protocol. Also returns the decode depth that they need.
    pub fn new(limits: &LocalLimits, spec: &Spec, store: &LimitStore) -> (Self, Interest) {
        let mut interest = Interest::Route;
        let compile = |rule: &LocalLimit| Rule {
            tests: Tests::compile(&rule.matches, spec, &mut interest),
            per: rule
                .per
                .iter()
                .map(|name| Key::compile(name, spec, &mut interest))
                .collect(),
            state: store.state(&limits.name, rule),
        };
        let limiter = Self {
            rules: limits.rules.iter().map(compile).collect(),
            name: limits.name.as_str().into(),
        };
        (limiter, interest)
    }

    /// Returns the name for metrics, logs and dumps.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the position of the rule that applies to a request. `None` if no rule applies and
    /// the request passes.
    pub fn rule(&self, message: &Message<'_>) -> Option<usize> {
        self.rules
            .iter()
            .position(|rule| rule.tests.may_pass(message))
    }

    /// Takes a token for a request from `source`. Returns `false` if there is no token and the
    /// request must be denied. `now_us` is in microseconds on one clock for the whole process. The
    /// clock must not go back within a thread; between threads it may differ a little.
    ///
    /// Of an attribute with several values the first one applies. A missing attribute counts as a
    /// value of its own. An attribute that the codec could not determine passes every test, so that
    /// no client escapes a limit by it; all such requests share one bucket.
    pub fn take(&self, message: &Message<'_>, source: IpAddr, now_us: u64) -> bool {
        let Some(rule) = self.rules.iter().find(|rule| rule.tests.may_pass(message)) else {
            return true;
        };
        let state = &*rule.state;
        let now = state.rate.units(now_us);
        match &state.buckets {
            BucketSet::One(bucket) => bucket.take(&state.rate, now),
            BucketSet::ByValue(buckets) => {
                let mix = |hash, key: &Key| key.mix(hash, message, source);
                let hash = rule.per.iter().fold(state.seed, mix);
                buckets.take(hash, &state.rate, now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meltemi_config::{AttributeMatch, Bucket as Plain};

    use super::*;
    use crate::fixture::{exact, message, spec};

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn rule(matches: Vec<AttributeMatch>, per: &[&str], size: u32) -> LocalLimit {
        LocalLimit {
            matches,
            per: per.iter().map(|&name| name.to_owned()).collect(),
            values: 1024,
            bucket: Plain {
                size,
                fill: 1,
                interval: Duration::from_secs(1),
            },
            origin: Origin::default(),
        }
    }

    fn limits(rules: Vec<LocalLimit>) -> LocalLimits {
        LocalLimits {
            name: "limits".to_owned(),
            rules,
            origin: Origin::default(),
        }
    }

    fn limiter(rules: Vec<LocalLimit>, store: &LimitStore) -> LocalLimiter {
        LocalLimiter::new(&limits(rules), &spec(), store).0
    }

    /// Returns how many of ten requests pass.
    fn pass(limiter: &LocalLimiter, attributes: &[(&str, &str)]) -> usize {
        let message = message(attributes);
        (0..10)
            .filter(|_| limiter.take(&message, SOURCE, 5))
            .count()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = vec![
            rule(vec![exact("method", "a")], &[], 2),
            rule(vec![exact("service", "s")], &[], 3),
        ];
        let limiter = limiter(rules, &LimitStore::new(0));
        assert_eq!(pass(&limiter, &[("method", "a"), ("service", "s")]), 2);
        assert_eq!(pass(&limiter, &[("method", "b"), ("service", "s")]), 3);
        assert_eq!(pass(&limiter, &[("method", "b")]), 10);
        assert_eq!(limiter.rule(&message(&[("service", "s")])), Some(1));
    }

    #[test]
    fn combinations_of_values_have_buckets_of_their_own() {
        let limiter = limiter(
            vec![rule(vec![], &["header.a", "header.b"], 2)],
            &LimitStore::new(7),
        );
        for attributes in [
            &[][..],
            &[("header.a", "x")],
            &[("header.b", "x")],
            &[("header.a", "x"), ("header.b", "x")],
            &[("header.a", ""), ("header.b", "x")],
            &[("header.a", ""), ("header.b", "")],
            &[("header.a", "y"), ("header.b", "x")],
        ] {
            assert_eq!(pass(&limiter, attributes), 2, "{attributes:?}");
        }
        // The first value counts.
        assert_eq!(pass(&limiter, &[("header.a", "x"), ("header.a", "z")]), 0);
    }

    #[test]
    fn a_request_that_cannot_be_read_does_not_escape() {
        let rules = vec![rule(vec![exact("method", "a")], &["header.a"], 2)];
        let limiter = limiter(rules, &LimitStore::new(7));
        let method = spec().lookup("method").unwrap().0;
        let take = |header: &str| {
            let mut message = message(&[("method", "b"), ("header.a", header)]);
            assert!(limiter.rule(&message).is_none());
            let meltemi_frame::Lookup::Slot(key) = method else {
                panic!("`method` has a slot")
            };
            message.attributes.set_undetermined(key);
            message.attributes.set_open_undetermined();
            limiter.take(&message, SOURCE, 5)
        };
        assert!(take("x") && take("y") && !take("z"));
    }

    #[test]
    fn clients_have_buckets_of_their_own() {
        let limiter = limiter(vec![rule(vec![], &["source.ip"], 1)], &LimitStore::new(7));
        let take = |source: &str| limiter.take(&message(&[]), source.parse().unwrap(), 5);
        assert!(take("10.0.0.1") && !take("10.0.0.1") && !take("::ffff:10.0.0.1"));
        assert!(take("10.0.0.2") && take("2001:db8::1"));
    }

    #[test]
    fn limits_tell_how_deep_to_look() {
        let interest =
            |rule| LocalLimiter::new(&limits(vec![rule]), &spec(), &LimitStore::new(1)).1;
        assert_eq!(interest(rule(vec![], &["source.ip"], 1)), Interest::Route);
        assert_eq!(interest(rule(vec![], &["header.a"], 1)), Interest::Headers);
        let matches = vec![exact("note", "x")];
        assert_eq!(interest(rule(matches, &[], 1)), Interest::Body);
    }

    #[test]
    fn a_rule_that_stays_keeps_its_tokens() {
        let store = LimitStore::new(0);
        let both = || {
            vec![
                rule(vec![exact("method", "a")], &[], 2),
                rule(vec![], &["header.a"], 3),
            ]
        };
        let old = limiter(both(), &store);
        assert_eq!(pass(&old, &[("method", "a")]), 2);
        assert_eq!(pass(&old, &[("header.a", "x")]), 3);
        // Written elsewhere, in another order.
        let mut moved = both();
        moved.swap(0, 1);
        moved[1].origin = Origin {
            line: 7,
            ..Origin::default()
        };
        let new = limiter(moved, &store);
        assert_eq!(pass(&new, &[("header.a", "x"), ("method", "b")]), 0);
        assert_eq!(pass(&new, &[("header.a", "y")]), 3);
        // Another rule, another name, another store.
        let changed = vec![rule(vec![exact("method", "a")], &[], 4)];
        assert_eq!(pass(&limiter(changed, &store), &[("method", "a")]), 4);
        let mut renamed = limits(both());
        renamed.name = "others".to_owned();
        let renamed = LocalLimiter::new(&renamed, &spec(), &store).0;
        assert_eq!(pass(&renamed, &[("method", "a")]), 2);
        let elsewhere = limiter(both(), &LimitStore::new(0));
        assert_eq!(pass(&elsewhere, &[("method", "a")]), 2);
        // Gone with the last configuration that had it.
        drop((old, new));
        assert_eq!(pass(&limiter(both(), &store), &[("header.a", "x")]), 3);
    }

    #[test]
    fn the_store_forgets_what_is_gone() {
        let store = LimitStore::new(0);
        for number in 0..1000 {
            let mut limits = limits(vec![rule(vec![], &[], 1)]);
            limits.name = format!("limits-{number}");
            LocalLimiter::new(&limits, &spec(), &store);
        }
        assert!(store.0.known.lock().unwrap().states.len() <= 16);
    }
}
