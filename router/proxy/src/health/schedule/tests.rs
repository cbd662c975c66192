//! The schedule of probes: first probes, intervals, and reloads.

use meltemi_config::{HealthCheck, Probe};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn target(name: &str, interval: Duration, ports: &[u16]) -> ProbeTarget {
    let mut cluster = Cluster::new(name, Vec::new());
    cluster.health = Some(HealthCheck {
        probe: Probe::Tcp,
        interval,
        timeout: SECOND,
        unhealthy: 3,
        healthy: 2,
        session: Default::default(),
    });
    ProbeTarget {
        cluster: Arc::new(cluster),
        addresses: ports.iter().copied().map(address).collect(),
    }
}

/// Returns the ports that are due. Their probes keep running.
fn turn(schedule: &mut Schedule, now: Instant) -> Vec<(u16, u64)> {
    std::iter::from_fn(|| schedule.next(now))
        .map(|one| (one.address.port(), one.number))
        .collect()
}

#[test]
fn endpoints_are_probed_at_once_and_then_by_the_interval() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    schedule.replace(&[target("a", 10 * SECOND, &[1, 2, 2])], start);
    let first = turn(&mut schedule, start);
    assert_eq!(
        first,
        [(1, 1), (2, 2)],
        "each once, though one is listed twice"
    );
    assert_eq!(schedule.wakes(), None, "both are under way");

    let answered = start + SECOND / 2;
    for (chance, expected) in [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)] {
        let mut schedule = Schedule::default();
        schedule.replace(&[target("a", 10 * SECOND, &[1])], start);
        turn(&mut schedule, start);
        let whose = schedule.probed(1, answered, chance).unwrap();
        assert_eq!((&*whose.cluster.name, whose.address), ("a", address(1)));
        let wakes = schedule.wakes().unwrap() - start;
        assert!((wakes.as_secs_f64() - expected).abs() < 1e-6, "{wakes:?}");
        let due = start + wakes;
        assert!(turn(&mut schedule, due - SECOND / 1000).is_empty());
        assert_eq!(turn(&mut schedule, due), [(1, 1)]);
    }
}

#[test]
fn a_slow_answer_delays_the_next_probe_and_adds_none() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    schedule.replace(&[target("a", SECOND, &[1])], start);
    turn(&mut schedule, start);
    let late = start + 30 * SECOND;
    assert!(turn(&mut schedule, late).is_empty(), "it is under way");
    schedule.probed(1, late, 0.5).unwrap();
    assert!(
        schedule.probed(1, late, 0.5).is_none(),
        "it has ended already"
    );
    assert_eq!(turn(&mut schedule, late), [(1, 1)]);
}

#[test]
fn who_stays_keeps_its_turn_and_who_goes_is_forgotten() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    let tens = |ports: &[u16]| [target("a", 10 * SECOND, ports)];
    schedule.replace(&tens(&[1, 2, 3]), start);
    turn(&mut schedule, start);
    for number in [1, 2] {
        schedule.probed(number, start, 0.5).unwrap();
    }
    let soon = start + SECOND;
    let gone = schedule.replace(&tens(&[1, 4]), soon);
    assert_eq!(gone.len(), 2, "{gone:?}");
    assert!(gone.contains(&2) && gone.contains(&3), "{gone:?}");
    assert_eq!(turn(&mut schedule, soon), [(4, 4)], "the new one at once");
    assert!(schedule.probed(3, soon, 0.5).is_none(), "it is not wanted");
    assert!(
        schedule.probed(1, soon, 0.5).is_none(),
        "it is not under way"
    );

    // The endpoint returns while its last probe is still running: it is a new entry.
    schedule.replace(&tens(&[1, 3, 4]), soon);
    assert_eq!(turn(&mut schedule, soon), [(3, 5)]);
    assert!(schedule.probed(3, soon, 0.5).is_none());
    assert!(schedule.probed(5, soon, 0.5).is_some());

    assert_eq!(turn(&mut schedule, start + 10 * SECOND), [(1, 1)]);
    assert_eq!(schedule.replace(&[], soon).len(), 3);
    assert_eq!(schedule.wakes(), None);
}

#[test]
fn a_reload_may_shorten_an_interval_and_end_the_checks_of_a_cluster() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    schedule.replace(&[target("a", 3600 * SECOND, &[1])], start);
    turn(&mut schedule, start);
    schedule.probed(1, start, 0.5).unwrap();
    schedule.replace(&[target("a", 5 * SECOND, &[1])], start + SECOND);
    assert_eq!(schedule.wakes(), Some(start + 6 * SECOND));

    let mut unchecked = Cluster::new("a", Vec::new());
    unchecked.health = None;
    let unchecked = ProbeTarget {
        cluster: Arc::new(unchecked),
        addresses: vec![address(1)],
    };
    assert_eq!(schedule.replace(&[unchecked], start), [1]);
    assert_eq!(schedule.wakes(), None);
}

#[test]
fn no_interval_is_too_short_or_too_long() {
    for (configured, at_least) in [(Duration::ZERO, LEAST), (Duration::MAX, LONGEST)] {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.replace(&[target("a", configured, &[1])], start);
        turn(&mut schedule, start);
        schedule.probed(1, start, 1.0).unwrap();
        assert!(schedule.wakes().unwrap() >= start + at_least);
    }
}
