//! Retries: decides whether a failed request is sent again, and after what pause. It does not
//! depend on endpoints, and holds no request.

use std::time::Duration;

use meltemi_config::{Retry, RetryBudget};
use meltemi_frame::{Bind, Fault, Head, Interest, Kind, Message, Safety, Spec, Status};

use crate::balance::below;
use crate::matching::Tests;

/// The retry rule of a route.
#[derive(Clone, Debug)]
pub struct RetryRule {
    attempts: u32,
    per_try_timeout: Option<Duration>,
    on: Box<[Fault]>,
    statuses: Tests,
    resend: bool,
    elsewhere: bool,
    /// `true` if some failure of a request that was sent causes a retry.
    resends: bool,
    backoff: Duration,
    longest_backoff: Duration,
}

impl RetryRule {
    /// Compiles a rule. Raises `response` to the decode depth that its tests of responses need.
    pub(crate) fn compile(retry: &Retry, spec: &Spec, response: &mut Interest) -> Self {
        let mut rule = Self {
            attempts: retry.attempts,
            per_try_timeout: retry.per_try_timeout,
            on: Box::default(),
            statuses: Tests::default(),
            resend: retry.resend,
            elsewhere: retry.elsewhere,
            resends: false,
            backoff: retry.backoff,
            longest_backoff: retry.longest_backoff,
        };
        if retry.attempts > 0 {
            rule.on = retry.on.as_slice().into();
            rule.statuses = Tests::compile(&retry.statuses, spec, response);
            let can_happen = |&fault: &Fault| match fault {
                // Nothing was sent.
                Fault::Connect => false,
                // If one attempt may take as long as the request, no time is left for a retry.
                Fault::Timeout => retry.per_try_timeout.is_some(),
                _ => true,
            };
            rule.resends = !rule.statuses.is_empty() || rule.on.iter().any(can_happen);
        }
        rule
    }

    /// Returns the maximum number of retries.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the timeout of one attempt. `None` if only the timeout of the request applies.
    pub const fn per_try_timeout(&self) -> Option<Duration> {
        self.per_try_timeout
    }

    /// Returns `true` if retries avoid endpoints that failed while there are others.
    pub const fn elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Returns `true` if a copy of the request must be kept when it is sent, because it may be
    /// retried. Returns `false` for a request that is not safe to repeat, is one-way, ties its
    /// connection, or is streamed in pieces.
    pub fn keeps(&self, head: &Head) -> bool {
        self.resends
            && head.kind == Kind::Request
            && head.bind == Bind::Free
            && head.end
            && (self.resend || head.safety != Safety::Unknown)
    }

    /// Returns `true` if a request that was sent is retried after `retries_made` retries and a
    /// failure that the router detected. `kept` is `true` if [`RetryRule::keeps`] returned `true`
    /// and the copy exists. The deadline of the whole request is not checked here.
    pub fn again(&self, retries_made: u32, failure: Fault, kept: bool) -> bool {
        if failure == Fault::Timeout && self.per_try_timeout.is_none() {
            return false;
        }
        kept && retries_made < self.attempts && self.on.contains(&failure)
    }

    /// Returns `true` if a request moves to another endpoint when its connection ended with
    /// `failure` before a byte of the request was sent. This is not a retry: only time limits it,
    /// not the number of attempts or the budget. A route without attempts switches it off.
    pub fn moves(&self, failure: Fault) -> bool {
        // The connection is at fault, not the request. Other faults would occur again at another
        // endpoint.
        let innocent = matches!(
            failure,
            Fault::Connect | Fault::Reset | Fault::Timeout | Fault::BadResponse
        );
        self.attempts > 0 && (innocent || self.on.contains(&failure))
    }

    /// Returns the failure if a response counts as one that causes a retry. `None` if it does not.
    pub fn fails(&self, status: Status, message: &Message<'_>) -> Option<Fault> {
        let Status::Failed(fault) = status else {
            return None;
        };
        (self.on.contains(&fault) || self.statuses.any(message)).then_some(fault)
    }

    /// Returns `true` if a request is retried after `retries_made` retries and a response that
    /// [`RetryRule::fails`] reported as a failure.
    pub const fn again_after_response(&self, retries_made: u32, kept: bool) -> bool {
        kept && retries_made < self.attempts
    }

    /// Returns the pause before the next retry, after `retries_made` retries. The configured pause
    /// is doubled for each retry and capped at the longest pause; the result is a random half to
    /// whole of that. `random` is any number, evenly distributed.
    pub fn pause(&self, retries_made: u32, random: u64) -> Duration {
        let factor = 1u32.checked_shl(retries_made).unwrap_or(u32::MAX);
        let whole = self.backoff.saturating_mul(factor);
        let whole = whole.min(self.longest_backoff).as_nanos();
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        let half = whole / 2;
        Duration::from_nanos(whole - half + below(random, half.saturating_add(1)))
    }
}

/// Limits how many requests of a cluster may be in retry at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget(RetryBudget);

impl Budget {
    /// Creates the budget of a cluster.
    pub const fn new(budget: RetryBudget) -> Self {
        Self(budget)
    }

    /// Returns `true` if one more request may be in retry. The number of retries must be below
    /// `limit`, and below the configured share of `active_requests` (retries included) or the
    /// configured minimum.
    pub fn allows(&self, active_requests: u64, active_retries: u64, limit: u64) -> bool {
        let millionths = u128::from(active_requests) * u128::from(self.0.share.as_millionths());
        let share = u64::try_from(millionths / 1_000_000).unwrap_or(u64::MAX);
        active_retries < share.max(self.0.least.into()).min(limit)
    }
}

#[cfg(test)]
mod tests {
    use meltemi_config::{AttributeMatch, Matcher, Share};
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{exact, message, spec};

    fn rule(retry: &Retry) -> (RetryRule, Interest) {
        let mut response = Interest::Route;
        (RetryRule::compile(retry, &spec(), &mut response), response)
    }

    const FAULTS: [Fault; 8] = [
        Fault::Connect,
        Fault::Reset,
        Fault::Timeout,
        Fault::Overload,
        Fault::NoEndpoint,
        Fault::Application,
        Fault::Server,
        Fault::Denied,
    ];

    prop_compose! {
        fn retry()(
            attempts in 0..4u32,
            per_try in prop::option::of(1..1000u64),
            on in prop::sample::subsequence(&FAULTS[..], 0..FAULTS.len()),
            statuses in prop::option::of(prop::sample::select(vec!["BUSY", "x"])),
            resend in any::<bool>(),
        ) -> Retry {
            Retry {
                attempts,
                per_try_timeout: per_try.map(Duration::from_millis),
                on,
                statuses: statuses.map(|value| exact("result", value)).into_iter().collect(),
                resend,
                ..Retry::default()
            }
        }
    }

    prop_compose! {
        fn head()(
            kind in prop::sample::select(vec![Kind::Request, Kind::OneWay, Kind::Local]),
            bind in prop::sample::select(vec![Bind::Free, Bind::Dedicated, Bind::Pin, Bind::Session]),
            safety in prop::sample::select(vec![Safety::Read, Safety::Idempotent, Safety::Unknown]),
            end in prop::bool::weighted(0.8),
        ) -> Head {
            Head { bind, safety, end, ..Head::new(kind, None) }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// A request that is not safe to repeat is never sent twice, whatever fails.
        #[test]
        fn what_is_unsafe_is_never_sent_twice(
            retry in retry(),
            head in head(),
            made in 0..5u32,
            failure in prop::sample::select(&FAULTS[..]),
        ) {
            let (rule, _) = rule(&retry);
            let kept = rule.keeps(&head);
            let harmless = head.safety != Safety::Unknown || retry.resend;
            let plain = head.kind == Kind::Request && head.bind == Bind::Free && head.end;
            prop_assert!(!kept || harmless && plain);
            let response = message(&[("result", "BUSY")]);
            let told = rule.fails(Status::Failed(failure), &response);
            let again = rule.again(made, failure, kept)
                || told.is_some() && rule.again_after_response(made, kept);
            let meant = retry.on.contains(&failure)
                || retry.statuses.contains(&exact("result", "BUSY"));
            prop_assert!(!again || kept && meant && made < retry.attempts);
            // A safe request with a configured failure is retried.
            if meant && harmless && plain && made < retry.attempts
                && failure != Fault::Connect
                && (failure != Fault::Timeout || retry.per_try_timeout.is_some())
            {
                prop_assert!(again);
            }
        }

        #[test]
        fn what_was_not_sent_goes_elsewhere_unless_the_route_has_no_attempts(retry in retry()) {
            let (rule, _) = rule(&retry);
            let moves = retry.attempts > 0;
            for failure in [Fault::Connect, Fault::Reset, Fault::Timeout, Fault::BadResponse] {
                prop_assert_eq!(rule.moves(failure), moves);
            }
            let named = retry.on.contains(&Fault::Overload);
            prop_assert_eq!(rule.moves(Fault::Overload), moves && named);
        }

        #[test]
        fn pauses_double_up_to_the_longest(
            backoff in 0..10_000u64,
            longest in 0..100_000u64,
            made in 0..100u32,
            random in any::<u64>(),
        ) {
            let (rule, _) = rule(&Retry {
                backoff: Duration::from_micros(backoff),
                longest_backoff: Duration::from_micros(longest),
                ..Retry::default()
            });
            let whole = u128::from(backoff) * (1 << made);
            let whole = u64::try_from(whole.min(longest.into())).unwrap() * 1000;
            let pause = u64::try_from(rule.pause(made, random).as_nanos()).unwrap();
            prop_assert!(whole.div_ceil(2) <= pause && pause <= whole, "{pause} of {whole}");
        }

        #[test]
        fn a_retry_storm_stays_within_the_budget(
            share in 0..=1_000_000u32,
            least in 0..10u32,
            requests in 0..10_000u64,
            limit in 0..2000u64,
        ) {
            let budget = Budget::new(RetryBudget { share: Share::millionths(share), least });
            let mut retries = 0;
            while budget.allows(requests, retries, limit) {
                retries += 1;
            }
            let part = requests * u64::from(share) / 1_000_000;
            prop_assert_eq!(retries, part.max(least.into()).min(limit));
        }
    }

    #[test]
    fn jitter_reaches_both_ends() {
        let (rule, _) = rule(&Retry::default());
        assert_eq!(rule.pause(0, 0), Duration::from_micros(12_500));
        assert_eq!(rule.pause(0, u64::MAX), Duration::from_millis(25));
        assert_eq!(rule.pause(1, u64::MAX), Duration::from_millis(50));
        assert_eq!(rule.pause(9, u64::MAX), Duration::from_millis(250));
        let (none, _) = super::tests::rule(&Retry {
            backoff: Duration::ZERO,
            ..Retry::default()
        });
        assert_eq!(none.pause(3, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_response_fails_by_its_fault_or_its_status() {
        let (rule, response) = rule(&Retry {
            on: vec![Fault::Server],
            statuses: vec![AttributeMatch {
                name: "result".to_owned(),
                matcher: Matcher::Prefix("BUSY".to_owned()),
                negate: false,
            }],
            ..Retry::default()
        });
        assert_eq!(response, Interest::Body);
        let busy = message(&[("result", "BUSY now")]);
        let failed = Status::Failed(Fault::Application);
        assert_eq!(rule.fails(failed, &busy), Some(Fault::Application));
        assert_eq!(rule.fails(failed, &message(&[("result", "no")])), None);
        assert_eq!(
            rule.fails(Status::Failed(Fault::Server), &message(&[])),
            Some(Fault::Server)
        );
        // A successful response is no failure, whatever its attributes.
        assert_eq!(rule.fails(Status::Ok, &busy), None);
    }

    #[test]
    fn no_copy_is_kept_for_failures_that_cannot_come() {
        let mut head = Head::new(Kind::Request, None);
        head.safety = Safety::Read;
        let keeps = |on: &[Fault], per_try: Option<u64>| {
            let (rule, _) = rule(&Retry {
                on: on.to_vec(),
                per_try_timeout: per_try.map(Duration::from_millis),
                ..Retry::default()
            });
            rule.keeps(&head)
        };
        assert!(!keeps(&[], None) && !keeps(&[Fault::Connect], Some(1)));
        assert!(!keeps(&[Fault::Timeout], None) && keeps(&[Fault::Timeout], Some(1)));
        assert!(keeps(&[Fault::Reset], None));
    }

    #[test]
    fn without_attempts_responses_are_not_looked_at() {
        let retry = Retry {
            attempts: 0,
            statuses: vec![exact("result", "x")],
            ..Retry::default()
        };
        let (rule, response) = rule(&retry);
        assert_eq!(response, Interest::Route);
        assert!(!rule.moves(Fault::Connect) && !rule.again(0, Fault::Connect, true));
    }
}
