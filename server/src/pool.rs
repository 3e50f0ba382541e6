//! The pool: verified entries on their way into the log, each known by its leaf, each with whoever
//! waits for it.
//!
//! Invariants:
//! - one leaf is on its way at most once: who submits it again joins, and is told that it is a
//!   duplicate;
//! - a leaf is reserved here before the store is asked for it, so no entry can become published in
//!   between and be logged twice;
//! - entries and bytes are bounded; beyond that submitters are sent away at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;

use crate::health::{Health, LatchReason, Refusal};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_POSTINGS_MAX, POOL_BYTES_MAX, POOL_ENTRIES_MAX,
};
use crate::publisher::Snapshot;
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
    /// Its SET, if one was asked for.
    pub set: Option<Vec<u8>>,
}

/// Why a submission was sent away before it waited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// Too many wait already.
    Full,
    /// The log takes no entries now.
    Refused(Refusal),
}

/// An entry that waits for the sequencer.
#[derive(Debug)]
pub struct Pending {
    /// The entry.
    pub entry: VerifiedEntry,
    /// Whether a SET is to be signed for it.
    pub wants_set: bool,
}

/// The pool. Shared by all connections and the sequencer.
pub struct Pool {
    store: Store,
    health: Health,
    /// Held for a few map operations, never while storage or a signature is waited for.
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Pending>,
    /// Everybody who waits, by leaf: entries in `waiting`, in the batch that is sequenced now, or
    /// being looked up.
    waiters: HashMap<Hash, Vec<Waiter>>,
    bytes: usize,
    stopping: bool,
}

struct Waiter {
    sender: oneshot::Sender<Outcome>,
    /// Whether this submission, not an earlier equal one, is what gets logged.
    is_first: bool,
}

impl Pool {
    /// An empty pool in front of `store`.
    pub fn new(store: Store, health: Health) -> Self {
        Self { store, health, inner: Mutex::default(), arrived: Condvar::new() }
    }

    /// Takes a submission. The receiver hears its outcome exactly once.
    pub fn submit(
        &self,
        entry: VerifiedEntry,
        wants_set: bool,
    ) -> Result<oneshot::Receiver<Outcome>, Rejected> {
        if let Some(refusal) = self.health.refusal() {
            return Err(Rejected::Refused(refusal));
        }
        let leaf = entry.leaf();
        let (sender, receiver) = oneshot::channel();
        {
            let mut inner = self.lock();
            if inner.stopping {
                return Err(Rejected::Refused(Refusal::Stopping));
            }
            if let Some(waiters) = inner.waiters.get_mut(&leaf) {
                waiters.push(Waiter { sender, is_first: false });
                return Ok(receiver);
            }
            if inner.waiters.len() >= POOL_ENTRIES_MAX
                || inner.bytes + weight(&entry) > POOL_BYTES_MAX
            {
                return Err(Rejected::Full);
            }
            inner.waiters.insert(leaf, vec![Waiter { sender, is_first: true }]);
        }
        // From here on the leaf is reserved: either it is in the store now, or it will be logged by
        // us alone.
        match self.store.index_of(&leaf) {
            Ok(None) => {
                let mut inner = self.lock();
                inner.bytes += weight(&entry);
                inner.waiting.push_back(Pending { entry, wants_set });
                self.arrived.notify_one();
            }
            Ok(Some(index)) => self.finish(&leaf, &Outcome::Duplicate(index)),
            Err(error) => {
                let why = error.to_string();
                self.health.latch(LatchReason::Storage, why.clone());
                let refusal = Refusal::Latched(LatchReason::Storage, why);
                self.finish(&leaf, &Outcome::Refused(refusal));
            }
        }
        Ok(receiver)
    }

    /// The next batch: whatever waits, within bounds. Empty after `idle` without work; `None` when
    /// stopping and done.
    pub fn next_batch(&self, idle: Duration) -> Option<Vec<Pending>> {
        let mut inner = self.lock();
        if inner.waiting.is_empty() && !inner.stopping {
            let waited = self.arrived.wait_timeout_while(inner, idle, |inner| {
                inner.waiting.is_empty() && !inner.stopping
            });
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if inner.waiting.is_empty() && inner.stopping {
            return None;
        }
        let (mut bytes, mut postings) = (0, 0);
        let mut batch = Vec::new();
        while let Some(next) = inner.waiting.front() {
            bytes += weight(&next.entry);
            postings += next.entry.facts().len();
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

    /// Tells everybody who waits for `entry` that it is logged.
    pub fn resolve(&self, entry: &VerifiedEntry, logged: Logged) {
        self.lock().bytes -= weight(entry);
        self.finish(&entry.leaf(), &Outcome::Logged(logged));
    }

    /// Sends a batch away, and after a latch everything that waits.
    pub fn refuse(&self, batch: &[Pending], refusal: &Refusal) {
        let outcome = Outcome::Refused(refusal.clone());
        for pending in batch {
            self.lock().bytes -= weight(&pending.entry);
            self.finish(&pending.entry.leaf(), &outcome);
        }
        let waiting = std::mem::take(&mut self.lock().waiting);
        for pending in waiting {
            self.lock().bytes -= weight(&pending.entry);
            self.finish(&pending.entry.leaf(), &outcome);
        }
    }

    /// Takes nothing more; what waits is still logged.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.arrived.notify_all();
    }

    /// How many entries are on their way.
    pub fn depth(&self) -> usize {
        self.lock().waiters.len()
    }

    fn finish(&self, leaf: &Hash, outcome: &Outcome) {
        let waiters = self.lock().waiters.remove(leaf).unwrap_or_default();
        for waiter in waiters {
            let outcome = match outcome {
                Outcome::Logged(logged) if !waiter.is_first => Outcome::Duplicate(logged.index),
                other => other.clone(),
            };
            // A submitter that went away does not mind.
            let _ = waiter.sender.send(outcome);
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
