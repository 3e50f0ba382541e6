//! Metrics, declared once. Names are stable; `docs/design.md` lists them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::health::Health;

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
    scrubbed: Counter,
    witness_requests: Family<WitnessLabel, Counter>,
    unwitnessed: Counter,
    quorum: Gauge,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct WitnessLabel {
    witness: String,
    outcome: WitnessOutcome,
}

/// What a witness answered.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug, EncodeLabelValue)]
pub enum WitnessOutcome {
    /// A cosignature that verifies.
    Cosigned,
    /// It had cosigned another size, and was asked again from there.
    Conflict,
    /// It does not take this log.
    Refused,
    /// It did not answer, or asked for patience.
    Unavailable,
    /// An answer without a cosignature that verifies, or with a time far from the log's.
    BadSignature,
    /// It knows another tree than this log, or says so; must stay 0.
    Contradiction,
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
            scrubbed: Counter::default(),
            witness_requests: Family::default(),
            unwitnessed: Counter::default(),
            quorum: Gauge::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let all = &mut self.registry;
        all.register("submissions", "Submissions by outcome", self.submissions.clone());
        all.register("tree_size", "Entries that are published", self.tree_size.clone());
        all.register("batch_entries", "Entries in a batch", self.batch_entries.clone());
        let help = "Time from taking a batch to waking its submitters";
        all.register("batch_seconds", help, self.batch_seconds.clone());
        let help = "Room left for the data directory";
        all.register("free_disk_bytes", help, self.free_disk.clone());
        all.register("pool_depth", "Entries on their way", self.pool_depth.clone());
        let help = "1 when the log is read-only until a restart; must stay 0";
        all.register("latched", help, self.latched.clone());
        let help = "Entry tiles that were read again and found unchanged";
        all.register("scrubbed_tiles", help, self.scrubbed.clone());
        let help = "Answers of witnesses; outcome Contradiction must stay 0";
        all.register("witness_requests", help, self.witness_requests.clone());
        let help = "Checkpoints published without the quorum of witnesses; 0 unless failing open";
        all.register("unwitnessed_checkpoints", help, self.unwitnessed.clone());
        let help = "1 when the quorum of witnesses cosigned the newest checkpoint";
        all.register("witness_quorum", help, self.quorum.clone());
        self
    }

    /// Counts an answer of the witness with this name.
    pub fn witness(&self, name: &str, outcome: WitnessOutcome) {
        let label = WitnessLabel { witness: name.to_owned(), outcome };
        self.witness_requests.get_or_create(&label).inc();
    }

    /// Notes whether the quorum of witnesses stands behind the newest checkpoint.
    pub fn quorum(&self, is_met: bool) {
        self.quorum.set(i64::from(is_met));
    }

    /// Counts a checkpoint that was published without the quorum of witnesses.
    pub fn unwitnessed(&self) {
        self.unwitnessed.inc();
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

    /// Counts a tile that was read again and found unchanged.
    pub fn scrubbed(&self) {
        self.scrubbed.inc();
    }

    /// Notes the room left for the data directory, in bytes.
    pub fn free_disk(&self, bytes: u64) {
        self.free_disk.set(bytes);
    }

    /// The OpenMetrics text.
    pub fn render(&self, pool_depth: usize, tree_size: u64, health: &Health) -> String {
        self.pool_depth.set(i64::try_from(pool_depth).unwrap_or(i64::MAX));
        self.tree_size.set(i64::try_from(tree_size).unwrap_or(i64::MAX));
        self.latched.set(i64::from(health.is_latched()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string does not fail");
        text
    }
}
