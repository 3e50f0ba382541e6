//! Plots as SVG: bars of rates, and lines over a logarithmic axis; several of them on one page.
//!
//! Invariants: a page has a background of its own, so that it reads the same on a dark one; every
//! plot has a title, and every axis says what it counts in which unit; value axes begin at 0, so
//! that lengths compare as the numbers do; text is escaped. Out of scope: knowing what is shown.

use std::fmt::Write as _;

use crate::quantity::{Spread, Unit, grouped, number};

/// Colours that people with any common colour vision tell apart, on white.
pub(crate) const BLUE: &str = "#0060a8";
pub(crate) const ORANGE: &str = "#c25100";
pub(crate) const GREY: &str = "#8a8a8a";
pub(crate) const GREEN: &str = "#00785a";

const TEXT: &str = "#1c1c1c";
const GRID: &str = "#dddddd";

/// Pixels of one plot of lines.
const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 280.0;

/// Pixels of a bar, and between two groups of them.
const BAR: f64 = 15.0;
const GAP: f64 = 14.0;

/// A plot that is drawn, and how large it is.
pub(crate) struct Panel {
    width: f64,
    height: f64,
    svg: String,
}

/// Bars beside each other, each group about one thing.
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) groups: Vec<Group>,
}

/// What is compared with each other.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) bars: Vec<Bar>,
}

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: &'static str,
    pub(crate) value: Spread,
    pub(crate) color: &'static str,
}

/// Lines over what grows by factors.
pub(crate) struct Lines {
    pub(crate) title: String,
    /// What the horizontal axis counts.
    pub(crate) across: &'static str,
    /// What the vertical axis counts.
    pub(crate) up: &'static str,
    pub(crate) unit: Unit,
    pub(crate) series: Vec<Series>,
}

/// One line.
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) color: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
    /// A point that was not measured, at the end of a dashed line.
    pub(crate) beyond: Option<(f64, f64)>,
}

/// Places values on a line of pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Scale {
    from: f64,
    to: f64,
    min: f64,
    max: f64,
    is_log: bool,
}

impl Scale {
    /// From 0 to a round number above all of `values`.
    fn linear(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        Self { from, to, min: 0.0, max: step(most) * 5.0, is_log: false }
    }

    /// From the least to the greatest of `values`, which are above 0.
    fn log(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let min = values.clone().fold(f64::INFINITY, f64::min);
        let max = values.fold(0.0, f64::max);
        Self { from, to, min, max, is_log: true }
    }

    fn at(&self, value: f64) -> f64 {
        let part = match self.is_log {
            false => (value - self.min) / (self.max - self.min),
            true if self.max > self.min => (value / self.min).ln() / (self.max / self.min).ln(),
            true => 0.5,
        };
        self.from + part * (self.to - self.from)
    }

    /// Where the axis is labelled.
    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let step = self.max / 5.0;
        (0..=5).map(move |tick| step * f64::from(tick))
    }
}

/// A number on an axis: without zeros that say nothing.
fn short(value: f64) -> String {
    if (value - value.round()).abs() < 1e-6 {
        return grouped(value.round() as u64);
    }
    number(value).trim_end_matches('0').to_owned()
}

/// The least round number of which five reach `most`.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 0.2;
    }
    let fifth = most / 5.0;
    let power = 10_f64.powf(fifth.log10().floor());
    let rounds = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0];
    let round = rounds.into_iter().find(|round| fifth <= round * power * 1.000_1);
    round.unwrap_or(10.0) * power
}

impl Bars {
    /// Draws them.
    pub(crate) fn draw(&self) -> Panel {
        let (left, right, top) = (245.0, 810.0, 66.0);
        let bars = self.groups.iter().flat_map(|group| &group.bars);
        let scale = Scale::linear(bars.clone().map(|bar| bar.value.max), left, right - 160.0);
        let rows = bars.clone().count() as f64 * BAR + self.groups.len() as f64 * GAP;
        let bottom = top + rows;
        let mut svg = text(left, 22.0, Anchor::Start, 16, TEXT, &self.title);
        let mut labels: Vec<(&str, &str)> = Vec::new();
        for bar in bars {
            if !labels.iter().any(|(label, _)| *label == bar.label) {
                labels.push((bar.label, bar.color));
            }
        }
        svg += &legend(&labels, left, 44.0);
        svg += &self.axis(&scale, top, bottom);
        let mut y = top;
        for group in &self.groups {
            let middle = y + group.bars.len() as f64 * BAR / 2.0 + 4.0;
            svg += &text(left - 8.0, middle, Anchor::End, 12, TEXT, &group.name);
            for bar in &group.bars {
                svg += &self.bar(bar, &scale, y);
                y += BAR;
            }
            y += GAP;
        }
        Panel { width: right, height: bottom + 46.0, svg }
    }

    fn bar(&self, bar: &Bar, scale: &Scale, y: f64) -> String {
        let (from, to) = (scale.at(0.0), scale.at(bar.value.median));
        let (height, middle) = (BAR - 3.0, y + BAR / 2.0 - 1.5);
        let (color, width) = (bar.color, to - from);
        let mut svg = format!(
            "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" \
             fill=\"{color}\"/>\n"
        );
        if bar.value.min < bar.value.max {
            let (least, most) = (scale.at(bar.value.min), scale.at(bar.value.max));
            svg += &line((least, middle), (most, middle), TEXT, "1.5", false);
        }
        let after = to.max(scale.at(bar.value.max)) + 6.0;
        svg + &text(after, middle + 4.0, Anchor::Start, 11, TEXT, &self.unit.show(bar.value.median))
    }

    fn axis(&self, scale: &Scale, top: f64, bottom: f64) -> String {
        let mut svg = String::new();
        for tick in scale.ticks() {
            let x = scale.at(tick);
            svg += &line((x, top - 4.0), (x, bottom), GRID, "1", false);
            svg += &text(x, bottom + 14.0, Anchor::Middle, 11, TEXT, &short(tick));
        }
        let middle = f64::midpoint(scale.from, scale.to);
        svg + &text(middle, bottom + 34.0, Anchor::Middle, 12, TEXT, &self.unit.name())
    }
}

impl Lines {
    /// Draws them.
    pub(crate) fn draw(&self) -> Panel {
        let (left, right, top, bottom) = (64.0, WIDTH - 24.0, 66.0, HEIGHT - 48.0);
        let all = self.series.iter().flat_map(|one| one.points.iter().chain(&one.beyond));
        let across = Scale::log(all.clone().map(|(x, _)| *x), left + 12.0, right - 12.0);
        let up = Scale::linear(all.clone().map(|(_, y)| *y), bottom, top);
        let (factor, unit) = self.unit.scale(up.max);
        let mut svg = text(left, 22.0, Anchor::Start, 14, TEXT, &self.title);
        let labels = self.series.iter().map(|one| (one.label.as_str(), one.color));
        svg += &legend(&labels.collect::<Vec<_>>(), left, 44.0);
        for tick in up.ticks() {
            let y = up.at(tick);
            svg += &line((left, y), (right, y), GRID, "1", false);
            svg += &text(left - 6.0, y + 4.0, Anchor::End, 11, TEXT, &short(tick * factor));
        }
        let mut places: Vec<f64> = all.map(|(x, _)| *x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        for place in places {
            let label = short(place);
            let x = across.at(place);
            svg += &line((x, bottom), (x, bottom + 4.0), TEXT, "1", false);
            svg += &text(x, bottom + 17.0, Anchor::Middle, 11, TEXT, &label);
        }
        svg += &line((left, bottom), (right, bottom), TEXT, "1", false);
        let middle = f64::midpoint(left, right);
        svg += &text(middle, bottom + 36.0, Anchor::Middle, 12, TEXT, self.across);
        let up_label =
            if unit.is_empty() { self.up.to_owned() } else { format!("{},{unit}", self.up) };
        svg += &sideways(14.0, f64::midpoint(top, bottom), &up_label);
        for one in &self.series {
            svg += &one.draw(&across, &up);
        }
        Panel { width: WIDTH, height: HEIGHT, svg }
    }
}

impl Series {
    fn draw(&self, across: &Scale, up: &Scale) -> String {
        let at = |(x, y): (f64, f64)| (across.at(x), up.at(y));
        let mut svg = String::new();
        for pair in self.points.windows(2) {
            svg += &line(at(pair[0]), at(pair[1]), self.color, "2", false);
        }
        if let (Some(last), Some(beyond)) = (self.points.last(), self.beyond) {
            svg += &line(at(*last), at(beyond), self.color, "2", true);
            svg += &dot(at(beyond), self.color, "#ffffff");
        }
        for point in &self.points {
            svg += &dot(at(*point), self.color, self.color);
        }
        svg
    }
}

/// A page of `panels`, so many beside each other; `title` and `description` are for those who
/// cannot see it.
pub(crate) fn page(title: &str, description: &str, panels: &[Panel], columns: usize) -> String {
    let (mut body, mut width, mut y) = (String::new(), 0.0_f64, 8.0);
    for row in panels.chunks(columns.max(1)) {
        let mut x = 8.0;
        for panel in row {
            let svg = &panel.svg;
            writeln!(body, "<g transform=\"translate({x:.0} {y:.0})\">\n{svg}</g>")
                .expect("writing to a string does not fail");
            x += panel.width + 16.0;
        }
        width = width.max(x);
        y += row.iter().map(|panel| panel.height).fold(0.0, f64::max) + 12.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {y:.0}\" \
         width=\"{width:.0}\" height=\"{y:.0}\" role=\"img\" font-family=\"sans-serif\">\n\
         <title>{}</title>\n<desc>{}</desc>\n\
         <rect width=\"{width:.0}\" height=\"{y:.0}\" fill=\"#ffffff\"/>\n{body}</svg>\n",
        escape(title),
        escape(description)
    )
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

fn text(x: f64, y: f64, anchor: Anchor, size: u32, color: &str, words: &str) -> String {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let words = escape(words);
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
         fill=\"{color}\">{words}</text>\n"
    )
}

fn sideways(x: f64, y: f64, words: &str) -> String {
    let words = escape(words);
    format!(
        "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\" \
         font-size=\"12\" fill=\"{TEXT}\">{words}</text>\n"
    )
}

fn line(from: (f64, f64), to: (f64, f64), color: &str, width: &str, is_dashed: bool) -> String {
    let dashes = if is_dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    format!(
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\" \
         stroke-width=\"{width}\"{dashes}/>\n",
        from.0, from.1, to.0, to.1
    )
}

fn dot(at: (f64, f64), color: &str, fill: &str) -> String {
    format!(
        "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" stroke=\"{color}\" stroke-width=\"2\" \
         fill=\"{fill}\"/>\n",
        at.0, at.1
    )
}

/// What each colour means, in one row; a character is taken to be 6.5 pixels wide.
fn legend(labels: &[(&str, &str)], x: f64, y: f64) -> String {
    let (mut svg, mut x) = (String::new(), x);
    for (label, color) in labels {
        let top = y - 9.0;
        svg += &format!(
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"10\" height=\"10\" fill=\"{color}\"/>\n"
        );
        svg += &text(x + 14.0, y, Anchor::Start, 11, TEXT, label);
        x += 14.0 + label.chars().count() as f64 * 6.5 + 12.0;
    }
    svg
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_above_everything() {
        for (most, end) in [(6_909.0, 7_500.0), (27_932.0, 30_000.0), (0.009, 0.01), (1.0, 1.0)] {
            assert!((step(most) * 5.0 - end).abs() < end * 1e-9, "{most}");
        }
        assert!(step(0.0) > 0.0);
    }

    #[test]
    fn values_are_placed_between_the_ends_of_their_axis() {
        let linear = Scale::linear([3.0, 10.0].into_iter(), 100.0, 200.0);
        assert_eq!((linear.at(0.0), linear.at(5.0), linear.at(10.0)), (100.0, 150.0, 200.0));
        let log = Scale::log([1e4, 1e8].into_iter(), 0.0, 40.0);
        assert!((log.at(1e4), log.at(1e6), log.at(1e8)) == (0.0, 20.0, 40.0));
        let one = Scale::log([64.0].into_iter(), 0.0, 40.0);
        assert_eq!(one.at(64.0), 20.0);
        let upside_down = Scale::linear([10.0].into_iter(), 200.0, 100.0);
        assert_eq!(upside_down.at(10.0), 100.0);
    }

    #[test]
    fn numbers_on_axes_are_short() {
        for (value, text) in [(0.0, "0"), (64.0, "64"), (1.5, "1.5"), (22_500.0, "22,500")] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_drawn_to() {
        let scale = Scale::linear([f64::NAN, f64::INFINITY, 4.0].into_iter(), 0.0, 1.0);
        assert!((scale.max - 4.0).abs() < 1e-9);
    }

    #[test]
    fn bars_carry_their_numbers_titles_and_units() {
        let value = Spread { median: 6_909.0, min: 6_700.0, max: 7_010.0 };
        let bar = Bar { label: "Treering", value, color: BLUE };
        let group = Group { name: "P-256 <64>".into(), bars: vec![bar] };
        let title = "Writes".to_owned();
        let bars = Bars { title, unit: Unit::PerSecond("entries"), groups: vec![group] };
        let svg = page("Rates", "What was measured", &[bars.draw()], 1);
        for part in
            ["Writes", "P-256 &lt;64&gt;", "6,909 entries/s", "Treering", "<title>Rates</title>"]
        {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(svg.starts_with("<svg ") && svg.contains("fill=\"#ffffff\""));
    }

    #[test]
    fn lines_have_named_axes_and_a_dashed_end() {
        let series = |label: &str, beyond| Series {
            label: label.to_owned(),
            color: ORANGE,
            points: vec![(1e4, 0.001), (1e6, 0.002)],
            beyond,
        };
        let lines = Lines {
            title: "Start-up".to_owned(),
            across: "entries in the log",
            up: "time",
            unit: Unit::Seconds,
            series: vec![series("clean", Some((1e8, 0.003))), series("killed", None)],
        };
        let svg = page("Growth", "", &[lines.draw(), lines.draw()], 2);
        for part in ["entries in the log", "time, ms", "1,000,000", "stroke-dasharray", "killed"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
