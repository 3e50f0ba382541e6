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
/// does not come.
pub struct Arriving(Option<Arc<Pool>>);

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some(pool) = self.0.take() else { return };
        let mut inner = pool.lock();
        inner.arriving -= 1;
        if inner.arriving == 0 {
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
    /// Held for a few map operations, never while storage or a signature is waited for.
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
    /// How many are known to be coming.
    arriving: usize,
    stopping: bool,
    /// Something other than an entry wants the sequencer's attention.
    nudged: bool,
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
        self.lock().arriving += 1;
        Arriving(Some(self.clone()))
    }

    /// Takes a submission of whoever has the receiver, which hears its outcome exactly once.
    pub fn submit(&self, entry: VerifiedEntry) -> Result<oneshot::Receiver<Outcome>, Rejected> {
        self.take(entry, None, Arriving(None))
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
                inner.arriving -= usize::from(arriving.0.take().is_some());
                // Between the first and the last of a batch there is nothing to do for its taker.
                let is_first = inner.waiting.len() == 1;
                if is_first || inner.arriving == 0 || inner.waiting.len() >= BATCH_ENTRIES_MAX {
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
            inner = self.wait_while(inner, gather, |inner| {
                let has_room = inner.waiting.len() < BATCH_ENTRIES_MAX;
                inner.arriving > 0 && has_room && !inner.stopping
            });
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
mod tests {
    use super::*;
    use crate::test_log::{TestLog, entries};

    #[test]
    fn a_batch_waits_for_those_who_are_announced_and_for_nobody_else() {
        const LONG: Duration = Duration::from_secs(600);
        let log = TestLog::new();
        let pool = Arc::new(Pool::new(log.store.clone(), Health::default()));
        let mut entries = entries(3);
        let listening = Listening::default();
        let submit = |arriving, entry| pool.submit_for(listening.submitter(), arriving, entry);
        let batch_len = || pool.next_batch(LONG, LONG).unwrap().len();
        // Alone, or with somebody who waits for another reason, nobody else is waited for.
        let _alone = submit(pool.arriving(), entries.remove(0)).unwrap();
        assert_eq!(batch_len(), 1);
        let (first, second, third) = (pool.arriving(), pool.arriving(), pool.arriving());
        let _first = submit(first, entries.remove(0)).unwrap();
        let taken = std::thread::scope(|scope| {
            let taken = scope.spawn(batch_len);
            let _second = submit(second, entries.remove(0)).unwrap();
            drop(third);
            taken.join().unwrap()
        });
        assert_eq!(taken, 2, "the second was coming, the third came to nothing");
    }

    #[test]
    fn the_first_who_still_waits_hears_that_the_entry_is_logged() {
        let log = TestLog::new();
        let pool = Arc::new(Pool::new(log.store.clone(), Health::default()));
        let entry = entries(1).remove(0);
        let gave_up = pool.submit(entry.clone()).unwrap();
        let mut waits = pool.submit(entry.clone()).unwrap();
        let mut later = pool.submit(entry.clone()).unwrap();
        assert_eq!(
            pool.next_batch(Duration::ZERO, Duration::ZERO).unwrap().len(),
            1,
            "it is on its way once"
        );
        drop(gave_up);
        let index = LeafIndex::new(0).unwrap();
        let snapshot = Arc::new(log.snapshot());
        pool.resolve(&entry, Logged { index, time: 0, snapshot, set: None });
        assert!(matches!(waits.try_recv(), Ok(Outcome::Logged(logged)) if logged.index == index));
        assert!(matches!(later.try_recv(), Ok(Outcome::Duplicate(at)) if at == index));
        assert_eq!(pool.depth(), Depth::default());
    }

    /// What a submitter did before its entry was logged.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Did {
        Listen,
        HangUp,
        GiveUp,
    }

    /// What each of those who submitted one entry, and then did this, hears in the end.
    fn heard(log: &TestLog, did: &[Did]) -> Vec<Option<Outcome>> {
        let pool = Arc::new(Pool::new(log.store.clone(), Health::default()));
        let entry = entries(1).remove(0);
        let clients: Vec<_> = did
            .iter()
            .map(|did| {
                let listening = Listening::default();
                let receiver =
                    pool.submit_for(listening.submitter(), pool.arriving(), entry.clone()).unwrap();
                (did, listening, receiver)
            })
            .collect();
        assert_eq!(pool.depth(), Depth { entries: 1, listening: did.len() });
        // Dropping is hanging up, or giving up.
        let receivers = clients.into_iter().map(|(did, listening, receiver)| match did {
            Did::Listen => (Some(listening), Some(receiver)),
            Did::HangUp => (None, Some(receiver)),
            Did::GiveUp => (Some(listening), None),
        });
        let receivers: Vec<_> = receivers.collect();
        let listening = did.iter().filter(|did| **did == Did::Listen).count();
        assert_eq!(pool.depth(), Depth { entries: 1, listening });
        let index = LeafIndex::new(0).unwrap();
        let snapshot = Arc::new(log.snapshot());
        assert_eq!(
            pool.next_batch(Duration::ZERO, Duration::ZERO).unwrap().len(),
            1,
            "it is on its way once"
        );
        pool.resolve(&entry, Logged { index, time: 0, snapshot, set: None });
        assert_eq!(pool.depth(), Depth::default());
        let hear = |receiver: Option<oneshot::Receiver<Outcome>>| {
            receiver.map(|mut receiver| receiver.try_recv().expect("who waits hears something"))
        };
        receivers.into_iter().map(|(_listening, receiver)| hear(receiver)).collect()
    }

    #[test]
    fn of_all_who_submit_one_entry_exactly_one_who_listens_hears_that_it_is_logged() {
        const ALL: [Did; 3] = [Did::Listen, Did::HangUp, Did::GiveUp];
        let log = TestLog::new();
        let of_three = ALL.into_iter().flat_map(|first| {
            ALL.into_iter().flat_map(move |second| ALL.map(|third| [first, second, third]))
        });
        for did in of_three {
            let heard = heard(&log, &did);
            let first = |wanted: Did| did.iter().position(|did| *did == wanted);
            let logged = first(Did::Listen).or(first(Did::HangUp));
            for (at, heard) in heard.iter().enumerate() {
                let is_right = match heard {
                    None => did[at] == Did::GiveUp,
                    Some(Outcome::Logged(heard)) => logged == Some(at) && heard.index.get() == 0,
                    Some(Outcome::Duplicate(index)) => logged != Some(at) && index.get() == 0,
                    Some(Outcome::Refused(_)) => false,
                };
                assert!(is_right, "the one at {at} of {did:?} heard {heard:?}");
            }
        }
    }
}
