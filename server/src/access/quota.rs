//! Quotas: how much one principal may log under one rule.
//!
//! Two buckets for each pair of rule and principal, entries and bytes. A bucket holds what one
//! period allows, and refills evenly over the period; a new one is full. An entry takes from both
//! or from none.
//!
//! Invariants: what was taken for an entry that was not logged is given back, unless its holder
//! said that it counts: a [`Hold`] that is dropped gives back. Levels are exact integers. At most
//! [`BUCKETS_MAX`] pairs are remembered; when there are more, the fullest is forgotten, so that a
//! crowd of new principals cannot refill one that is empty.
//!
//! Out of scope: requests per address and in flight (`limits`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pairs of rule and principal that are remembered, at some 300 bytes each.
pub const BUCKETS_MAX: usize = 10_000;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// What one principal may log under one rule; `None` is no limit.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct QuotaLimits {
    /// Entries in a minute.
    pub entries_per_minute: Option<u64>,
    /// Bytes of entries and statements in a day.
    pub bytes_per_day: Option<u64>,
}

/// Why nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotaRefusal {
    /// There is room again after this time.
    Later(Duration),
    /// The entry has more bytes than a whole day allows.
    Never,
}

/// All buckets of a log.
#[derive(Debug, Default)]
pub struct Quotas {
    buckets: Mutex<HashMap<Key, Buckets>>,
}

/// What was taken for one entry, and goes back when this is dropped.
#[derive(Debug)]
pub struct Hold {
    quotas: Arc<Quotas>,
    key: Key,
    limits: QuotaLimits,
    bytes: u64,
    is_kept: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    rule: String,
    who: String,
}

#[derive(Debug)]
struct Buckets {
    limits: QuotaLimits,
    entries: Level,
    bytes: Level,
    /// When the levels were true, milliseconds since boot.
    at_ms: u64,
}

/// What is left, in units times milliseconds of the period: so refilling needs no fractions.
#[derive(Clone, Copy, Debug)]
struct Level(u128);

impl Quotas {
    /// Takes one entry of `bytes` from the quota of `who` under `rule`, at `now_ms` since boot.
    ///
    /// # Errors
    /// [`QuotaRefusal`]; then nothing was taken.
    pub fn take(
        self: &Arc<Self>,
        rule: &str,
        who: &str,
        limits: QuotaLimits,
        bytes: u64,
        now_ms: u64,
    ) -> Result<Option<Hold>, QuotaRefusal> {
        if limits == QuotaLimits::default() {
            return Ok(None);
        }
        if limits.bytes_per_day.is_some_and(|max| bytes > max) {
            return Err(QuotaRefusal::Never);
        }
        let key = Key { rule: rule.to_owned(), who: who.to_owned() };
        let mut all = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= BUCKETS_MAX && !all.contains_key(&key) {
            forget_fullest(&mut all);
        }
        let buckets = all.entry(key.clone()).or_insert_with(|| Buckets::full(limits, now_ms));
        buckets.refill(limits, now_ms);
        let wait = buckets.wait(limits, bytes);
        if wait > 0 {
            return Err(QuotaRefusal::Later(Duration::from_millis(wait)));
        }
        buckets.take(limits, bytes);
        Ok(Some(Hold { quotas: self.clone(), key, limits, bytes, is_kept: false }))
    }

    fn give_back(&self, key: &Key, limits: QuotaLimits, bytes: u64) {
        let mut all = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // A pair that was forgotten is full.
        if let Some(buckets) = all.get_mut(key) {
            buckets.give_back(limits, bytes);
        }
    }
}

impl Hold {
    /// The entry counts from here on, even when this is dropped.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Gives back what was taken, although it was kept.
    pub fn refund(mut self) {
        self.is_kept = false;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_kept {
            self.quotas.give_back(&self.key, self.limits, self.bytes);
        }
    }
}

impl Buckets {
    fn full(limits: QuotaLimits, at_ms: u64) -> Self {
        Self {
            limits,
            entries: Level::full(limits.entries_per_minute, MINUTE_MS),
            bytes: Level::full(limits.bytes_per_day, DAY_MS),
            at_ms,
        }
    }

    fn refill(&mut self, limits: QuotaLimits, now_ms: u64) {
        let elapsed = now_ms.saturating_sub(self.at_ms);
        self.entries.add(limits.entries_per_minute, MINUTE_MS, u128::from(elapsed));
        self.bytes.add(limits.bytes_per_day, DAY_MS, u128::from(elapsed));
        self.at_ms = self.at_ms.max(now_ms);
        self.limits = limits;
    }

    /// Milliseconds until an entry of `bytes` fits.
    fn wait(&self, limits: QuotaLimits, bytes: u64) -> u64 {
        let entries = self.entries.wait(limits.entries_per_minute, MINUTE_MS, 1);
        entries.max(self.bytes.wait(limits.bytes_per_day, DAY_MS, bytes))
    }

    /// What is left of the emptier bucket, in millionths.
    fn share_left(&self) -> u128 {
        let entries = self.entries.share(self.limits.entries_per_minute, MINUTE_MS);
        entries.min(self.bytes.share(self.limits.bytes_per_day, DAY_MS))
    }

    fn take(&mut self, limits: QuotaLimits, bytes: u64) {
        self.entries.take(limits.entries_per_minute, MINUTE_MS, 1);
        self.bytes.take(limits.bytes_per_day, DAY_MS, bytes);
    }

    fn give_back(&mut self, limits: QuotaLimits, bytes: u64) {
        self.entries.give_back(limits.entries_per_minute, MINUTE_MS, 1);
        self.bytes.give_back(limits.bytes_per_day, DAY_MS, bytes);
    }
}

impl Level {
    fn full(limit: Option<u64>, period_ms: u64) -> Self {
        Self(u128::from(limit.unwrap_or(0)) * u128::from(period_ms))
    }

    /// What `elapsed` milliseconds bring; never above full, also when the limit became lower.
    fn add(&mut self, limit: Option<u64>, period_ms: u64, elapsed: u128) {
        let brought = u128::from(limit.unwrap_or(0)) * elapsed;
        self.0 = self.0.saturating_add(brought).min(Self::full(limit, period_ms).0);
    }

    fn wait(self, limit: Option<u64>, period_ms: u64, units: u64) -> u64 {
        let Some(limit) = limit else { return 0 };
        let lacking = (u128::from(units) * u128::from(period_ms)).saturating_sub(self.0);
        u64::try_from(lacking.div_ceil(u128::from(limit.max(1)))).unwrap_or(u64::MAX)
    }

    fn share(self, limit: Option<u64>, period_ms: u64) -> u128 {
        match Self::full(limit, period_ms).0 {
            0 => 1_000_000,
            full => self.0.saturating_mul(1_000_000) / full,
        }
    }

    fn take(&mut self, limit: Option<u64>, period_ms: u64, units: u64) {
        if limit.is_some() {
            self.0 = self.0.saturating_sub(u128::from(units) * u128::from(period_ms));
        }
    }

    fn give_back(&mut self, limit: Option<u64>, period_ms: u64, units: u64) {
        let taken = u128::from(units) * u128::from(period_ms);
        self.0 = self.0.saturating_add(taken).min(Self::full(limit, period_ms).0);
    }
}

/// Forgets the pair that lacks least.
fn forget_fullest(all: &mut HashMap<Key, Buckets>) {
    let fullest = all.iter().max_by_key(|(_, buckets)| buckets.share_left());
    if let Some(key) = fullest.map(|(key, _)| key.clone()) {
        all.remove(&key);
    }
}

#[cfg(test)]
mod tests;
