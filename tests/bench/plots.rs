//! Which plots there are, drawn from the same figures as the tables.

use crate::figures::{Figures, P256, Size, Written};
use crate::growth_table::{
    BEYOND, BODY, CLEAN_START, DISK, FILL, Figure, IDLE, LOADED, PROOF_P50, PROOF_P99, SEARCH_P50,
    SEARCH_P99, START_AFTER_KILL, WRITES,
};
use crate::plot::{BLUE, Bar, Bars, GREEN, GREY, Group, Lines, ORANGE, Panel, Series, page};
use crate::quantity::{Spread, Unit, grouped};

/// Names and texts of all plots for which there are figures.
pub(crate) fn all(figures: &Figures, head: &str) -> Vec<(&'static str, String)> {
    let mut plots = Vec::new();
    let rates: Vec<Panel> = [writes(figures), reads(figures)].into_iter().flatten().collect();
    if !rates.is_empty() {
        plots.push(("rates.svg", page("Rates beside their ceilings", head, &rates, 1)));
    }
    if let Some(panel) = latency(figures) {
        plots.push(("latency.svg", page("Time to the proof", head, &[panel], 1)));
    }
    if !figures.sizes.is_empty() {
        let panels = growth(&figures.sizes);
        plots.push(("growth.svg", page("Growth with the size of the log", head, &panels, 2)));
    }
    plots
}

fn writes(figures: &Figures) -> Option<Panel> {
    let groups = figures.writes.iter().map(|write| {
        let bar = |label, value, color| Bar { label, value, color };
        let mut bars = vec![
            bar("Treering", write.rate, BLUE),
            bar("verifying alone, all cores", Spread::once(write.verifies), ORANGE),
        ];
        bars.extend(write.bare.map(|bare| bar("bare hyper, same answer", bare, GREY)));
        Group { name: name_of(write), bars }
    });
    let title = "Writes, and what bounds them; lines: least to greatest run".to_owned();
    let bars = Bars { title, unit: Unit::PerSecond("entries"), groups: groups.collect() };
    (!bars.groups.is_empty()).then(|| bars.draw())
}

fn reads(figures: &Figures) -> Option<Panel> {
    let groups = figures.reads.iter().map(|read| {
        let bars = vec![
            Bar { label: "Treering", value: read.rate, color: BLUE },
            Bar { label: "bare hyper, same answer", value: read.bare, color: GREY },
        ];
        Group { name: read.what.to_owned(), bars }
    });
    let title = "Reads over 64 connections, and what bounds them".to_owned();
    let bars = Bars { title, unit: Unit::PerSecond("answers"), groups: groups.collect() };
    (!bars.groups.is_empty()).then(|| bars.draw())
}

/// P-256 writes by the number of connections; the same at a fixed rate stands beside them.
fn latency(figures: &Figures) -> Option<Panel> {
    let writes: Vec<&Written> = figures.writes.iter().filter(|write| write.work == P256).collect();
    let points = |pick: fn(&Written) -> Spread| {
        writes.iter().map(|write| (write.connections as f64, pick(write).median)).collect()
    };
    let series = |label: &str, color, points| Series {
        label: label.to_owned(),
        color,
        points,
        beyond: None,
    };
    let mut all = vec![
        series("p50", BLUE, points(|write| write.times.p50)),
        series("p99", ORANGE, points(|write| write.times.p99)),
    ];
    if let Some(paced) = &figures.paced {
        let label = format!("p99 at a fixed {}/s", grouped(paced.rate as u64));
        let most = writes.iter().map(|write| write.connections).max()?;
        all.push(series(&label, GREEN, vec![(most as f64, paced.times.p99.median)]));
    }
    let lines = Lines {
        title: "Time to the proof, P-256".to_owned(),
        across: "connections",
        up: "time",
        unit: Unit::Seconds,
        series: all,
    };
    (!writes.is_empty()).then(|| lines.draw())
}

fn growth(sizes: &[Size]) -> Vec<Panel> {
    let panel = |title: &str, up, names: &[(&str, &'static str)]| {
        let colors = [BLUE, ORANGE, GREEN, GREY];
        let series = names.iter().zip(colors).map(|((label, name), color)| {
            let figure = Figure::named(name);
            Series {
                label: (*label).to_owned(),
                color,
                points: figure.points(sizes),
                beyond: figure.beyond(sizes).map(|value| (BEYOND as f64, value)),
            }
        });
        let unit = Figure::named(names[0].1).unit;
        let title = title.to_owned();
        Lines {
            title,
            across: "entries in the log (hollow: computed)",
            up,
            unit,
            series: series.collect(),
        }
        .draw()
    };
    let mut panels = vec![
        panel("Growing", "rate", &[("64 connections", WRITES), ("without HTTP", FILL)]),
        panel("Proof by index", "time", &[("p50", PROOF_P50), ("p99", PROOF_P99)]),
        panel("Search by digest", "time", &[("p50", SEARCH_P50), ("p99", SEARCH_P99)]),
        panel("Start-up", "time", &[("clean", CLEAN_START), ("after kill -9", START_AFTER_KILL)]),
        panel("Memory", "resident", &[("idle", IDLE), ("the most under load", LOADED)]),
    ];
    if sizes.iter().any(|size| size.disk.is_some()) {
        let disk = [("on disk", DISK), ("its canonical bytes", BODY)];
        panels.push(panel("Disk for an entry, compacted, without notes", "size", &disk));
    }
    panels
}

fn name_of(write: &Written) -> String {
    let name = write.work.name().replace("hashedrekord ", "").replace("model of ", "");
    format!("{name}, {} conn.", write.connections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Paced, ReadBack};
    use crate::growth_table::tests::size;
    use crate::quantity::Times;

    fn figures() -> Figures {
        let times = Times { p50: Spread::once(0.008), p99: Spread::once(0.017) };
        let written = |connections| Written {
            work: P256,
            connections,
            rate: Spread::once(6_909.0),
            times,
            verifies: 27_932.0,
            share: 0.3,
            bare: Some(Spread::once(112_452.0)),
        };
        Figures {
            writes: vec![written(1), written(64)],
            paced: Some(Paced { rate: 5_500.0, times }),
            reads: vec![ReadBack {
                what: "hash tiles",
                rate: Spread::once(74_472.0),
                bare: Spread::once(102_481.0),
            }],
            sizes: vec![size(10_000), size(100_000), size(1_000_000)],
            ..Figures::default()
        }
    }

    #[test]
    fn every_figure_is_drawn_with_the_number_of_the_table() {
        let plots = all(&figures(), "one machine");
        let names: Vec<_> = plots.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["rates.svg", "latency.svg", "growth.svg"]);
        let rates = &plots[0].1;
        for part in ["6,909 entries/s", "27,932 entries/s", "74,472 answers/s", "P-256, 64 conn."] {
            assert!(rates.contains(part), "{part} is not in {rates}");
        }
        assert!(plots[1].1.contains("p99 at a fixed 5,500/s"));
        assert!(plots[2].1.contains("100,000,000"), "{}", plots[2].1);
    }

    #[test]
    fn without_figures_there_are_no_plots() {
        assert!(all(&Figures::default(), "").is_empty());
    }
}
