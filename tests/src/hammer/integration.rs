//! When an index became an entry: servers that answer `/add` promise an index, and a later
//! checkpoint shows whether they kept it.
//!
//! The checkpoint is read over and over while the load runs, so that it is known when each size was
//! there first, to the time between two reads.
//!
//! Invariant: the wait for the last index ends at a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use treering_proto::tree::{LeafIndex, TreeHead};

use super::check::{Verdict, read_index};
use super::connection::Connection;
use super::load::ANSWER_TIME_MAX;
use super::log_key::LogKey;
use super::measured::{Kept, Latencies, Measured};
use super::served_tree::{CHECKPOINT_PATH, ServedTree};
use super::target::Target;

/// Time between two reads of the checkpoint: less than any log takes to publish, and nothing beside
/// the load.
const READ_EVERY: Duration = Duration::from_millis(20);

/// The longest that a log may take for the last index after the load, unless it is said.
pub const INTEGRATION_TIME_MAX: Duration = Duration::from_secs(60);

/// Follows the checkpoints of a log.
pub struct Follower {
    target: Target,
    needed: oneshot::Sender<Needed>,
    task: JoinHandle<anyhow::Result<Vec<Seen>>>,
}

/// What became of the indexes.
#[derive(Debug)]
pub struct Integrated {
    /// How many of the entries are where they were said to be.
    pub verdict: Verdict,
    /// From when a request was due to the first checkpoint that covers its entry; `None` if nothing
    /// was kept.
    pub times: Option<Latencies>,
}

/// What the log must reach before it is no longer followed.
struct Needed {
    size: u64,
    until: Instant,
}

/// A head, and when it was there first.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    head: TreeHead,
}

impl Follower {
    /// Begins to follow the log at `target`. Dropping this ends it.
    ///
    /// # Errors
    /// If its checkpoint cannot be read.
    pub async fn start(target: Target, key: LogKey) -> anyhow::Result<Self> {
        let connection = Connection::open(Arc::new(target.clone())).await;
        let mut connection = connection.map_err(|failed| anyhow::anyhow!("{failed}"))?;
        let first = read(&target, &key, &mut connection).await?;
        let (needed, receiver) = oneshot::channel();
        let task = tokio::spawn(follow(target.clone(), key, connection, first, receiver));
        Ok(Self { target, needed, task })
    }

    /// Waits until the log has every index of the answers that were kept, for `wait_max` at the
    /// longest, and checks that the entries stand there.
    ///
    /// # Errors
    /// If the log does not get there in time, or cannot be read.
    pub async fn finish(
        self,
        measured: &Measured,
        leaves: &[Bytes],
        wait_max: Duration,
    ) -> anyhow::Result<Integrated> {
        let mut verdict = Verdict::default();
        let mut added: Vec<(&Kept, LeafIndex)> = Vec::new();
        for kept in &measured.kept {
            match read_index(&kept.body) {
                Ok(index) => added.push((kept, index)),
                Err(error) => verdict.add(kept.number, Err(error)),
            }
        }
        let size = added.iter().map(|(_, index)| index.get() + 1).max().unwrap_or(0);
        let needed = Needed { size, until: Instant::now() + wait_max };
        // If it is not listening any more, its result says why.
        let _ = self.needed.send(needed);
        let seen = self.task.await??;
        let last = seen.last().context("a follower has seen a checkpoint")?;
        let mut tree = ServedTree::at(self.target, last.head);
        let mut times = Vec::new();
        for (kept, index) in added {
            let leaf = &leaves[kept.number % leaves.len()];
            verdict.add(kept.number, is_entry(&mut tree, index, leaf).await);
            let covered = seen.iter().find(|seen| seen.head.size.contains(index));
            let due = measured.started + kept.sample.due;
            times.extend(covered.map(|seen| seen.at.saturating_duration_since(due)));
        }
        Ok(Integrated { verdict, times: Latencies::of(times) })
    }
}

async fn is_entry(tree: &mut ServedTree, index: LeafIndex, leaf: &[u8]) -> anyhow::Result<()> {
    ensure!(tree.entry(index).await? == leaf, "index {index} has another entry");
    Ok(())
}

async fn follow(
    target: Target,
    key: LogKey,
    mut connection: Connection,
    first: TreeHead,
    mut receiver: oneshot::Receiver<Needed>,
) -> anyhow::Result<Vec<Seen>> {
    let mut seen = vec![Seen { at: Instant::now(), head: first }];
    let mut needed: Option<Needed> = None;
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let head = read(&target, &key, &mut connection).await?;
        if seen.last().is_none_or(|last| last.head != head) {
            seen.push(Seen { at: Instant::now(), head });
        }
        match (&needed, receiver.try_recv()) {
            (None, Ok(asked)) => needed = Some(asked),
            (None, Err(TryRecvError::Closed)) => return Ok(seen),
            _ => {}
        }
        let Some(Needed { size, until }) = &needed else { continue };
        if head.size.get() >= *size {
            return Ok(seen);
        }
        ensure!(Instant::now() < *until, "the log has {} of {size} entries in time", head.size);
    }
}

async fn read(
    target: &Target,
    key: &LogKey,
    connection: &mut Connection,
) -> anyhow::Result<TreeHead> {
    let read = connection.exchange(target.get(CHECKPOINT_PATH), StatusCode::OK);
    let read = timeout(ANSWER_TIME_MAX, read).await.context("the checkpoint: no answer in time")?;
    let note = read.map_err(|failed| anyhow::anyhow!("the checkpoint: {failed}"))?;
    key.open(&note).context("the checkpoint is not the log's")
}

#[cfg(test)]
mod tests;
