//! Judging an evidence file: signatures and hashes are computed again, nothing is believed.
//!
//! Who signed both notes is convicted. Two keys of a log are one party when the identity document
//! binds them, or when the trust file lists both; keys that merely stand in one file are not.
//! Nothing in a file binds an ML-DSA-44 key: everybody can add lines of their own key with the name
//! of the log to its notes. So without a trust file such a key convicts nobody; that is so of every
//! `wrong-time`, and of a `rollback` that no witness dated.
//!
//! Every key in the file must have signed every note, or its line is missing and the file is not
//! what it was. Only when the log changed the key of its signatures between the notes, each of
//! those keys signed one; keys that cosign, the log's own too, still signed both.
//!
//! Invariant: pure and without memory, so that everybody comes to the same verdict.

mod doubt;

use super::{EvidenceFile, EvidenceKind, Promise, TrustedKeys};
use crate::api::v1::set_payload;
use crate::checkpoint::{Checkpoint, parse_decimal};
use crate::encoding::to_base64;
use crate::freshness::CLOCK_SKEW_MAX;
use crate::hash::hash_leaf;
use crate::identity::LogIdentity;
use crate::note::{self, Note, NoteKey, NoteKeyKind, Verified};
use crate::proof::{check_consistency, check_inclusion};
use crate::tree::TreeHead;
use doubt::Doubt;

/// What an evidence file comes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// A key of the log is convicted.
    ProvenLog,
    /// No key of the log is, but one of a witness.
    ProvenWitness,
    /// The file is what it says, and that proves nothing.
    Suspicious,
    /// The file does not show what it says.
    NotProven,
}

/// A verdict, and the reasons for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What it comes to.
    pub verdict: Verdict,
    /// The convicted keys; the log's come first.
    pub accused: Vec<NoteKey>,
    /// Who did what, or what is missing: a sentence.
    pub why: String,
}

impl Verdict {
    /// The stable name, kebab-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProvenLog => "proven-log",
            Self::ProvenWitness => "proven-witness",
            Self::Suspicious => "suspicious",
            Self::NotProven => "not-proven",
        }
    }

    /// Whether somebody is convicted.
    pub fn is_proven(self) -> bool {
        matches!(self, Self::ProvenLog | Self::ProvenWitness)
    }
}

pub(super) fn judge(file: &EvidenceFile, trusted: Option<&TrustedKeys>) -> Judgement {
    let is_trusted = |key: &NoteKey| trusted.is_none_or(|trusted| trusted.contains(key));
    let (keys, unlisted): (Vec<_>, Vec<_>) = file.keys.iter().cloned().partition(is_trusted);
    let judged = Case::open(file, keys, trusted).and_then(|case| case.judge());
    judged.unwrap_or_else(|doubt| {
        let mut why = doubt.to_string();
        if !unlisted.is_empty() {
            let of = if unlisted.len() == 1 { "the key" } else { "the keys" };
            why = format!("{why}; the trust file does not list {of} {}", names(&unlisted));
        }
        Judgement { verdict: Verdict::NotProven, accused: Vec::new(), why }
    })
}

/// The keys that dated what `later` is of after what `earlier` is of. Time 0 is no time. A log has
/// one clock, and `is_log` says which keys are the log's; a witness may be several machines, whose
/// clocks may differ by [`CLOCK_SKEW_MAX`].
pub(super) fn earlier_and_later<'v>(
    earlier: &'v [Verified],
    later: &'v [Verified],
    is_log: impl Fn(&NoteKey) -> bool,
) -> impl Iterator<Item = &'v NoteKey> {
    earlier.iter().filter_map(move |first| {
        let second = later.iter().find(|second| second.key == first.key)?;
        let (Some(before), Some(after)) = (first.time, second.time) else { return None };
        let skew = if is_log(&first.key) { 0 } else { CLOCK_SKEW_MAX };
        (0 < before && before.saturating_add(skew) < after).then_some(&first.key)
    })
}

/// Whether `key` is by its name one of the log `origin`: a key of C2SP notes is named by the
/// origin; a Rekor v1 log signs the origin `<host> - <tree id>` as `<host>`.
pub(super) fn is_log_of(key: &NoteKey, origin: &str) -> bool {
    match key.kind() {
        NoteKeyKind::Ed25519 | NoteKeyKind::MlDsa44 => key.name() == origin,
        NoteKeyKind::Cosignature => false,
        NoteKeyKind::EcdsaP256Sha256 => match origin.strip_prefix(key.name()) {
            Some("") => true,
            Some(rest) => rest.strip_prefix(" - ").and_then(parse_decimal).is_some(),
            None => false,
        },
    }
}

/// A file, and the keys that count.
struct Case<'f> {
    file: &'f EvidenceFile,
    keys: Vec<NoteKey>,
    identity: Option<LogIdentity>,
    trusted: Option<&'f TrustedKeys>,
}

/// A note of which every signature by a key that counts has verified; there is one or more.
struct Opened {
    origin: String,
    head: TreeHead,
    verified: Vec<Verified>,
}

impl Opened {
    fn is_signed_by(&self, key: &NoteKey) -> bool {
        self.verified.iter().any(|signature| signature.key == *key)
    }
}

impl<'f> Case<'f> {
    fn open(
        file: &'f EvidenceFile,
        mut keys: Vec<NoteKey>,
        trusted: Option<&'f TrustedKeys>,
    ) -> Result<Self, Doubt> {
        let is_stranger = |key: &&NoteKey| key.is_log_key() && !is_log_of(key, &file.origin);
        if let Some(key) = file.keys.iter().find(is_stranger) {
            return Err(Doubt::KeyOfOtherLog { key: names(std::slice::from_ref(key)) });
        }
        if keys.is_empty() {
            return Err(Doubt::NoKey);
        }
        let identity = file.identity.as_deref().map(LogIdentity::open).transpose()?;
        if let Some(identity) = &identity {
            // Both signed the document, so either vouches for the other.
            let bound = [identity.note_key().clone(), identity.v1_note_key()];
            let counts = bound.iter().any(|key| keys.contains(key));
            if !counts || identity.origin() != file.origin {
                return Err(Doubt::OtherIdentity);
            }
            for key in bound {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        Ok(Self { file, keys, identity, trusted })
    }

    fn judge(&self) -> Result<Judgement, Doubt> {
        match self.file.kind {
            EvidenceKind::ForkSize => self.fork_size(),
            EvidenceKind::ForkPrefix => self.fork_prefix(),
            EvidenceKind::Rollback => self.rollback(),
            EvidenceKind::BrokenPromise => self.broken_promise(),
            EvidenceKind::WrongTime => self.wrong_time(),
            EvidenceKind::RollbackSuspected => self.rollback_suspected(),
            EvidenceKind::InconsistentUnproven => self.inconsistent_unproven(),
            EvidenceKind::ForeignKey => self.foreign_key(),
        }
    }

    fn fork_size(&self) -> Result<Judgement, Doubt> {
        let [a, b] = self.two_notes()?;
        if a.head.size != b.head.size {
            return Err(Doubt::Sizes);
        }
        if a.head.root == b.head.root {
            return Err(Doubt::SameTree);
        }
        let what = format!("signed two different trees of {} entries", a.head.size);
        self.convict(self.who_signed_both(&a, &b), &what).ok_or(Doubt::NobodySignedBoth)
    }

    fn fork_prefix(&self) -> Result<Judgement, Doubt> {
        let [old, new] = self.two_notes()?;
        let root = self.file.alt_root.ok_or(Doubt::Incomplete)?;
        let proof = self.file.proof.as_deref().ok_or(Doubt::Incomplete)?;
        if old.head.size >= new.head.size {
            return Err(Doubt::Sizes);
        }
        if root == old.head.root {
            return Err(Doubt::SameRoot);
        }
        check_consistency(TreeHead { root, ..old.head }, new.head, proof)?;
        let what = format!(
            "signed a tree of {} entries and one of {} entries that does not start with it",
            old.head.size, new.head.size
        );
        self.convict(self.who_signed_both(&old, &new), &what).ok_or(Doubt::NobodySignedBoth)
    }

    fn rollback(&self) -> Result<Judgement, Doubt> {
        let [earlier, later] = self.two_notes()?;
        if earlier.head.size <= later.head.size {
            return Err(Doubt::Sizes);
        }
        let is_log = |key: &NoteKey| self.is_log(key, &earlier.origin);
        let dated = earlier_and_later(&earlier.verified, &later.verified, is_log);
        let (log, witnesses) = dated.cloned().partition(is_log);
        let what = format!(
            "dated a tree of {} entries later than one of {} entries",
            later.head.size, earlier.head.size
        );
        self.convict(Accused { log, witnesses }, &what).ok_or(Doubt::NotLater)
    }

    fn broken_promise(&self) -> Result<Judgement, Doubt> {
        let (identity, promise) = self.promise()?;
        let note = self.one_note()?;
        let leaf = self.file.leaf.ok_or(Doubt::Incomplete)?;
        let proof = self.file.proof.as_deref().ok_or(Doubt::Incomplete)?;
        if leaf == hash_leaf(&promise.entry) {
            return Err(Doubt::Kept);
        }
        check_inclusion(promise.index, note.head, leaf, proof)?;
        let what = format!("promised an entry index {} and put another one there", promise.index);
        Ok(convict_log(vec![identity.note_key().clone(), identity.v1_note_key()], &what))
    }

    fn wrong_time(&self) -> Result<Judgement, Doubt> {
        let (identity, promise) = self.promise()?;
        let note = self.one_note()?;
        // Of a log's keys only that of ML-DSA-44 gives times.
        let is_own = |signature: &&Verified| self.is_log(&signature.key, &note.origin);
        let mut own = note.verified.iter().filter(is_own);
        let dated = own.find_map(|signature| Some((&signature.key, signature.time?)));
        let (key, time) = dated.ok_or(Doubt::NoTime)?;
        let size = note.head.size;
        let relation = if size.contains(promise.index) {
            let proof = self.file.proof.as_deref().ok_or(Doubt::Incomplete)?;
            check_inclusion(promise.index, note.head, hash_leaf(&promise.entry), proof)?;
            (promise.time > time).then_some("that it had logged before")
        } else {
            // An inclusion proof for an index outside the tree is none.
            if self.file.proof.is_some() {
                return Err(Doubt::Sizes);
            }
            (promise.time < time).then_some("when its tree did not hold it")
        };
        let relation = relation.ok_or(Doubt::TimesAgree)?;
        let what = format!(
            "dated entry {} to second {}, {relation}: its tree had {size} entries at second {time}",
            promise.index, promise.time
        );
        if self.trusted.is_none() {
            return Ok(unbound(std::slice::from_ref(key), &what));
        }
        Ok(convict_log(vec![key.clone(), identity.v1_note_key()], &what))
    }

    fn rollback_suspected(&self) -> Result<Judgement, Doubt> {
        let (known, shown) = (self.note(0)?, self.note(1)?);
        if known.head.size <= shown.head.size {
            return Err(Doubt::Sizes);
        }
        let sizes = (shown.head.size, known.head.size);
        Ok(suspicious(&format!(
            "a tree of {} entries was shown after one of {}: it may be an old note, served again",
            sizes.0, sizes.1
        )))
    }

    fn inconsistent_unproven(&self) -> Result<Judgement, Doubt> {
        let (known, shown) = (self.note(0)?, self.note(1)?);
        if known.head == shown.head {
            return Err(Doubt::SameTree);
        }
        Ok(suspicious("the tiles that would show how the two trees are related are missing"))
    }

    fn foreign_key(&self) -> Result<Judgement, Doubt> {
        self.note(0)?;
        match self.note(1) {
            Err(Doubt::Signatures { .. }) => {
                Ok(suspicious("somebody without a key of the log spoke in its name"))
            }
            Err(doubt) => Err(doubt),
            Ok(_) => Err(Doubt::NotForeign),
        }
    }

    fn note(&self, number: usize) -> Result<Opened, Doubt> {
        let bytes = self.file.notes.get(number).ok_or(Doubt::Incomplete)?;
        let note = Note::parse(bytes).map_err(|error| Doubt::Note { number, error })?;
        let checkpoint =
            Checkpoint::parse(&note.text).map_err(|error| Doubt::Checkpoint { number, error })?;
        let face = self.identity.as_ref().map(LogIdentity::v1_origin);
        let origin = checkpoint.origin;
        if origin != self.file.origin && Some(&origin) != face.as_ref() {
            return Err(Doubt::Origin { number });
        }
        let verified =
            note::open(&note, &self.keys).map_err(|error| Doubt::Signatures { number, error })?;
        Ok(Opened { origin, head: checkpoint.head, verified })
    }

    /// Two notes that every key signed.
    fn two_notes(&self) -> Result<[Opened; 2], Doubt> {
        let notes = [self.note(0)?, self.note(1)?];
        self.check_complete(&notes)?;
        Ok(notes)
    }

    /// The one note, which every key signed: so also the key that the identity document binds to
    /// its face.
    fn one_note(&self) -> Result<Opened, Doubt> {
        let note = self.note(0)?;
        self.check_complete(std::slice::from_ref(&note))?;
        Ok(note)
    }

    fn check_complete(&self, notes: &[Opened]) -> Result<(), Doubt> {
        let unsigned = |key: &NoteKey| {
            notes.iter().position(|note| self.is_for(key, note) && !note.is_signed_by(key))
        };
        let missing = self.keys.iter().find_map(|key| Some((key, unsigned(key)?)));
        let Some((key, number)) = missing else { return Ok(()) };
        let (log, others): (Vec<_>, Vec<_>) = self.keys.iter().partition(|key| key.is_log_key());
        let is_replaced = self.identity.is_none()
            && others.iter().all(|key| unsigned(key).is_none())
            && log.iter().all(|key| notes.iter().filter(|n| n.is_signed_by(key)).count() == 1)
            && notes.iter().all(|note| log.iter().any(|key| note.is_signed_by(key)));
        if is_replaced {
            return Ok(());
        }
        Err(Doubt::NotSigned { key: names(std::slice::from_ref(key)), number })
    }

    /// Whether the log signs notes of this face with `key`; all other keys sign all notes.
    fn is_for(&self, key: &NoteKey, note: &Opened) -> bool {
        let Some(identity) = &self.identity else { return true };
        if key == identity.note_key() {
            note.origin == identity.origin()
        } else if *key == identity.v1_note_key() {
            note.origin == identity.v1_origin()
        } else {
            true
        }
    }

    /// The promise, whose signature is good, and the identity of the log that gave it.
    fn promise(&self) -> Result<(&LogIdentity, &Promise), Doubt> {
        let identity = self.identity.as_ref().ok_or(Doubt::Incomplete)?;
        let promise = self.file.promise.as_ref().ok_or(Doubt::Incomplete)?;
        let body = to_base64(&promise.entry);
        let log_id = identity.v1_log_id().to_hex();
        let signed = set_payload(&body, promise.time, &log_id, promise.index.get());
        identity.v1_key().verify(&signed, &promise.set).map_err(|_| Doubt::Promise)?;
        Ok((identity, promise))
    }

    fn who_signed_both(&self, a: &Opened, b: &Opened) -> Accused {
        let keys = |opened: &Opened| -> Vec<NoteKey> {
            opened.verified.iter().map(|signature| signature.key.clone()).collect()
        };
        let (first, second) = (keys(a), keys(b));
        let mut log: Vec<NoteKey> = Vec::new();
        for one in first.iter().filter(|key| self.is_log(key, &a.origin)) {
            for other in second.iter().filter(|key| self.is_log(key, &b.origin)) {
                if self.are_one_log(one, other) {
                    log.extend([one.clone(), other.clone()]);
                }
            }
        }
        let is_witness = |key: &&NoteKey| !key.is_log_key() && !self.is_log(key, &a.origin);
        let both = first.iter().filter(|key| second.contains(key));
        let witnesses = both.filter(is_witness).cloned().collect();
        Accused { log: each_once(log), witnesses }
    }

    /// `None` when nobody is accused.
    fn convict(&self, accused: Accused, what: &str) -> Option<Judgement> {
        let Accused { mut log, witnesses } = accused;
        if self.trusted.is_none() && !log.iter().any(NoteKey::is_log_key) {
            if !log.is_empty() && witnesses.is_empty() {
                return Some(unbound(&log, what));
            }
            log.clear();
        }
        let whom = if witnesses.len() == 1 { "the witness" } else { "the witnesses" };
        let (verdict, who) = match (log.is_empty(), witnesses.is_empty()) {
            (true, true) => return None,
            (false, true) => return Some(convict_log(log, what)),
            (true, false) => (Verdict::ProvenWitness, format!("{whom} {}", names(&witnesses))),
            (false, false) => {
                let who = format!("the log, {}, and {whom} {}", names(&log), names(&witnesses));
                (Verdict::ProvenLog, who)
            }
        };
        Some(Judgement {
            verdict,
            accused: [log, witnesses].concat(),
            why: format!("{who} {what}"),
        })
    }

    /// Whether `key` is the log's: by its name, and where there is a trust file by that.
    fn is_log(&self, key: &NoteKey, origin: &str) -> bool {
        let is_bound = self.is_bound(key);
        let trusts = |trusted: &TrustedKeys| trusted.log.contains(key) || is_bound;
        is_log_of(key, origin) && self.trusted.is_none_or(trusts)
    }

    /// Whether two keys of logs are of the same one.
    fn are_one_log(&self, one: &NoteKey, other: &NoteKey) -> bool {
        one == other || self.trusted.is_some() || (self.is_bound(one) && self.is_bound(other))
    }

    fn is_bound(&self, key: &NoteKey) -> bool {
        let bound =
            |identity: &LogIdentity| *key == *identity.note_key() || *key == identity.v1_note_key();
        self.identity.as_ref().is_some_and(bound)
    }
}

/// The keys of which something is proven; a key is in one of the lists, once.
struct Accused {
    log: Vec<NoteKey>,
    witnesses: Vec<NoteKey>,
}

fn convict_log(keys: Vec<NoteKey>, what: &str) -> Judgement {
    let why = format!("the log, {}, {what}", names(&keys));
    Judgement { verdict: Verdict::ProvenLog, accused: keys, why }
}

fn each_once(keys: Vec<NoteKey>) -> Vec<NoteKey> {
    let mut unique: Vec<NoteKey> = Vec::new();
    for key in keys {
        if !unique.contains(&key) {
            unique.push(key);
        }
    }
    unique
}

fn suspicious(why: &str) -> Judgement {
    Judgement { verdict: Verdict::Suspicious, accused: Vec::new(), why: why.to_owned() }
}

/// What ML-DSA-44 keys with the name of the log show where no trust file says whose they are.
fn unbound(keys: &[NoteKey], what: &str) -> Judgement {
    suspicious(&format!(
        "{} {what}; nothing in the file shows that this key is the log's: a trust file that lists \
         it is needed (--trust)",
        names(keys)
    ))
}

/// Each key as its name and key id.
fn names(keys: &[NoteKey]) -> String {
    let name = |key: &NoteKey| format!("{}+{}", key.name(), hex::encode(key.key_id()));
    keys.iter().map(name).collect::<Vec<_>>().join(", ")
}
