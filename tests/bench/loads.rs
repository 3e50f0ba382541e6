//! One load, run several times, and what came of all of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use treering_tests::hammer::load::Load;
use treering_tests::hammer::measured::{Latencies, Measured};
use treering_tests::hammer::requests::Requests;
use treering_tests::hammer::target::Target;

use crate::bare::Sample;
use crate::child::Running;
use crate::machine::CpuTimes;
use crate::quantity::{Spread, Times, Unit, grouped};
use crate::report::{Counts, Part, Row};
use crate::run::Bench;

/// A load that was run once, and what its server and others used meanwhile.
pub(crate) struct Loaded {
    pub(crate) measured: Measured,
    /// CPU time of the server.
    pub(crate) cpu: Duration,
    /// Which share of the machine others had.
    pub(crate) others: f64,
}

/// The same load, run several times.
pub(crate) struct Runs {
    /// Answers a second.
    pub(crate) rate: Spread,
    /// From sending a request, or from when it was due, to having read its answer.
    pub(crate) times: Times,
    /// CPU time of the server for one answer, in seconds.
    pub(crate) cpu_each: f64,
    /// Cores that the server kept busy.
    pub(crate) busy: f64,
    /// The most that others had of the machine.
    pub(crate) others: f64,
}

impl Runs {
    /// What `all` came to.
    ///
    /// # Errors
    /// If nothing was run.
    pub(crate) fn of(all: &[Loaded]) -> anyhow::Result<Self> {
        let spread = |pick: &dyn Fn(&Loaded) -> f64| Spread::of(all.iter().map(pick));
        let latency = |pick: fn(&Latencies) -> Duration| {
            let latencies = all.iter().filter_map(|one| one.measured.latencies.as_ref());
            Spread::of(latencies.map(|latencies| pick(latencies).as_secs_f64()))
        };
        let sum = |pick: &dyn Fn(&Loaded) -> f64| all.iter().map(pick).sum::<f64>();
        let cpu = sum(&|one| one.cpu.as_secs_f64());
        let answers = sum(&|one| one.measured.answers as f64);
        let p50 = latency(|latencies| latencies.p50).context("nothing was answered")?;
        let p99 = latency(|latencies| latencies.p99).context("nothing was answered")?;
        Ok(Self {
            rate: spread(&|one| one.measured.rate).context("nothing was run")?,
            times: Times { p50, p99 },
            cpu_each: cpu / answers.max(1.0),
            busy: cpu / sum(&|one| one.measured.whole.as_secs_f64()),
            others: all.iter().map(|one| one.others).fold(0.0, f64::max),
        })
    }

    /// How much of the machine others had, as a remark.
    pub(crate) fn others(&self) -> String {
        format!("others {:.0} %", self.others * 100.0)
    }
}

impl Bench<'_> {
    /// A closed loop of the usual length.
    pub(crate) fn closed(
        &self,
        address: SocketAddr,
        connections: usize,
        requests: Requests,
    ) -> Load {
        let (warm_up, time) = (self.options.warm_up(), self.options.time());
        Load { warm_up, time, ..Load::closed(Target::new(address), connections, requests) }
    }

    /// The same, shorter: for what varies little.
    pub(crate) fn short(
        &self,
        address: SocketAddr,
        connections: usize,
        requests: Requests,
    ) -> Load {
        let load = self.closed(address, connections, requests);
        let warm_up = load.warm_up.min(Duration::from_millis(500));
        Load { warm_up, time: load.time.min(Duration::from_secs(2)), ..load }
    }

    /// Runs `load` once on the server that is `running`. What failed is counted, and ends the run.
    ///
    /// # Errors
    /// If any answer is not the right one.
    pub(crate) fn load(&mut self, running: &Running, load: &Load) -> anyhow::Result<Loaded> {
        let loaded = self.load_with_failures(running, load)?;
        let failures = loaded.measured.failures.total();
        self.report.count(Counts { failures, ..Counts::default() });
        Ok(Loaded { measured: loaded.measured.faultless()?, ..loaded })
    }

    /// The same on a server that may fail: what failed is counted in what was measured.
    pub(crate) fn load_with_failures(
        &self,
        running: &Running,
        load: &Load,
    ) -> anyhow::Result<Loaded> {
        let (machine, before) = (CpuTimes::read()?, running.cpu_time()?);
        let measured = self.runtime.block_on(load.run())?;
        let cpu = running.cpu_time()?.saturating_sub(before);
        let others = CpuTimes::read()?.share_of_others_since(&machine, cpu);
        Ok(Loaded { measured, cpu, others })
    }

    /// Runs `load` as often as asked, on a server that answers the same again and again.
    pub(crate) fn repeat(&mut self, running: &Running, load: &Load) -> anyhow::Result<Vec<Loaded>> {
        (0..self.options.runs()).map(|_| self.load(running, load)).collect()
    }

    /// What a bare server does that answers `requests` as `sample` was answered.
    pub(crate) fn answer_bare(
        &mut self,
        part: Part,
        what: &str,
        sample: &Sample,
        connections: usize,
        requests: Requests,
    ) -> anyhow::Result<Spread> {
        let (running, address) = sample.serve(self.work)?;
        let load = self.short(address, connections, requests);
        let runs = self.repeat(&running, &load)?;
        drop(running);
        let runs = Runs::of(&runs)?;
        let (len, connections) = (grouped(sample.len as u64), counted(connections));
        let what = format!("ceiling: bare hyper, as {what}, {connections}");
        let row = Row::new(what, runs.rate, Unit::PerSecond("answers")).times(runs.times);
        let cpu = Unit::Seconds.show(runs.cpu_each);
        let note = format!("{len} bytes; server {cpu} of CPU; {}", runs.others());
        self.report.push(part, row.note(note));
        Ok(runs.rate)
    }
}

/// So many connections, in words.
pub(crate) fn counted(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn loaded(rate: f64, millis: u64, others: f64) -> Loaded {
        let time = Duration::from_millis(millis);
        let measured = Measured {
            rate,
            latencies: Latencies::of(vec![time]),
            answers: 100,
            failures: Default::default(),
            started: Instant::now(),
            time: Duration::from_secs(1),
            whole: Duration::from_secs(2),
            kept: Vec::new(),
        };
        Loaded { measured, cpu: Duration::from_secs(1), others }
    }

    #[test]
    fn runs_have_the_middle_of_each_figure_and_the_sum_of_cpu_time() {
        let runs = [loaded(10.0, 3, 0.0), loaded(30.0, 1, 0.02), loaded(20.0, 2, 0.01)];
        let runs = Runs::of(&runs).unwrap();
        assert_eq!(runs.rate, Spread { median: 20.0, min: 10.0, max: 30.0 });
        assert_eq!(runs.times.p99, Spread { median: 0.002, min: 0.001, max: 0.003 });
        assert_eq!((runs.cpu_each, runs.busy), (0.01, 0.5));
        assert_eq!(runs.others(), "others 2 %");
        assert!(Runs::of(&[]).is_err());
    }

    #[test]
    fn connections_are_counted_in_words() {
        assert_eq!((counted(1), counted(64)), ("1 connection".into(), "64 connections".into()));
    }
}
