//! The sequencer: the one loop that grows the log, and the only writer.
//!
//! ```text
//! take a batch -> stamp -> extend -> commit -> self-check -> fence -> sign, publish -> wake
//!                                                                 '-> with witnesses: propose,
//!                                     go on; when their quorum cosigned: sign, publish -> wake
//! ```
//!
//! Invariants:
//! - each step takes what the step before made, so none can be skipped;
//! - an error after the commit began leaves the outcome unknown, so the log latches: it never
//!   retries a failed write, never signs past a failed check, and takes nothing until a restart has
//!   verified the tail;
//! - there is no timer between batches: while one is synced the next one gathers. A batch waits for
//!   submissions that are being read and verified at that moment, so that a busy log writes few
//!   large batches, and no longer than the batch before took to be written; alone, an entry does
//!   not wait;
//! - whoever waits for an entry hears of it only when a published head covers it. The pool bounds
//!   how many wait, and with them how far fenced heads run ahead of published ones.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use treering_proto::append::RightEdge;
use treering_proto::entry::VerifiedEntry;
use treering_proto::tree::LeafIndex;

use crate::anchor::{Anchor, AnchorError, Fenced};
use crate::clock::{self, BatchClock, ClockError};
use crate::crash_point::CrashPoint;
use crate::health::{Health, LatchReason, Refusal};
use crate::metrics::{Metrics, Synced};
use crate::pool::{Logged, Pool};
use crate::publisher::{Publisher, Ready, SetRequest, Snapshot, Witnessed};
use crate::seeded_bug::{self, SeededBug};
use crate::selfcheck::{SelfCheck, SelfCheckError};
use crate::store::{Batch, Store, StoreError};
use crate::systemd::Heartbeat;
use crate::thinning::{self, Thinning};
use crate::witness::{Advance, RENEWAL_MS, Witnessing};

/// How often an idle sequencer looks at clock and disk.
const IDLE: Duration = Duration::from_millis(500);

/// How long a batch waits for others that are known to be coming, at most.
const GATHER_MAX: Duration = Duration::from_millis(4);

/// Everything the loop owns.
pub struct Sequencer {
    /// Where batches come from.
    pub pool: Arc<Pool>,
    /// Where they go.
    pub store: Store,
    /// What stamps them.
    pub clock: BatchClock,
    /// The tree that is committed.
    pub edge: RightEdge,
    /// The second path.
    pub selfcheck: SelfCheck,
    /// The memory outside the data directory.
    pub anchor: Anchor,
    /// What signs and shows.
    pub publisher: Publisher,
    /// Who must cosign what is shown, if anybody.
    pub witnessing: Option<Witnessing>,
    /// The newest fenced head.
    pub newest: Arc<Fenced>,
    /// When the log's own dated line must be renewed, by the boot-time clock in milliseconds; never
    /// for a log without one, or whose witnesses date it.
    pub renewal_ms: Option<u64>,
    /// What is fenced and not published.
    pub unpublished: Vec<FencedBatch>,
    /// Beats in each turn, for whoever watches that the loop goes round.
    pub heartbeat: Heartbeat,
    /// Where it is said why nothing goes on.
    pub health: Health,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The data directory, for its free space.
    pub data: PathBuf,
    /// Free space below which nothing is acknowledged, in bytes.
    pub free_disk_min: u64,
    /// How far old notes have been thinned.
    pub thinning: Thinning,
    /// How long the last batch took to be written.
    pub last_took: Duration,
}

/// Entries below a fenced head, whose submitters wait until it is published.
pub struct FencedBatch {
    first: LeafIndex,
    /// When they were sequenced, Unix seconds.
    time: u64,
    entries: Vec<VerifiedEntry>,
    started: Instant,
}

/// Why the loop must not go on.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    SelfCheck(#[from] SelfCheckError),
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}

impl Fault {
    fn reason(&self) -> LatchReason {
        match self {
            Self::Store(_) | Self::SelfCheck(SelfCheckError::Store(_)) => LatchReason::Storage,
            Self::SelfCheck(_) => LatchReason::SelfCheck,
            Self::Anchor(_) => LatchReason::Anchor,
        }
    }
}

impl Sequencer {
    /// Runs until the pool stops.
    pub fn run(mut self) {
        while let Some(batch) = self.pool.next_batch(self.pause(), self.gather()) {
            self.heartbeat.beat();
            self.look_around();
            if let Err(fault) = self.pass(batch) {
                match seeded_bug::is(SeededBug::IndexReused) {
                    false => self.latch(fault.reason(), fault.to_string()),
                    true => self.go_on(fault),
                }
            }
        }
        self.refuse_unpublished(&Refusal::Stopping);
        if let Err(error) = self.store.sync() {
            tracing::error!(%error, "the last notes could not be synced; start-up signs them again");
        }
    }

    /// One turn: whatever waits, then whatever may be published.
    fn pass(&mut self, batch: Vec<VerifiedEntry>) -> Result<(), Fault> {
        match self.health.refusal() {
            Some(refusal) => self.pool.refuse(&batch, &refusal),
            None if batch.is_empty() => {}
            None => self.sequence(batch)?,
        }
        match self.health.refusal() {
            // Whoever latched it may not know who waits.
            Some(latched @ Refusal::Latched(..)) => self.refuse_unpublished(&latched),
            _ => self.publish_ready()?,
        }
        self.thin_notes()
    }

    /// Stops for good: everybody who waits hears that nobody knows.
    fn latch(&mut self, reason: LatchReason, why: String) {
        let refusal = Refusal::Latched(reason, why.clone());
        self.health.latch(reason, why);
        if reason == LatchReason::SelfCheck {
            self.metrics.selfcheck_failed();
        }
        self.refuse_unpublished(&refusal);
    }

    /// What a log must not do: as if the failed step had done nothing. A seeded bug.
    fn go_on(&mut self, fault: Fault) {
        self.refuse_unpublished(&Refusal::Latched(fault.reason(), fault.to_string()));
        self.selfcheck = SelfCheck::new(&self.edge);
    }

    /// Tells everybody whose entry is fenced and not published.
    fn refuse_unpublished(&mut self, refusal: &Refusal) {
        let unpublished = std::mem::take(&mut self.unpublished);
        self.pool.refuse(unpublished.iter().flat_map(|batch| &batch.entries), refusal);
    }

    /// How long to wait for entries.
    fn pause(&self) -> Duration {
        let boot_ms = clock::read().boot_ms;
        self.witnessing.as_ref().map_or(IDLE, |witnessing| witnessing.pause(boot_ms, IDLE))
    }

    /// How long to wait for entries that are known to be coming.
    fn gather(&self) -> Duration {
        self.last_took.min(GATHER_MAX)
    }

    /// Takes one batch through every step up to the fence. From the commit on it is part of
    /// `unpublished`, so that its submitters hear of a fault.
    fn sequence(&mut self, entries: Vec<VerifiedEntry>) -> Result<(), Fault> {
        let started = Instant::now();
        let in_flight = entries.len();
        CrashPoint::Batched.pass(in_flight);
        let time_ms = match self.clock.stamp(clock::read()) {
            Ok(time_ms) => time_ms,
            Err(error) => {
                let refusal = self.refuse_for_clock(error);
                self.pool.refuse(&entries, &refusal);
                return Ok(());
            }
        };
        let leaves: Vec<_> = entries.iter().map(VerifiedEntry::leaf).collect();
        let extension =
            self.edge.extend(&leaves).expect("a tree of 2^53 entries would take 10,000 years");
        let edge = extension.edge.clone();
        CrashPoint::Extended.pass(in_flight);

        // A crash before this line loses nothing that anyone was told; after it, start-up finds the
        // entries and resumes.
        let first =
            self.edge.size().next_index().expect("the tree was extended, so it has a next index");
        let time = time_ms / 1000;
        self.unpublished.push(FencedBatch { first, time, entries, started });
        let batch = self.unpublished.last().expect("it was pushed on the line above");
        let entries: Vec<_> = batch.entries.iter().collect();
        let rows = Batch { first, time_ms, entries: &entries, extension };
        let began = Instant::now();
        let durable = self.store.commit(self.edge.head(), rows)?;
        self.metrics.synced(Synced::Commit, began.elapsed());
        CrashPoint::Committed.pass(in_flight);

        let checked = self.selfcheck.check(&self.store, durable)?;
        CrashPoint::Checked.pass(in_flight);

        // A crash after this line must end in exactly this head being signed: the anchor says so.
        let began = Instant::now();
        let fenced = Arc::new(self.anchor.fence(checked)?);
        self.metrics.synced(Synced::Anchor, began.elapsed());
        self.newest = fenced.clone();
        self.edge = edge;
        self.last_took = started.elapsed();
        CrashPoint::Fenced.pass(in_flight);
        match &mut self.witnessing {
            Some(witnessing) => witnessing.offer(fenced, clock::read().boot_ms),
            None => self.publish(alone(fenced))?,
        }
        Ok(())
    }

    /// Publishes what witnesses have cosigned in the meantime.
    fn publish_ready(&mut self) -> Result<(), Fault> {
        let now = clock::read();
        let Some(witnessing) = &mut self.witnessing else { return self.renew(now) };
        match witnessing.advance(self.publisher.signer(), now.boot_ms) {
            Advance::Wait => Ok(()),
            Advance::Latch(why) => {
                self.latch(LatchReason::Witness, why);
                Ok(())
            }
            Advance::Publish { fenced, cosignatures, witnessed } => {
                let time_ms = self.date_of(&fenced, now);
                let is_renewal = false;
                self.publish(Ready { fenced, time_ms, cosignatures, witnessed, is_renewal })?;
                // There may be more to do at once: the next head to propose.
                self.publish_ready()
            }
        }
    }

    /// The date of a head that is published now; of one head it never goes back. One that is not
    /// the newest any more keeps the date that it was given when it was, or that of its own last
    /// batch: the log must not say that it was the newest at a time when later entries had theirs.
    fn date_of(&mut self, fenced: &Fenced, now: clock::Reading) -> u64 {
        let shown = self.publisher.published().snapshot();
        let given = match shown.head == fenced.head() {
            true => shown.time_ms.max(fenced.time_ms()),
            false => fenced.time_ms(),
        };
        if fenced.head().size != self.edge.size() {
            return given;
        }
        // A clock that may not stamp was refused when this turn began.
        self.clock.stamp(now).map_or(given, |now_ms| now_ms.max(given))
    }

    /// Says who stands behind what is published now, before anybody is told of it.
    fn note_witnessed(&self, before: &Snapshot, now: &Snapshot) {
        let is_new = before.head != now.head || before.witnessed != Witnessed::Missing;
        if now.witnessed == Witnessed::Missing && is_new {
            tracing::warn!(size = %now.head.size, "published without the quorum of witnesses");
            self.metrics.unwitnessed();
        }
        self.metrics.quorum(now.witnessed == Witnessed::Quorum);
    }

    /// Dates the published head again when the log has not grown for a while.
    fn renew(&mut self, now: clock::Reading) -> Result<(), Fault> {
        if self.renewal_ms.is_none_or(|due_ms| now.boot_ms < due_ms) {
            return Ok(());
        }
        // A clock that may not stamp was refused when this turn began, and is looked at again soon.
        let Ok(time_ms) = self.clock.stamp(now) else { return Ok(()) };
        let ready = alone(self.newest.clone());
        self.publish(Ready { time_ms, is_renewal: true, ..ready })
    }

    /// Publishes one head, and wakes everybody whose entry it covers.
    fn publish(&mut self, ready: Ready) -> Result<(), Fault> {
        let size = ready.fenced.head().size;
        let covers = |batch: &FencedBatch| size.contains(batch.first);
        let covered = self.unpublished.iter().take_while(|batch| covers(batch)).count();
        let batches = &self.unpublished[..covered];
        let in_flight = batches.iter().map(|batch| batch.entries.len()).sum();
        let requests: Vec<SetRequest<'_>> = batches.iter().flat_map(set_requests).collect();
        let before = self.publisher.published().snapshot();
        let (snapshot, sets) = self.publisher.publish(ready, &requests, in_flight)?;
        CrashPoint::Published.pass(in_flight);
        self.note_witnessed(&before, &snapshot);
        self.metrics.checkpoint(snapshot.time_ms);

        let mut sets = sets.into_iter();
        for batch in self.unpublished.drain(..covered) {
            wake(&self.pool, &batch, &snapshot, &mut sets);
            let took = batch.started.elapsed();
            self.metrics.batch(batch.entries.len(), snapshot.head.size.get(), took);
        }
        let boot_ms = clock::read().boot_ms;
        self.renewal_ms = self.renewal_ms.map(|_| boot_ms.saturating_add(RENEWAL_MS));
        CrashPoint::Woken.pass(in_flight);
        Ok(self.anchor.write_what_was_left_out()?)
    }

    /// Looks at clock and disk, so that writes stop before either does harm, and go on when it has
    /// passed.
    fn look_around(&mut self) {
        let passing = match self.clock.stamp(clock::read()) {
            Err(error) => Some(self.refuse_for_clock(error)),
            Ok(_) => self.disk_refusal().or_else(|| self.witness_refusal()),
        };
        self.health.set_passing(passing);
    }

    fn refuse_for_clock(&self, error: ClockError) -> Refusal {
        let why = error.to_string();
        match error {
            ClockError::Behind { .. } => Refusal::ClockBehind(why),
            ClockError::Jumped { .. } => {
                self.health.latch(LatchReason::Clock, why.clone());
                Refusal::Latched(LatchReason::Clock, why)
            }
        }
    }

    fn witness_refusal(&self) -> Option<Refusal> {
        let refusal = self.witnessing.as_ref()?.refusal(clock::read().boot_ms);
        if refusal.is_some() {
            self.metrics.quorum(false);
        }
        refusal
    }

    fn disk_refusal(&self) -> Option<Refusal> {
        let free = match rustix::fs::statvfs(&self.data) {
            Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
            Err(error) => {
                let path = self.data.display();
                return Some(Refusal::DiskFull(format!(
                    "cannot read free space of {path}: {error}"
                )));
            }
        };
        self.metrics.free_disk(free);
        (free < self.free_disk_min).then(|| {
            Refusal::DiskFull(format!(
                "{} has {free} bytes free, fewer than the {} that the log needs to stay safe; make room",
                self.data.display(),
                self.free_disk_min
            ))
        })
    }

    /// Thins old notes, a bounded number at a time, whether the log is busy or idle.
    fn thin_notes(&mut self) -> Result<(), Fault> {
        let now = clock::read();
        if !self.thinning.is_due(now.boot_ms) {
            return Ok(());
        }
        let notes = self.store.notes_from(self.thinning.next_size(), thinning::ROUND)?;
        let dated: Vec<(u64, u64)> =
            notes.iter().map(|(size, notes)| (*size, notes.time_ms)).collect();
        let newest = self.publisher.published().snapshot().head.size.get();
        let forgotten = self.thinning.round(&dated, newest, now.wall_ms);
        if forgotten.is_empty() {
            return Ok(());
        }
        Ok(self.store.forget_notes(&forgotten)?)
    }
}

/// A head that nobody but the log vouches for.
fn alone(fenced: Arc<Fenced>) -> Ready {
    let time_ms = fenced.time_ms();
    let (cosignatures, witnessed) = (Vec::new(), Witnessed::NotAsked);
    Ready { fenced, time_ms, cosignatures, witnessed, is_renewal: false }
}

/// The entries of a batch that Rekor v1 gives a SET.
fn set_requests(batch: &FencedBatch) -> impl Iterator<Item = SetRequest<'_>> {
    let indexed_entries = (batch.first.get()..).zip(&batch.entries);
    indexed_entries
        .filter(|(_, entry)| entry.kind().is_rekor_v1())
        .map(|(index, entry)| (indexed(index), entry))
        .map(|(index, entry)| SetRequest { index, time: batch.time, body: entry.body() })
}

/// Tells the submitters of a batch; `sets` are those of its entries of Rekor v1, in order.
fn wake(
    pool: &Pool,
    batch: &FencedBatch,
    snapshot: &Arc<Snapshot>,
    sets: &mut impl Iterator<Item = Vec<u8>>,
) {
    for (index, entry) in (batch.first.get()..).zip(&batch.entries) {
        let set = if entry.kind().is_rekor_v1() { sets.next() } else { None };
        let time = batch.time;
        let logged = Logged { index: indexed(index), time, snapshot: snapshot.clone(), set };
        pool.resolve(entry, logged);
    }
}

fn indexed(index: u64) -> LeafIndex {
    LeafIndex::new(index).expect("a published tree holds no index beyond the largest")
}
