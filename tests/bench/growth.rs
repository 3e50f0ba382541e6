//! The same log at sizes ten times apart: what an entry costs, what a read takes, how long it takes
//! to start, and what it needs of memory and disk.
//!
//! Each size is a log of its own, filled without HTTP and removed at the end: loads of some seconds
//! would otherwise make the smallest log larger than the next one is meant to be. Reads come before
//! writes for the same reason.
//!
//! Invariant: after `kill -9` the log has all that it had acknowledged, under its signature.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use treering_tests::hammer::load::Load;
use treering_tests::hammer::requests::Requests;

use crate::figures::{P256, Size};
use crate::quantity::{Spread, Unit, grouped, rate};
use crate::report::{Part, Row};
use crate::run::Bench;
use crate::server::{Live, Log};
use crate::targets::MANY;
use crate::{disk, fill, monitor};

/// How many times smaller than the largest log each is.
const PARTS: [u64; 3] = [100, 10, 1];

/// A log with fewer entries has no full tiles to read.
const ENTRIES_MIN: u64 = 1_000;

/// Entries that are written before each clean stop, so that there is something to replay, and how
/// long that may take. They are few beside the smallest log.
const WRITTEN_BEFORE_STOP: usize = 1_000;
const WRITE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a server is under load before it is killed.
const KILLED_AFTER: Duration = Duration::from_millis(1_500);

/// A log whose server was killed.
struct Killed {
    log: Log,
    /// Entries that it had said it has.
    acknowledged: u64,
    /// The most memory that the server had, in bytes.
    most_memory: f64,
}

impl Bench<'_> {
    /// Every size up to the wanted one, or to what the disk takes.
    pub(crate) fn measure_growth(&mut self) -> anyhow::Result<()> {
        for part in PARTS {
            let wanted = self.options.entries / part;
            if wanted < ENTRIES_MIN {
                continue;
            }
            let had = self.measure_size(wanted, part)?;
            if had < wanted {
                eprintln!("the disk took {} entries of {}", grouped(had), grouped(wanted));
                break;
            }
        }
        Ok(())
    }

    /// Measures a log of `wanted` entries; returns how many the disk took.
    fn measure_size(&mut self, wanted: u64, part: u64) -> anyhow::Result<u64> {
        let log = Log::create(self.program, self.work, "large-log")?;
        eprintln!("filling a log with {} entries", grouped(wanted));
        let filled = fill::fill(log.data(), wanted, self.cores)?;
        let entries = filled.entries;
        if entries < ENTRIES_MIN {
            log.remove()?;
            return Ok(entries);
        }
        let is_last = part == 1 || entries < wanted;
        let disk = match disk::has_room_for_copy(log.data())? {
            true => Some(disk::per_entry(log.data(), self.work, entries, filled.body_bytes)?),
            false => None,
        };
        let live = log.live(entries)?;
        self.check_size(&live)?;
        let questions = self.entry_reads(&live)?;
        // Nobody has at hand now what was just read, and the write-ahead log of the fill is gone.
        let live = live.restart()?;
        let idle = live.server.running.resident_bytes()? as f64;
        let (proof, search) = self.read_alone(&live, &questions)?;
        if is_last {
            self.read(&live, &questions)?;
        }
        // Half a minute for a million entries: the next to last size says as much.
        if part == 10 {
            self.monitor(&live)?;
        }
        // This ends with a new process, so that the most memory is that of the writes at each size.
        let (mut live, clean_start, clean_wal) = self.start_cleanly(live)?;
        eprintln!("writes at {} entries", grouped(entries));
        let (runs, _) = self.write(&mut live, P256, MANY)?;
        let killed = self.kill_under_load(live, runs.rate.median)?;
        let loaded = killed.most_memory;
        let (start_after_kill, kill_wal, journal) = self.start_after_kill(killed, entries)?;
        self.report.figures.sizes.push(Size {
            entries,
            fill: rate(entries, filled.took),
            writes: runs.rate,
            proof,
            search,
            clean_start,
            clean_wal,
            start_after_kill,
            kill_wal,
            idle,
            loaded,
            disk,
            journal,
        });
        Ok(entries)
    }

    /// How long the server takes to start after some writes and a clean stop, and the bytes of the
    /// write-ahead log that each start found. It is as just started at the end.
    fn start_cleanly(&mut self, mut live: Live) -> anyhow::Result<(Live, Spread, Spread)> {
        let (mut starts, mut wals) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs() {
            let bodies = self.sign_exactly(P256, WRITTEN_BEFORE_STOP);
            let requests = Requests::submit(P256.face, bodies.clone());
            let load = self.closed(live.server.address, MANY, requests);
            let load = Load { warm_up: Duration::ZERO, time: WRITE_TIME_MAX, ..load };
            self.submit(&mut live, P256, &bodies, &load, &mut Vec::new())?;
            let Live { log, server, size } = live;
            server.running.stop()?;
            wals.push(disk::write_ahead_log(log.data())? as f64);
            live = log.live(size)?;
            starts.push(live.server.start.as_secs_f64());
            self.check_size(&live)?;
        }
        let spread = |values: Vec<f64>| Spread::of(values).context("it was started");
        Ok((live, spread(starts)?, spread(wals)?))
    }

    /// Kills the server while it takes entries at about `rate`.
    fn kill_under_load(&self, live: Live, rate: f64) -> anyhow::Result<Killed> {
        let Live { log, server, size } = live;
        // Twice as many as it takes in this time.
        let count = (2.0 * rate * KILLED_AFTER.as_secs_f64()) as usize + 2 * MANY;
        let requests = Requests::submit(P256.face, self.sign_exactly(P256, count));
        let load = self.closed(server.address, MANY, requests);
        let load = Load { warm_up: Duration::ZERO, time: 10 * KILLED_AFTER, ..load };
        let loading = async { tokio::time::timeout(KILLED_AFTER, load.run()).await };
        if let Ok(ended) = self.runtime.block_on(loading) {
            let measured = ended?;
            bail!("the load ended after {} answers, before the kill", measured.answers);
        }
        // The connections go on until their server is gone.
        let most_memory = server.running.most_resident_bytes()? as f64;
        server.running.kill()?;
        let answered = load.answered.load(Ordering::Relaxed) as u64;
        ensure!(answered > 0, "nothing was answered before the kill");
        Ok(Killed { log, acknowledged: size + answered, most_memory })
    }

    /// Starts the server again, which must have kept its word, and removes the log; it was filled
    /// with `filled` entries. How long the start took, the bytes of the write-ahead log that it
    /// found, and those of the access journal for each entry that came through HTTP.
    fn start_after_kill(&self, killed: Killed, filled: u64) -> anyhow::Result<(f64, f64, f64)> {
        let Killed { log, acknowledged, .. } = killed;
        let wal = disk::write_ahead_log(log.data())? as f64;
        let live = log.live(acknowledged)?;
        let start = live.server.start.as_secs_f64();
        let size = self.signed_size(&live)?;
        ensure!(size >= acknowledged, "{size} entries after the kill, {acknowledged} before it");
        let journal = disk::used(&live.log.data().join("journal"))?;
        live.remove()?;
        Ok((start, wal, journal as f64 / (size - filled).max(1) as f64))
    }

    /// The client's monitor over the whole log, without and with submitters' signatures.
    pub(crate) fn monitor(&mut self, live: &Live) -> anyhow::Result<()> {
        for signatures in [false, true] {
            let what = match signatures {
                false => "monitor: hashes, tiles, roots, facts",
                true => "monitor: the same and signatures",
            };
            eprintln!("{what}");
            let read = monitor::read(self.client, live, signatures)?;
            let rate = read.entries as f64 / read.seconds;
            ensure!(read.entries == live.size, "the monitor read {} entries", read.entries);
            let row = Row::new(what, Spread::once(rate), Unit::PerSecond("entries"));
            let row = row.over(rate / self.verifies.p256.rate, "P-256 verifies");
            let note = format!(
                "{} entries, {} signatures; server on the same cores",
                grouped(read.entries),
                grouped(read.signatures)
            );
            self.report.push(Part::Monitor, row.note(note));
        }
        Ok(())
    }
}
