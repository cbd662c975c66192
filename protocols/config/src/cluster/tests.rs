//! What clusters refuse, and localities as text.

use super::*;
use crate::{Config, Probe, SuccessRate};

fn fields(change: impl FnOnce(&mut Cluster)) -> Vec<String> {
    let mut cluster = Cluster::new("c", Vec::new());
    change(&mut cluster);
    match Config::new(Vec::new(), vec![cluster]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|one| one.field).collect(),
    }
}

#[test]
fn fitness_with_which_nothing_could_be_done_is_refused() {
    let check = HealthCheck {
        probe: Probe::Tcp,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        unhealthy: 1,
        healthy: 1,
        session: Default::default(),
    };
    let rate = SuccessRate {
        hosts: 1,
        requests: 1,
        deviation: 1,
    };
    let warmup = Warmup {
        duration: Duration::from_secs(1),
        minimum: Share::NONE,
        aggression: 1,
    };
    let least = |cluster: &mut Cluster| {
        cluster.health = Some(check.clone());
        cluster.outlier = Some(Outlier {
            success_rate: Some(rate),
            ..Outlier::default()
        });
        cluster.warmup = Some(warmup);
        let nowhere = Locality::default();
        cluster.localities.shares = vec![(nowhere.clone(), 0), (nowhere, 1)];
    };
    assert!(fields(least).is_empty());
    let zero = fields(|cluster| {
        cluster.health = Some(HealthCheck {
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            unhealthy: 0,
            healthy: 0,
            session: Default::default(),
            ..check.clone()
        });
        cluster.outlier = Some(Outlier {
            interval: Duration::ZERO,
            ejection: Duration::ZERO,
            success_rate: Some(SuccessRate {
                hosts: 0,
                requests: 0,
                deviation: 0,
            }),
            ..Outlier::default()
        });
        cluster.warmup = Some(Warmup {
            duration: Duration::ZERO,
            aggression: 0,
            ..warmup
        });
        cluster.localities.shares = vec![(Locality::default(), 0)];
    });
    assert_eq!(
        zero,
        [
            "healthCheck.interval",
            "healthCheck.timeout",
            "healthCheck.unhealthyThreshold",
            "healthCheck.healthyThreshold",
            "outlier.interval",
            "outlier.baseEjectionTime",
            "outlier.successRate.minimumHosts",
            "outlier.successRate.requestVolume",
            "outlier.successRate.stdevFactor",
            "warmup.duration",
            "warmup.aggression",
            "localities",
        ]
    );
    let short = fields(|cluster| {
        cluster.outlier = Some(Outlier {
            longest: Duration::from_secs(1),
            ..Outlier::default()
        });
    });
    assert_eq!(short, ["outlier.maxEjectionTime"]);
}

#[test]
fn localities_are_read_as_they_are_written() {
    let read = Locality::parse("eu/a/1/x");
    assert_eq!((read.region.as_str(), read.subzone.as_str()), ("eu", "1/x"));
    for text in ["", "eu", "eu/a", "eu/a/1"] {
        let locality = Locality::parse(text);
        assert_eq!(locality.to_string(), text);
        assert_eq!(locality.is_unknown(), text.is_empty());
    }
}
