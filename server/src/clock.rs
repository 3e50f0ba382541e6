//! Time: the one place that reads a clock, and the rule that decides whether a reading may stamp
//! entries.
//!
//! Invariants: entry times never go back; a clock that jumped is noticed before any entry takes its
//! time. Timestamps (`crate::timestamp`) are stamped by the same rule and the same memory: none is
//! earlier than an entry or a timestamp that this process dated before it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::seeded_bug::{self, SeededBug};

/// How far behind the last batch the clock may be and still stamp entries (with the last time): NTP
/// steps this much.
pub const BEHIND_MS_MAX: u64 = 2_000;

/// How far behind, or away from the boot-time clock, means that the clock cannot be trusted at all.
pub const JUMP_MS_MAX: u64 = 60_000;

/// A reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Wall clock, Unix milliseconds.
    pub wall_ms: u64,
    /// Time since boot, suspended time included, in milliseconds.
    pub boot_ms: u64,
}

/// Why a reading cannot stamp a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClockError {
    /// A little behind: wait.
    #[error(
        "the clock is {behind_ms} ms behind the last entry; writes wait until it has caught up"
    )]
    Behind {
        /// By how much.
        behind_ms: u64,
    },
    /// Far behind, or away from the boot-time clock: a person must look.
    #[error(
        "the clock jumped by {jump_ms} ms; set it right (for example with chrony) and restart the log"
    )]
    Jumped {
        /// By how much.
        jump_ms: u64,
    },
}

/// The rule, and what it remembers; clones remember together. One belongs to the sequencer, one to
/// the timestamp authority.
#[derive(Clone, Debug)]
pub struct BatchClock {
    last_ms: Arc<Mutex<u64>>,
    first: Reading,
}

/// Reads both clocks.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn read() -> Reading {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Reading {
        wall_ms: wall.as_millis() as u64,
        boot_ms: boot.tv_sec as u64 * 1000 + boot.tv_nsec as u64 / 1_000_000,
    }
}

impl BatchClock {
    /// Starts from the time of the last committed batch and the first reading of this process.
    pub fn new(last_ms: u64, first: Reading) -> Self {
        Self { last_ms: Arc::new(Mutex::new(last_ms)), first }
    }

    /// The time for a batch, or a timestamp, made at `now`, Unix milliseconds: `max(now, last)`.
    ///
    /// # Errors
    /// [`ClockError`]; nothing may be dated then.
    pub fn stamp(&self, now: Reading) -> Result<u64, ClockError> {
        if seeded_bug::is(SeededBug::ClockIgnored) {
            return Ok(now.wall_ms);
        }
        let wall = now.wall_ms.abs_diff(self.first.wall_ms);
        let moved_back = now.wall_ms < self.first.wall_ms;
        let boot = now.boot_ms.saturating_sub(self.first.boot_ms);
        let drift = if moved_back { wall + boot } else { wall.abs_diff(boot) };
        let mut last_ms = self.last_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let behind_ms = last_ms.saturating_sub(now.wall_ms);
        if drift > JUMP_MS_MAX || behind_ms > JUMP_MS_MAX {
            return Err(ClockError::Jumped { jump_ms: drift.max(behind_ms) });
        }
        if behind_ms > BEHIND_MS_MAX {
            return Err(ClockError::Behind { behind_ms });
        }
        *last_ms = (*last_ms).max(now.wall_ms);
        Ok(*last_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Reading = Reading { wall_ms: 1_700_000_000_000, boot_ms: 5_000 };

    fn after(wall: i64, boot: u64) -> Reading {
        let wall_ms = START.wall_ms.checked_add_signed(wall).unwrap();
        Reading { wall_ms, boot_ms: START.boot_ms + boot }
    }

    #[test]
    fn time_never_goes_back_and_small_steps_back_keep_the_last() {
        let clock = BatchClock::new(0, START);
        assert_eq!(clock.stamp(after(1_000, 1_000)), Ok(START.wall_ms + 1_000));
        assert_eq!(clock.stamp(after(-500, 1_500)), Ok(START.wall_ms + 1_000));
        assert_eq!(clock.stamp(after(1_500, 1_500)), Ok(START.wall_ms + 1_500));
    }

    #[test]
    fn clones_remember_together() {
        let clock = BatchClock::new(0, START);
        let other = clock.clone();
        assert_eq!(clock.stamp(after(1_000, 1_000)), Ok(START.wall_ms + 1_000));
        assert_eq!(other.stamp(after(500, 1_000)), Ok(START.wall_ms + 1_000));
        assert_eq!(other.stamp(after(9_000, 9_000)), Ok(START.wall_ms + 9_000));
        assert_eq!(clock.stamp(after(0, 9_000)), Err(ClockError::Behind { behind_ms: 9_000 }));
    }

    #[test]
    fn a_clock_behind_the_last_entry_waits_and_then_goes_on() {
        let clock = BatchClock::new(START.wall_ms + 10_000, START);
        assert_eq!(clock.stamp(after(0, 0)), Err(ClockError::Behind { behind_ms: 10_000 }));
        assert_eq!(clock.stamp(after(9_000, 9_000)), Ok(START.wall_ms + 10_000));
    }

    #[test]
    fn a_jump_in_either_direction_is_noticed_before_it_stamps() {
        for wall in [-3_600_000, 3_600_000] {
            let clock = BatchClock::new(0, START);
            assert!(
                matches!(clock.stamp(after(wall, 10)), Err(ClockError::Jumped { .. })),
                "{wall}"
            );
        }
        let restored = BatchClock::new(START.wall_ms + 61_000, START);
        assert!(matches!(restored.stamp(after(0, 0)), Err(ClockError::Jumped { .. })));
    }
}
