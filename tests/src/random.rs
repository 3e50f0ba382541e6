//! Random choices that can be made again: every test that uses them prints its seed, and
//! `TREERING_SEED` sets it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

/// A small generator (SplitMix64).
pub struct Random(u64);

impl Random {
    /// Starts from `TREERING_SEED`, or from a new seed; prints which.
    ///
    /// # Panics
    /// If `TREERING_SEED` is not a number.
    pub fn seeded(test: &str) -> Self {
        let seed = match std::env::var("TREERING_SEED") {
            Ok(text) => text.parse().expect("TREERING_SEED is a decimal number"),
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        println!("{test}: TREERING_SEED={seed}");
        Self(seed)
    }

    /// Starts from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
