//! The targets that the project set itself, and whether this run met them.
//!
//! A missed target is told, and nothing more: only a wrong answer makes a run fail.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::figures::{DSSE_10, Figures, P256, Size};
use crate::quantity::Unit;

/// Connections that rates are compared at.
pub(crate) const MANY: usize = 64;

/// What software may add to the two syncs of a submission that waits for nobody else, in seconds.
const SOFTWARE_MAX: f64 = 0.001_5;

/// One figure and what it should be.
pub(crate) struct Target {
    figure: &'static str,
    limit: Limit,
    unit: Unit,
    here: Option<f64>,
}

/// On which side of a number a figure should be.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    /// Depends on a figure that was not measured.
    Unknown,
}

impl Target {
    fn new(figure: &'static str, limit: Limit, unit: Unit, here: Option<f64>) -> Self {
        Self { figure, limit, unit, here }
    }

    /// `None` if it was not measured.
    fn is_met(&self) -> Option<bool> {
        let here = self.here?;
        match self.limit {
            Limit::AtLeast(limit) => Some(here >= limit),
            Limit::AtMost(limit) => Some(here <= limit),
            Limit::Below(limit) => Some(here < limit),
            Limit::Unknown => None,
        }
    }

    /// One digit more than limits have, so that what is nearly met does not look like it.
    fn show(&self, here: f64) -> String {
        if self.unit == Unit::Ratio { format!("{here:.3}") } else { self.unit.show(here) }
    }

    fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        }
    }

    fn limit(&self) -> String {
        match self.limit {
            Limit::AtLeast(limit) => format!("at least {}", self.unit.show(limit)),
            Limit::AtMost(limit) => format!("at most {}", self.unit.show(limit)),
            Limit::Below(limit) => format!("below {}", self.unit.show(limit)),
            Limit::Unknown => String::new(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "figure": self.figure,
            "target": self.limit(),
            "here": self.here,
            "unit": self.unit.name(),
            "met": self.is_met(),
        })
    }
}

/// All targets with what was measured.
pub(crate) fn all(figures: &Figures) -> Vec<Target> {
    let mut targets = of_writes(figures);
    targets.extend(of_sizes(figures));
    let hashing = [
        ("hashing a model of many files, over SHA-256 on all cores", figures.many_files),
        ("hashing a model of one large file, over SHA-256 on one core", figures.one_file),
    ];
    let hashing =
        hashing.map(|(figure, here)| Target::new(figure, Limit::AtLeast(0.9), Unit::Ratio, here));
    targets.extend(hashing);
    targets
}

fn of_writes(figures: &Figures) -> Vec<Target> {
    let many = |work| figures.written(work, MANY);
    let share = |work| many(work).map(|write| write.share);
    let of_verifies = |work| many(work).map(|write| write.rate.median / write.verifies);
    let alone = figures.written(P256, 1).map(|write| write.times);
    let p50 = alone.map(|times| times.p50.median);
    let allowed = figures.both_syncs.map(|syncs| syncs + SOFTWARE_MAX);
    let at_least = Limit::AtLeast;
    let at_most = |limit: Option<f64>| limit.map_or(Limit::Unknown, Limit::AtMost);
    let paced = figures.paced.as_ref().map(|paced| paced.times.p99.median);
    vec![
        Target::new(
            "verifying, of the server's CPU time, P-256",
            at_least(0.55),
            Unit::Ratio,
            share(P256),
        ),
        Target::new(
            "P-256 writes, over P-256 verifies on all cores",
            at_least(0.28),
            Unit::Ratio,
            of_verifies(P256),
        ),
        Target::new(
            "verifying, of the server's CPU time, DSSE with 10 files",
            at_least(0.35),
            Unit::Ratio,
            share(DSSE_10),
        ),
        Target::new(
            "DSSE writes with 10 files, over P-256 verifies on all cores",
            at_least(0.18),
            Unit::Ratio,
            of_verifies(DSSE_10),
        ),
        Target::new(
            "time to the proof over one connection, p50: the two syncs and 1.5 ms",
            at_most(allowed),
            Unit::Seconds,
            p50,
        ),
        Target::new(
            "the same, p99: five times the p50",
            at_most(p50.map(|p50| 5.0 * p50)),
            Unit::Seconds,
            alone.map(|times| times.p99.median),
        ),
        Target::new(
            "time to the proof at 80 % of the top rate, p99",
            Limit::Below(0.1),
            Unit::Seconds,
            paced,
        ),
    ]
}

fn of_sizes(figures: &Figures) -> Vec<Target> {
    let largest = figures.sizes.last();
    let of = |pick: fn(&Size) -> f64| largest.map(pick);
    let empty = figures.written(P256, MANY).map(|write| write.rate.median);
    let grown = of(|size| size.writes.median).zip(empty).map(|(large, empty)| large / empty);
    let tiles = figures.reads.iter().find(|read| read.what == HASH_TILES);
    let tiles = tiles.map(|read| read.rate.median / read.bare.median);
    let disk = largest.and_then(|size| size.disk);
    let disk = disk.map(|disk| disk.without_notes() / disk.body);
    let (ratio, seconds, bytes) = (Unit::Ratio, Unit::Seconds, Unit::Bytes);
    let (at_least, below) = (Limit::AtLeast, Limit::Below);
    let idle = of(|size| size.idle);
    vec![
        Target::new("writes to the largest log, over a new one", at_least(0.9), ratio, grown),
        Target::new("reads of hash tiles, over bare hyper", at_least(0.7), ratio, tiles),
        Target::new(
            "proof by index in the largest log, p99, seen by a client",
            below(0.001),
            seconds,
            of(|size| size.proof.p99.median),
        ),
        Target::new(
            "start-up of the largest log, after a clean stop",
            below(0.5),
            seconds,
            of(|size| size.clean_start.median),
        ),
        Target::new(
            "start-up of the largest log, after kill -9 under load",
            below(3.0),
            seconds,
            of(|size| size.start_after_kill),
        ),
        Target::new("memory of the largest log, idle", below(150e6), bytes, idle),
        Target::new(
            "memory of the largest log, the most under full load",
            below(500e6),
            bytes,
            of(|size| size.loaded),
        ),
        Target::new(
            "disk for a P-256 entry, compacted, without notes, over its canonical bytes",
            Limit::AtMost(1.35),
            ratio,
            disk,
        ),
    ]
}

/// What reads of hash tiles are called.
pub(crate) const HASH_TILES: &str = "hash tiles";

/// The table of targets.
pub(crate) fn to_markdown(targets: &[Target]) -> String {
    let mut text = "| figure | target | here | |\n|---|---|---:|---|\n".to_owned();
    for target in targets {
        let here = target.here.map_or(String::new(), |here| target.show(here));
        let (figure, limit, verdict) = (target.figure, target.limit(), target.verdict());
        writeln!(text, "| {figure} | {limit} | {here} | {verdict} |")
            .expect("writing to a string does not fail");
    }
    text
}

/// The same as JSON.
pub(crate) fn to_json(targets: &[Target]) -> Value {
    targets.iter().map(Target::to_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{DiskPerEntry, Paced, ReadBack, Work, Written};
    use crate::quantity::{Spread, Times};

    fn times(p50: f64, p99: f64) -> Times {
        Times { p50: Spread::once(p50), p99: Spread::once(p99) }
    }

    fn written(work: Work, connections: usize, rate: f64, share: f64) -> Written {
        let (rate, times) = (Spread::once(rate), times(0.001, 0.004));
        Written { work, connections, rate, times, verifies: 1_000.0, share, bare: None }
    }

    fn figures() -> Figures {
        let disk = DiskPerEntry { body: 100.0, entries: 135.0, ..DiskPerEntry::default() };
        let size = Size {
            entries: 1_000_000,
            fill: 10_000.0,
            writes: Spread::once(280.0),
            proof: times(0.000_2, 0.001),
            search: times(0.000_2, 0.001),
            clean_start: Spread::once(0.05),
            clean_wal: Spread::once(2e6),
            start_after_kill: 2.9,
            kill_wal: 40e6,
            idle: 20e6,
            loaded: 600e6,
            disk: Some(disk),
            journal: 290.0,
        };
        Figures {
            writes: vec![
                written(P256, 1, 10.0, 0.1),
                written(P256, MANY, 300.0, 0.55),
                written(DSSE_10, MANY, 170.0, 0.4),
            ],
            both_syncs: Some(0.000_3),
            paced: Some(Paced { rate: 240.0, times: times(0.01, 0.1) }),
            reads: vec![ReadBack {
                what: HASH_TILES,
                rate: Spread::once(71.0),
                bare: Spread::once(100.0),
            }],
            sizes: vec![size],
            many_files: Some(0.95),
            one_file: None,
        }
    }

    #[test]
    fn each_target_is_judged_by_its_own_figure() {
        let verdicts: Vec<_> = all(&figures()).iter().map(Target::verdict).collect();
        let expected = [
            "met",
            "met",
            "met",
            "missed",
            "met",
            "met",
            "missed",
            "met",
            "met",
            "missed",
            "met",
            "met",
            "met",
            "missed",
            "met",
            "met",
            "not measured",
        ];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn nothing_is_met_or_missed_that_was_not_measured() {
        let targets = all(&Figures::default());
        assert!(targets.iter().all(|target| target.is_met().is_none()));
        assert!(to_markdown(&targets).lines().skip(2).all(|line| line.ends_with("not measured |")));
    }

    #[test]
    fn the_table_says_what_was_wanted_and_found() {
        let text = to_markdown(&all(&figures()));
        assert!(text.contains("| at least 0.55 | 0.550 | met |"), "{text}");
        assert!(text.contains("| at most 1.80 ms | 1.00 ms | met |"), "{text}");
        assert!(text.contains("| below 500 MB | 600 MB | missed |"), "{text}");
        let json = to_json(&all(&figures()));
        assert_eq!(json[3]["met"], false);
        assert_eq!(json[16]["met"], Value::Null);
    }
}
