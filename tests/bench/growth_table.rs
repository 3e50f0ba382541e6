//! How the figures change with the size of the log: one column for each size, and one for a size
//! that was not measured.

use serde_json::{Value, json};

use crate::figures::{DiskPerEntry, Size, beyond};
use crate::quantity::{Spread, Unit, grouped};

/// The size that is not measured but computed.
pub(crate) const BEYOND: u64 = 100_000_000;

/// What stands in the table for a figure without its measurement: only those of the compacted copy
/// may be missing.
const MISSING: &str = "no room for a copy";

/// A figure that is measured at each size.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    at: fn(&Size) -> Option<Spread>,
    /// Whether it is computed for [`BEYOND`], too: rates and percentiles differ from run to run by
    /// more than they change with the size.
    is_computed: bool,
}

/// All of them, in the order of the table.
pub(crate) static FIGURES: [Figure; 20] = [
    figure(FILL, Unit::PerSecond("entries"), |size| Some(Spread::once(size.fill))),
    figure(WRITES, Unit::PerSecond("entries"), |size| Some(size.writes)),
    figure(PROOF_P50, Unit::Seconds, |size| Some(size.proof.p50)),
    figure(PROOF_P99, Unit::Seconds, |size| Some(size.proof.p99)),
    figure(SEARCH_P50, Unit::Seconds, |size| Some(size.search.p50)),
    figure(SEARCH_P99, Unit::Seconds, |size| Some(size.search.p99)),
    figure(CLEAN_START, Unit::Seconds, |size| Some(size.clean_start)).computed(),
    figure("write-ahead log at that start", Unit::Bytes, |size| Some(size.clean_wal)),
    figure(START_AFTER_KILL, Unit::Seconds, |size| Some(Spread::once(size.start_after_kill)))
        .computed(),
    figure("write-ahead log at this start", Unit::Bytes, |size| Some(Spread::once(size.kill_wal))),
    figure(IDLE, Unit::Bytes, |size| Some(Spread::once(size.idle))).computed(),
    figure(LOADED, Unit::Bytes, |size| Some(Spread::once(size.loaded))).computed(),
    figure(BODY, Unit::Bytes, |size| of_disk(size, |disk| disk.body)),
    figure(DISK, Unit::Bytes, |size| of_disk(size, DiskPerEntry::without_notes)).computed(),
    figure("disk, entries and times", Unit::Bytes, |size| of_disk(size, |disk| disk.entries))
        .computed(),
    figure("disk, tiles", Unit::Bytes, |size| of_disk(size, |disk| disk.tiles)).computed(),
    figure("disk, index by leaf", Unit::Bytes, |size| of_disk(size, |disk| disk.leaves)).computed(),
    figure("disk, search", Unit::Bytes, |size| of_disk(size, |disk| disk.postings)).computed(),
    figure("disk, published notes", Unit::Bytes, |size| of_disk(size, |disk| disk.notes)),
    figure("access journal, for an entry", Unit::Bytes, |size| Some(Spread::once(size.journal))),
];

pub(crate) const FILL: &str = "fill without HTTP, signing included";
pub(crate) const WRITES: &str = "writes, hashedrekord P-256, 64 connections";
pub(crate) const PROOF_P50: &str = "proof by index, 1 connection, p50";
pub(crate) const PROOF_P99: &str = "proof by index, 1 connection, p99";
pub(crate) const SEARCH_P50: &str = "search by digest, 1 connection, p50";
pub(crate) const SEARCH_P99: &str = "search by digest, 1 connection, p99";
pub(crate) const CLEAN_START: &str = "start-up after a clean stop";
pub(crate) const START_AFTER_KILL: &str = "start-up after kill -9 under load";
pub(crate) const IDLE: &str = "memory, idle";
pub(crate) const LOADED: &str = "memory, the most under load";
pub(crate) const BODY: &str = "canonical bytes of an entry";
pub(crate) const DISK: &str = "disk for an entry, without notes";

const fn figure(name: &'static str, unit: Unit, at: fn(&Size) -> Option<Spread>) -> Figure {
    Figure { name, unit, at, is_computed: false }
}

fn of_disk(size: &Size, pick: fn(&DiskPerEntry) -> f64) -> Option<Spread> {
    size.disk.as_ref().map(|disk| Spread::once(pick(disk)))
}

impl Figure {
    const fn computed(self) -> Self {
        Self { is_computed: true, ..self }
    }

    /// The figure with this name.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn named(name: &str) -> &'static Self {
        FIGURES.iter().find(|figure| figure.name == name).expect("it stands in the table above")
    }

    /// The median at each size where it was measured.
    pub(crate) fn points(&self, sizes: &[Size]) -> Vec<(f64, f64)> {
        let point = |size: &Size| Some((size.entries as f64, (self.at)(size)?.median));
        sizes.iter().filter_map(point).collect()
    }

    /// What it would be at [`BEYOND`], if that is computed.
    pub(crate) fn beyond(&self, sizes: &[Size]) -> Option<f64> {
        if !self.is_computed {
            return None;
        }
        beyond(&self.points(sizes), BEYOND as f64)
    }

    /// What the same formula makes of the last size from those before it, over what was measured
    /// there.
    fn tried(&self, sizes: &[Size]) -> Option<f64> {
        let points = self.points(sizes);
        let ((size, measured), before) = points.split_last()?;
        let is_comparable = self.is_computed && points.len() == sizes.len() && *measured > 0.0;
        if !is_comparable {
            return None;
        }
        Some(beyond(before, *size)? / measured)
    }

    fn cell(&self, size: &Size) -> String {
        (self.at)(size).map_or(MISSING.to_owned(), |spread| self.unit.show_spread(spread))
    }
}

/// The table, and how its last columns were computed.
pub(crate) fn to_markdown(sizes: &[Size]) -> String {
    let is_computed = FIGURES.iter().any(|figure| figure.beyond(sizes).is_some());
    let is_tried = is_computed && FIGURES.iter().any(|figure| figure.tried(sizes).is_some());
    let mut head = vec!["entries".to_owned()];
    head.extend(sizes.iter().map(|size| grouped(size.entries)));
    if is_computed {
        head.push(format!("{} (computed)", grouped(BEYOND)));
    }
    if let Some(last) = sizes.last().filter(|_| is_tried) {
        head.push(format!("{} (computed), over measured", grouped(last.entries)));
    }
    let mut text = row(&head);
    text += &format!("|---|{}\n", "---:|".repeat(head.len() - 1));
    for figure in &FIGURES {
        let mut cells = vec![figure.name.to_owned()];
        cells.extend(sizes.iter().map(|size| figure.cell(size)));
        if is_computed {
            let value = figure.beyond(sizes).map(|value| figure.unit.show(value));
            cells.push(value.unwrap_or_default());
        }
        if is_tried {
            cells.push(figure.tried(sizes).map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        text += &row(&cells);
    }
    if is_computed {
        text += "\nThe computed column is from the last two measured sizes: each further factor \
                 of ten changes a figure as much as the last one did, \
                 `f(10^8) = f(n2) + (f(n2) - f(n1)) * log(10^8 / n2) / log(n2 / n1)`. Rates and \
                 percentiles are left out, because runs differ by more than they would change.\n";
    }
    if is_tried {
        text += "\nHow far to trust it: the last column is what the same formula makes of the \
                 largest measured size from the two before it, over what was measured there.\n";
    }
    text
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The same as JSON.
pub(crate) fn to_json(sizes: &[Size]) -> Value {
    let of_size = |size: &Size| {
        let figures = FIGURES.iter().map(|figure| {
            let (unit, spread) = (figure.unit.name(), (figure.at)(size));
            let (value, min, max) =
                (spread.map(|at| at.median), spread.map(|at| at.min), spread.map(|at| at.max));
            json!({ "what": figure.name, "unit": unit, "value": value, "min": min, "max": max })
        });
        json!({ "entries": size.entries, "figures": figures.collect::<Vec<_>>() })
    };
    sizes.iter().map(of_size).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::quantity::Times;

    /// Figures of a log of so many entries.
    pub(crate) fn size(entries: u64) -> Size {
        let times = Times { p50: Spread::once(0.000_2), p99: Spread::once(0.000_5) };
        Size {
            entries,
            fill: 12_000.0,
            writes: Spread { median: 6_900.0, min: 6_700.0, max: 7_000.0 },
            proof: times,
            search: times,
            clean_start: Spread::once(0.01 * (entries as f64).log10()),
            clean_wal: Spread::once(2e6),
            start_after_kill: 0.4,
            kill_wal: 40e6,
            idle: 20e6,
            loaded: 106e6,
            disk: Some(DiskPerEntry { body: 500.0, entries: 300.0, ..Default::default() }),
            journal: 290.0,
        }
    }

    #[test]
    fn a_computed_column_says_so_and_how_far_to_trust_it() {
        let text = to_markdown(&[size(10_000), size(100_000), size(1_000_000)]);
        let head = "| entries | 10,000 | 100,000 | 1,000,000 | 100,000,000 (computed) | \
                    1,000,000 (computed), over measured |";
        assert_eq!(text.lines().next(), Some(head));
        let start =
            "| start-up after a clean stop | 40.0 ms | 50.0 ms | 60.0 ms | 80.0 ms | 1.00 |";
        assert!(text.lines().any(|line| line == start), "{text}");
        let writes = "| 6,900 entries/s (6,700 to 7,000) |  |  |";
        assert!(text.contains(writes) && text.contains("How far to trust it"), "{text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(text.lines().take(2 + FIGURES.len()).all(|line| columns(line) == 7), "{text}");
    }

    #[test]
    fn two_sizes_predict_and_nothing_says_how_well() {
        let text = to_markdown(&[size(10_000), size(100_000)]);
        assert!(text.contains("100,000,000 (computed) |\n") && !text.contains("trust"), "{text}");
    }

    #[test]
    fn a_figure_that_is_missing_says_why() {
        let full = Size { disk: None, ..size(1_000_000) };
        let sizes = [size(10_000), size(100_000), full];
        let text = to_markdown(&sizes);
        let line = text.lines().find(|line| line.contains(DISK)).unwrap();
        assert!(line.contains("| 300 bytes | 300 bytes | no room for a copy |"), "{line}");
        assert_eq!(Figure::named(DISK).tried(&sizes), None);
        assert_eq!(to_json(&sizes)[2]["figures"][13]["value"], Value::Null);
    }

    #[test]
    fn one_size_has_no_last_column() {
        let text = to_markdown(&[size(1_000)]);
        assert!(!text.contains("computed"), "{text}");
        assert_eq!(to_json(&[size(1_000)])[0]["figures"][1]["max"], 7_000.0);
    }

    #[test]
    fn names_are_found() {
        for name in [FILL, WRITES, PROOF_P99, CLEAN_START, DISK] {
            assert_eq!(Figure::named(name).name, name);
        }
    }
}
