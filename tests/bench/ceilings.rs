//! Ceilings: what this machine can do at best of each thing that the log cannot do without, beside
//! verifying signatures (`verifies`).
//!
//! Measured while nothing else of this run works: no server, no generator.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

/// What one entry appends to the write-ahead log, nearly.
const APPEND_LEN: usize = 1200;

/// Bytes of one slot of the anchor, and the distance of its two slots.
const SLOT_LEN: usize = 112;
const SLOT_DISTANCE: u64 = 4096;

/// What is hashed at once: as much as the client reads at once.
const HASHED_LEN: usize = 256 * 1024;

/// Times of the two writes that the log waits for before it answers.
#[derive(Default)]
pub(crate) struct SyncTimes {
    /// 1,200 bytes appended to a file, then fdatasync: what RocksDB does for a batch.
    pub(crate) append: Vec<Duration>,
    /// 112 bytes overwritten in another file, then fdatasync: what the anchor does.
    pub(crate) overwrite: Vec<Duration>,
}

/// SHA-256 in bytes a second with `threads` threads.
pub(crate) fn hashed_bytes_per_second(threads: usize, time: Duration) -> anyhow::Result<f64> {
    let rates = on_all_threads(threads, |barrier| {
        let buffer = vec![0x5a; HASHED_LEN];
        let mut hasher = Sha256::new();
        barrier.wait();
        let (_, rate) = repeat(time, || {
            hasher.update(&buffer);
            HASHED_LEN as u64
        });
        std::hint::black_box(hasher.finalize());
        rate
    })?;
    Ok(rates.into_iter().sum())
}

impl SyncTimes {
    /// Does both in turn for `time` in `directory`, as the log does, and adds what they took.
    pub(crate) fn measure(&mut self, directory: &Path, time: Duration) -> anyhow::Result<()> {
        let (log_path, slots_path) = (directory.join("sync-log"), directory.join("sync-slots"));
        let (mut log, slots) = (File::create(&log_path)?, File::create(&slots_path)?);
        slots.set_len(2 * SLOT_DISTANCE)?;
        slots.write_all_at(&[0; 2 * SLOT_DISTANCE as usize], 0)?;
        slots.sync_all()?;
        let end = Instant::now() + time;
        let mut slot = 0;
        while Instant::now() < end {
            let start = Instant::now();
            log.write_all(&[0x5a; APPEND_LEN])?;
            log.sync_data()?;
            self.append.push(start.elapsed());
            let start = Instant::now();
            slot ^= SLOT_DISTANCE;
            slots.write_all_at(&[0x5a; SLOT_LEN], slot)?;
            slots.sync_data()?;
            self.overwrite.push(start.elapsed());
        }
        std::fs::remove_file(&log_path)?;
        Ok(std::fs::remove_file(&slots_path)?)
    }
}

/// What `work` returns on each of `threads` threads that start together.
pub(crate) fn on_all_threads<T: Send>(
    threads: usize,
    work: impl Fn(&Barrier) -> T + Sync,
) -> anyhow::Result<Vec<T>> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&barrier))).collect();
        let parts = running.into_iter().map(|thread| thread.join());
        parts.map(|part| part.map_err(|_| anyhow::anyhow!("a thread panicked"))).collect()
    })
}

/// Repeats `step` for `time`: how much it did, and how much in a second.
pub(crate) fn repeat(time: Duration, mut step: impl FnMut() -> u64) -> (u64, f64) {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < time {
        done += step();
    }
    (done, done as f64 / start.elapsed().as_secs_f64())
}

/// CPU time of this thread so far.
pub(crate) fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
