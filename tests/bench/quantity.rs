//! Numbers as people see them: what they count, and how far several runs lay apart.
//!
//! Everything is kept in seconds, bytes and things a second, and scaled only where it is shown.

use std::time::Duration;

pub(crate) use treering_tests::hammer::figures::{grouped, number};

/// What a number counts, which decides how it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Things a second, by their name.
    PerSecond(&'static str),
    /// Bytes a second.
    BytesPerSecond,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// One figure over another.
    Ratio,
}

/// The same measured several times.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    /// The middle one; of an even number the mean of the two in the middle.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

/// Percentiles of times in seconds, over the runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Times {
    /// The middle.
    pub(crate) p50: Spread,
    /// What 99 of 100 do not exceed.
    pub(crate) p99: Spread,
}

impl Spread {
    /// What was measured once.
    pub(crate) fn once(value: f64) -> Self {
        Self { median: value, min: value, max: value }
    }

    /// `None` if nothing was measured.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }

    /// The same of another figure, which rises or falls with this one throughout.
    pub(crate) fn map(self, other: impl Fn(f64) -> f64) -> Self {
        let (one, two) = (other(self.min), other(self.max));
        Self { median: other(self.median), min: one.min(two), max: one.max(two) }
    }
}

impl Unit {
    /// `value` with its unit.
    pub(crate) fn show(self, value: f64) -> String {
        let (factor, name) = self.scale(value);
        format!("{}{name}", number(value * factor))
    }

    /// The median with its unit, and how far the runs lay apart if there were several.
    pub(crate) fn show_spread(self, spread: Spread) -> String {
        let Spread { median, min, max } = spread;
        let (factor, _) = self.scale(median);
        let middle = self.show(median);
        if min == max {
            return middle;
        }
        format!("{middle} ({} to {})", number(min * factor), number(max * factor))
    }

    /// The name of the unit, unscaled.
    pub(crate) fn name(self) -> String {
        match self {
            Self::PerSecond(what) => format!("{what}/s"),
            Self::BytesPerSecond => "bytes/s".to_owned(),
            Self::Seconds => "seconds".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Ratio => "ratio".to_owned(),
        }
    }

    /// What to multiply by, and the unit that it is then in.
    pub(crate) fn scale(self, value: f64) -> (f64, String) {
        let (factor, name) = match self {
            Self::PerSecond(what) => return (1.0, format!(" {what}/s")),
            Self::Ratio => (1.0, ""),
            Self::BytesPerSecond => (1e-9, " GB/s"),
            Self::Seconds if value < 1e-3 => (1e6, " µs"),
            Self::Seconds if value < 1.0 => (1e3, " ms"),
            Self::Seconds => (1.0, " s"),
            Self::Bytes if value < 1e5 => (1.0, " bytes"),
            Self::Bytes if value < 1e9 => (1e-6, " MB"),
            Self::Bytes => (1e-9, " GB"),
        };
        (factor, name.to_owned())
    }
}

/// `count` things in `time`, a second.
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_the_ends() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([7.0]), Some(Spread::once(7.0)));
        assert_eq!(Spread::of([]), None);
        let inverse = spread.map(|value| 6.0 / value);
        assert_eq!(inverse, Spread { median: 3.0, min: 2.0, max: 6.0 });
    }

    #[test]
    fn units_are_chosen_by_size() {
        assert_eq!(Unit::Seconds.show(0.000_331), "331 µs");
        assert_eq!(Unit::Seconds.show(0.008_87), "8.87 ms");
        assert_eq!(Unit::Seconds.show(2.5), "2.50 s");
        assert_eq!(Unit::Bytes.show(358.0), "358 bytes");
        assert_eq!(Unit::Bytes.show(106_000_000.0), "106 MB");
        assert_eq!(Unit::BytesPerSecond.show(2.45e9), "2.45 GB/s");
        assert_eq!(Unit::PerSecond("entries").show(6_909.4), "6,909 entries/s");
        assert_eq!(Unit::Ratio.show(0.55), "0.55");
    }

    #[test]
    fn a_spread_is_shown_in_the_unit_of_its_median() {
        let spread = Spread { median: 0.001_2, min: 0.000_9, max: 0.002 };
        assert_eq!(Unit::Seconds.show_spread(spread), "1.20 ms (0.90 to 2.00)");
        assert_eq!(Unit::Seconds.show_spread(Spread::once(0.001_2)), "1.20 ms");
    }

    #[test]
    fn numbers_have_three_digits_or_are_whole() {
        for (value, text) in
            [(0.0, "0.00"), (9.996, "10.0"), (99.96, "100"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(number(value), text);
        }
    }
}
