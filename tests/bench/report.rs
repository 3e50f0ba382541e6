//! What is printed: a table for each part of the run, and the same figures as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::figures::Figures;
use crate::growth_table;
use crate::quantity::{Spread, Times, Unit, grouped};
use crate::targets::{self, Target};

/// All that was measured in one run.
#[derive(Default)]
pub(crate) struct Report {
    rows: BTreeMap<Part, Vec<Row>>,
    /// Of our own log.
    ours: Counts,
    /// Of other logs.
    peers: Counts,
    /// What rows are made of, where it is compared with targets or drawn.
    pub(crate) figures: Figures,
}

/// Answers to loads, those of warm-ups too.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    /// Right ones by their status.
    pub(crate) answers: usize,
    /// Requests that have none.
    pub(crate) failures: usize,
    /// Answers whose proofs or hashes were verified.
    pub(crate) verified: usize,
}

/// A part of the report, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    /// What this machine does at best.
    Ceilings,
    /// Writes to new logs, beside a bare server.
    Writes,
    /// Other logs under the same load.
    Peers,
    /// Reads, beside a bare server.
    Reads,
    /// Reading a whole log, entry by entry.
    Monitor,
    /// What people wait for at their own desk.
    Client,
}

/// One line of a table.
pub(crate) struct Row {
    what: String,
    value: Spread,
    unit: Unit,
    times: Option<Times>,
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
    /// How often each load was run.
    pub(crate) runs: usize,
    /// How long each of them was measured.
    pub(crate) time: Duration,
    /// Why steps are missing, if the run failed.
    pub(crate) failed: Option<String>,
}

impl Part {
    const ALL: [Self; 6] =
        [Self::Ceilings, Self::Writes, Self::Peers, Self::Reads, Self::Monitor, Self::Client];

    fn title(self) -> &'static str {
        match self {
            Self::Ceilings => "Ceilings",
            Self::Writes => "Writes",
            Self::Peers => "Other logs",
            Self::Reads => "Reads",
            Self::Monitor => "Reading a whole log",
            Self::Client => "Client",
        }
    }
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.answers += more.answers;
        self.failures += more.failures;
        self.verified += more.verified;
    }

    fn to_text(self) -> String {
        let Self { answers, failures, verified } = self;
        let [answers, failures, verified] =
            [answers, failures, verified].map(|count| grouped(count as u64));
        format!(
            "{failures} beside {answers} right answers; the proofs or hashes of {verified} of them \
             were verified"
        )
    }

    fn to_json(self) -> Value {
        let Self { answers, failures, verified } = self;
        json!({ "answers": answers, "errors": failures, "verified": verified })
    }
}

impl Row {
    /// `value` of `what`.
    pub(crate) fn new(what: impl Into<String>, value: Spread, unit: Unit) -> Self {
        let (what, note) = (what.into(), String::new());
        Self { what, value, unit, times: None, ratio: None, note }
    }

    /// Adds percentiles.
    pub(crate) fn times(self, times: Times) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Adds the ratio to a figure of the same run.
    pub(crate) fn over(self, ratio: f64, of: impl Into<String>) -> Self {
        Self { ratio: Some((ratio, of.into())), ..self }
    }

    /// Adds a remark, behind those that it has.
    pub(crate) fn note(mut self, remark: impl AsRef<str>) -> Self {
        if !self.note.is_empty() {
            self.note += "; ";
        }
        self.note += remark.as_ref();
        self
    }

    fn to_markdown(&self) -> String {
        let time = |pick: fn(&Times) -> Spread| {
            self.times
                .as_ref()
                .map_or(String::new(), |times| Unit::Seconds.show_spread(pick(times)))
        };
        let (p50, p99) = (time(|times| times.p50), time(|times| times.p99));
        let ratio = match &self.ratio {
            Some((ratio, of)) => format!("{ratio:.2} of {of}"),
            None => String::new(),
        };
        let (what, value, note) = (&self.what, self.unit.show_spread(self.value), &self.note);
        format!("| {what} | {value} | {p50} | {p99} | {ratio} | {note} |")
    }

    fn to_json(&self, part: Part) -> Value {
        let micros =
            |pick: fn(&Times) -> Spread| self.times.as_ref().map(|times| pick(times).median * 1e6);
        json!({
            "part": part.title(),
            "what": self.what,
            "value": self.value.median,
            "min": self.value.min,
            "max": self.value.max,
            "unit": self.unit.name(),
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
    pub(crate) fn push(&mut self, part: Part, row: Row) {
        eprintln!("{}", row.to_markdown());
        self.rows.entry(part).or_default().push(row);
    }

    /// Counts what our own log answered.
    pub(crate) fn count(&mut self, counts: Counts) {
        self.ours.add(counts);
    }

    /// Counts what another log answered.
    pub(crate) fn count_peer(&mut self, counts: Counts) {
        self.peers.add(counts);
    }

    /// The targets, and whether they were met.
    pub(crate) fn targets(&self) -> Vec<Target> {
        targets::all(&self.figures)
    }

    /// All tables and what they belong to.
    pub(crate) fn to_markdown(&self, context: &Context) -> String {
        let mut text = self.head(context);
        let mut add = |part: std::fmt::Arguments<'_>| {
            text.write_fmt(part).expect("writing to a string does not fail");
        };
        for (part, rows) in self.parts() {
            add(format_args!("\n### {}\n\n{HEAD}", part.title()));
            for row in rows {
                add(format_args!("{}\n", row.to_markdown()));
            }
        }
        if !self.figures.sizes.is_empty() {
            let table = growth_table::to_markdown(&self.figures.sizes);
            add(format_args!("\n### Growth with size\n\n{table}"));
        }
        add(format_args!("\n### Targets\n\n{}", targets::to_markdown(&self.targets())));
        text
    }

    /// What the README shows: the targets.
    pub(crate) fn to_short_markdown(&self, context: &Context) -> String {
        let Context { machine, date, .. } = context;
        let table = targets::to_markdown(&self.targets());
        format!(
            "{machine}; {date}. Load generator and server share the cores.\n\n{table}\n\
             ![Rates beside their ceilings](docs/plots/rates.svg)\n"
        )
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self, context: &Context) -> Value {
        let rows =
            self.parts().flat_map(|(part, rows)| rows.iter().map(move |row| row.to_json(part)));
        json!({
            "machine": context.machine,
            "date": context.date,
            "sources": context.sources,
            "shareOfOthers": context.share_of_others,
            "ownCpuSeconds": context.own_cpu.as_secs_f64(),
            "runs": context.runs,
            "secondsEach": context.time.as_secs_f64(),
            "failed": context.failed,
            "ours": self.ours.to_json(),
            "otherLogs": self.peers.to_json(),
            "rows": rows.collect::<Vec<_>>(),
            "sizes": growth_table::to_json(&self.figures.sizes),
            "targets": targets::to_json(&self.targets()),
        })
    }

    /// Parts that have rows, in order.
    fn parts(&self) -> impl Iterator<Item = (Part, &Vec<Row>)> {
        Part::ALL.into_iter().filter_map(|part| Some((part, self.rows.get(&part)?)))
    }

    fn head(&self, context: &Context) -> String {
        let Context { machine, date, sources, share_of_others, own_cpu, runs, time, failed } =
            context;
        let (others, own, each) = (share_of_others * 100.0, own_cpu.as_secs(), time.as_secs());
        let times = if *runs == 1 { "once".to_owned() } else { format!("{runs} times") };
        let mut text = String::new();
        if let Some(why) = failed {
            text += "**Incomplete: a step failed, and what comes after it is missing.** ";
            text += why;
            text += "\n\n";
        }
        text += &format!(
            "Machine: {machine}. Date: {date}. Sources: {sources}.\n\
             Generator and server share the cores; the run took {own} s of CPU time, and other \
             processes and the kernel's threads had {others:.0} % of the machine meanwhile.\n\
             Each load was run {times} for {each} s: the median, and in brackets the least and the \
             greatest.\n\
             Errors: {}.\n",
            self.ours.to_text()
        );
        if self.peers != Counts::default() {
            text += &format!("Errors of other logs: {}.\n", self.peers.to_text());
        }
        text
    }
}

const HEAD: &str = "| measured | value | p50 | p99 | ratio | |\n|---|---:|---:|---:|---|---|\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth_table::tests::size;

    fn context() -> Context {
        Context {
            machine: "2 cores of a CPU".to_owned(),
            date: "2026-11-28 12:00 UTC".to_owned(),
            sources: "abc".to_owned(),
            share_of_others: 0.01,
            own_cpu: Duration::from_secs(300),
            runs: 3,
            time: Duration::from_secs(4),
            failed: None,
        }
    }

    fn report() -> Report {
        let mut report = Report::default();
        let times = Times { p50: Spread::once(0.001), p99: Spread::once(0.002) };
        let client = Row::new("hashing", Spread::once(2.45e9), Unit::BytesPerSecond);
        report.push(Part::Client, client.note("in page cache"));
        let value = Spread { median: 6_909.0, min: 6_700.0, max: 7_010.0 };
        let write = Row::new("writes", value, Unit::PerSecond("entries"));
        report.push(Part::Writes, write.times(times).over(0.25, "verifies"));
        report.figures.sizes = vec![size(10_000), size(100_000)];
        report.count(Counts { answers: 1_000_000, failures: 0, verified: 20_000 });
        report
    }

    #[test]
    fn parts_stand_in_their_order_with_their_rows() {
        let text = report().to_markdown(&context());
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
        let write = "| writes | 6,909 entries/s (6,700 to 7,010) | 1.00 ms | 2.00 ms | \
                     0.25 of verifies |  |";
        let places = [
            at("Errors: 0 beside 1,000,000 right answers"),
            at("### Writes"),
            at(write),
            at("### Client"),
            at("| hashing | 2.45 GB/s |"),
            at("### Growth with size"),
            at("### Targets"),
        ];
        assert!(places.is_sorted(), "{text}");
        assert!(!text.contains("### Reads"), "nothing was read");
    }

    #[test]
    fn failures_are_counted_where_they_belong_and_a_failed_run_says_so() {
        let mut report = report();
        let whole = report.to_markdown(&context());
        assert!(!whole.contains("other logs:") && !whole.contains("Incomplete"), "{whole}");
        report.count(Counts { failures: 2, ..Counts::default() });
        report.count_peer(Counts { answers: 10, failures: 3, verified: 1 });
        let failed = Some("the disk is full".to_owned());
        let context = Context { failed, ..context() };
        let text = report.to_markdown(&context);
        assert!(text.contains("Errors: 2 beside 1,000,000 right answers"), "{text}");
        assert!(text.contains("Errors of other logs: 3 beside 10 right answers"), "{text}");
        assert!(text.starts_with("**Incomplete:") && text.contains("the disk is full"), "{text}");
        let json = report.to_json(&context);
        assert_eq!(json["ours"]["errors"], 2);
        assert_eq!(json["otherLogs"]["errors"], 3);
        assert_eq!(json["failed"], "the disk is full");
    }

    #[test]
    fn json_has_the_same_rows_and_the_targets() {
        let json = report().to_json(&context());
        assert_eq!(json["rows"][0]["part"], "Writes");
        assert_eq!(json["rows"][0]["p99Microseconds"], 2_000.0);
        assert_eq!(json["rows"][1]["unit"], "bytes/s");
        assert_eq!(json["sizes"][1]["entries"], 100_000);
        assert_eq!(
            json["targets"].as_array().map(Vec::len),
            Some(targets::all(&Figures::default()).len())
        );
    }

    #[test]
    fn the_short_form_is_the_targets() {
        let text = report().to_short_markdown(&context());
        assert!(text.contains("| figure | target | here | |"), "{text}");
        assert!(text.contains("docs/plots/rates.svg"), "{text}");
    }
}
