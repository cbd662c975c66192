//! Reads which endpoints are fit for requests, from DestinationRules and DestinationPolicies:
//! probes, outliers, warm-up, retry budgets.

use std::time::Duration;

use meltemi_config::{
    HealthCheck, Outlier, Probe, Problem, RetryBudget, Share, SuccessRate, Warmup,
};
use meltemi_frame::Session;

use crate::yaml::Cursor;

/// The `outlierDetection` of a DestinationRule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detection {
    pub(crate) outlier: Outlier,
    /// Below this share of fit endpoints, all endpoints count as fit.
    pub(crate) panic: Share,
}

impl Detection {
    pub(super) fn read(here: &Cursor<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        if !here.exists() {
            return None;
        }
        let mut outlier = Outlier::default();
        let old = here.at("consecutiveErrors");
        let (any, gateway) = (
            here.at("consecutive5xxErrors"),
            here.at("consecutiveGatewayErrors"),
        );
        if let Some(number) = old.number() {
            if any.exists() || gateway.exists() {
                problems.push(
                    old.error("its successors are given, too")
                        .remedy("use only consecutive5xxErrors and consecutiveGatewayErrors"),
                );
            }
            // As in Istio: only gateway failures count.
            outlier.consecutive = 0;
            outlier.consecutive_gateway = number;
        }
        outlier.consecutive = any.number().unwrap_or(outlier.consecutive);
        outlier.consecutive_gateway = gateway.number().unwrap_or(outlier.consecutive_gateway);
        let local = here.at("consecutiveLocalOriginFailures");
        if here.at("splitExternalLocalOriginErrors").flag() == Some(true) {
            // If the number is missing or zero, Envoy's default applies.
            let number = local.number().filter(|number| *number > 0).unwrap_or(5);
            outlier.consecutive_gateway = match outlier.consecutive_gateway {
                0 => number,
                other => other.min(number),
            };
        } else if local.exists() {
            problems.push(
                local
                    .error("has an effect only with splitExternalLocalOriginErrors: true")
                    .remedy("add that, or use consecutiveGatewayErrors"),
            );
        }
        outlier.interval = here.at("interval").duration().unwrap_or(outlier.interval);
        let ejection = here.at("baseEjectionTime").duration();
        outlier.ejection = ejection.unwrap_or(outlier.ejection);
        outlier.longest = outlier.longest.max(outlier.ejection);
        let most = here.at("maxEjectionPercent");
        // Zero means Istio's default.
        if let Some(share) = most.percent().filter(|share| *share > Share::NONE) {
            outlier.most = share;
        }
        Some(Self {
            outlier,
            panic: here.at("minHealthPercent").percent().unwrap_or(Share::NONE),
        })
    }
}

/// Overrides the settings of a DestinationRule with our own `outlier`.
pub(super) fn outlier(here: &Cursor<'_>, below: Option<Outlier>) -> Option<Outlier> {
    if !here.exists() {
        return below;
    }
    let mut all = below.unwrap_or_default();
    let time = |field: &str, place: &mut Duration| {
        *place = here.at(field).duration().unwrap_or(*place);
    };
    let count = |field: &str, place: &mut u32| {
        *place = here.at(field).number().unwrap_or(*place);
    };
    count("consecutiveErrors", &mut all.consecutive);
    count("consecutiveGatewayErrors", &mut all.consecutive_gateway);
    time("interval", &mut all.interval);
    time("baseEjectionTime", &mut all.ejection);
    all.longest = all.longest.max(all.ejection);
    time("maxEjectionTime", &mut all.longest);
    all.most = here.at("maxEjectionPercent").percent().unwrap_or(all.most);
    let rate = here.at("successRate");
    if rate.exists() {
        all.success_rate = Some(SuccessRate {
            hosts: rate.at("minimumHosts").number().unwrap_or(5),
            requests: rate.at("requestVolume").number().unwrap_or(100),
            deviation: rate.at("stdevFactor").thousandths().unwrap_or(1900),
        });
    }
    Some(all)
}

/// Reads a `healthCheck`.
pub(super) fn health(here: &Cursor<'_>, problems: &mut Vec<Problem>) -> Option<HealthCheck> {
    if !here.exists() {
        return None;
    }
    let probe = here.at("probe");
    let call = probe.at("call");
    if call.text() == Some("") {
        problems.push(call.error("is empty").remedy("name the operation to call"));
    }
    let time = |field: &str, seconds: u64| {
        let written = here.at(field).duration();
        written.unwrap_or(Duration::from_secs(seconds))
    };
    Some(HealthCheck {
        probe: match (call.text(), probe.text()) {
            (Some(operation), _) => Probe::Call(operation.to_owned()),
            (None, Some("heartbeat")) => Probe::Heartbeat,
            (None, _) => Probe::Tcp,
        },
        interval: time("interval", 10),
        timeout: time("timeout", 1),
        unhealthy: here.at("unhealthyThreshold").number().unwrap_or(3),
        healthy: here.at("healthyThreshold").number().unwrap_or(2),
        session: Session::default(),
    })
}

/// Reads a `retryBudget`.
pub(super) fn budget(here: &Cursor<'_>) -> Option<RetryBudget> {
    let usual = RetryBudget::default();
    here.exists().then(|| RetryBudget {
        share: here.at("percent").percent().unwrap_or(usual.share),
        least: here
            .at("minRetryConcurrency")
            .number()
            .unwrap_or(usual.least),
    })
}

/// Reads a `warmup`.
pub(super) fn warmup(here: &Cursor<'_>) -> Option<Warmup> {
    Some(Warmup {
        minimum: here
            .at("minimumPercent")
            .percent()
            .unwrap_or(linear(Duration::ZERO).minimum),
        aggression: here.at("aggression").thousandths().unwrap_or(1000),
        ..linear(here.at("duration").duration()?)
    })
}

/// Returns a warm-up of this duration, with default values.
pub(super) const fn linear(duration: Duration) -> Warmup {
    Warmup {
        duration,
        minimum: Share::millionths(100_000),
        aggression: 1000,
    }
}
