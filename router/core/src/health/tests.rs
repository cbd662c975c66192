//! What probes and outcomes make of endpoints, and what a fleet keeps of them.

use std::collections::VecDeque;
use std::time::Duration;

use meltemi_config::{Balancing, Cluster, Locality, Outlier, Probe, Share, Warmup};

use super::*;
use crate::fixture::numbers;
use crate::{Balancer, Endpoints, Host, PickRequest};

use HealthStatus::{Healthy, Probation, Unhealthy};
use Outcome::{Failure, Success};

const SECOND: u64 = 1_000_000;

fn address(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 80).into()
}

fn check() -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        unhealthy: 3,
        healthy: 2,
        session: Default::default(),
    }
}

fn outlier() -> Outlier {
    Outlier {
        most: Share::percent(50.0),
        ..Outlier::default()
    }
}

/// A cluster with probes and outlier detection.
fn watched() -> Cluster {
    let mut cluster = Cluster::new("c", Vec::new());
    cluster.health = Some(check());
    cluster.outlier = Some(outlier());
    cluster
}

fn eject(fleet: &ClusterHealth, vitals: &EndpointHealth, now_us: u64) -> Ejection {
    (0..5)
        .find_map(|_| fleet.report(vitals, Admission::Plain, Failure, now_us))
        .unwrap()
}

#[test]
fn nothing_is_kept_where_nothing_is_configured() {
    let mut cluster = Cluster::new("c", Vec::new());
    assert!(ClusterHealth::new(&cluster).is_none());
    cluster.warmup = Some(Warmup {
        duration: Duration::from_secs(1),
        minimum: Share::NONE,
        aggression: 1000,
    });
    let fleet = ClusterHealth::new(&cluster).unwrap();
    let vitals = fleet.join(address(1), 7);
    assert_eq!((vitals.fitness(8), vitals.since_us()), (Healthy, 7));
    assert_eq!(vitals.admit(8), Some(Admission::Plain));
    assert_eq!(fleet.report(&vitals, Admission::Plain, Failure, 8), None);
    assert_eq!(fleet.probed(&vitals, false, 8), None);
    assert!(vitals.health().is_none() && vitals.record().is_none());
}

#[test]
fn workers_share_what_is_known_until_all_of_them_let_go() {
    let fleet = ClusterHealth::new(&watched()).unwrap();
    let (here, there) = (fleet.join(address(1), 1), fleet.join(address(1), 2));
    assert!(Arc::ptr_eq(&here, &there));
    assert_eq!(here.since_us(), 1);
    eject(&fleet, &here, 0);
    drop(here);
    assert_eq!((there.fitness(1), fleet.ejected()), (Unhealthy, 1));
    drop(there);
    assert_eq!(fleet.ejected(), 0);
    assert_eq!(fleet.join(address(1), 3).fitness(3), Healthy);
}

#[test]
fn probes_and_outcomes_must_both_be_good() {
    let fleet = ClusterHealth::new(&watched()).unwrap();
    let (one, _other) = (fleet.join(address(1), 0), fleet.join(address(2), 0));
    let mut epoch = fleet.epoch();
    let mut changed = || std::mem::replace(&mut epoch, fleet.epoch()) != fleet.epoch();
    assert_eq!(one.fitness(1), Healthy);
    assert_eq!(fleet.probed(&one, true, 1), None);
    assert!(!changed());
    let until = eject(&fleet, &one, SECOND).until_us;
    assert!(changed());
    let probes = [false; 3].map(|ok| fleet.probed(&one, ok, SECOND));
    assert_eq!(probes, [None, None, Some(false)]);
    assert!(changed());
    assert_eq!(
        one.fitness(until),
        Unhealthy,
        "its time is over, but it is not healthy"
    );
    let probes = [true; 2].map(|ok| fleet.probed(&one, ok, until));
    assert_eq!(probes, [None, Some(true)]);
    assert_eq!((one.fitness(until), one.since_us()), (Healthy, until));
    assert_eq!(one.admit(until), Some(Admission::Trial));
    assert_eq!(one.fitness(until), Probation);
    fleet.report(&one, Admission::Trial, Success, until + 5);
    assert_eq!((one.fitness(until), one.since_us()), (Healthy, until + 5));
}

#[test]
fn sweeps_know_all_members() {
    let mut cluster = watched();
    cluster.outlier = Some(Outlier {
        consecutive: 0,
        success_rate: Some(meltemi_config::SuccessRate {
            hosts: 5,
            requests: 10,
            deviation: 1900,
        }),
        ..outlier()
    });
    let fleet = ClusterHealth::new(&cluster).unwrap();
    assert!(fleet.sweep(1).is_empty());
    let members: Vec<_> = (0..8).map(|host| fleet.join(address(host), 0)).collect();
    for (at, member) in members.iter().enumerate() {
        for _ in 0..10 {
            let outcome = if at == 5 { Failure } else { Success };
            fleet.report(member, Admission::Plain, outcome, 2);
        }
    }
    assert!(
        fleet.sweep(9 * SECOND).is_empty(),
        "the interval has not ended"
    );
    let ejections = fleet.sweep(11 * SECOND);
    assert_eq!(ejections.len(), 1);
    assert_eq!(ejections[0].0, address(5));
    assert_eq!(members[5].fitness(12 * SECOND), Unhealthy);
}

/// A cluster as a worker would use it.
struct Worker {
    members: Vec<Arc<EndpointHealth>>,
    now_us: u64,
}

impl Endpoints for Worker {
    fn fitness(&self, at: usize) -> HealthStatus {
        self.members[at].fitness(self.now_us)
    }

    fn load(&self, _: usize) -> u32 {
        1
    }

    fn since_us(&self, at: usize) -> u64 {
        self.members[at].since_us()
    }
}

/// Requests that last 50 ms, one per millisecond for ten minutes; one of six endpoints fails each of
/// them until the sixth minute.
#[test]
fn an_ejected_endpoint_gets_nothing_but_its_trial_requests() {
    for balancing in [
        Balancing::RoundRobin,
        Balancing::LeastRequest,
        Balancing::Random,
    ] {
        let mut cluster = watched();
        cluster.balancing = balancing.clone();
        cluster.panic = Share::percent(50.0);
        let fleet = ClusterHealth::new(&cluster).unwrap();
        let locality = Locality::default();
        let member = Host {
            weight: 1,
            key: 0,
            priority: 0,
            locality: &locality,
        };
        let mut balancer = Balancer::new(&cluster, &[member; 6]);
        let mut worker = Worker {
            members: (0..6).map(|host| fleet.join(address(host), 0)).collect(),
            now_us: 0,
        };
        let mut random = numbers(1);
        let mut in_flight: VecDeque<(u64, usize, Admission)> = VecDeque::new();
        let mut ejections: Vec<(u64, Ejection)> = Vec::new();
        let mut begun: Vec<u64> = Vec::new();
        let (mut minutes, mut trials) = ([0; 10], 0);
        for millisecond in 0..600_000_u64 {
            let now = millisecond * 1000;
            worker.now_us = now;
            while let Some(&(ends, at, admission)) = in_flight.front()
                && ends <= now
            {
                in_flight.pop_front();
                let outcome = if at == 3 && now < 360 * SECOND {
                    Failure
                } else {
                    Success
                };
                let ejection = fleet.report(&worker.members[at], admission, outcome, now);
                ejections.extend(ejection.map(|ejection| (now, ejection)));
            }
            let ask = PickRequest {
                now_us: now,
                epoch: fleet.epoch(),
                ..PickRequest::default()
            };
            let choice = balancer.pick(&ask, &mut random, &worker).unwrap();
            assert!(!choice.panic);
            let admission = worker.members[choice.at].admit(now).unwrap();
            in_flight.push_back((now + 50_000, choice.at, admission));
            fleet.sweep(now);
            if choice.at == 3 {
                begun.push(now);
                minutes[(now / (60 * SECOND)) as usize] += 1;
                trials += usize::from(admission == Admission::Trial);
            }
        }
        // 30 s, 60 s, 90 s, 120 s and 150 s: the trial in the eighth minute succeeds.
        assert_eq!(ejections.len(), 5, "{balancing:?}: {ejections:?}");
        assert_eq!(trials, 5);
        for (began, ejection) in &ejections {
            let during = begun
                .iter()
                .filter(|&&at| *began <= at && at < ejection.until_us);
            assert_eq!(during.count(), 0, "{balancing:?}");
        }
        // Five failures and those that were in flight with them.
        assert!((5..=5 + 50).contains(&minutes[0]), "{minutes:?}");
        assert!(minutes[1..7].iter().sum::<i32>() <= 4, "{minutes:?}");
        assert!(minutes[8] > 8000 && minutes[9] > 8000, "{minutes:?}");
    }
}
