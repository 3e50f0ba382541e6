//! Crash points: places where a test can make the process die as by power loss, to prove what is
//! true there.
//!
//! `TREERING_CRASH_AT=committed:3` kills the process with SIGKILL when it passes `committed` for
//! the third time with entries in flight. Without the variable, a point is one comparison.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The gaps between the steps of an entry's life, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashPoint {
    /// A batch was taken from the pool; nothing is written.
    Batched,
    /// The tree was extended in memory.
    Extended,
    /// The batch is on disk, not checked.
    Committed,
    /// Both paths agree, the anchor does not know.
    Checked,
    /// The anchor holds the head, nothing is signed.
    Fenced,
    /// The notes are signed, not stored.
    Signed,
    /// The notes are stored and readers see them, nobody was told.
    Published,
    /// The submitters were told.
    Woken,
}

impl CrashPoint {
    /// Every point, in order.
    pub const ALL: [Self; 8] = [
        Self::Batched,
        Self::Extended,
        Self::Committed,
        Self::Checked,
        Self::Fenced,
        Self::Signed,
        Self::Published,
        Self::Woken,
    ];

    /// Its name in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Extended => "extended",
            Self::Committed => "committed",
            Self::Checked => "checked",
            Self::Fenced => "fenced",
            Self::Signed => "signed",
            Self::Published => "published",
            Self::Woken => "woken",
        }
    }

    /// Dies here, if the environment says so and `in_flight` entries are on their way.
    pub fn pass(self, in_flight: usize) {
        let Some((point, wanted)) = armed() else { return };
        if *point != self || in_flight == 0 {
            return;
        }
        if PASSED.fetch_add(1, Ordering::Relaxed) + 1 < *wanted {
            return;
        }
        eprintln!("crash point {}: dying with {in_flight} entries in flight", self.name());
        let own = rustix::process::getpid();
        let killed = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        unreachable!("SIGKILL cannot be survived, nor refused to oneself: {killed:?}");
    }
}

/// What the environment asks for; said once at start.
pub fn armed() -> &'static Option<(CrashPoint, u64)> {
    static ARMED: OnceLock<Option<(CrashPoint, u64)>> = OnceLock::new();
    ARMED.get_or_init(|| {
        let value = std::env::var(VARIABLE).ok()?;
        let (name, count) = value.split_once(':').unwrap_or((&value, "1"));
        let point = CrashPoint::ALL.into_iter().find(|point| point.name() == name)?;
        Some((point, count.parse().ok()?))
    })
}

/// The environment variable.
pub const VARIABLE: &str = "TREERING_CRASH_AT";

static PASSED: AtomicU64 = AtomicU64::new(0);
