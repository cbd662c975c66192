//! Metrics. Each counter is written by one worker only, so the data path needs no locked
//! instructions. A scrape adds up the counters of all workers. The list of metrics is in
//! `families`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to the counter. Only the owning worker may call this.
    pub fn add(&self, more: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(more),
            Ordering::Relaxed,
        );
    }

    /// Adds to the counter with an atomic operation. Either all writers of a counter use this, or
    /// none.
    pub(crate) fn add_shared(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Returns the value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The value only grows.
    Counter,
    /// The value goes up and down.
    Gauge,
}

/// One metric of a family.
#[derive(Debug)]
pub struct Metric {
    /// The name. Counters get the suffix `_total`.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The type.
    pub form: Form,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        help,
        form: Form::Counter,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        help,
        form: Form::Gauge,
    }
}

/// Metrics that share their labels.
#[derive(Debug)]
pub struct Family {
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The metrics.
    pub metrics: &'static [Metric],
    /// A histogram of durations in seconds, if the family has one.
    pub histogram: Option<(&'static str, &'static str)>,
}

#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    clippy::upper_case_acronyms
)]
mod families;

pub use families::{
    ACCESS_LOG, CLUSTER, FAMILIES, FAULTS, GLOBAL_LIMIT, HEALTH, LISTENER, OPERATION, ROUTE, SPANS,
};
pub(crate) use families::{
    access_log, cluster, faults, global_limit, health, listener, operation, route, spans,
};

/// Upper bounds of the duration histogram, in microseconds.
const BOUNDS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The counters of one family for one set of label values, written by one worker.
#[derive(Debug)]
pub struct MetricSet {
    family: &'static Family,
    labels: Box<[Arc<str>]>,
    counts: Box<[Count]>,
    /// One count per bound and one for larger values, then the sum in microseconds.
    durations: Box<[Count]>,
}

impl MetricSet {
    pub(crate) fn add(&self, index: usize, more: u64) {
        if let Some(count) = self.counts.get(index) {
            count.add(more);
        }
    }

    /// Adds to a counter that several threads write.
    pub(crate) fn add_shared(&self, index: usize, more: u64) {
        if let Some(count) = self.counts.get(index) {
            count.add_shared(more);
        }
    }

    pub(crate) fn subtract(&self, index: usize, less: u64) {
        self.add(index, less.wrapping_neg());
    }

    pub(crate) fn observe(&self, micros: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        if let Some(count) = self.durations.get(bucket) {
            count.add(1);
        }
        if let Some(sum) = self.durations.last() {
            sum.add(micros);
        }
    }
}

/// All metrics of the process.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Mutex<Vec<Series>>>);

/// How long counters are still shown after their owner is gone, so that rates over the last values
/// can be read.
const GRACE: Duration = Duration::from_secs(300);

/// The counters of one owner.
#[derive(Debug)]
struct Series {
    group: Arc<MetricSet>,
    /// When a sweep first found that the owner is gone.
    gone_since: Option<Instant>,
}

impl Stats {
    /// Creates counters for one worker. The caller keeps them, and must not create the same ones
    /// twice.
    pub(crate) fn group<L: Into<Arc<str>>>(
        &self,
        family: &'static Family,
        labels: impl IntoIterator<Item = L>,
    ) -> Arc<MetricSet> {
        let durations = if family.histogram.is_some() {
            BOUNDS_US.len() + 2
        } else {
            0
        };
        let counts = |length| (0..length).map(|_| Count::default()).collect();
        let group = Arc::new(MetricSet {
            family,
            labels: labels.into_iter().map(Into::into).collect(),
            counts: counts(family.metrics.len()),
            durations: counts(durations),
        });
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Series {
                group: Arc::clone(&group),
                gone_since: None,
            });
        group
    }

    /// Drops the counters whose owners have been gone for `grace` at `now`.
    fn prune(&self, now: Instant, grace: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|series| {
            // Only this list still holds the counters.
            if Arc::strong_count(&series.group) > 1 {
                series.gone_since = None;
                return true;
            }
            let since = *series.gone_since.get_or_insert(now);
            now.saturating_duration_since(since) < grace
        });
        all.shrink_to_fit();
    }

    /// Drops the counters whose owners have been gone for [`GRACE`].
    pub(crate) fn sweep(&self) {
        self.prune(Instant::now(), GRACE);
    }

    /// Returns the sums over all workers, by family and label values.
    fn sums(&self, family: &'static Family) -> BTreeMap<Vec<String>, (Vec<u64>, Vec<u64>)> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = BTreeMap::new();
        for group in groups
            .iter()
            .map(|series| &series.group)
            .filter(|group| std::ptr::eq(group.family, family))
        {
            let labels = group.labels.iter().map(ToString::to_string).collect();
            let entry = sums.entry(labels).or_insert_with(|| {
                (
                    vec![0_u64; group.counts.len()],
                    vec![0_u64; group.durations.len()],
                )
            });
            for (sum, count) in entry.0.iter_mut().zip(&group.counts) {
                *sum = sum.wrapping_add(count.value());
            }
            for (sum, count) in entry.1.iter_mut().zip(&group.durations) {
                *sum = sum.wrapping_add(count.value());
            }
        }
        sums
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn prometheus(&self) -> String {
        self.sweep();
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        // Writing to a String cannot fail. An incomplete page is better than none.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }

    /// Returns the sums of one metric by label values, for tests, the demo and `/clusters`.
    pub fn values(&self, metric: &str) -> BTreeMap<Vec<String>, u64> {
        for family in FAMILIES {
            if let Some(at) = family
                .metrics
                .iter()
                .position(|candidate| candidate.name == metric)
            {
                let sums = self.sums(family).into_iter();
                return sums
                    .map(|(labels, (counts, _))| (labels, counts.get(at).copied().unwrap_or(0)))
                    .collect();
            }
        }
        BTreeMap::new()
    }
}

impl Collector for Stats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in FAMILIES {
            let sums: Vec<_> = self
                .sums(family)
                .into_iter()
                .map(|(labels, values)| {
                    let pairs: Vec<(String, String)> = family
                        .labels
                        .iter()
                        .map(ToString::to_string)
                        .zip(labels)
                        .collect();
                    (pairs, values)
                })
                .collect();
            if sums.is_empty() {
                continue;
            }
            for (at, metric) in family.metrics.iter().enumerate() {
                let form = match metric.form {
                    Form::Counter => MetricType::Counter,
                    Form::Gauge => MetricType::Gauge,
                };
                let mut described =
                    encoder.encode_descriptor(metric.name, metric.help, None, form)?;
                for (labels, (counts, _)) in &sums {
                    let value = counts.get(at).copied().unwrap_or(0);
                    let mut one = described.encode_family(labels)?;
                    match metric.form {
                        Form::Counter => {
                            one.encode_counter::<prometheus_client::encoding::NoLabelSet, u64, u64>(
                                &value, None,
                            )?;
                        }
                        // Each worker's part of a shared gauge may be negative.
                        Form::Gauge => one.encode_gauge(&value.cast_signed())?,
                    }
                }
            }
            if let Some((name, help)) = family.histogram {
                let mut described =
                    encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
                for (labels, (_, durations)) in &sums {
                    let bounds = BOUNDS_US.iter().map(|micros| *micros as f64 / 1e6);
                    let buckets: Vec<(f64, u64)> = bounds
                        .chain([f64::MAX])
                        .zip(durations.iter().copied())
                        .collect();
                    let count = buckets.iter().map(|(_, count)| count).sum();
                    let sum = durations.last().map_or(0.0, |micros| *micros as f64 / 1e6);
                    described
                        .encode_family(labels)?
                        .encode_histogram::<prometheus_client::encoding::NoLabelSet>(
                            sum, count, &buckets, None,
                        )?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the metrics reference, as Markdown.
pub fn reference() -> String {
    let mut text = String::new();
    let mut above = None;
    for family in FAMILIES {
        // Families with the same labels share a table.
        if above.replace(family.labels) != Some(family.labels) {
            let labels = family.labels.join("`, `");
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "\n## By `{labels}`\n\n| metric | type | what |\n|---|---|---|"
            );
        }
        for metric in family.metrics {
            let (suffix, form) = match metric.form {
                Form::Counter => ("_total", "counter"),
                Form::Gauge => ("", "gauge"),
            };
            let _ = writeln!(
                text,
                "| `{}{suffix}` | {form} | {} |",
                metric.name, metric.help
            );
        }
        if let Some((name, help)) = family.histogram {
            let _ = writeln!(text, "| `{name}` | histogram | {help} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_what_is_gone_go_after_a_while() {
        let stats = Stats::default();
        let (kept, start) = (stats.group(&ROUTE, ["l", "kept"]), Instant::now());
        for reload in 0..60 {
            for name in 0..400 {
                let group = stats.group(&ROUTE, ["l".to_owned(), format!("{reload}-{name}")]);
                group.add(route::REQUESTS, 1);
            }
            stats.prune(start, GRACE);
        }
        assert_eq!(stats.values("meltemi_route_requests").len(), 24_001);
        stats.prune(start + GRACE, GRACE);
        let left = stats.values("meltemi_route_requests");
        assert_eq!(left.keys().collect::<Vec<_>>(), [&["l", "kept"]]);
        drop(kept);
    }
}
