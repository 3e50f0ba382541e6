//! Seeded bugs: mistakes that a log server could have, to prove that the fault matrix would notice
//! each of them (`docs/durability.md` has the table).
//!
//! Only the feature `seeded-bugs` compiles them in, and only into `treering-server-buggy`; the
//! build script refuses the feature unless `TREERING_SEEDED_BUGS_BUILD=1` is set. There
//! `TREERING_SEEDED_BUG=no-sync` chooses one, and `TREERING_FLIP_ENTRY=3` flips a byte of the third
//! entry on its way to the disk, as bad memory would.
//!
//! Invariant: without the feature every question here is the constant `false`.

/// What may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeededBug {
    /// A batch is written and not synced.
    NoSync,
    /// A batch is acknowledged while it is only in memory.
    AckBeforePersist,
    /// An answer has the proof of a newer tree than its checkpoint.
    ProofFromNewerSize,
    /// A restarted log does not know what was logged before.
    DedupForgotten,
    /// A growing tile is cached under a name without its width.
    StaleTile,
    /// The log goes on after a failed step, and gives the same indexes again.
    IndexReused,
    /// Another process's anchor is overwritten.
    AnchorSwapIgnored,
    /// The write-ahead log is replayed in RocksDB's default mode.
    DefaultWalRecovery,
    /// Nothing is read back before it is signed.
    SelfCheckOff,
    /// The anchor is written after a head is published.
    AnchorAfterPublish,
    /// Any time of day is good enough.
    ClockIgnored,
}

impl SeededBug {
    /// Every bug.
    pub const ALL: [Self; 11] = [
        Self::NoSync,
        Self::AckBeforePersist,
        Self::ProofFromNewerSize,
        Self::DedupForgotten,
        Self::StaleTile,
        Self::IndexReused,
        Self::AnchorSwapIgnored,
        Self::DefaultWalRecovery,
        Self::SelfCheckOff,
        Self::AnchorAfterPublish,
        Self::ClockIgnored,
    ];

    /// Its name in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSync => "no-sync",
            Self::AckBeforePersist => "ack-before-persist",
            Self::ProofFromNewerSize => "proof-from-newer-size",
            Self::DedupForgotten => "dedup-forgotten",
            Self::StaleTile => "stale-tile",
            Self::IndexReused => "index-reused",
            Self::AnchorSwapIgnored => "anchor-swap-ignored",
            Self::DefaultWalRecovery => "default-wal-recovery",
            Self::SelfCheckOff => "self-check-off",
            Self::AnchorAfterPublish => "anchor-after-publish",
            Self::ClockIgnored => "clock-ignored",
        }
    }
}

/// The variable that chooses a bug.
pub const VARIABLE: &str = "TREERING_SEEDED_BUG";

/// The variable that chooses an entry to damage, counted from 1.
pub const FLIP_VARIABLE: &str = "TREERING_FLIP_ENTRY";

#[cfg(not(feature = "seeded-bugs"))]
mod choice {
    use super::SeededBug;
    use std::borrow::Cow;

    /// Whether this process has the bug: never.
    pub const fn is(_: SeededBug) -> bool {
        false
    }

    /// The entry as it is written: as it is.
    pub fn written(entry: &[u8]) -> Cow<'_, [u8]> {
        Cow::Borrowed(entry)
    }

    /// The bytes of a tile as they are served: as they are.
    pub fn served(_: (u8, u64), bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

#[cfg(feature = "seeded-bugs")]
mod choice {
    use super::{FLIP_VARIABLE, SeededBug, VARIABLE};
    use std::borrow::Cow;
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// Whether this process has the bug.
    ///
    /// # Panics
    /// If the environment names one that there is not.
    pub fn is(bug: SeededBug) -> bool {
        static CHOSEN: OnceLock<Option<SeededBug>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| {
            let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
            let bug = SeededBug::ALL.into_iter().find(|bug| bug.name() == name);
            Some(bug.unwrap_or_else(|| panic!("{VARIABLE}: there is no bug {name:?}")))
        });
        *chosen == Some(bug)
    }

    /// The entry as it is written: one is damaged, if the environment says which.
    pub fn written(entry: &[u8]) -> Cow<'_, [u8]> {
        static WANTED: OnceLock<Option<u64>> = OnceLock::new();
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let wanted = WANTED.get_or_init(|| std::env::var(FLIP_VARIABLE).ok()?.parse().ok());
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed) + 1;
        if *wanted != Some(number) || entry.is_empty() {
            return Cow::Borrowed(entry);
        }
        let mut damaged = entry.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        eprintln!("fail point: flipping a byte of entry {number}");
        Cow::Owned(damaged)
    }

    /// The bytes of a tile as they are served: those that were asked for first.
    pub fn served(tile: (u8, u64), bytes: Vec<u8>) -> Vec<u8> {
        static CACHE: Mutex<Option<HashMap<(u8, u64), Vec<u8>>>> = Mutex::new(None);
        if !is(SeededBug::StaleTile) {
            return bytes;
        }
        let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get_or_insert_default().entry(tile).or_insert(bytes).clone()
    }
}

pub use choice::{is, served, written};
