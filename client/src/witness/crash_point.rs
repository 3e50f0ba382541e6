//! Crash points: places where a test can make the witness die as by `kill -9`, to prove what is
//! true there.
//!
//! `TREERING_CRASH_AT=persisted:3` kills the process when it passes `persisted` for the third time.
//! Without the variable, a point is one comparison.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The gaps between the steps of a cosignature's life, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashPoint {
    /// The cosignature is made, and in memory only.
    BeforePersist,
    /// The state is on disk; nobody has the cosignature, readers do not see it.
    Persisted,
    /// Readers see it, and the answer goes to the connection.
    Answered,
}

impl CrashPoint {
    /// Every point, in order.
    pub const ALL: [Self; 3] = [Self::BeforePersist, Self::Persisted, Self::Answered];

    /// Its name in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforePersist => "before-persist",
            Self::Persisted => "persisted",
            Self::Answered => "answered",
        }
    }

    /// Dies here, if the environment says so.
    pub fn pass(self) {
        let Some((point, wanted)) = armed() else { return };
        if point != self || PASSED.fetch_add(1, Ordering::Relaxed) + 1 < wanted {
            return;
        }
        let own = rustix::process::getpid();
        let killed = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        unreachable!("SIGKILL cannot be survived, nor refused to oneself: {killed:?}");
    }
}

/// What the environment asks for; said once at start.
pub fn armed() -> Option<(CrashPoint, u64)> {
    static ARMED: OnceLock<Option<(CrashPoint, u64)>> = OnceLock::new();
    *ARMED.get_or_init(|| {
        let value = std::env::var(VARIABLE).ok()?;
        let (name, count) = value.split_once(':').unwrap_or((&value, "1"));
        let point = CrashPoint::ALL.into_iter().find(|point| point.name() == name)?;
        Some((point, count.parse().ok()?))
    })
}

/// The environment variable.
pub const VARIABLE: &str = "TREERING_CRASH_AT";

static PASSED: AtomicU64 = AtomicU64::new(0);
