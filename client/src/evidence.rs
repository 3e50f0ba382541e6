//! Evidence against a log, in one self-contained text that anybody can check without the log.
//!
//! ```text
//! tlog-evidence@v1
//! kind fork-prefix
//! origin log.example
//! key log.example+721c73f4+AYqI...            the accused key
//! note 0 <base64 of a note, byte for byte>     the older or smaller state
//! note 1 <base64 of a note, byte for byte>
//! altroot <base64>                             fork-prefix: the root of note 0's size under note 1
//! proof consistency <base64> ...               fork-prefix: from altroot to note 1
//! seen 2026-01-02T03:04:05Z https://log.example
//! ```
//!
//! Kinds. `fork-size`: two notes of one size with two roots. `fork-prefix`: note 1 provably extends
//! a tree that is not the tree of note 0. `rollback-suspected`: the log shows note 1 although it
//! signed the larger note 0 before; a checkpoint has no time, so this may be an old note served
//! again, and proves nothing by itself. `inconsistent-unproven`: whether note 1 extends note 0
//! could not be found out, because the log served wrong tiles or none; the notes are kept for those
//! who get the tiles.
//!
//! Invariant: notes are kept byte for byte, with every signature. `seen` is this client's word
//! only.

use std::fmt;

use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::encoding::to_base64;
use treering_proto::hash::Hash;
use treering_proto::proof::check_consistency;
use treering_proto::tree::TreeHead;

/// What the evidence shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvidenceKind {
    /// Two roots for one size: proven.
    ForkSize,
    /// A rewritten beginning: proven.
    ForkPrefix,
    /// A smaller tree after a larger one: suspicious, not proven.
    RollbackSuspected,
    /// Two trees whose relation the log does not show: not proven.
    InconsistentUnproven,
}

/// Two checkpoints of one log that do not go together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    kind: EvidenceKind,
    /// The state that was known, and the state that contradicts it. For the two forks the sizes do
    /// not fall.
    notes: [SignedCheckpoint; 2],
    rewritten: Option<Rewritten>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Rewritten {
    root: Hash,
    proof: Vec<Hash>,
}

impl EvidenceKind {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForkSize => "fork-size",
            Self::ForkPrefix => "fork-prefix",
            Self::RollbackSuspected => "rollback-suspected",
            Self::InconsistentUnproven => "inconsistent-unproven",
        }
    }

    /// Whether the two notes alone, with the proof in the file, convict the log.
    pub fn is_proof(self) -> bool {
        matches!(self, Self::ForkSize | Self::ForkPrefix)
    }
}

impl Evidence {
    /// Evidence of two roots for one size; `None` if that is not what these are.
    pub fn fork_size(a: &SignedCheckpoint, b: &SignedCheckpoint) -> Option<Self> {
        let (one, other) = (a.head(), b.head());
        (one.size == other.size && one.root != other.root).then(|| Self {
            kind: EvidenceKind::ForkSize,
            notes: [a.clone(), b.clone()],
            rewritten: None,
        })
    }

    /// Evidence that the tree of `new` does not start with that of `old`: `proof` leads from
    /// `root`, which is another root of `old`'s size, to `new`. `None` if it does not.
    pub fn fork_prefix(
        old: &SignedCheckpoint,
        new: &SignedCheckpoint,
        root: Hash,
        proof: &[Hash],
    ) -> Option<Self> {
        let under_new = TreeHead { size: old.head().size, root };
        let proven =
            root != old.head().root && check_consistency(under_new, new.head(), proof).is_ok();
        proven.then(|| Self {
            kind: EvidenceKind::ForkPrefix,
            notes: [old.clone(), new.clone()],
            rewritten: Some(Rewritten { root, proof: proof.to_vec() }),
        })
    }

    /// The log showed `shown`, smaller than `known`, which it signed before.
    pub fn rollback_suspected(known: &SignedCheckpoint, shown: &SignedCheckpoint) -> Self {
        Self {
            kind: EvidenceKind::RollbackSuspected,
            notes: [known.clone(), shown.clone()],
            rewritten: None,
        }
    }

    /// The log did not show whether `shown` extends `known`.
    pub fn unproven(known: &SignedCheckpoint, shown: &SignedCheckpoint) -> Self {
        Self {
            kind: EvidenceKind::InconsistentUnproven,
            notes: [known.clone(), shown.clone()],
            rewritten: None,
        }
    }

    /// What it shows.
    pub fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// The file. `seen` is where and when the second note came: an RFC 3339 time, a space, a URL.
    pub fn format(&self, seen: &str) -> String {
        let [first, second] = &self.notes;
        let mut text = format!(
            "tlog-evidence@v1\nkind {}\norigin {}\n",
            self.kind.name(),
            first.checkpoint().origin
        );
        let mut keys: Vec<String> = Vec::new();
        for signature in first.verified().iter().chain(second.verified()) {
            let vkey = signature.key.to_vkey();
            if signature.key.is_log_key() && !keys.contains(&vkey) {
                keys.push(vkey);
            }
        }
        for vkey in keys {
            text.push_str(&format!("key {vkey}\n"));
        }
        for (number, note) in self.notes.iter().enumerate() {
            text.push_str(&format!("note {number} {}\n", to_base64(note.note_bytes())));
        }
        if let Some(rewritten) = &self.rewritten {
            text.push_str(&format!("altroot {}\n", to_base64(rewritten.root.as_bytes())));
            text.push_str("proof consistency");
            for hash in &rewritten.proof {
                text.push_str(&format!(" {}", to_base64(hash.as_bytes())));
            }
            text.push('\n');
        }
        text.push_str(&format!("seen {seen}\n"));
        text
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.notes.each_ref().map(|note| note.head());
        match self.kind {
            EvidenceKind::ForkSize => write!(
                f,
                "the log signed two different trees of {} entries: {} and {}",
                first.size, first.root, second.root
            ),
            EvidenceKind::ForkPrefix => write!(
                f,
                "the log signed a tree of {} entries that does not start with the tree of {} \
                 entries that it signed before",
                second.size, first.size
            ),
            EvidenceKind::RollbackSuspected => write!(
                f,
                "the log shows a tree of {} entries, but it signed one of {} before",
                second.size, first.size
            ),
            EvidenceKind::InconsistentUnproven => write!(
                f,
                "the log does not show that its tree of {} entries extends that of {} entries",
                second.size, first.size
            ),
        }
    }
}
