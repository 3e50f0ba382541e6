//! What a witness counts, and the text in which it says so (the Prometheus text format, 0.0.4).
//!
//! Invariant: labels are words of this program, never of a request, so there are few of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    outcomes: BTreeMap<&'static str, u64>,
    contradictions: BTreeMap<&'static str, u64>,
}

/// What is true at the moment of asking.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Origins whose keys are known.
    pub logs: usize,
    /// Keys of the list that are not used.
    pub skipped_keys: usize,
    /// Origins that were ever cosigned.
    pub origins: usize,
    /// Whether the last state was written.
    pub healthy: bool,
}

impl Metrics {
    /// One add-checkpoint request ended this way.
    pub fn outcome(&self, label: &'static str) {
        *self.counted().outcomes.entry(label).or_default() += 1;
    }

    /// One checkpoint contradicted what was cosigned, in this way.
    pub fn contradiction(&self, label: &'static str) {
        *self.counted().contradictions.entry(label).or_default() += 1;
    }

    /// The text of `/metrics`.
    pub fn render(&self, gauges: Gauges) -> String {
        let mut text = String::new();
        let counted = self.counted();
        for (name, help, label, counts) in [
            (
                "treering_witness_requests_total",
                "Add-checkpoint requests by outcome.",
                "outcome",
                &counted.outcomes,
            ),
            (
                "treering_witness_contradictions_total",
                "Checkpoints that contradict what was cosigned. Look at the evidence directory.",
                "kind",
                &counted.contradictions,
            ),
        ] {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for (value, count) in counts {
                let _ = writeln!(text, "{name}{{{label}=\"{value}\"}} {count}");
            }
        }
        for (name, help, value) in [
            ("treering_witness_logs", "Origins whose keys are known.", gauges.logs),
            (
                "treering_witness_skipped_keys",
                "Keys of the list that are not used; said on stderr at start.",
                gauges.skipped_keys,
            ),
            ("treering_witness_origins", "Origins that were ever cosigned.", gauges.origins),
            (
                "treering_witness_healthy",
                "1 if the last state was written to disk.",
                usize::from(gauges.healthy),
            ),
        ] {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        text
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_counter_and_gauge() {
        let metrics = Metrics::default();
        metrics.outcome("cosigned");
        metrics.outcome("cosigned");
        metrics.outcome("conflict");
        metrics.contradiction("fork-size");
        let text = metrics.render(Gauges { logs: 3, skipped_keys: 1, origins: 2, healthy: true });
        for line in [
            "# TYPE treering_witness_requests_total counter",
            "treering_witness_requests_total{outcome=\"conflict\"} 1",
            "treering_witness_requests_total{outcome=\"cosigned\"} 2",
            "treering_witness_contradictions_total{kind=\"fork-size\"} 1",
            "treering_witness_logs 3",
            "treering_witness_skipped_keys 1",
            "treering_witness_origins 2",
            "treering_witness_healthy 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
