//! How old a checkpoint is, by the word of those whom a verifier believes, and whether that is too
//! old.
//!
//! A log that shows one old tree for ever signs nothing false, so no signature gives it away. Only
//! a time at which somebody saw the tree as the newest does:
//!
//! ```text
//! the witness policy asks for witnesses   what the quorum vouches for: of a group of threshold k
//!                                         the k-th newest time, never the newest of all
//! it asks for none, or there is none      the time in the log's own timestamped line, if its key
//!                                         is listed: the log's word, but one it can be held to
//! ```
//!
//! Invariant: fewer liars than the quorum counts cannot make a checkpoint fresher than an honest
//! witness saw it. Out of scope: the clock; callers pass the time.

use crate::checkpoint::SignedCheckpoint;
use crate::trust::TrustFile;

/// How far the clocks of honest machines are apart at most, in seconds. Times further in the future
/// are false, or our own clock is.
pub const CLOCK_SKEW_MAX: u64 = 300;

/// Whether a checkpoint is new enough. Times are Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// The trust file accepts any age.
    NoMaximum,
    /// There is a maximum, and nobody who is believed says when the checkpoint was the newest.
    NoTime,
    /// Not older than the maximum.
    Fresh {
        /// When it was the newest.
        time: u64,
    },
    /// Older than the maximum.
    TooOld {
        /// When it was the newest.
        time: u64,
        /// The greatest age, in seconds.
        maximum: u64,
    },
    /// More than [`CLOCK_SKEW_MAX`] seconds in the future.
    Future {
        /// When it is said to be the newest.
        time: u64,
    },
}

impl Freshness {
    /// Compares the time of `checkpoint`, opened with [`TrustFile::note_keys`], with the maximum
    /// age of `trust`, at the time `now`.
    pub fn of(trust: &TrustFile, checkpoint: &SignedCheckpoint, now: u64) -> Self {
        let Some(maximum) = trust.max_checkpoint_age else { return Self::NoMaximum };
        match head_time(trust, checkpoint) {
            None => Self::NoTime,
            Some(time) if time > now.saturating_add(CLOCK_SKEW_MAX) => Self::Future { time },
            Some(time) if now.saturating_sub(time) > maximum => Self::TooOld { time, maximum },
            Some(time) => Self::Fresh { time },
        }
    }
}

/// A time at which `checkpoint`, opened with [`TrustFile::note_keys`], was the newest of its log;
/// `None` when nobody who is believed says so. A time of 0 says nothing: cosigners write it when
/// they do not vouch for one (C2SP tlog-cosignature).
pub fn head_time(trust: &TrustFile, checkpoint: &SignedCheckpoint) -> Option<u64> {
    let verified = checkpoint.verified();
    let time = match &trust.witness_policy {
        Some(witnesses) if !witnesses.policy.needs_no_witness() => {
            witnesses.policy.quorum_time(verified)
        }
        _ => own_time(trust, checkpoint),
    };
    time.filter(|time| *time != 0)
}

/// The time in the log's own timestamped line on `checkpoint`: no third party's word.
pub fn own_time(trust: &TrustFile, checkpoint: &SignedCheckpoint) -> Option<u64> {
    let key = trust.log.time_key()?;
    checkpoint.verified().iter().find(|line| line.key == *key)?.time
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::checkpoint::{Checkpoint, open_checkpoint};
    use crate::cosignature::ml_dsa_44::MlDsa44SigningKey;
    use crate::note::{
        Note, NoteKey, sign_cosignature_line, sign_ed25519_line, sign_ml_dsa_44_line,
    };
    use crate::tree::TreeHead;
    use crate::trust::{ModelPolicy, TrustedLog, WitnessPolicy};

    const NOW: u64 = 1_800_000_000;

    fn time_key() -> MlDsa44SigningKey {
        MlDsa44SigningKey::from_seed(&[2; 32])
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    /// A trust file with three witnesses, of which `needed` are asked for (0: none), and a maximum
    /// age of an hour.
    fn trust(needed: usize) -> TrustFile {
        let log_key = NoteKey::ed25519("log.example", key(1).verifying_key().as_bytes()).unwrap();
        let log = TrustedLog {
            url: "https://log.example".to_owned(),
            origin: "log.example".to_owned(),
            keys: vec![log_key],
            identity: None,
        };
        let mut text = String::new();
        for seed in [5, 6, 7] {
            let witness = NoteKey::cosignature("w.example", key(seed).verifying_key().as_bytes());
            text.push_str(&format!("witness w{seed} {}\n", witness.unwrap().to_vkey()));
        }
        text.push_str(&match needed {
            0 => "quorum none\n".to_owned(),
            needed => format!("group g {needed} w5 w6 w7\nquorum g\n"),
        });
        TrustFile {
            witness_policy: Some(WitnessPolicy::parse(text, &log).unwrap()),
            log,
            floor: None,
            max_checkpoint_age: Some(3600),
            certificate_authorities: Vec::new(),
            timestamp_authorities: Vec::new(),
            signers: Vec::new(),
            model_policy: ModelPolicy::default(),
        }
    }

    /// Cosigned by the first witnesses at `times`, and at `own` by the log itself, whether or not
    /// `trust` lists its key.
    fn checkpoint(trust: &TrustFile, times: &[u64], own: Option<u64>) -> SignedCheckpoint {
        let origin = "log.example";
        let head = TreeHead::EMPTY;
        let text = Checkpoint { origin: origin.to_owned(), head, extensions: vec![] }.format();
        let mut signatures = vec![sign_ed25519_line(origin, &key(1), &text)];
        let line = own.map(|time| sign_ml_dsa_44_line(origin, &time_key(), origin, head, time));
        signatures.extend(line);
        for (seed, time) in (5..).zip(times) {
            signatures.push(sign_cosignature_line("w.example", &key(seed), &text, *time));
        }
        let note = Note { text, signatures }.format();
        open_checkpoint(note.as_bytes(), "log.example", &trust.note_keys()).unwrap()
    }

    fn freshness(needed: usize, times: &[u64]) -> Freshness {
        let trust = trust(needed);
        Freshness::of(&trust, &checkpoint(&trust, times, None), NOW)
    }

    fn with_time_key(mut trust: TrustFile) -> TrustFile {
        trust.log.keys.push(NoteKey::ml_dsa_44("log.example", time_key().public_key()).unwrap());
        trust
    }

    #[test]
    fn the_kth_newest_time_decides_and_its_bounds_are_exact() {
        let old = NOW - 3601;
        assert_eq!(freshness(2, &[NOW, NOW - 3600, old]), Freshness::Fresh { time: NOW - 3600 });
        // One liar of a quorum of two does not make it fresh.
        let stale = Freshness::TooOld { time: old, maximum: 3600 };
        assert_eq!(freshness(2, &[NOW, old, old - 5]), stale);
        assert_eq!(freshness(1, &[NOW, old, old]), Freshness::Fresh { time: NOW });
        let ahead = NOW + CLOCK_SKEW_MAX;
        assert_eq!(freshness(2, &[ahead, ahead]), Freshness::Fresh { time: ahead });
        let future = Freshness::Future { time: ahead + 1 };
        assert_eq!(freshness(2, &[ahead + 1, ahead + 2]), future);
    }

    #[test]
    fn without_quorum_policy_or_time_nothing_is_fresh() {
        assert_eq!(freshness(2, &[NOW]), Freshness::NoTime);
        assert_eq!(freshness(0, &[NOW, NOW, NOW]), Freshness::NoTime);
        assert_eq!(freshness(1, &[0]), Freshness::NoTime);
        let mut trust = trust(2);
        trust.max_checkpoint_age = None;
        let head = checkpoint(&trust, &[1, 1], None);
        assert_eq!(Freshness::of(&trust, &head, NOW), Freshness::NoMaximum);
    }
    #[test]
    fn the_logs_own_time_counts_where_no_witness_is_asked_for_and_its_key_is_listed() {
        let of = |trust: &TrustFile, times: &[u64], own| {
            Freshness::of(trust, &checkpoint(trust, times, Some(own)), NOW)
        };
        let listed = with_time_key(trust(0));
        assert_eq!(of(&listed, &[], NOW - 5), Freshness::Fresh { time: NOW - 5 });
        let stale = Freshness::TooOld { time: NOW - 3601, maximum: 3600 };
        assert_eq!(of(&listed, &[NOW, NOW, NOW], NOW - 3601), stale);
        assert_eq!(of(&listed, &[NOW, NOW, NOW], 0), Freshness::NoTime);
        assert_eq!(of(&trust(0), &[], NOW), Freshness::NoTime);
        // Where witnesses are asked for, the log's word is nothing.
        assert_eq!(of(&with_time_key(trust(2)), &[NOW], NOW), Freshness::NoTime);
        let witnessed = of(&with_time_key(trust(1)), &[NOW - 7], NOW);
        assert_eq!(witnessed, Freshness::Fresh { time: NOW - 7 });
    }
}
