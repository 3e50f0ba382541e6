//! Which published notes are kept. Each batch publishes one, so a busy log would keep thousands a
//! second for ever.
//!
//! Rule: all of the last 24 hours, since whoever got an answer may still ask for its checkpoint;
//! before that one a minute; always size 0 and the newest.

/// Notes younger than this are all kept.
const KEPT_MS: u64 = 24 * 3600 * 1000;

/// Older notes are thinned to one in this time.
const THINNED_MS: u64 = 60 * 1000;

/// Notes looked at in one round: bounds how long the sequencer is held up.
pub const ROUND: usize = 1000;

/// Time between two rounds. A thousand notes a second are more than any log publishes.
const PAUSE_MS: u64 = 1000;

/// How far old notes have been thinned. Owned by the sequencer; lost with the process, and then a
/// new one finds only what is left.
#[derive(Default, Debug)]
pub struct Thinning {
    next_size: u64,
    kept_ms: Option<u64>,
    last_round_ms: Option<u64>,
}

impl Thinning {
    /// Whether it is time for a round, by the boot-time clock in milliseconds. Then the pause
    /// begins.
    pub fn is_due(&mut self, boot_ms: u64) -> bool {
        let due = self.last_round_ms.is_none_or(|last| boot_ms >= last.saturating_add(PAUSE_MS));
        if due {
            self.last_round_ms = Some(boot_ms);
        }
        due
    }

    /// The size at which the next round starts.
    pub fn next_size(&self) -> u64 {
        self.next_size
    }

    /// Which of `notes`, by size and time in milliseconds, to forget. They start at
    /// [`Thinning::next_size`] and rise.
    pub fn round(&mut self, notes: &[(u64, u64)], newest_size: u64, now_ms: u64) -> Vec<u64> {
        let mut forgotten = Vec::new();
        let is_old = |time_ms: u64| time_ms.saturating_add(KEPT_MS) < now_ms;
        for (size, time_ms) in notes.iter().copied().take_while(|(_, time)| is_old(*time)) {
            self.next_size = size + 1;
            let is_due = self.kept_ms.is_none_or(|kept| time_ms >= kept.saturating_add(THINNED_MS));
            if is_due || size == newest_size {
                self.kept_ms = Some(time_ms);
            } else {
                forgotten.push(size);
            }
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 10 * KEPT_MS;

    #[test]
    fn a_day_is_kept_whole_and_older_notes_one_a_minute() {
        let old = NOW - 2 * KEPT_MS;
        let notes: Vec<(u64, u64)> = (0..300).map(|second| (second, old + second * 1000)).collect();
        let mut thinning = Thinning::default();
        let forgotten = thinning.round(&notes, 1000, NOW);
        let kept: Vec<u64> = (0..300).filter(|size| !forgotten.contains(size)).collect();
        assert_eq!(kept, [0, 60, 120, 180, 240]);
        assert_eq!(thinning.next_size(), 300);

        let young: Vec<(u64, u64)> = (300..400).map(|size| (size, NOW - KEPT_MS)).collect();
        assert!(thinning.round(&young, 1000, NOW).is_empty());
        assert_eq!(thinning.next_size(), 300, "they are looked at again when they are older");
    }

    #[test]
    fn a_round_is_due_once_a_second() {
        let mut thinning = Thinning::default();
        let due: Vec<u64> = (0..30).map(|i| i * 100).filter(|now| thinning.is_due(*now)).collect();
        assert_eq!(due, [0, 1000, 2000]);
    }

    #[test]
    fn the_newest_note_is_kept_however_old() {
        let notes = [(0, 0), (1, 1), (2, 2)];
        assert_eq!(Thinning::default().round(&notes, 2, NOW), [1]);
    }
}
