//! Making evidence of what somebody found: each constructor gives evidence only of what it proves.
//!
//! Invariant: evidence of a kind that proves something is judged proven, by whoever believes the
//! keys that its notes were opened with. Out of scope: judging files of others (see the parent).

use std::fmt;

use super::judge::{Verdict, earlier_and_later, is_log_of};
use super::{EVIDENCE_TEXT_LEN_MAX, EvidenceFile, EvidenceKind, Promise, TrustedKeys};
use crate::checkpoint::SignedCheckpoint;
use crate::hash::Hash;
use crate::identity::LogIdentity;
use crate::note::{NOTE_LEN_MAX, NoteKey, Verified};
use crate::proof::check_consistency;
use crate::tree::TreeHead;
use crate::trust::IdentityDocument;

/// What a log or a witness said that does not go together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Its `seen` is empty.
    file: EvidenceFile,
    convicts: Option<Party>,
    why: String,
}

/// Whom evidence convicts, for whoever believes the keys that its notes were opened with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Party {
    /// The log, and perhaps witnesses beside it.
    Log,
    /// Only a witness.
    Witness,
}

impl Evidence {
    /// Evidence of two roots for one size; `None` if that is not what these are, or if they are of
    /// two origins.
    pub fn fork_size(a: &SignedCheckpoint, b: &SignedCheckpoint) -> Option<Self> {
        let fork = two_roots(a, b) && same_origin(a, b);
        fork.then(|| Self::of_two(EvidenceKind::ForkSize, None, a, b))
    }

    /// The same between the two faces of the log whose identity `document` is given.
    pub fn fork_size_across(
        document: &IdentityDocument,
        a: &SignedCheckpoint,
        b: &SignedCheckpoint,
    ) -> Option<Self> {
        let fork = two_roots(a, b) && are_faces(document, a, b);
        fork.then(|| Self::of_two(EvidenceKind::ForkSize, Some(document), a, b))
    }

    /// Evidence that the tree of `new` does not start with that of `old`: `proof` leads from
    /// `root`, which is another root of `old`'s size, to `new`. `None` if it does not, if `new` is
    /// not the larger, or if they are of two origins.
    pub fn fork_prefix(
        old: &SignedCheckpoint,
        new: &SignedCheckpoint,
        root: Hash,
        proof: &[Hash],
    ) -> Option<Self> {
        let fork = is_rewritten(old, new, root, proof) && same_origin(old, new);
        fork.then(|| Self::rewritten(None, old, new, root, proof))
    }

    /// The same between the two faces of the log whose identity `document` is given.
    pub fn fork_prefix_across(
        document: &IdentityDocument,
        old: &SignedCheckpoint,
        new: &SignedCheckpoint,
        root: Hash,
        proof: &[Hash],
    ) -> Option<Self> {
        let fork = is_rewritten(old, new, root, proof) && are_faces(document, old, new);
        fork.then(|| Self::rewritten(Some(document), old, new, root, proof))
    }

    /// The log showed `shown`, smaller than `known`, which it signed before. A proof if one key
    /// dated `shown` later than `known`: against the log if that key is the log's, else against the
    /// witness, whose time must be later by more than [`CLOCK_SKEW_MAX`].
    ///
    /// [`CLOCK_SKEW_MAX`]: crate::freshness::CLOCK_SKEW_MAX
    pub fn rollback(known: &SignedCheckpoint, shown: &SignedCheckpoint) -> Self {
        let is_smaller = known.head().size > shown.head().size && same_origin(known, shown);
        let is_log = |key: &NoteKey| is_log_of(key, &known.checkpoint().origin);
        let dated = earlier_and_later(known.verified(), shown.verified(), is_log);
        let dated: Vec<&NoteKey> = dated.filter(|_| is_smaller).collect();
        let by = match (dated.iter().any(|key| is_log(key)), dated.first()) {
            (true, _) => Party::Log,
            (false, Some(_)) => Party::Witness,
            (false, None) => {
                return Self::of_two(EvidenceKind::RollbackSuspected, None, known, shown);
            }
        };
        let mut evidence = Self::of_two(EvidenceKind::Rollback, None, known, shown);
        if let (Party::Witness, Some(key)) = (by, dated.first()) {
            evidence.why = format!(
                "the witness {} dated a tree of {} entries later than one of {}",
                key.name(),
                shown.head().size,
                known.head().size
            );
        }
        Self { convicts: Some(by), ..evidence }
    }

    /// The log did not show whether `shown` extends `known`.
    pub fn unproven(known: &SignedCheckpoint, shown: &SignedCheckpoint) -> Self {
        Self::of_two(EvidenceKind::InconsistentUnproven, None, known, shown)
    }

    /// Something was shown as the checkpoint of the log of `known`, and no trusted key signed it.
    /// Of `shown` at most [`NOTE_LEN_MAX`] bytes are kept.
    pub fn foreign_key(known: &SignedCheckpoint, shown: &[u8]) -> Self {
        let kind = EvidenceKind::ForeignKey;
        // Witnesses may have cosigned what the log did not sign; only its own keys tell.
        let mut keys = keys_of(&[known]);
        keys.retain(NoteKey::is_log_key);
        let mut file = EvidenceFile::new(kind, &known.checkpoint().origin, keys);
        let shown = &shown[..shown.len().min(NOTE_LEN_MAX)];
        file.notes = vec![known.note_bytes().to_vec(), shown.to_vec()];
        let why = format!(
            "something was shown as the checkpoint of {} that none of its keys signed",
            file.origin
        );
        Self::new(file, why)
    }

    /// The log gave `promise`, and `leaf` is at its index in the tree of `shown` by the inclusion
    /// proof `proof`. `None` if the promise is not by the log of `document`, or if it was kept.
    pub fn broken_promise(
        document: &IdentityDocument,
        promise: &Promise,
        shown: &SignedCheckpoint,
        leaf: Hash,
        proof: &[Hash],
    ) -> Option<Self> {
        let mut file =
            EvidenceFile::promised(EvidenceKind::BrokenPromise, document, promise, shown);
        file.leaf = Some(leaf);
        file.proof = Some(proof.to_vec());
        let why = format!(
            "the log promised that an entry has index {}, and put another one there",
            promise.index
        );
        Self::new(file, why).if_proven(&[])
    }

    /// The log gave `promise` with a time that its own dated checkpoint `shown` contradicts: the
    /// entry was not in the tree then, or was in it before. In the second case `proof` shows the
    /// entry in the tree; in the first it is empty. `None` if there is no contradiction, or if
    /// `time_key`, the log's ML-DSA-44 key by the trust file, did not date `shown`.
    pub fn wrong_time(
        document: &IdentityDocument,
        time_key: &NoteKey,
        promise: &Promise,
        shown: &SignedCheckpoint,
        proof: &[Hash],
    ) -> Option<Self> {
        let mut file = EvidenceFile::promised(EvidenceKind::WrongTime, document, promise, shown);
        let is_own = |signature: &&Verified| signature.key == *time_key;
        file.keys.push(shown.verified().iter().find(is_own)?.key.clone());
        let is_included = shown.head().size.contains(promise.index);
        file.proof = is_included.then(|| proof.to_vec());
        let relation = if is_included { "was logged before" } else { "was not logged yet" };
        let why = format!(
            "the log dates entry {} to second {}, when by its own checkpoint it {relation}",
            promise.index, promise.time
        );
        Self::new(file, why).if_proven(std::slice::from_ref(time_key))
    }

    /// Whom it convicts, if anybody.
    pub fn convicts(&self) -> Option<Party> {
        self.convicts
    }

    /// What it shows.
    pub fn kind(&self) -> EvidenceKind {
        self.file.kind
    }

    /// The file. `seen` is where and when it was seen: an RFC 3339 time, a space, a URL or a path.
    pub fn format(&self, seen: &str) -> String {
        EvidenceFile { seen: seen_line(seen), ..self.file.clone() }.format()
    }

    /// What is proven of notes that the log signed is proven of the log.
    fn new(file: EvidenceFile, why: String) -> Self {
        let convicts = file.kind.is_proof().then_some(Party::Log);
        Self { file, convicts, why }
    }

    fn of_two(
        kind: EvidenceKind,
        document: Option<&IdentityDocument>,
        a: &SignedCheckpoint,
        b: &SignedCheckpoint,
    ) -> Self {
        let origin = match document {
            Some(document) => document.identity.origin(),
            None => &a.checkpoint().origin,
        };
        let keys = match document {
            Some(document) => bound_keys(document, &[a, b]),
            None => keys_of(&[a, b]),
        };
        let mut file = EvidenceFile::new(kind, origin, keys);
        file.identity = document.map(|document| document.text.clone().into_bytes());
        file.notes = vec![a.note_bytes().to_vec(), b.note_bytes().to_vec()];
        Self::new(file, sentence(kind, a.head(), b.head()))
    }

    fn rewritten(
        document: Option<&IdentityDocument>,
        old: &SignedCheckpoint,
        new: &SignedCheckpoint,
        root: Hash,
        proof: &[Hash],
    ) -> Self {
        let mut evidence = Self::of_two(EvidenceKind::ForkPrefix, document, old, new);
        evidence.file.alt_root = Some(root);
        evidence.file.proof = Some(proof.to_vec());
        evidence
    }

    /// `None` if it does not convict the log for whoever trusts its identity document and `more`.
    fn if_proven(self, more: &[NoteKey]) -> Option<Self> {
        let identity = LogIdentity::open(self.file.identity.as_deref()?).ok()?;
        let mut log = vec![identity.note_key().clone(), identity.v1_note_key()];
        log.extend_from_slice(more);
        let trusted = TrustedKeys { log, witnesses: Vec::new() };
        (self.file.judge(Some(&trusted)).verdict == Verdict::ProvenLog).then_some(self)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl EvidenceFile {
    fn promised(
        kind: EvidenceKind,
        document: &IdentityDocument,
        promise: &Promise,
        shown: &SignedCheckpoint,
    ) -> Self {
        let identity = &document.identity;
        let mut file = Self::new(kind, identity.origin(), bound_keys(document, &[shown]));
        file.identity = Some(document.text.clone().into_bytes());
        file.notes = vec![shown.note_bytes().to_vec()];
        file.promise = Some(promise.clone());
        file
    }
}

fn two_roots(a: &SignedCheckpoint, b: &SignedCheckpoint) -> bool {
    a.head().size == b.head().size && a.head().root != b.head().root
}

fn is_rewritten(
    old: &SignedCheckpoint,
    new: &SignedCheckpoint,
    root: Hash,
    proof: &[Hash],
) -> bool {
    let under_new = TreeHead { size: old.head().size, root };
    old.head().size < new.head().size
        && root != old.head().root
        && check_consistency(under_new, new.head(), proof).is_ok()
}

fn same_origin(a: &SignedCheckpoint, b: &SignedCheckpoint) -> bool {
    a.checkpoint().origin == b.checkpoint().origin
}

fn are_faces(document: &IdentityDocument, a: &SignedCheckpoint, b: &SignedCheckpoint) -> bool {
    let identity = &document.identity;
    let faces = [identity.origin().to_owned(), identity.v1_origin()];
    let keys = [identity.note_key().clone(), identity.v1_note_key()];
    [a, b].iter().all(|note| {
        faces.contains(&note.checkpoint().origin)
            && note.verified().iter().any(|signature| keys.contains(&signature.key))
    })
}

/// The keys by which notes are to be judged: those that signed every note; of the log, when none of
/// its keys did, those that signed one.
fn keys_of(notes: &[&SignedCheckpoint]) -> Vec<NoteKey> {
    let signed = |note: &SignedCheckpoint, key: &NoteKey| {
        note.verified().iter().any(|signature| signature.key == *key)
    };
    let signed_all = |key: &NoteKey| notes.iter().all(|note| signed(note, key));
    let all = || notes.iter().flat_map(|note| note.verified()).map(|signature| &signature.key);
    let is_replaced = !all().any(|key| key.is_log_key() && signed_all(key));
    let mut keys: Vec<NoteKey> = Vec::new();
    for key in all().filter(|key| signed_all(key) || (key.is_log_key() && is_replaced)) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

/// The keys of the identity document that signed one of the notes.
fn bound_keys(document: &IdentityDocument, notes: &[&SignedCheckpoint]) -> Vec<NoteKey> {
    let identity = &document.identity;
    let mut keys = vec![identity.note_key().clone(), identity.v1_note_key()];
    keys.retain(|key| {
        let mut verified = notes.iter().flat_map(|note| note.verified());
        verified.any(|signature| signature.key == *key)
    });
    keys
}

fn sentence(kind: EvidenceKind, first: TreeHead, second: TreeHead) -> String {
    match kind {
        EvidenceKind::ForkSize => format!(
            "the log signed two different trees of {} entries: {} and {}",
            first.size, first.root, second.root
        ),
        EvidenceKind::ForkPrefix => format!(
            "the log signed a tree of {} entries that does not start with the tree of {} entries \
             that it signed before",
            second.size, first.size
        ),
        EvidenceKind::Rollback => format!(
            "a tree of {} entries is dated later than one of {}, so the log shrank",
            second.size, first.size
        ),
        EvidenceKind::RollbackSuspected => format!(
            "the log shows a tree of {} entries, but it signed one of {} before",
            second.size, first.size
        ),
        _ => format!(
            "the log does not show that its tree of {} entries extends that of {} entries",
            second.size, first.size
        ),
    }
}

/// One line of at most [`EVIDENCE_TEXT_LEN_MAX`] bytes that is not empty.
fn seen_line(seen: &str) -> String {
    let mut line: String = seen.chars().filter(|c| !c.is_control()).collect();
    while line.len() > EVIDENCE_TEXT_LEN_MAX {
        line.pop();
    }
    if line.is_empty() { "nowhere".to_owned() } else { line }
}
