//! Fills a log without HTTP: the server's own pool, sequencer and store in this process, entries
//! from real signed requests, each under a key of its own. What is on disk afterwards is what the
//! shipped server would have written, in larger batches and without its access journal: that tells
//! of requests.
//!
//! Invariant: a fill leaves the disk room: it ends early, and says so, rather than fill it up.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tokio::sync::oneshot::Receiver;
use treering_proto::entry::VerifiedEntry;
use treering_server::clock::{self, BatchClock};
use treering_server::health::Health;
use treering_server::limits::{FREE_DISK_BYTES_MIN, POOL_ENTRIES_MAX};
use treering_server::metrics::Metrics;
use treering_server::pool::{Outcome, Pool};
use treering_server::restored::Heard;
use treering_server::sequencer::Sequencer;
use treering_server::startup::{self, Asked, OpenLog, Opened};
use treering_server::systemd::Heartbeat;
use treering_server::thinning::Thinning;
use treering_tests::hammer::face::Face;
use treering_tests::hammer::kind::Kind;
use treering_tests::hammer::maker::{Maker, Recipe};

use crate::disk;

/// A fill ends early rather than take more than this for the log, in bytes.
const USED_BYTES_MAX: u64 = 30_000_000_000;

/// How often each thread looks at the disk, in entries.
const LOOK_EVERY: u64 = 10_000;

/// What was filled in.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Filled {
    /// Entries: fewer than asked when the disk would not take them.
    pub(crate) entries: u64,
    /// Their canonical bytes.
    pub(crate) body_bytes: u64,
    /// How long it took, from opening the log to the last answer.
    pub(crate) took: Duration,
}

/// Logs `entries` entries in the log in `data`, on `threads` threads, and closes it cleanly.
pub(crate) fn fill(data: &Path, entries: u64, threads: usize) -> anyhow::Result<Filled> {
    let started = Instant::now();
    let opened = startup::open(data, None, Asked::default(), &Heard::default())?;
    let Opened::Log(log) = opened else { anyhow::bail!("a restored log is not filled") };
    let OpenLog { directory, store, anchor, publisher, fenced, edge, selfcheck, time_ms, .. } =
        *log;
    let health = Health::default();
    let pool = Arc::new(Pool::new(store.clone(), health.clone()));
    let sequencer = Sequencer {
        pool: pool.clone(),
        store,
        clock: BatchClock::new(time_ms, clock::read()),
        edge,
        selfcheck,
        anchor,
        publisher,
        witnessing: None,
        newest: fenced,
        renewal_ms: None,
        unpublished: Vec::new(),
        heartbeat: Heartbeat::default(),
        health,
        metrics: Arc::new(Metrics::default()),
        data: directory.path().to_owned(),
        free_disk_min: FREE_DISK_BYTES_MIN,
        thinning: Thinning::default(),
        last_took: Duration::ZERO,
    };
    let sequencing = std::thread::spawn(move || sequencer.run());
    let at_once = POOL_ENTRIES_MAX / (2 * threads);
    let (each, rest) = (entries / threads as u64, entries % threads as u64);
    let shares = (0..threads as u64).map(|n| each + u64::from(n < rest));
    let submitted = std::thread::scope(|scope| {
        let running: Vec<_> = shares
            .map(|share| {
                scope.spawn({
                    let pool = &pool;
                    move || submit_all(pool, share, at_once, data)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    pool.stop();
    ensure!(sequencing.join().is_ok(), "the sequencer panicked");
    let mut filled = Filled::default();
    for result in submitted {
        let part = result.map_err(|_| anyhow::anyhow!("a submitter panicked"))??;
        filled.entries += part.entries;
        filled.body_bytes += part.body_bytes;
    }
    Ok(Filled { took: started.elapsed(), ..filled })
}

/// Logs `count` entries with at most `at_once` of them on their way, or fewer when the disk would
/// not take them.
fn submit_all(pool: &Pool, count: u64, at_once: usize, data: &Path) -> anyhow::Result<Filled> {
    // The same key again and again would compress to nothing, and so would its postings.
    let recipe = Recipe { kind: Kind::P256, face: Face::RekorV2, per_key: 1 };
    let mut maker = Maker::new(recipe);
    let mut on_their_way = VecDeque::new();
    let mut filled = Filled::default();
    while filled.entries < count {
        if filled.entries.is_multiple_of(LOOK_EVERY) && !has_room(data)? {
            break;
        }
        if on_their_way.len() >= at_once.max(1) {
            on_their_way.pop_front().map_or(Ok(()), wait)?;
        }
        let entry = VerifiedEntry::from_v2_request(&maker.make())?;
        filled.entries += 1;
        filled.body_bytes += entry.body().len() as u64;
        match pool.submit(entry) {
            Ok(receiver) => on_their_way.push_back(receiver),
            Err(rejected) => bail!("the pool refused an entry: {rejected:?}"),
        }
    }
    on_their_way.into_iter().try_for_each(wait)?;
    Ok(filled)
}

/// Whether the log in `data` may grow.
fn has_room(data: &Path) -> anyhow::Result<bool> {
    Ok(disk::free(data)? >= disk::FREE_BYTES_MIN && disk::used(data)? <= USED_BYTES_MAX)
}

fn wait(receiver: Receiver<Outcome>) -> anyhow::Result<()> {
    match receiver.blocking_recv()? {
        Outcome::Logged(_) => Ok(()),
        other => bail!("an entry was not logged: {other:?}"),
    }
}
