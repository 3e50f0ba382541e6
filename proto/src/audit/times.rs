//! Times of entries, held against each other and against heads that the log itself dated.
//!
//! Invariants: along a log times never go back; an entry is not older than a dated head without it,
//! and not younger than a dated head with it. No clock of the auditor is asked.

/// Between which times an entry was logged, by the log's own dated heads.
#[derive(Clone, Default, Debug)]
pub struct Bounds {
    /// By size, with the newest time of a head up to that size.
    before: Vec<(u64, u64)>,
    /// By size, with the oldest time of a head from that size on.
    after: Vec<(u64, u64)>,
}

/// Times under way, from one entry to the next.
#[derive(Clone, Default, Debug)]
pub struct Times {
    bounds: Bounds,
    last: u64,
}

/// What is wrong with the time of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeFault {
    /// By the log's own dated heads it was not logged yet then, or logged already.
    #[error("when by the log's own dated checkpoints it was not logged yet, or logged already")]
    OutsideHeads,
    /// An entry below it is younger.
    #[error("before the {0} of an entry below it")]
    Backwards(
        /// The time of that entry.
        u64,
    ),
}

impl Bounds {
    /// The bounds that dated heads set: of each its size and its time.
    pub fn new(dated: &[(u64, u64)]) -> Self {
        let mut before = dated.to_vec();
        before.sort_unstable();
        let mut after = before.clone();
        let mut newest = 0;
        for (_, time) in &mut before {
            newest = newest.max(*time);
            *time = newest;
        }
        let mut oldest = u64::MAX;
        for (_, time) in after.iter_mut().rev() {
            oldest = oldest.min(*time);
            *time = oldest;
        }
        Self { before, after }
    }

    /// Whether the entry at `index` can have been logged at `time`.
    pub fn allow(&self, index: u64, time: u64) -> bool {
        let at = self.before.partition_point(|(size, _)| *size <= index);
        let not_before = at.checked_sub(1).map_or(0, |last| self.before[last].1);
        let not_after = self.after.get(at).map_or(u64::MAX, |(_, time)| *time);
        (not_before..=not_after).contains(&time)
    }
}

impl Times {
    /// Starts at the first entry; `dated` are size and time of heads that the log dated, in any
    /// order.
    pub fn new(dated: &[(u64, u64)]) -> Self {
        Self { bounds: Bounds::new(dated), last: 0 }
    }

    /// Takes the time of the entry at `index`, which is above those taken before; not every entry
    /// needs one. A time that is wrong is not what later ones are held against.
    ///
    /// # Errors
    /// [`TimeFault`].
    pub fn entry(&mut self, index: u64, time: u64) -> Result<(), TimeFault> {
        if !self.bounds.allow(index, time) {
            return Err(TimeFault::OutsideHeads);
        }
        if time < self.last {
            return Err(TimeFault::Backwards(self.last));
        }
        self.last = time;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lies_between_the_heads_without_and_with_it() {
        let bounds = Bounds::new(&[(10, 200), (5, 100), (7, 150)]);
        for (index, from, to) in [(0, 0, 100), (4, 0, 100), (5, 100, 150), (9, 150, 200)] {
            assert!(bounds.allow(index, from) && bounds.allow(index, to), "{index}");
            assert!(!bounds.allow(index, to + 1), "{index}");
            assert!(from == 0 || !bounds.allow(index, from - 1), "{index}");
        }
        assert!(bounds.allow(10, u64::MAX) && !bounds.allow(10, 199));
        // A log that dates a larger tree earlier bounds by the stricter of the two.
        let back = Bounds::new(&[(5, 100), (7, 90)]);
        assert!(back.allow(0, 90) && !back.allow(0, 91) && !back.allow(8, 99));
        assert!(Bounds::new(&[]).allow(3, 7));
    }

    #[test]
    fn times_do_not_go_back_and_one_wrong_time_does_not_condemn_the_rest() {
        let mut times = Times::new(&[(3, 50)]);
        assert_eq!(times.entry(0, 40), Ok(()));
        assert_eq!(times.entry(1, 39), Err(TimeFault::Backwards(40)));
        assert_eq!(times.entry(2, 51), Err(TimeFault::OutsideHeads));
        assert_eq!(times.entry(3, 50), Ok(()), "the same second, after both");
        assert_eq!(times.entry(9, 49), Err(TimeFault::OutsideHeads));
        assert_eq!(Times::default().entry(7, 0), Ok(()));
    }
}
