//! What is printed: one Markdown table, and the same figures as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{Latencies, Measured};

/// All rows of one run, and what they belong to.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    answers: usize,
    verified: usize,
}

/// One line of the table.
pub(crate) struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    latencies: Option<Latencies>,
    ratio: Option<(f64, String)>,
    note: String,
}

/// What the whole run belongs to.
pub(crate) struct Context {
    pub(crate) machine: String,
    pub(crate) date: String,
    pub(crate) sources: String,
    pub(crate) share_of_others: f64,
    pub(crate) own_cpu: Duration,
}

impl Row {
    /// `value` of `what`.
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let (what, note) = (what.into(), String::new());
        Self { what, value, unit, latencies: None, ratio: None, note }
    }

    /// A rate with its percentiles.
    pub(crate) fn load(what: impl Into<String>, unit: &'static str, measured: &Measured) -> Self {
        Self::new(what, measured.rate, unit).with(measured.latencies)
    }

    /// A time with its percentiles; the value is how often it fits a second.
    pub(crate) fn time(what: impl Into<String>, latencies: Latencies) -> Self {
        let rate = 1.0 / latencies.p50.as_secs_f64();
        Self::new(what, rate, "/s in a row").with(latencies)
    }

    /// Adds the ratio to a figure of the same run.
    pub(crate) fn over(mut self, ratio: f64, of: impl Into<String>) -> Self {
        self.ratio = Some((ratio, of.into()));
        self
    }

    /// Adds a remark.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn with(mut self, latencies: Latencies) -> Self {
        self.latencies = Some(latencies);
        self
    }

    fn to_markdown(&self) -> String {
        let time = |pick: fn(&Latencies) -> Duration| {
            self.latencies.as_ref().map_or(String::new(), |times| duration(pick(times)))
        };
        let (p50, p99) = (time(|times| times.p50), time(|times| times.p99));
        let ratio = match &self.ratio {
            Some((ratio, of)) => format!("{ratio:.2} of {of}"),
            None => String::new(),
        };
        let (what, value, unit, note) = (&self.what, number(self.value), self.unit, &self.note);
        format!("| {what} | {value} {unit} | {p50} | {p99} | {ratio} | {note} |")
    }

    fn to_json(&self) -> Value {
        let micros = |pick: fn(&Latencies) -> Duration| {
            self.latencies.as_ref().map(|times| pick(times).as_secs_f64() * 1e6)
        };
        json!({
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "p50Microseconds": micros(|times| times.p50),
            "p99Microseconds": micros(|times| times.p99),
            "ratio": self.ratio.as_ref().map(|(ratio, _)| ratio),
            "ratioOf": self.ratio.as_ref().map(|(_, of)| of),
            "note": self.note,
        })
    }
}

impl Report {
    /// Adds a row, and shows it on standard error at once.
    pub(crate) fn push(&mut self, row: Row) {
        eprintln!("{}", row.to_markdown());
        self.rows.push(row);
    }

    /// Counts answers, and how many of them were verified.
    pub(crate) fn count(&mut self, answers: usize, verified: usize) {
        self.answers += answers;
        self.verified += verified;
    }

    /// The table and what it belongs to.
    pub(crate) fn to_markdown(&self, context: &Context) -> String {
        let Context { machine, date, sources, share_of_others, own_cpu } = context;
        let others = share_of_others * 100.0;
        let own = own_cpu.as_secs();
        let mut text = format!(
            "Machine: {machine}. Date: {date}. Sources: {sources}.\n\
             Generator and server share the cores; the run took {own} s of CPU time, and other \
             processes and the kernel's threads had {others:.0} % of the machine meanwhile.\n\
             Errors: 0 in {} answers; the proofs or hashes of {} of them were verified.\n\n\
             | measured | value | p50 | p99 | ratio | |\n|---|---:|---:|---:|---|---|\n",
            grouped(self.answers as u64),
            grouped(self.verified as u64)
        );
        for row in &self.rows {
            writeln!(text, "{}", row.to_markdown()).expect("writing to a string does not fail");
        }
        text
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self, context: &Context) -> Value {
        json!({
            "machine": context.machine,
            "date": context.date,
            "sources": context.sources,
            "shareOfOthers": context.share_of_others,
            "ownCpuSeconds": context.own_cpu.as_secs_f64(),
            "answers": self.answers,
            "verified": self.verified,
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        })
    }
}

/// The digits of `value`, with commas.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits or the whole number, with commas.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => grouped(value.round() as u64),
        value if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn duration(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.0} µs") } else { format!("{:.2} ms", micros / 1000.0) }
}
