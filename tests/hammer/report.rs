//! What is printed: a few lines for people, or the same figures as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use treering_tests::hammer::check::Verdict;
use treering_tests::hammer::figures::{duration, grouped, number};
use treering_tests::hammer::measured::{Latencies, Measured};

/// One load.
pub(crate) struct Report {
    /// What was done, for people.
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// What was done, for programs.
    pub(crate) facts: Value,
    pub(crate) connections: u16,
    /// Requests a second, in an open loop.
    pub(crate) rate: Option<u32>,
    /// Whether signatures of the log were verified.
    pub(crate) is_signed: bool,
    pub(crate) measured: Measured,
    pub(crate) verdict: Verdict,
    /// From when a request was due to the first checkpoint that covers it, where answers do not
    /// bring their proof along.
    pub(crate) integration: Option<Latencies>,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Entries,
    Tiles,
    EntryTiles,
    Proofs,
    Searches,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Tiles => "tiles",
            Self::EntryTiles => "entry tiles",
            Self::Proofs => "proofs",
            Self::Searches => "searches",
        }
    }
}

impl Report {
    /// Whether something was measured, nothing failed, and nothing is wrong.
    pub(crate) fn is_right(&self) -> bool {
        self.measured.latencies.is_some()
            && self.measured.failures.total() == 0
            && self.verdict.wrong == 0
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let Measured { rate, latencies, answers, failures, time, .. } = &self.measured;
        let unit = self.unit.name();
        let pace = match self.rate {
            None => "closed loop".to_owned(),
            Some(rate) => format!("open loop at {} a second", grouped(u64::from(rate))),
        };
        let mut lines = vec![
            format!("{}; {pace}, {} connections", self.what, self.connections),
            format!(
                "  rate         {} {unit}/s over {:.1} s; {} answers in all",
                number(*rate),
                time.as_secs_f64(),
                grouped(*answers as u64)
            ),
        ];
        let shown = latencies.as_ref().map_or("nothing was answered".to_owned(), percentiles);
        lines.push(format!("  latency      {shown}"));
        if let Some(times) = &self.integration {
            lines.push(format!("  integration  {}", percentiles(times)));
        }
        match failures.total() {
            0 => lines.push("  errors       none".to_owned()),
            total => lines.push(format!("  errors       {}", grouped(total as u64))),
        }
        for (failure, counted) in failures.iter() {
            let count = grouped(counted.count as u64);
            lines.push(format!("    {failure}: {count}, the first: {}", counted.said));
        }
        lines.push(self.verified());
        lines.join("\n")
    }

    fn verified(&self) -> String {
        let Verdict { verified, wrong, first_wrong } = &self.verdict;
        let of_what = match self.is_signed {
            true => "proofs and the log's signatures",
            false => "proofs; no --log-key, so no signature of the log",
        };
        let mut text = format!("  verified     {} answers: {of_what}", grouped(*verified as u64));
        if let Some(first) = first_wrong {
            let wrong = grouped(*wrong as u64);
            let _ = write!(text, "\n  WRONG        {wrong} answers; {first}");
        }
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> String {
        let Measured { rate, latencies, answers, failures, time, whole, .. } = &self.measured;
        let errors: Vec<Value> = failures
            .iter()
            .map(|(failure, counted)| {
                json!({
                    "error": failure.to_string(),
                    "count": counted.count,
                    "first": counted.said,
                })
            })
            .collect();
        let mut report = self.facts.clone();
        report["connections"] = self.connections.into();
        report["ratePerSecond"] = self.rate.into();
        report["unit"] = self.unit.name().into();
        report["perSecond"] = json!(rate);
        report["seconds"] = json!(time.as_secs_f64());
        report["wholeSeconds"] = json!(whole.as_secs_f64());
        report["answers"] = json!(answers);
        report["latencyMicroseconds"] = json!(latencies.as_ref().map(microseconds));
        report["integrationMicroseconds"] = json!(self.integration.as_ref().map(microseconds));
        report["errors"] = errors.into();
        report["verified"] = self.verdict.verified.into();
        report["wrong"] = self.verdict.wrong.into();
        report["firstWrong"] = json!(self.verdict.first_wrong);
        report["signaturesVerified"] = self.is_signed.into();
        format!("{report:#}")
    }
}

fn percentiles(times: &Latencies) -> String {
    let Latencies { p50, p95, p99, max } = times;
    let [p50, p95, p99, max] = [p50, p95, p99, max].map(|time| duration(*time));
    format!("p50 {p50}, p95 {p95}, p99 {p99}, max {max}")
}

fn microseconds(times: &Latencies) -> Value {
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    json!({
        "p50": micros(times.p50),
        "p95": micros(times.p95),
        "p99": micros(times.p99),
        "max": micros(times.max),
    })
}
