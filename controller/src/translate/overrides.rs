//! Applies a DestinationPolicy to a cluster, over the DestinationRule.

use meltemi_config::{Cluster, Endpoint, Probe, Problem};
use meltemi_frame::{Protocol, Session, Sharing, Spec};

use crate::kinds::{DestinationPolicy, Fallback, Labels};
use crate::yaml::Cursor;

/// Applies a policy to a cluster.
pub(super) fn override_with(
    policy: &DestinationPolicy<'_>,
    protocol: &dyn Protocol,
    cluster: &mut Cluster,
    problems: &mut Vec<Problem>,
) {
    let spec = protocol.spec();
    if let Some((sharing, at)) = &policy.sharing {
        if *sharing == Sharing::Multiplexed && spec.correlation.id_bits().is_none() {
            problems.push(
                at.error(format!("{} has no id to tell requests apart by", spec.name))
                    .remedy("use exclusive or pipelined"),
            );
        } else {
            cluster.sharing = Some(*sharing);
        }
    }
    if let Some((check, at)) = &policy.health {
        problems.extend(impossible(&check.probe, &at.at("probe"), spec));
        let mut check = check.clone();
        check.session = dialect(&check.probe, &at.at("dialect"), protocol, problems);
        cluster.health = Some(check);
    }
    cluster.keepalive = policy.keepalive.unwrap_or(cluster.keepalive);
    if let Some((time, at)) = &policy.session_idle {
        if !cluster.idle_timeout.is_zero() && *time > cluster.idle_timeout {
            problems.push(
                at.warning(format!(
                    "connections do not last that long: without a request they close after {:?}",
                    cluster.idle_timeout
                ))
                .remedy("make it shorter, or the idleTimeout of the DestinationRule longer"),
            );
        }
        cluster.session_idle_timeout = *time;
    }
    cluster.dns_refresh = policy.dns_refresh.unwrap_or(cluster.dns_refresh);
    cluster.outlier = policy.outlier(cluster.outlier, problems);
    cluster.panic = policy.panic.unwrap_or(cluster.panic);
    cluster.budget = policy.budget.unwrap_or(cluster.budget);
    cluster.warmup = policy.warmup.or(cluster.warmup);
    policy.limit(&mut cluster.limits);
}

/// Returns the reason why a protocol does not support this health check; `None` if it does.
fn impossible(probe: &Probe, at: &Cursor<'_>, spec: &Spec) -> Option<Problem> {
    match probe {
        Probe::Heartbeat if !spec.heartbeat => Some(
            at.error(format!("{} has no heartbeat", spec.name))
                .remedy(match spec.probes {
                    true => "use tcp, or {call: <an operation>}",
                    false => "use tcp",
                }),
        ),
        Probe::Call(_) if !spec.probes => Some(
            at.at("call")
                .error(format!("{} cannot make a call of its own", spec.name))
                .remedy(match spec.heartbeat {
                    true => "use tcp or heartbeat",
                    false => "use tcp",
                }),
        ),
        Probe::Call(_) | Probe::Heartbeat | Probe::Tcp => None,
    }
}

/// Returns the dialect of health-check connections, from the first byte on.
fn dialect(
    probe: &Probe,
    at: &Cursor<'_>,
    protocol: &dyn Protocol,
    problems: &mut Vec<Problem>,
) -> Session {
    let Some(name) = at.text() else {
        return Session::default();
    };
    if *probe == Probe::Tcp {
        problems.push(
            at.error("has no effect: the probe tcp sends nothing")
                .remedy("leave it out, or use a probe that sends a request"),
        );
        return Session::default();
    }
    protocol.dialect(name).unwrap_or_else(|what| {
        problems.push(at.error(what));
        Session::default()
    })
}

/// Returns the fallback endpoints of a subset without endpoints.
pub(super) fn fall_back(
    mut all: Vec<Endpoint>,
    policy: Option<&DestinationPolicy<'_>>,
    host: &str,
    at: &Cursor<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Endpoint> {
    let fallback = policy.map_or(&Fallback::Nothing, |policy| &policy.fallback);
    let remedy = match fallback {
        Fallback::Nothing => {
            all.clear();
            "every request to it fails until one has"
        }
        Fallback::Any => "requests to it go to all endpoints until one has (subsetFallback)",
        Fallback::Labels(labels) => {
            all.retain(|endpoint| has(endpoint, labels));
            if all.is_empty() {
                "and none has those of subsetFallback: every request to it fails until one has"
            } else {
                "requests to it go to the endpoints of subsetFallback until one has"
            }
        }
    };
    problems.push(
        at.warning(format!(
            "no endpoint of {host} has the labels of this subset"
        ))
        .remedy(remedy),
    );
    all
}

/// Returns `true` if an endpoint has all of these labels.
pub(super) fn has(endpoint: &Endpoint, labels: &Labels) -> bool {
    labels
        .iter()
        .all(|(label, value)| endpoint.labels.get(label) == Some(value))
}
