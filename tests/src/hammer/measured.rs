//! What came of a load: rate, exact percentiles, failures by kind, and answers to verify.
//!
//! Which answers count:
//!
//! | figure | closed loop | open loop |
//! |---|---|---|
//! | rate | whole inside the window | whole inside the window |
//! | percentiles | the same | due inside the window, whenever they were whole |
//!
//! In an open loop an answer that comes after the window was late, and leaving it out would make
//! the server look faster than it was. Answers and failures are counted over the whole load, its
//! warm-up included.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;

use super::connection::{Failed, Failure};

/// What came of a load.
#[derive(Debug)]
pub struct Measured {
    /// Answers a second, inside the window.
    pub rate: f64,
    /// `None` if nothing in the window was answered.
    pub latencies: Option<Latencies>,
    /// All right answers, those of the warm-up too.
    pub answers: usize,
    /// Everything else.
    pub failures: Failures,
    /// When the load began.
    pub started: Instant,
    /// How long it was measured.
    pub time: Duration,
    /// From the first request to the last answer.
    pub whole: Duration,
    /// Answers that were kept.
    pub kept: Vec<Kept>,
}

/// Percentiles over all samples: the time that so many of a hundred do not exceed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latencies {
    /// The middle.
    pub p50: Duration,
    /// Of 95 in a hundred.
    pub p95: Duration,
    /// Of 99 in a hundred.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Failures by kind.
#[derive(Clone, Default, Debug)]
pub struct Failures(BTreeMap<Failure, Counted>);

/// Failures of one kind.
#[derive(Clone, Debug)]
pub struct Counted {
    /// How many.
    pub count: usize,
    /// What was said about the first one.
    pub said: String,
}

/// A right answer, or so its status says.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The number of its request.
    pub number: usize,
    /// The answer.
    pub body: Bytes,
    /// When.
    pub sample: Sample,
}

/// When an answer was due and when it was whole, since the start of the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When its request was sent, or should have been.
    pub due: Duration,
    /// When it was whole.
    pub end: Duration,
}

/// The part of a load that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// When the load began.
    pub(super) started: Instant,
    pub(super) start: Duration,
    /// `None`: at the last answer.
    pub(super) end: Option<Duration>,
    /// Percentiles are over requests that were due in the window.
    pub(super) by_due: bool,
}

/// What connections saw.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) samples: Vec<Sample>,
    pub(super) kept: Vec<Kept>,
    pub(super) failures: Failures,
    /// When the last request ended, well or not.
    pub(super) last: Duration,
}

impl Measured {
    /// The figures of `tally` in `window`.
    pub(super) fn of(tally: Tally, window: Window) -> anyhow::Result<Self> {
        let end = window.end.unwrap_or(tally.last);
        let time = end.checked_sub(window.start).filter(|time| !time.is_zero());
        let time = time.context("the requests ran out while warming up")?;
        let is_inside = |at: Duration| (window.start..=end).contains(&at);
        let ended = tally.samples.iter().filter(|sample| is_inside(sample.end)).count();
        let counts = |sample: &&Sample| match window.by_due {
            true => (window.start..end).contains(&sample.due),
            false => is_inside(sample.end),
        };
        let times = tally.samples.iter().filter(counts).map(|sample| sample.took()).collect();
        Ok(Self {
            rate: ended as f64 / time.as_secs_f64(),
            latencies: Latencies::of(times),
            answers: tally.samples.len(),
            failures: tally.failures,
            started: window.started,
            time,
            whole: tally.last,
            kept: tally.kept,
        })
    }

    /// The same, if every answer was right.
    ///
    /// # Errors
    /// What failed, if anything did, and if nothing was answered in the window.
    pub fn faultless(self) -> anyhow::Result<Self> {
        if let Some((failure, counted)) = self.failures.iter().next() {
            let failed = self.failures.total();
            bail!(
                "{failed} requests failed, {} of them: {failure}: {}",
                counted.count,
                counted.said
            );
        }
        ensure!(self.latencies.is_some(), "nothing was measured: the window was too short");
        Ok(self)
    }
}

impl Latencies {
    /// Those of `samples`; `None` if there are none.
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let max = *samples.last()?;
        let at = |percent: usize| samples[(samples.len() * percent).div_ceil(100) - 1];
        Some(Self { p50: at(50), p95: at(95), p99: at(99), max })
    }
}

impl Failures {
    /// How many in all.
    pub fn total(&self) -> usize {
        self.0.values().map(|counted| counted.count).sum()
    }

    /// Each kind.
    pub fn iter(&self) -> impl Iterator<Item = (&Failure, &Counted)> {
        self.0.iter()
    }

    pub(super) fn count(&mut self, failed: Failed) {
        let Failed { failure, said } = failed;
        self.0.entry(failure).or_insert(Counted { count: 0, said }).count += 1;
    }

    fn add(&mut self, other: Self) {
        for (failure, Counted { count, said }) in other.0 {
            self.0.entry(failure).or_insert(Counted { count: 0, said }).count += count;
        }
    }
}

impl Sample {
    /// From when the request was due to when the answer was whole.
    pub fn took(&self) -> Duration {
        self.end.saturating_sub(self.due)
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.samples.extend(other.samples);
        self.kept.extend(other.kept);
        self.failures.add(other.failures);
        self.last = self.last.max(other.last);
    }
}

#[cfg(test)]
mod tests;
