//! The evidence that a witness keeps: checkpoints that a log signed and that do not go together
//! with what the witness cosigned.
//!
//! One file for each contradiction, in the format of every other evidence (see
//! [`treering_proto::evidence`]), named by origin, kind and content:
//!
//! ```text
//! DIR/evidence/5c1d2f0a9be03344-fork-size-0f6d0b9bb2a81c55.evidence
//! ```
//!
//! Invariants: what was seen before makes no second file; the number of files is bounded, for each
//! log and kind and for all; evidence that convicts has room of its own, which nobody but the
//! holder of a log's key can fill, and no log can fill that of another. What cannot be
//! kept is told once for each log and kind.
//! Out of scope: accusing anybody; an operator looks, and `treering evidence verify` judges.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use treering_proto::checkpoint::open_checkpoint;
use treering_proto::evidence::Evidence;
use treering_proto::hash::sha256;
use treering_proto::note::NoteKey;
use treering_proto::witness::{Contradiction, VerifiedSubmission};

use super::cosigned::Cosigned;
use super::directory::{WitnessDirectory, origin_hash};
use super::limits::{PROOFS_MAX, PROOFS_PER_LOG_MAX, SUSPICIONS_MAX, SUSPICIONS_PER_LOG_MAX};

/// How many files there are.
#[derive(Debug, Default)]
pub struct Spool {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    proofs: usize,
    suspicions: usize,
    /// By the part of the name that says origin and kind.
    by_log: HashMap<String, usize>,
    /// Of which origins and kinds it was said that there is no room.
    full_told: HashSet<String>,
    /// Of which it was said that evidence cannot be written.
    failed_told: HashSet<String>,
}

/// What became of a contradiction.
#[derive(Debug)]
pub enum Spooled {
    /// A new file.
    New(PathBuf),
    /// Seen before, or it cannot be kept and that was said before.
    Known,
    /// A smaller tree that nobody dated later: an old checkpoint, and no contradiction.
    Nothing,
    /// There is no room from now on.
    Full,
    /// It cannot be written, or the stored checkpoint has no signature by a key that is known now.
    Failed(io::Error),
}

impl Spool {
    /// Counts what `directory` has.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(directory: &WitnessDirectory) -> io::Result<Self> {
        let mut kept = Kept::default();
        for entry in std::fs::read_dir(directory.evidence_path())? {
            kept.count(&entry?.file_name().to_string_lossy());
        }
        Ok(Self { kept: Mutex::new(kept) })
    }

    /// Keeps that `shown` contradicts `known` as `what` says. `keys` are the log's; `seen` is when
    /// and where: an RFC 3339 time, a space, a name.
    pub fn keep(
        &self,
        directory: &WitnessDirectory,
        keys: &[NoteKey],
        (known, shown): (&Cosigned, &VerifiedSubmission),
        what: Contradiction,
        seen: &str,
    ) -> Spooled {
        let evidence = evidence(keys, known, shown, what);
        let is_proof = evidence.as_ref().is_some_and(|evidence| evidence.kind().is_proof());
        if what == Contradiction::Smaller && !is_proof {
            return Spooled::Nothing;
        }
        let name = name(known, shown, what);
        let path = directory.evidence_path().join(&name);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if path.exists() {
            return Spooled::Known;
        }
        if kept.is_full(&name, what) {
            let is_news = kept.full_told.insert(slot(&name).to_owned());
            return if is_news { Spooled::Full } else { Spooled::Known };
        }
        let Some(evidence) = evidence else {
            let error = io::Error::other("the keys of the stored checkpoint are gone");
            return kept.failed(&name, error);
        };
        match directory.keep_evidence(&name, &evidence.format(seen)) {
            Ok(true) => {
                kept.count(&name);
                Spooled::New(path)
            }
            Ok(false) => Spooled::Known,
            Err(error) => kept.failed(&name, error),
        }
    }
}

impl Kept {
    fn count(&mut self, name: &str) {
        if name.contains(Contradiction::Unproven.name()) {
            self.suspicions += 1;
        } else {
            self.proofs += 1;
        }
        *self.by_log.entry(slot(name).to_owned()).or_default() += 1;
    }

    fn failed(&mut self, name: &str, error: io::Error) -> Spooled {
        let is_news = self.failed_told.insert(slot(name).to_owned());
        if is_news { Spooled::Failed(error) } else { Spooled::Known }
    }

    fn is_full(&self, name: &str, what: Contradiction) -> bool {
        let of_log = self.by_log.get(slot(name)).copied().unwrap_or_default();
        match what {
            Contradiction::Unproven => {
                self.suspicions >= SUSPICIONS_MAX || of_log >= SUSPICIONS_PER_LOG_MAX
            }
            _ => self.proofs >= PROOFS_MAX || of_log >= PROOFS_PER_LOG_MAX,
        }
    }
}

/// Origin and kind: the name without its content.
fn slot(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(slot, _)| slot)
}

fn evidence(
    keys: &[NoteKey],
    known: &Cosigned,
    shown: &VerifiedSubmission,
    what: Contradiction,
) -> Option<Evidence> {
    let known = open_checkpoint(known.note().as_bytes(), known.origin(), keys).ok()?;
    match what {
        Contradiction::ForkSize => Evidence::fork_size(&known, shown.signed()),
        Contradiction::ForkPrefix { root } => {
            Evidence::fork_prefix(&known, shown.signed(), root, shown.proof())
        }
        Contradiction::Smaller => Some(Evidence::rollback(&known, shown.signed())),
        Contradiction::Unproven => Some(Evidence::unproven(&known, shown.signed())),
    }
}

/// The same two texts give the same name, whatever times and proofs stand around them.
fn name(known: &Cosigned, shown: &VerifiedSubmission, what: Contradiction) -> String {
    let content = sha256(format!("{}\n{}", known.text(), shown.text()).as_bytes());
    let (origin, content) = (origin_hash(known).to_hex(), content.to_hex());
    format!("{}-{}-{}.evidence", &origin[..16], what.name(), &content[..16])
}
