//! The sequencer: the one loop that grows the log, and the only writer.
//!
//! ```text
//! take a batch -> stamp -> extend -> commit -> self-check -> fence -> sign, publish -> wake
//! ```
//!
//! Invariants:
//! - each step takes what the step before made, so none can be skipped;
//! - an error after the commit began leaves the outcome unknown, so the log latches: it never
//!   retries a failed write, never signs past a failed check, and takes nothing until a restart has
//!   verified the tail;
//! - there is no timer between batches: while one is synced the next one gathers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use treering_proto::append::RightEdge;
use treering_proto::tree::LeafIndex;

use crate::anchor::{Anchor, AnchorError};
use crate::clock::{self, BatchClock, ClockError};
use crate::crash_point::CrashPoint;
use crate::health::{Health, LatchReason, Refusal};
use crate::metrics::Metrics;
use crate::pool::{Logged, Pending, Pool};
use crate::publisher::{Publisher, SetRequest, Snapshot};
use crate::selfcheck::{SelfCheck, SelfCheckError};
use crate::store::{Batch, Store, StoreError};
use crate::thinning::{self, Thinning};

/// How often an idle sequencer looks at clock and disk.
const IDLE: Duration = Duration::from_millis(500);

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
        while let Some(batch) = self.pool.next_batch(IDLE) {
            self.look_around();
            if let Some(refusal) = self.health.refusal() {
                self.pool.refuse(&batch, &refusal);
                continue;
            }
            let result = if batch.is_empty() { self.thin_notes() } else { self.sequence(&batch) };
            if let Err(fault) = result {
                let refusal = Refusal::Latched(fault.reason(), fault.to_string());
                self.health.latch(fault.reason(), fault.to_string());
                self.pool.refuse(&batch, &refusal);
            }
        }
        if let Err(error) = self.store.sync() {
            tracing::error!(%error, "the last notes could not be synced; start-up signs them again");
        }
    }

    /// Takes one batch through every step.
    fn sequence(&mut self, batch: &[Pending]) -> Result<(), Fault> {
        let started = std::time::Instant::now();
        let in_flight = batch.len();
        CrashPoint::Batched.pass(in_flight);
        let time_ms = match self.clock.stamp(clock::read()) {
            Ok(time_ms) => time_ms,
            Err(error) => {
                let refusal = self.refuse_for_clock(error);
                self.pool.refuse(batch, &refusal);
                return Ok(());
            }
        };
        let leaves: Vec<_> = batch.iter().map(|pending| pending.entry.leaf()).collect();
        let extension =
            self.edge.extend(&leaves).expect("a tree of 2^53 entries would take 10,000 years");
        let edge = extension.edge.clone();
        CrashPoint::Extended.pass(in_flight);

        // A crash before this line loses nothing that anyone was told; after it, start-up finds the
        // entries and resumes.
        let entries: Vec<_> = batch.iter().map(|pending| &pending.entry).collect();
        let first =
            self.edge.size().next_index().expect("the tree was extended, so it has a next index");
        let rows = Batch { first, time_ms, entries: &entries, extension };
        let durable = self.store.commit(self.edge.head(), rows)?;
        CrashPoint::Committed.pass(in_flight);

        let checked = self.selfcheck.check(&self.store, durable)?;
        CrashPoint::Checked.pass(in_flight);

        // A crash after this line must end in exactly this head being signed: the anchor says so.
        let fenced = self.anchor.fence(checked)?;
        self.edge = edge;
        CrashPoint::Fenced.pass(in_flight);

        let time = time_ms / 1000;
        let requests: Vec<SetRequest<'_>> = (first.get()..)
            .zip(batch)
            .filter(|(_, pending)| pending.wants_set)
            .map(|(index, pending)| SetRequest {
                index: indexed(index),
                time,
                body: pending.entry.body(),
            })
            .collect();
        let (snapshot, sets) = self.publisher.publish(&fenced, &requests, in_flight)?;
        CrashPoint::Published.pass(in_flight);

        self.wake(batch, first, time, &snapshot, sets);
        CrashPoint::Woken.pass(in_flight);
        self.metrics.batch(in_flight, snapshot.head.size.get(), started.elapsed());
        Ok(())
    }

    fn wake(
        &self,
        batch: &[Pending],
        first: LeafIndex,
        time: u64,
        snapshot: &Arc<Snapshot>,
        sets: Vec<Vec<u8>>,
    ) {
        let mut sets = sets.into_iter();
        for (index, pending) in (first.get()..).zip(batch) {
            let set = if pending.wants_set { sets.next() } else { None };
            let logged = Logged { index: indexed(index), time, snapshot: snapshot.clone(), set };
            self.pool.resolve(&pending.entry, logged);
        }
    }

    /// Looks at clock and disk, so that writes stop before either does harm, and go on when it has
    /// passed.
    fn look_around(&mut self) {
        let passing = match self.clock.stamp(clock::read()) {
            Err(error) => Some(self.refuse_for_clock(error)),
            Ok(_) => self.disk_refusal(),
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

    fn disk_refusal(&self) -> Option<Refusal> {
        let free = match rustix::fs::statvfs(&self.data) {
            Ok(stat) => stat.f_bavail * stat.f_frsize,
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

    /// Thins old notes, a bounded number at a time.
    fn thin_notes(&mut self) -> Result<(), Fault> {
        let notes = self.store.notes_from(self.thinning.next_size(), thinning::ROUND)?;
        let dated: Vec<(u64, u64)> =
            notes.iter().map(|(size, notes)| (*size, notes.time_ms)).collect();
        let newest = self.edge.size().get();
        let forgotten = self.thinning.round(&dated, newest, clock::read().wall_ms);
        if forgotten.is_empty() {
            return Ok(());
        }
        Ok(self.store.forget_notes(&forgotten)?)
    }
}

fn indexed(index: u64) -> LeafIndex {
    LeafIndex::new(index).expect("a published tree holds no index beyond the largest")
}
