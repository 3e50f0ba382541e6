//! Writes: each kind of entry into a new log of its own, and what part of the server's time goes
//! into verifying.
//!
//! Invariants: no request is sent twice; each kept answer proves the entry that was sent; after
//! each load the signed size of the log is the number of answers.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use treering_tests::hammer::check;
use treering_tests::hammer::face::Face;
use treering_tests::hammer::kind::Kind;
use treering_tests::hammer::load::{Load, Pace};
use treering_tests::hammer::maker::{Maker, Recipe, make_all};
use treering_tests::hammer::measured::Latencies;
use treering_tests::hammer::requests::Requests;
use treering_tests::hammer::schedule::Schedule;

use crate::bare::Sample;
use crate::ceilings::SyncTimes;
use crate::figures::{DSSE_10, P256, Paced, Work, Written};
use crate::loads::{Runs, counted};
use crate::quantity::{Spread, Times, Unit, grouped};
use crate::report::{Counts, Part, Row};
use crate::run::Bench;
use crate::server::{Live, Log};
use crate::targets::MANY;
use crate::verifies::Scheme;

/// Connections that writes are measured with.
const CONNECTIONS: [usize; 3] = [1, MANY, 256];

/// Other work, and over how many connections. Statements of 10,000 files take a core so long that
/// 64 signers at once would wait for seconds.
const OTHERS: [(Work, usize); 6] = [
    (Work { kind: Kind::Rsa2048, face: Face::RekorV2 }, MANY),
    (Work { kind: Kind::Ed25519ph, face: Face::RekorV2 }, MANY),
    (DSSE_10, MANY),
    (Work { kind: Kind::Dsse { files: 1_000 }, face: Face::RekorV2 }, MANY),
    (Work { kind: Kind::Dsse { files: 10_000 }, face: Face::RekorV2 }, FEW),
    (Work { kind: Kind::P256, face: Face::RekorV1 }, MANY),
];

/// Connections for what takes long.
const FEW: usize = 8;

/// Which part of the top rate a load at a fixed rate has.
const PART_OF_TOP_RATE: f64 = 0.8;

/// Memory for requests that are ready, in bytes.
const READY_BYTES_MAX: usize = 800 << 20;

/// Requests that are signed with RSA on each core: signing takes many times as long as verifying.
const RSA_REQUESTS_PER_CORE: usize = 8_000;

/// Requests that a bare server is sent in turn, and their memory.
const REPEATED: usize = 1_000;
const REPEATED_BYTES_MAX: usize = 64 << 20;

impl Bench<'_> {
    /// Every kind of write. In --quick the reads are measured here too, because there is no larger
    /// log.
    pub(crate) fn measure_writes(&mut self) -> anyhow::Result<()> {
        let mut live = Log::create(self.program, self.work, "log")?.live(0)?;
        for connections in CONNECTIONS {
            match connections {
                1 => self.write_alone(&mut live)?,
                _ => self.write_and_note(&mut live, P256, connections)?,
            }
        }
        self.write_at_a_fixed_rate(&mut live)?;
        if self.options.quick {
            let entries = self.entry_reads(&live)?;
            self.read(&live, &entries)?;
            self.monitor(&live)?;
        }
        self.end_beside_bare(live, P256, &CONNECTIONS)?;
        for (work, connections) in OTHERS {
            let mut live = Log::create(self.program, self.work, "log")?.live(0)?;
            self.write_and_note(&mut live, work, connections)?;
            self.end_beside_bare(live, work, &[connections])?;
        }
        Ok(())
    }

    /// Submits `work` in closed loops over so many connections, as often as asked.
    pub(crate) fn write(
        &mut self,
        live: &mut Live,
        work: Work,
        connections: usize,
    ) -> anyhow::Result<(Runs, String)> {
        let mut rate = self.rate_max(work, connections);
        let (mut runs, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs() {
            let (bodies, part) = self.sign(work, rate, connections);
            let requests = Requests::submit(work.face, bodies.clone());
            let load = self.closed(live.server.address, connections, requests);
            let load = Load { warm_up: load.warm_up.mul_f64(part), ..load };
            let loaded = self.submit(live, work, &bodies, &load, &mut batches)?;
            rate = loaded.measured.rate * 1.5;
            runs.push(loaded);
        }
        let runs = Runs::of(&runs)?;
        let note = self.note(work, &runs, &batches);
        Ok((runs, note))
    }

    /// Runs one load of submissions, and checks its answers and the size of the log.
    pub(crate) fn submit(
        &mut self,
        live: &mut Live,
        work: Work,
        bodies: &[Bytes],
        load: &Load,
        batches: &mut Vec<(f64, f64)>,
    ) -> anyhow::Result<crate::loads::Loaded> {
        let before = live.server.batches(&self.runtime)?;
        let loaded = self.load(&live.server.running, load)?;
        batches.push(live.server.batches(&self.runtime)?.mean_since(before));
        let measured = &loaded.measured;
        for kept in &measured.kept {
            let (key, sent) = (live.log.key(), &bodies[kept.number]);
            let proved = match work.face {
                Face::RekorV1 => check::check_v1(key, sent, &kept.body),
                _ => check::check_v2(key, sent, &kept.body),
            };
            proved.with_context(|| format!("the answer to request {} is wrong", kept.number))?;
        }
        let (answers, verified) = (measured.answers, measured.kept.len());
        self.report.count(Counts { answers, verified, ..Counts::default() });
        live.size += measured.answers as u64;
        self.check_size(live)?;
        Ok(loaded)
    }

    /// Submits, and puts the row and the figures of it into the report.
    fn write_and_note(
        &mut self,
        live: &mut Live,
        work: Work,
        connections: usize,
    ) -> anyhow::Result<()> {
        let verifies = self.verifies.of(Scheme::of(work.kind));
        let (runs, note) = self.write(live, work, connections)?;
        let what = format!("writes, {}, {}", work.name(), counted(connections));
        let row = Row::new(what, runs.rate, Unit::PerSecond("entries")).times(runs.times);
        let of_verifies = runs.rate.median / verifies.rate;
        self.report.push(Part::Writes, row.over(of_verifies, "verifies").note(note));
        let share = verifies.cpu_seconds / runs.cpu_each;
        if connections == MANY && (work == P256 || work == DSSE_10) {
            let what = format!("verifying, of the server's CPU time, {}", work.name());
            let row = Row::new(what, Spread::once(share), Unit::Ratio);
            let (one, all) = (verifies.cpu_seconds, runs.cpu_each);
            let (one, all) = (Unit::Seconds.show(one), Unit::Seconds.show(all));
            self.report.push(Part::Writes, row.note(format!("{one} of {all} for an entry")));
        }
        let (rate, times, verifies) = (runs.rate, runs.times, verifies.rate);
        let written = Written { work, connections, rate, times, verifies, share, bare: None };
        self.report.figures.writes.push(written);
        Ok(())
    }

    /// Submits over one connection, and reports what is left of the time to the proof without the
    /// two syncs in it. These are measured before and after: a disk is not always as fast.
    fn write_alone(&mut self, live: &mut Live) -> anyhow::Result<()> {
        let mut syncs = SyncTimes::default();
        syncs.measure(self.work, self.options.ceiling_time() / 2)?;
        self.write_and_note(live, P256, 1)?;
        syncs.measure(self.work, self.options.ceiling_time() / 2)?;
        let mut both = 0.0;
        for (what, samples) in [
            ("ceiling: append 1.2 KB + fdatasync", syncs.append),
            ("ceiling: overwrite 112 B + fdatasync", syncs.overwrite),
        ] {
            let latencies = Latencies::of(samples).context("nothing was synced")?;
            let once = |time: std::time::Duration| Spread::once(time.as_secs_f64());
            let times = Times { p50: once(latencies.p50), p99: once(latencies.p99) };
            let row = Row::new(what, times.p50.map(|p50| 1.0 / p50), Unit::PerSecond("syncs"));
            self.report.push(Part::Ceilings, row.times(times).note("one after the other"));
            both += times.p50.median;
        }
        self.report.figures.both_syncs = Some(both);
        let alone = self.report.figures.written(P256, 1).context("it was measured")?;
        let rest = alone.times.p50.map(|p50| p50 - both);
        let what = "time to the proof over 1 connection, p50, without its two syncs";
        let row = Row::new(what, rest, Unit::Seconds).over(rest.median / both, "the syncs");
        self.report.push(Part::Writes, row.note(format!("syncs: {}", Unit::Seconds.show(both))));
        Ok(())
    }

    /// Submits at a fixed rate, below the top rate, whatever the server does.
    fn write_at_a_fixed_rate(&mut self, live: &mut Live) -> anyhow::Result<()> {
        let top = self.report.figures.top_rate().context("writes were measured")?;
        let rate = (PART_OF_TOP_RATE * top) as u32;
        let schedule = Schedule::new(rate).context("the top rate is next to nothing")?;
        let most = CONNECTIONS.into_iter().max().unwrap_or(MANY);
        let (mut runs, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs() {
            let whole = self.options.warm_up() + self.options.time();
            let bodies = self.sign_exactly(P256, schedule.count(whole));
            let requests = Requests::submit(P256.face, bodies.clone());
            let load = self.closed(live.server.address, most, requests);
            let load = Load { pace: Pace::Open(schedule), ..load };
            runs.push(self.submit(live, P256, &bodies, &load, &mut batches)?);
        }
        let runs = Runs::of(&runs)?;
        let note = self.note(P256, &runs, &batches);
        let what = format!("writes, {}, a fixed {}/s", P256.name(), grouped(u64::from(rate)));
        let row = Row::new(what, runs.rate, Unit::PerSecond("entries")).times(runs.times);
        let row = row.over(f64::from(rate) / top, "the top rate");
        let note = format!("open loop, times from when a request was due; {note}");
        self.report.push(Part::Writes, row.note(note));
        let (rate, times) = (f64::from(rate), runs.times);
        self.report.figures.paced = Some(Paced { rate, times });
        Ok(())
    }

    /// Ends the server, and measures a bare one in its place over each number of connections.
    fn end_beside_bare(
        &mut self,
        live: Live,
        work: Work,
        connections: &[usize],
    ) -> anyhow::Result<()> {
        let body = self.sign_exactly(work, 1);
        let sample = Sample::take(live.server.address, work.face.path(), Some(&body[0]))?;
        live.remove()?;
        let count = REPEATED.min(REPEATED_BYTES_MAX / body[0].len()).max(1);
        let bodies = self.sign_exactly(work, count);
        for connections in connections.iter().copied() {
            let requests = Requests::submit_again(work.face, bodies.clone());
            let what = work.name();
            let bare = self.answer_bare(Part::Writes, &what, &sample, connections, requests)?;
            let writes = self.report.figures.writes.iter_mut();
            for write in writes.filter(|w| w.work == work && w.connections == connections) {
                write.bare = Some(bare);
            }
        }
        Ok(())
    }

    /// A rate that the first run will hardly exceed.
    fn rate_max(&self, work: Work, connections: usize) -> f64 {
        let ceiling = self.verifies.of(Scheme::of(work.kind)).rate;
        // One connection has one verification at a time.
        let ceiling = if connections == 1 { ceiling / self.cores as f64 } else { ceiling };
        let known = self.report.figures.written(P256, MANY);
        known.map_or(ceiling, |known| ceiling.min(2.0 * known.rate.median))
    }

    /// Requests for one run, if no more than `rate` a second are taken: enough to last to the
    /// deadline, or as many as memory and patience allow. The load then ends early, so the second
    /// value is the part of its time that it has for sure.
    fn sign(&self, work: Work, rate: f64, connections: usize) -> (Arc<Vec<Bytes>>, f64) {
        let seconds = (self.options.warm_up() + self.options.time()).as_secs_f64();
        let wanted = (rate * seconds) as usize + connections;
        let len = Maker::new(recipe(work)).make().len();
        let patience = match work.kind {
            Kind::Rsa2048 => RSA_REQUESTS_PER_CORE * self.cores,
            Kind::P256 | Kind::Ed25519ph | Kind::Dsse { .. } => usize::MAX,
        };
        let count = wanted.min(READY_BYTES_MAX / len).min(patience);
        (self.sign_exactly(work, count), count as f64 / wanted as f64)
    }

    /// So many requests.
    pub(crate) fn sign_exactly(&self, work: Work, count: usize) -> Arc<Vec<Bytes>> {
        eprintln!("signing {} requests: {}", grouped(count as u64), work.name());
        Arc::new(make_all(recipe(work), count, self.cores))
    }

    /// Where the server's time went.
    fn note(&self, work: Work, runs: &Runs, batches: &[(f64, f64)]) -> String {
        let mean = |pick: fn(&(f64, f64)) -> f64| {
            batches.iter().map(pick).sum::<f64>() / batches.len().max(1) as f64
        };
        let one = self.verifies.of(Scheme::of(work.kind)).cpu_seconds;
        format!(
            "batches of {:.0} in {}; server {} of CPU an entry, {:.0} % of it one verify; {:.1} \
             cores busy; {}",
            mean(|batch| batch.0),
            Unit::Seconds.show(mean(|batch| batch.1)),
            Unit::Seconds.show(runs.cpu_each),
            one / runs.cpu_each * 100.0,
            runs.busy,
            runs.others()
        )
    }

    /// Every answer was an entry of its own: the log has as many as were answered.
    pub(crate) fn check_size(&self, live: &Live) -> anyhow::Result<()> {
        let (signed, size) = (self.signed_size(live)?, live.size);
        ensure!(signed == size, "{signed} entries, {size} were answered");
        Ok(())
    }

    /// The size that the log has signed.
    pub(crate) fn signed_size(&self, live: &Live) -> anyhow::Result<u64> {
        let note = live.server.fetch(&self.runtime, "/checkpoint")?;
        Ok(live.log.key().open(&note)?.size.get())
    }
}

fn recipe(work: Work) -> Recipe {
    Recipe { kind: work.kind, face: work.face, per_key: work.kind.requests_per_key() }
}
