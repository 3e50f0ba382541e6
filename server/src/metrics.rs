//! Metrics, declared once. Names are stable; `docs/design.md` lists them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::health::{Health, Refusal};

/// What the server counts.
pub struct Metrics {
    registry: Registry,
    submissions: Family<OutcomeLabel, Counter>,
    tree_size: Gauge,
    batch_entries: Histogram,
    batch_seconds: Histogram,
    free_disk: Gauge<u64, AtomicU64>,
    pool_depth: Gauge,
    latched: Gauge,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("treering"),
            submissions: Family::default(),
            tree_size: Gauge::default(),
            batch_entries: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            batch_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            free_disk: Gauge::default(),
            pool_depth: Gauge::default(),
            latched: Gauge::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let mut add = |name: &str, help: &str, metric: Box<dyn prometheus_client::registry::Metric>| {
            registry.register(name, help, metric);
        };
        add("submissions", "Submissions by outcome", Box::new(self.submissions.clone()));
        add("tree_size", "Entries that are published", Box::new(self.tree_size.clone()));
        add("batch_entries", "Entries in a batch", Box::new(self.batch_entries.clone()));
        add(
            "batch_seconds",
            "Time from taking a batch to waking its submitters",
            Box::new(self.batch_seconds.clone()),
        );
        add("free_disk_bytes", "Room left for the data directory", Box::new(self.free_disk.clone()));
        add("pool_depth", "Entries on their way", Box::new(self.pool_depth.clone()));
        add(
            "latched",
            "1 when the log is read-only until a restart; must stay 0",
            Box::new(self.latched.clone()),
        );
        self
    }

    /// Counts a submission by its outcome, a stable label.
    pub fn submission(&self, outcome: &'static str) {
        self.submissions.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Notes a published batch.
    pub fn batch(&self, entries: usize, tree_size: u64, took: Duration) {
        self.batch_entries.observe(entries as f64);
        self.batch_seconds.observe(took.as_secs_f64());
        self.tree_size.set(i64::try_from(tree_size).unwrap_or(i64::MAX));
    }

    /// Notes the room left for the data directory, in bytes.
    pub fn free_disk(&self, bytes: u64) {
        self.free_disk.set(bytes);
    }

    /// The OpenMetrics text.
    pub fn render(&self, pool_depth: usize, tree_size: u64, health: &Health) -> String {
        self.pool_depth.set(i64::try_from(pool_depth).unwrap_or(i64::MAX));
        self.tree_size.set(i64::try_from(tree_size).unwrap_or(i64::MAX));
        let latched = matches!(health.refusal(), Some(Refusal::Latched(..)));
        self.latched.set(i64::from(latched));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string does not fail");
        text
    }
}
