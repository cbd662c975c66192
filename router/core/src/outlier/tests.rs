//! Who is ejected, for how long, and who is let in again, by a clock of its own.

use std::sync::Barrier;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use meltemi_config::{Share, SuccessRate};
use proptest::prelude::*;

use super::*;
use crate::HealthStatus;
use crate::fixture::numbers;

use Admission::{Plain, Trial};
use Outcome::{Failure, Gateway, Success, Unknown};

const SECOND: u64 = 1_000_000;

fn config() -> Outlier {
    Outlier {
        consecutive: 3,
        most: Share::percent(50.0),
        ..Outlier::default()
    }
}

/// As many endpoints of one cluster.
fn cluster(config: Outlier, count: usize) -> (Outliers, Vec<Record>) {
    let outliers = Outliers::new(&config);
    let records = (0..count).map(|_| outliers.join(0)).collect();
    (outliers, records)
}

/// Fails until it is ejected.
fn fail(outliers: &Outliers, record: &Record, now_us: u64) -> Option<Ejection> {
    (0..3).find_map(|_| outliers.report(record, Plain, Failure, now_us))
}

#[test]
fn failures_in_a_row_eject() {
    let (outliers, records) = cluster(config(), 4);
    let report = |outcome| outliers.report(&records[0], Plain, outcome, SECOND);
    for outcome in [Failure, Gateway, Success, Failure, Unknown, Failure] {
        assert_eq!(report(outcome), None);
    }
    let ejection = report(Gateway).unwrap();
    let expected = Ejection {
        cause: Cause::Consecutive,
        until_us: 31 * SECOND,
        number: 1,
    };
    assert_eq!(ejection, expected);
    assert_eq!(outliers.ejected(), 1);
    assert_eq!(records[0].fitness(31 * SECOND - 1), HealthStatus::Unhealthy);
    assert_eq!(records[1].fitness(2 * SECOND), HealthStatus::Healthy);
    assert_eq!(report(Failure), None, "from before the ejection");
}

#[test]
fn gateway_failures_are_counted_by_themselves() {
    let settings = Outlier {
        consecutive: 0,
        consecutive_gateway: 2,
        ..config()
    };
    let (outliers, records) = cluster(settings, 4);
    let report = |outcome| outliers.report(&records[0], Plain, outcome, 0);
    for outcome in [Failure, Failure, Failure, Gateway, Failure, Gateway] {
        assert_eq!(report(outcome), None);
    }
    assert_eq!(report(Gateway).unwrap().cause, Cause::Gateway);
}

#[test]
fn after_its_time_one_request_is_let_through() {
    let (outliers, records) = cluster(config(), 4);
    let record = &records[0];
    assert_eq!(record.admit(0), Some(Plain));
    fail(&outliers, record, 0).unwrap();
    assert_eq!(record.admit(30 * SECOND - 1), None);
    assert_eq!(record.fitness(30 * SECOND), HealthStatus::Healthy);
    assert_eq!(record.admit(30 * SECOND), Some(Trial));
    assert_eq!(record.fitness(30 * SECOND), HealthStatus::Probation);
    assert_eq!(record.admit(30 * SECOND), None);
    // What others did before says nothing of the trial.
    for outcome in [Success, Failure, Gateway] {
        assert_eq!(outliers.report(record, Plain, outcome, 31 * SECOND), None);
    }
    assert_eq!(record.fitness(31 * SECOND), HealthStatus::Probation);
    let epoch = outliers.epoch();
    assert_eq!(outliers.report(record, Trial, Success, 32 * SECOND), None);
    assert_eq!(record.fitness(32 * SECOND), HealthStatus::Healthy);
    assert_eq!((outliers.ejected(), record.since_us()), (0, 32 * SECOND));
    assert!(outliers.epoch() != epoch);
    assert_eq!(record.admit(32 * SECOND), Some(Plain));
    let again = fail(&outliers, record, 33 * SECOND).unwrap();
    assert_eq!((again.number, again.until_us), (2, 93 * SECOND));
}

#[test]
fn a_trial_that_fails_ejects_at_once_and_for_longer() {
    let (outliers, records) = cluster(config(), 4);
    let record = &records[0];
    let mut ejection = fail(&outliers, record, 0).unwrap();
    let mut now = 0;
    for number in 2..15 {
        assert_eq!(
            ejection.until_us,
            now + SECOND * (30 * (number - 1)).min(300)
        );
        now = ejection.until_us;
        assert_eq!(record.admit(now), Some(Trial));
        ejection = outliers.report(record, Trial, Gateway, now).unwrap();
        assert_eq!(ejection.cause, Cause::Trial);
        assert_eq!(u64::from(ejection.number), number);
        assert_eq!(outliers.ejected(), 1);
    }
}

#[test]
fn a_trial_that_tells_nothing_is_followed_by_another() {
    let (outliers, records) = cluster(config(), 4);
    let record = &records[0];
    fail(&outliers, record, 0).unwrap();
    let now = 40 * SECOND;
    assert_eq!(record.admit(now), Some(Trial));
    assert_eq!(outliers.report(record, Trial, Unknown, now), None);
    assert_eq!(record.fitness(now), HealthStatus::Healthy);
    assert_eq!(record.admit(now), Some(Trial));
    // Nothing is ever heard of this one.
    assert_eq!(record.admit(70 * SECOND - 1), None);
    assert_eq!(record.admit(70 * SECOND), Some(Trial));
    assert_eq!(outliers.report(record, Trial, Success, 71 * SECOND), None);
    assert_eq!(outliers.ejected(), 0);
    // The first one after all: one failure, as any other.
    assert_eq!(outliers.report(record, Trial, Failure, 72 * SECOND), None);
    assert_eq!(record.fitness(72 * SECOND), HealthStatus::Healthy);
}

#[test]
fn no_more_than_the_largest_part_is_ejected() {
    let settings = Outlier {
        most: Share::percent(39.9),
        ..config()
    };
    let (outliers, mut records) = cluster(settings, 10);
    let ejected = records
        .iter()
        .filter(|record| fail(&outliers, record, 0).is_some())
        .count();
    assert_eq!((ejected, outliers.ejected()), (3, 3));
    // As soon as there is room, the next failure is enough.
    assert_eq!(records[0].admit(30 * SECOND), Some(Trial));
    assert_eq!(
        outliers.report(&records[0], Trial, Success, 30 * SECOND),
        None
    );
    let report = |at: usize| outliers.report(&records[at], Plain, Failure, 31 * SECOND);
    assert!(report(9).is_some() && report(8).is_none());
    // Who leaves takes its place along; of the nine that are left, three may be ejected.
    drop(records.remove(9));
    assert_eq!(outliers.ejected(), 2);
    let report = |at: usize| outliers.report(&records[at], Plain, Failure, 31 * SECOND);
    assert!(report(8).is_some() && report(7).is_none());
}

#[test]
fn one_may_always_be_ejected() {
    let settings = Outlier {
        most: Share::NONE,
        ..config()
    };
    let (outliers, records) = cluster(settings, 1);
    assert!(fail(&outliers, &records[0], 0).is_some());
    let other = outliers.join(0);
    assert!(fail(&outliers, &other, 0).is_none());
}

#[test]
fn ejections_are_forgiven_while_all_is_well() {
    let (outliers, records) = cluster(config(), 4);
    let record = &records[0];
    let mut now = fail(&outliers, record, 0).unwrap().until_us;
    record.admit(now);
    now = outliers
        .report(record, Trial, Failure, now)
        .unwrap()
        .until_us;
    let all: Vec<&Record> = records.iter().collect();
    outliers.sweep(now, &all);
    record.admit(now);
    outliers.report(record, Trial, Success, now);
    // Less than an interval, then one.
    outliers.sweep(now + 5 * SECOND, &all);
    outliers.sweep(now + 15 * SECOND, &all);
    assert_eq!(fail(&outliers, record, now).unwrap().number, 2);
}

#[test]
fn a_sweep_is_due_once_per_interval() {
    let (outliers, _) = cluster(config(), 0);
    let due = |seconds: u64| outliers.is_due(seconds * SECOND);
    assert!(!due(100), "the first interval begins");
    assert!(!due(109));
    assert!(due(110) && !due(110) && !due(119));
    let told: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..100).filter(|_| due(130)).count()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(told, 1);
}

#[test]
fn a_low_success_rate_ejects() {
    let settings = Outlier {
        consecutive: 0,
        success_rate: Some(SuccessRate {
            hosts: 5,
            requests: 100,
            deviation: 1900,
        }),
        ..config()
    };
    let (outliers, records) = cluster(settings, 10);
    let all: Vec<&Record> = records.iter().collect();
    let interval = |rate_of: &dyn Fn(usize) -> (u32, u32)| {
        for (at, record) in records.iter().enumerate() {
            let (requests, failures) = rate_of(at);
            for n in 0..requests {
                let outcome = if n < failures { Failure } else { Success };
                assert_eq!(outliers.report(record, Plain, outcome, 0), None);
            }
        }
        let ejected = outliers.sweep(10 * SECOND, &all);
        ejected
            .into_iter()
            .map(|(at, one)| (at, one.cause))
            .collect::<Vec<_>>()
    };
    assert_eq!(interval(&|_| (100, 50)), [], "they are all the same");
    assert_eq!(
        interval(&|at| if at == 4 { (99, 99) } else { (100, 1) }),
        [],
        "too few requests"
    );
    assert_eq!(
        interval(&|at| (if at < 4 { 100 } else { 0 }, u32::from(at == 0) * 50)),
        [],
        "too few hosts"
    );
    let found = interval(&|at| (100, if at == 4 { 50 } else { 1 }));
    assert_eq!(found, [(4, Cause::SuccessRate)]);
    assert_eq!(records[4].fitness(20 * SECOND), HealthStatus::Unhealthy);
    assert_eq!(interval(&|_| (100, 0)), []);
}

/// Under many threads: never more ejected than allowed, never two trials of one endpoint, and the count
/// is that of the records.
#[test]
fn places_and_trials_are_exact_under_threads() {
    const ENDPOINTS: usize = 20;
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 60;
    let settings = Outlier {
        ejection: Duration::from_secs(1),
        longest: Duration::from_secs(1),
        most: Share::percent(30.0),
        ..config()
    };
    let (outliers, records) = cluster(settings, ENDPOINTS);
    let on_trial: Vec<AtomicU32> = (0..ENDPOINTS).map(|_| AtomicU32::new(0)).collect();
    let (ejections, trials) = (AtomicU32::new(0), AtomicU32::new(0));
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (outliers, records, on_trial) = (&outliers, &records, &on_trial);
            let (ejections, trials, barrier) = (&ejections, &trials, &barrier);
            scope.spawn(move || {
                let mut random = numbers(thread);
                for round in 1..=ROUNDS {
                    // Every round is one moment, at which the ejections of the last one end.
                    barrier.wait();
                    for _ in 0..500 {
                        let at = (random() % ENDPOINTS as u64) as usize;
                        let Some(admission) = records[at].admit(round * SECOND) else {
                            continue;
                        };
                        if admission == Trial {
                            assert_eq!(on_trial[at].fetch_add(1, SeqCst), 0);
                            trials.fetch_add(1, SeqCst);
                            on_trial[at].fetch_sub(1, SeqCst);
                        }
                        let outcome = if random().is_multiple_of(3) {
                            Success
                        } else {
                            Failure
                        };
                        let ejection =
                            outliers.report(&records[at], admission, outcome, round * SECOND);
                        ejections.fetch_add(u32::from(ejection.is_some()), SeqCst);
                        assert!(outliers.ejected() <= 6);
                    }
                }
            });
        }
    });
    let ejected = records.iter().filter(|record| !record.is_in_use()).count();
    assert_eq!(outliers.ejected() as usize, ejected);
    let (ejections, trials) = (ejections.into_inner(), trials.into_inner());
    assert!(ejections > 100 && trials > 100, "{ejections}, {trials}");
    drop(records);
    assert_eq!(outliers.ejected(), 0);
}

#[test]
fn of_two_workers_that_eject_one_is_faster() {
    let (outliers, records) = cluster(config(), 10);
    // Both have seen the endpoint in use, and a failure too many.
    let eject = || outliers.eject(&records[0], Cause::Consecutive, SECOND);
    assert_eq!(eject().map(|ejection| ejection.number), Some(1));
    assert_eq!(eject(), None);
    assert_eq!(outliers.ejected(), 1, "the second gives its place back");
    assert_eq!(records[0].admit(31 * SECOND), Some(Trial));
    outliers.report(&records[0], Trial, Success, 31 * SECOND);
    assert_eq!(outliers.ejected(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Begin(usize),
    End(usize, Outcome),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop::sample::select(vec![Success, Failure, Failure, Gateway, Unknown]);
    prop_oneof![
        1 => (0..40 * SECOND).prop_map(Step::Pass),
        8 => (0..5_usize).prop_map(Step::Begin),
        8 => (0..8_usize, outcome).prop_map(|(which, outcome)| Step::End(which, outcome)),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    /// Whatever happens in whatever order: nothing gets through before the time of an ejection is over, then
    /// one request at a time, and no more are ejected than may be.
    #[test]
    fn an_ejected_endpoint_gets_nothing_but_its_trial(steps in prop::collection::vec(step(), 1..200)) {
        let (outliers, records) = cluster(config(), 5);
        let all: Vec<&Record> = records.iter().collect();
        let mut now = 1;
        let mut in_flight: Vec<(usize, Admission)> = Vec::new();
        // When each one's ejection ends, and when its trial began.
        let mut until = [None::<u64>; 5];
        let mut trial = [None::<u64>; 5];
        for step in steps {
            match step {
                Step::Pass(time) => now += time,
                Step::Begin(at) => {
                    let fit = records[at].fitness(now) == HealthStatus::Healthy;
                    let admitted = records[at].admit(now);
                    prop_assert_eq!(admitted.is_some(), fit);
                    match (admitted, until[at]) {
                        (Some(Plain), ejected) => prop_assert_eq!(ejected, None),
                        (Some(Trial), ejected) => {
                            prop_assert!(ejected.is_some_and(|until| until <= now));
                            // Another one only if nothing was heard of the last for 30 s.
                            prop_assert!(trial[at].is_none_or(|began| now >= began + 30 * SECOND));
                            trial[at] = Some(now);
                        }
                        (None, ejected) => prop_assert!(ejected.is_some()),
                    }
                    in_flight.extend(admitted.map(|admission| (at, admission)));
                }
                Step::End(which, outcome) => {
                    if which >= in_flight.len() {
                        continue;
                    }
                    let (at, admission) = in_flight.remove(which);
                    let was_ejected = until[at].is_some();
                    let ejection = outliers.report(&records[at], admission, outcome, now);
                    if admission == Trial && trial[at].is_some() {
                        trial[at] = None;
                        if outcome == Success {
                            until[at] = None;
                        }
                    }
                    if let Some(ejection) = ejection {
                        prop_assert!(matches!(outcome, Failure | Gateway));
                        prop_assert_eq!(was_ejected, ejection.cause == Cause::Trial);
                        prop_assert!(ejection.until_us >= now + 30 * SECOND);
                        until[at] = Some(ejection.until_us);
                    }
                }
                Step::Sweep => prop_assert!(outliers.sweep(now, &all).is_empty()),
            }
            let ejected = until.iter().flatten().count();
            prop_assert_eq!(outliers.ejected() as usize, ejected);
            prop_assert!(ejected <= 2);
        }
    }
}
