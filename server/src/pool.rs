//! The pool: verified entries on their way into the log, each known by its leaf, each with whoever
//! waits for it.
//!
//! Invariants:
//! - one leaf is on its way at most once: who submits it again joins. When it is logged, exactly
//!   one of all who wait is told so: the first whose client still listens, or if none does, the
//!   first. All others are told that it is a duplicate;
//! - a leaf is reserved here before the store is asked for it, so no entry can become published in
//!   between and be logged twice;
//! - entries and bytes are bounded; beyond that submitters are sent away at once;
//! - a batch is not kept back for a time of the clock: it is taken at once if nobody else is known
//!   to be coming, and waits for those who are no longer than its taker allows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;

use crate::health::{Health, LatchReason, Refusal};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_POSTINGS_MAX, POOL_BYTES_MAX, POOL_ENTRIES_MAX,
    WAITERS_MAX,
};
use crate::publisher::Snapshot;
use crate::seeded_bug::{self, SeededBug};
use crate::store::Store;

/// What became of a submission.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is logged, and this snapshot covers it.
    Logged(Logged),
    /// The same entry was there before, and is published.
    Duplicate(LeafIndex),
    /// It was not taken, or nobody knows: submit it again.
    Refused(Refusal),
}

/// Where a submission was logged.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its index.
    pub index: LeafIndex,
    /// When it was sequenced, Unix seconds.
    pub time: u64,
    /// The published tree that covers it.
    pub snapshot: Arc<Snapshot>,
    /// Its SET, if Rekor v1 defines its kind.
    pub set: Option<Vec<u8>>,
}

/// Kept for as long as a client listens for its answer, and dropped when it hangs up. Whatever is
/// begun for the client may go on longer, and has a [`Submitter`] instead.
#[derive(Debug, Default)]
pub struct Listening(Arc<()>);

/// A client as the pool sees it. Knowing it does not keep it listening.
#[derive(Clone, Debug)]
pub struct Submitter(Weak<()>);

impl Listening {
    /// The client that listens.
    pub fn submitter(&self) -> Submitter {
        Submitter(Arc::downgrade(&self.0))
    }
}

impl Submitter {
    fn listens(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// A submission that is being read and verified, for the pool that it is on its way to. Dropped, it
/// does not come. Once a batch has waited for it in vain, none does any more: who sends slowly
/// keeps others waiting once.
pub struct Arriving(Option<(Arc<Pool>, u64)>);

impl Arriving {
    /// A submission that nobody waits for.
    pub fn unannounced() -> Self {
        Self(None)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some((pool, generation)) = self.0.take() else { return };
        let mut inner = pool.lock();
        inner.arrives(generation);
        if inner.is_gathering && !inner.gathers() {
            pool.arrived.notify_one();
        }
    }
}

/// Why a submission was sent away before it waited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// Too many wait already.
    Full,
    /// The log takes no entries now.
    Refused(Refusal),
}

/// How much is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Depth {
    /// Entries.
    pub entries: usize,
    /// Clients that listen for what becomes of one of them.
    pub listening: usize,
}

/// The pool. Shared by all connections and the sequencer.
pub struct Pool {
    store: Store,
    health: Health,
    /// Indexes below this are taken for unknown: 0, or there is a seeded bug.
    forgotten: u64,
    /// Held for a few map operations, or to count who waits; never while storage or a signature is
    /// waited for.
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<VerifiedEntry>,
    /// Everybody who waits, by leaf: entries in `waiting`, in the batch that is sequenced now, or
    /// being looked up.
    waiters: HashMap<Hash, Vec<Waiter>>,
    bytes: usize,
    /// How many are known to be coming, of those that no batch has waited for in vain.
    arriving: usize,
    /// Of whom `arriving` counts.
    generation: u64,
    /// Whether a batch waits for them.
    is_gathering: bool,
    stopping: bool,
    /// Something other than an entry wants the sequencer's attention.
    nudged: bool,
}

impl Inner {
    /// One who was announced comes, or will not.
    fn arrives(&mut self, generation: u64) {
        self.arriving -= usize::from(generation == self.generation);
    }

    /// Whether somebody is coming for whom a batch has room.
    fn gathers(&self) -> bool {
        let has_room = self.waiting.len() < BATCH_ENTRIES_MAX && self.bytes < BATCH_BYTES_MAX;
        self.arriving > 0 && has_room && !self.stopping
    }
}

/// One who waits for an outcome.
struct Waiter {
    sender: oneshot::Sender<Outcome>,
    /// For whom; `None` if whoever has the receiver wants to know it.
    submitter: Option<Submitter>,
}

impl Waiter {
    /// Whether anybody would hear the outcome.
    fn listens(&self) -> bool {
        !self.sender.is_closed() && self.submitter.as_ref().is_none_or(Submitter::listens)
    }
}

impl Pool {
    /// An empty pool in front of `store`.
    pub fn new(store: Store, health: Health) -> Self {
        let forgotten = match seeded_bug::is(SeededBug::DedupForgotten) {
            true => store.committed().map_or(0, |committed| committed.head.size.get()),
            false => 0,
        };
        Self { store, health, forgotten, inner: Mutex::default(), arrived: Condvar::new() }
    }

    /// Announces a submission.
    pub fn arriving(self: &Arc<Self>) -> Arriving {
        let mut inner = self.lock();
        inner.arriving += 1;
        Arriving(Some((self.clone(), inner.generation)))
    }

    /// Takes a submission of whoever has the receiver, which hears its outcome exactly once.
    pub fn submit(&self, entry: VerifiedEntry) -> Result<oneshot::Receiver<Outcome>, Rejected> {
        self.take(entry, None, Arriving::unannounced())
    }

    /// The same for a client, who was announced, and may hang up while the receiver is waited at.
    pub fn submit_for(
        &self,
        submitter: Submitter,
        arriving: Arriving,
        entry: VerifiedEntry,
    ) -> Result<oneshot::Receiver<Outcome>, Rejected> {
        self.take(entry, Some(submitter), arriving)
    }

    fn take(
        &self,
        entry: VerifiedEntry,
        submitter: Option<Submitter>,
        mut arriving: Arriving,
    ) -> Result<oneshot::Receiver<Outcome>, Rejected> {
        if let Some(refusal) = self.health.refusal() {
            return Err(Rejected::Refused(refusal));
        }
        let leaf = entry.leaf();
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { sender, submitter };
        {
            let mut inner = self.lock();
            if inner.stopping {
                return Err(Rejected::Refused(Refusal::Stopping));
            }
            if let Some(waiters) = inner.waiters.get_mut(&leaf) {
                if waiters.len() >= WAITERS_MAX {
                    return Err(Rejected::Full);
                }
                waiters.push(waiter);
                return Ok(receiver);
            }
            if inner.waiters.len() >= POOL_ENTRIES_MAX
                || inner.bytes + weight(&entry) > POOL_BYTES_MAX
            {
                return Err(Rejected::Full);
            }
            inner.waiters.insert(leaf, vec![waiter]);
        }
        // From here on the leaf is reserved: either it is in the store now, or it will be logged by
        // us alone.
        match self.store.index_of(&leaf).map(|known| self.remembered(known)) {
            Ok(None) => {
                let mut inner = self.lock();
                inner.bytes += weight(&entry);
                inner.waiting.push_back(entry);
                if let Some((_, generation)) = arriving.0.take() {
                    inner.arrives(generation);
                }
                // Between the first and the last of a batch there is nothing to do for its taker.
                if !inner.is_gathering || !inner.gathers() {
                    self.arrived.notify_one();
                }
            }
            // A latch comes before its batch is sent away, so an index that was committed and never
            // published is not told to anybody.
            Ok(Some(index)) => {
                let refusal = self.health.refusal();
                let outcome = refusal.map_or(Outcome::Duplicate(index), Outcome::Refused);
                self.finish(&leaf, &outcome);
            }
            Err(error) => {
                let why = error.to_string();
                self.health.latch(LatchReason::Storage, why.clone());
                let refusal = Refusal::Latched(LatchReason::Storage, why);
                self.finish(&leaf, &Outcome::Refused(refusal));
            }
        }
        Ok(receiver)
    }

    /// What the pool makes of the index under which the store knows a leaf.
    fn remembered(&self, known: Option<LeafIndex>) -> Option<LeafIndex> {
        known.filter(|index| index.get() >= self.forgotten)
    }

    /// The next batch: whatever waits, within bounds, and who comes within `gather`. Empty after
    /// `idle` without work, or when nudged; `None` when stopping and done.
    pub fn next_batch(&self, idle: Duration, gather: Duration) -> Option<Vec<VerifiedEntry>> {
        let is_idle =
            |inner: &mut Inner| inner.waiting.is_empty() && !inner.stopping && !inner.nudged;
        let mut inner = self.wait_while(self.lock(), idle, is_idle);
        if !inner.waiting.is_empty() {
            inner.is_gathering = true;
            inner = self.wait_while(inner, gather, |inner| inner.gathers());
            inner.is_gathering = false;
            if inner.gathers() {
                (inner.generation, inner.arriving) = (inner.generation + 1, 0);
            }
        }
        inner.nudged = false;
        if inner.waiting.is_empty() && inner.stopping {
            return None;
        }
        let (mut bytes, mut postings) = (0, 0);
        let mut batch = Vec::new();
        while let Some(next) = inner.waiting.front() {
            bytes += weight(next);
            postings += next.facts().len();
            let full = batch.len() == BATCH_ENTRIES_MAX
                || bytes > BATCH_BYTES_MAX
                || postings > BATCH_POSTINGS_MAX;
            if full && !batch.is_empty() {
                break;
            }
            batch.extend(inner.waiting.pop_front());
        }
        Some(batch)
    }

    fn wait_while<'a>(
        &self,
        mut inner: MutexGuard<'a, Inner>,
        time: Duration,
        condition: impl Fn(&mut Inner) -> bool,
    ) -> MutexGuard<'a, Inner> {
        if !condition(&mut inner) {
            return inner;
        }
        let waited = self.arrived.wait_timeout_while(inner, time, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Tells everybody who waits for `entry` that it is logged.
    pub fn resolve(&self, entry: &VerifiedEntry, logged: Logged) {
        self.lock().bytes -= weight(entry);
        self.finish(&entry.leaf(), &Outcome::Logged(logged));
    }

    /// Sends these entries away, and everything that waits.
    pub fn refuse<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a VerifiedEntry>,
        refusal: &Refusal,
    ) {
        let outcome = Outcome::Refused(refusal.clone());
        let waiting = std::mem::take(&mut self.lock().waiting);
        let refuse = |entry: &VerifiedEntry| {
            self.lock().bytes -= weight(entry);
            self.finish(&entry.leaf(), &outcome);
        };
        entries.into_iter().for_each(refuse);
        waiting.iter().for_each(refuse);
    }

    /// Wakes the sequencer although no entry came.
    pub fn nudge(&self) {
        self.lock().nudged = true;
        self.arrived.notify_all();
    }

    /// Takes nothing more; what waits is still logged.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.arrived.notify_all();
    }

    /// What is on its way now.
    pub fn depth(&self) -> Depth {
        let inner = self.lock();
        let listening = inner.waiters.values().flatten().filter(|waiter| waiter.listens()).count();
        Depth { entries: inner.waiters.len(), listening }
    }

    fn finish(&self, leaf: &Hash, outcome: &Outcome) {
        let waiters = self.lock().waiters.remove(leaf).unwrap_or_default();
        // Who gave up waiting was told to submit again, and who hung up does so unasked. Neither
        // may then hear that the entry was there before: clients of Rekor v2 take that for a
        // failure. What was begun for a client that hung up waits on, for its line in the journal.
        let (listening, gone): (Vec<_>, Vec<_>) = waiters.into_iter().partition(Waiter::listens);
        let mut is_told = false;
        for waiter in listening.into_iter().chain(gone) {
            let outcome = match outcome {
                Outcome::Logged(logged) if is_told => Outcome::Duplicate(logged.index),
                other => other.clone(),
            };
            is_told |= waiter.sender.send(outcome).is_ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an entry costs in memory, nearly.
fn weight(entry: &VerifiedEntry) -> usize {
    const FACT_BYTES: usize = 96;
    entry.body().len()
        + entry.statement().map_or(0, |statement| statement.payload.len())
        + entry.facts().len() * FACT_BYTES
}

#[cfg(test)]
mod tests;
