//! Metrics, declared once. Names are stable; `docs/operations.md` says what each means, and which
//! must stay 0.
//!
//! Invariant: the values of labels are words of this program or names that the operator configured,
//! never what a client sent: a stranger cannot make the set of series grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::clock;
use crate::health::{Health, LatchReason, Refusal};
use crate::pool::Depth;

/// What the server counts.
pub struct Metrics {
    registry: Registry,
    submissions: Family<OutcomeLabel, Counter>,
    v1_requests: Family<OperationLabel, Counter>,
    tree_size: Gauge,
    batch_entries: Histogram,
    batch_seconds: Histogram,
    free_disk: Gauge<u64, AtomicU64>,
    pool_depth: Gauge,
    listening: Gauge,
    latched: Gauge,
    scrubbed: Counter,
    witness_requests: Family<WitnessLabel, Counter>,
    unwitnessed: Counter,
    quorum: Gauge,
    refusing: Family<ReasonLabel, Gauge>,
    latch_reasons: Family<ReasonLabel, Gauge>,
    denials: Family<ReasonLabel, Counter>,
    rate_refusals: Family<LimitLabel, Counter>,
    journal_failures: Family<ReasonLabel, Counter>,
    selfcheck_failures: Counter,
    sync_seconds: Family<SyncLabel, Histogram, fn() -> Histogram>,
    checkpoint_time: Gauge<f64, AtomicU64>,
    start_time: Gauge<f64, AtomicU64>,
    tls_expiry: Family<CertificateLabel, Gauge<f64, AtomicU64>>,
    tls_reload_failures: Counter,
    timestamps: Family<OutcomeLabel, Counter>,
    timestamp_expiry: Family<CertificateLabel, Gauge<f64, AtomicU64>>,
}

/// What a rate limit is counted by.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug, EncodeLabelValue)]
pub enum Limited {
    /// An address sent too many requests.
    Address,
    /// A principal sent too many requests.
    Principal,
    /// A principal used up what it may add.
    Quota,
}

/// What was put on disk.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug, EncodeLabelValue)]
pub enum Synced {
    /// A batch of entries and all that follows from it.
    Commit,
    /// The anchor.
    Anchor,
    /// The access journal.
    Journal,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
    code: u16,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct LimitLabel {
    by: Limited,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct SyncLabel {
    of: Synced,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct CertificateLabel {
    certificate: &'static str,
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
            v1_requests: Family::default(),
            tree_size: Gauge::default(),
            batch_entries: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            batch_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            free_disk: Gauge::default(),
            pool_depth: Gauge::default(),
            listening: Gauge::default(),
            latched: Gauge::default(),
            scrubbed: Counter::default(),
            witness_requests: Family::default(),
            unwitnessed: Counter::default(),
            quorum: Gauge::default(),
            refusing: Family::default(),
            latch_reasons: Family::default(),
            denials: Family::default(),
            rate_refusals: Family::default(),
            journal_failures: Family::default(),
            selfcheck_failures: Counter::default(),
            sync_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.0001, 2.0, 16))
            }),
            checkpoint_time: Gauge::default(),
            start_time: Gauge::default(),
            tls_expiry: Family::default(),
            tls_reload_failures: Counter::default(),
            timestamps: Family::default(),
            timestamp_expiry: Family::default(),
        };
        metrics.start_time.set(clock::read().wall_ms as f64 / 1000.0);
        metrics.registered().with_every_label().with_operations()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let all = &mut self.registry;
        all.register("submissions", "Submissions by outcome", self.submissions.clone());
        let help = "Requests of the Rekor v1 face, by operation and status";
        all.register("v1_requests", help, self.v1_requests.clone());
        all.register("tree_size", "Entries that are published", self.tree_size.clone());
        all.register("batch_entries", "Entries in a batch", self.batch_entries.clone());
        let help = "Time from taking a batch to waking its submitters";
        all.register("batch_seconds", help, self.batch_seconds.clone());
        let help = "Room left for the data directory";
        all.register("free_disk_bytes", help, self.free_disk.clone());
        all.register("pool_depth", "Entries on their way", self.pool_depth.clone());
        let help = "Clients that listen for what becomes of an entry on its way";
        all.register("pool_listening", help, self.listening.clone());
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

    /// What says how the process is doing, and whom it sends away.
    fn with_operations(mut self) -> Self {
        let all = &mut self.registry;
        let help = "1 for the reason why writes are refused now, if they are";
        all.register("refusing", help, self.refusing.clone());
        let help = "1 for the reason of the latch; all must stay 0";
        all.register("latch_reason", help, self.latch_reasons.clone());
        let help = "Requests refused because of who asked, or who did not say";
        all.register("denials", help, self.denials.clone());
        let help = "Requests refused because there were too many";
        all.register("rate_refusals", help, self.rate_refusals.clone());
        let help = "Journal lines that could not be written; must stay 0";
        all.register("journal_failures", help, self.journal_failures.clone());
        let help = "Batches that read back differently, or tiles that changed; must stay 0";
        all.register("selfcheck_failures", help, self.selfcheck_failures.clone());
        let help = "Time to put something on disk";
        all.register_with_unit("sync", help, Unit::Seconds, self.sync_seconds.clone());
        let help = "When the newest checkpoint was published, Unix time";
        let name = "last_checkpoint_timestamp";
        all.register_with_unit(name, help, Unit::Seconds, self.checkpoint_time.clone());
        let help = "When the process started, Unix time";
        let name = "process_start_time";
        all.register_with_unit(name, help, Unit::Seconds, self.start_time.clone());
        let help = "Times that changed TLS files could not be used; must stay 0";
        all.register("tls_reload_failures", help, self.tls_reload_failures.clone());
        let help = "When the certificate that the server shows expires, Unix time";
        let name = "tls_certificate_expiry_timestamp";
        all.register_with_unit(name, help, Unit::Seconds, self.tls_expiry.clone());
        let help = "Requests for a timestamp by outcome";
        all.register("timestamps", help, self.timestamps.clone());
        let help = "When the log's timestamp authority may sign no more, Unix time";
        let name = "timestamp_certificate_expiry_timestamp";
        all.register_with_unit(name, help, Unit::Seconds, self.timestamp_expiry.clone());
        let (version, sources) = (env!("CARGO_PKG_VERSION"), env!("TREERING_SOURCE_HASH"));
        let build = Info::new(vec![("version", version), ("sources", sources)]);
        all.register("build", "The program that runs", build);
        self
    }

    /// Makes the series that alarms wait for: one that never was cannot be told from one that is 0.
    fn with_every_label(self) -> Self {
        for reason in LatchReason::ALL {
            let _ = self.latch_reasons.get_or_create(&ReasonLabel { reason: reason.label() });
        }
        for reason in Refusal::LABELS {
            let _ = self.refusing.get_or_create(&ReasonLabel { reason });
        }
        for reason in crate::journal::JournalError::LABELS {
            let _ = self.journal_failures.get_or_create(&ReasonLabel { reason });
        }
        for by in [Limited::Address, Limited::Principal, Limited::Quota] {
            let _ = self.rate_refusals.get_or_create(&LimitLabel { by });
        }
        self
    }

    /// Counts a request that was refused because of who asked; `reason` is a stable label.
    pub fn denied(&self, reason: &'static str) {
        self.denials.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a request that was refused because there were too many.
    pub fn rate_refused(&self, by: Limited) {
        self.rate_refusals.get_or_create(&LimitLabel { by }).inc();
    }

    /// Counts a journal line that could not be written, or a sync that failed.
    pub fn journal_failed(&self, error: &crate::journal::JournalError) {
        self.journal_failures.get_or_create(&ReasonLabel { reason: error.label() }).inc();
    }

    /// Counts a self-check or a scrub that found something else than what was written.
    pub fn selfcheck_failed(&self) {
        self.selfcheck_failures.inc();
    }

    /// Notes how long it took to put something on disk.
    pub fn synced(&self, of: Synced, took: Duration) {
        self.sync_seconds.get_or_create(&SyncLabel { of }).observe(took.as_secs_f64());
    }

    /// Notes when the newest checkpoint was published, Unix milliseconds.
    pub fn checkpoint(&self, time_ms: u64) {
        self.checkpoint_time.set(time_ms as f64 / 1000.0);
    }

    /// Notes when the server's certificate expires, Unix seconds, and how often changed files could
    /// not be used.
    pub fn tls(&self, not_after: Option<u64>, reload_failures: u64) {
        if let Some(time) = not_after {
            let label = CertificateLabel { certificate: "server" };
            self.tls_expiry.get_or_create(&label).set(time as f64);
        }
        self.tls_reload_failures.inner().store(reload_failures, Ordering::Relaxed);
    }

    /// Counts a request for a timestamp by its outcome, a stable label.
    pub fn timestamp(&self, outcome: &'static str) {
        self.timestamps.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Notes when the timestamp authority's certificates expire, Unix seconds.
    pub fn timestamp_expiry(&self, not_after: u64) {
        let label = CertificateLabel { certificate: "timestamps" };
        self.timestamp_expiry.get_or_create(&label).set(not_after as f64);
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

    /// Counts a request of the Rekor v1 face by its operation, a stable name, and the status of its
    /// answer.
    pub fn v1_request(&self, operation: &'static str, code: u16) {
        self.v1_requests.get_or_create(&OperationLabel { operation, code }).inc();
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
    pub fn render(&self, pool: Depth, tree_size: u64, health: &Health) -> String {
        self.pool_depth.set(i64::try_from(pool.entries).unwrap_or(i64::MAX));
        self.listening.set(i64::try_from(pool.listening).unwrap_or(i64::MAX));
        self.tree_size.set(i64::try_from(tree_size).unwrap_or(i64::MAX));
        let refusal = health.refusal();
        self.latched.set(i64::from(matches!(refusal, Some(Refusal::Latched(..)))));
        for label in Refusal::LABELS {
            let is_now = refusal.as_ref().is_some_and(|refusal| refusal.label() == label);
            self.refusing.get_or_create(&ReasonLabel { reason: label }).set(i64::from(is_now));
        }
        if let Some(Refusal::Latched(reason, _)) = refusal {
            let _ =
                self.latch_reasons.get_or_create(&ReasonLabel { reason: reason.label() }).set(1);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_that_alarms_wait_for_are_there_from_the_start() {
        let (metrics, health) = (Metrics::default(), Health::default());
        let text = metrics.render(Depth::default(), 0, &health);
        for series in [
            "treering_latched 0",
            "treering_latch_reason{reason=\"self-check\"} 0",
            "treering_refusing{reason=\"disk-full\"} 0",
            "treering_journal_failures_total{reason=\"io\"} 0",
            "treering_selfcheck_failures_total 0",
            "treering_rate_refusals_total{by=\"Address\"} 0",
            "treering_process_start_time_seconds ",
            "treering_build_info{version=",
        ] {
            assert!(text.contains(&format!("\n{series}")), "{series} is not in\n{text}");
        }
    }

    /// Everything that can be counted, counted once.
    fn full() -> String {
        let (metrics, health) = (Metrics::default(), Health::default());
        metrics.submission("logged");
        metrics.v1_request("getLogInfo", 200);
        metrics.witness("witness", WitnessOutcome::Cosigned);
        metrics.denied("token-expired");
        metrics.synced(Synced::Commit, Duration::ZERO);
        metrics.tls(Some(0), 0);
        metrics.timestamp("granted");
        metrics.timestamp_expiry(0);
        metrics.render(Depth::default(), 0, &health)
    }

    fn source(path: &str) -> String {
        std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn every_metric_is_documented() {
        let documented = source("docs/operations.md");
        let text = full();
        let types =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect::<Vec<_>>();
        assert!(types.len() > 20, "{text}");
        for line in types {
            let name = line.split(' ').next().unwrap();
            assert!(documented.contains(&format!("`{name}")), "{name} is not in the document");
        }
    }

    #[test]
    fn alarms_ask_for_metrics_that_are_there() {
        let text = full();
        let rules = source("deploy/alerts.yml");
        let expressions = rules.lines().filter(|line| !line.trim_start().starts_with("action:"));
        let words =
            expressions.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
        let names: Vec<&str> = words.filter(|word| word.starts_with("treering_")).collect();
        assert!(names.len() > 15, "{names:?}");
        for name in names {
            let is_there = text.lines().any(|line| line.starts_with(name));
            assert!(is_there, "{name} is not among the metrics");
        }
    }

    #[test]
    fn what_happens_is_counted_under_its_stable_name() {
        let (metrics, health) = (Metrics::default(), Health::default());
        metrics.v1_request("searchIndex", 422);
        metrics.denied("token-expired");
        metrics.rate_refused(Limited::Quota);
        metrics.journal_failed(&crate::journal::JournalError::Unsynced);
        metrics.selfcheck_failed();
        metrics.synced(Synced::Anchor, Duration::from_micros(150));
        metrics.checkpoint(1_500);
        metrics.tls(Some(2_000_000_000), 1);
        metrics.timestamp("timestamp-nonce");
        metrics.timestamp_expiry(2_100_000_000);
        health.latch(LatchReason::SelfCheck, "another root".to_owned());
        let text = metrics.render(Depth { entries: 3, listening: 5 }, 7, &health);
        for series in [
            "treering_v1_requests_total{operation=\"searchIndex\",code=\"422\"} 1",
            "treering_latched 1",
            "treering_latch_reason{reason=\"self-check\"} 1",
            "treering_refusing{reason=\"latched\"} 1",
            "treering_denials_total{reason=\"token-expired\"} 1",
            "treering_rate_refusals_total{by=\"Quota\"} 1",
            "treering_journal_failures_total{reason=\"unsynced\"} 1",
            "treering_selfcheck_failures_total 1",
            "treering_sync_seconds_count{of=\"Anchor\"} 1",
            "treering_last_checkpoint_timestamp_seconds 1.5",
            "treering_tls_certificate_expiry_timestamp_seconds{certificate=\"server\"} 2000000000",
            "treering_tls_reload_failures_total 1",
            "treering_timestamps_total{outcome=\"timestamp-nonce\"} 1",
            "treering_timestamp_certificate_expiry_timestamp_seconds{certificate=\"timestamps\"} 2100000000",
            "treering_pool_depth 3",
            "treering_pool_listening 5",
            "treering_tree_size 7",
        ] {
            assert!(text.contains(&format!("\n{series}")), "{series} is not in\n{text}");
        }
    }
}
