//! The newest checkpoint, held against everything that was known before.
//!
//! | shown | compared with | comes to |
//! |---|---|---|
//! | a size seen before | every note of that size, our own root | another root: fork, proven |
//! | smaller | our own root at that size | another root: fork, proven; the same: rollback |
//! | smaller, and dated later by one key | | rollback, proven |
//! | larger | roots of what is known, from tiles that lead to the shown root | another root: fork |
//! | not signed by a trusted key | | foreign key |
//! | without the quorum | the trust file | quorum missing |
//! | no tiles that lead to its root | | bad tile: no proof |
//!
//! Every note that a trusted key signed is kept before any tile is asked for, so that a log cannot
//! make a head forgotten by withholding its tiles; `seen` compares those that were not
//! followed.
//!
//! What a stale cache could be the cause of is asked for once more past caches. What is proven is
//! not: no cache can sign.
//!
//! Invariants: nothing is followed that is not proven to extend all that was followed before.
//! Out of scope: entries (see `grow`), the Rekor v1 face (see `v1`).

use treering_proto::checkpoint::{OpenCheckpointError, SignedCheckpoint, open_checkpoint};
use treering_proto::evidence::{Evidence, EvidenceKind};
use treering_proto::hash::sha256;
use treering_proto::note::Note;

use super::findings::{Finding, FindingKind};
use super::keeper::Keeper;
use super::own_tree::OwnTree;
use super::read::Source;
use super::store::{Face, Snapshot, State, StoreError};
use super::tiles::{SignedTree, TileFault};
use crate::log::{LogError, LogReader};
use crate::transport::Reading;

/// The newest checkpoint, and what is to be said about it.
pub struct Look {
    /// What the log showed, if a trusted key signed it.
    pub shown: Option<SignedCheckpoint>,
    /// Its tree, if it may be followed.
    pub tree: Option<SignedTree>,
    /// What was found; without a tree, something was.
    pub findings: Vec<Finding>,
    /// How it was read.
    pub reading: Reading,
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum LookFault {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is known of a log.
pub struct Known {
    /// Where the monitor is.
    pub state: State,
    /// The largest checkpoint that was followed.
    pub latest: Option<SignedCheckpoint>,
    /// Checkpoints from elsewhere that the log must extend: the floor of the trust file.
    pub others: Vec<SignedCheckpoint>,
}

/// What comparing came to.
enum Verdict {
    Extends(Box<SignedTree>),
    /// No cache can be the cause.
    Proven(Finding),
    /// A cache may be the cause.
    Suspicious(Finding),
}

impl Look {
    fn found(shown: Option<SignedCheckpoint>, finding: Finding, reading: Reading) -> Self {
        Self { shown, tree: None, findings: vec![finding], reading }
    }
}

/// Reads the newest checkpoint and compares it: in the first of `readings`, and in the next ones
/// while a cache may be the cause of what is found.
///
/// # Errors
/// [`LookFault`].
pub async fn look(
    log: &LogReader<'_>,
    source: &Source,
    keeper: &mut Keeper,
    known: &Known,
    readings: &[Reading],
) -> Result<Look, LookFault> {
    let mut first = None;
    for reading in readings.iter().copied() {
        let (shown, verdict) = match look_once(log, source, keeper, known, reading).await {
            // Silence is no answer to a suspicion.
            Err(LookFault::Log(error)) => match first {
                Some(look) => return Ok(look),
                None => return Err(error.into()),
            },
            other => other?,
        };
        match verdict {
            Verdict::Extends(tree) => {
                return Ok(Look { shown, tree: Some(*tree), findings: Vec::new(), reading });
            }
            Verdict::Proven(finding) => return Ok(Look::found(shown, finding, reading)),
            Verdict::Suspicious(finding) => first = Some(Look::found(shown, finding, reading)),
        }
    }
    Ok(first.expect("callers give a reading, and the loop above did not return"))
}

async fn look_once(
    log: &LogReader<'_>,
    source: &Source,
    keeper: &mut Keeper,
    known: &Known,
    reading: Reading,
) -> Result<(Option<SignedCheckpoint>, Verdict), LookFault> {
    let note = log.checkpoint_note(reading).await?;
    let opened = open_checkpoint(&note, &source.trust.log.origin, &source.trust.note_keys());
    let shown = match opened {
        Ok(shown) => shown,
        Err(error) => {
            let finding = foreign(&note, &error, known.latest.as_ref());
            return Ok((None, Verdict::Suspicious(finding)));
        }
    };
    keeper.note(Face::C2sp, &shown)?;
    let snapshot = keeper.store().snapshot()?;
    let verdict = compare(log, &snapshot, known, &shown).await?;
    Ok((Some(shown), verdict))
}

async fn compare(
    log: &LogReader<'_>,
    snapshot: &Snapshot,
    known: &Known,
    shown: &SignedCheckpoint,
) -> Result<Verdict, LookFault> {
    // Proofs that need no tile first: a log must not be able to withhold them.
    if let Some(finding) = contradiction(snapshot, known, shown)? {
        return Ok(Verdict::Proven(finding));
    }
    if let Some(larger) = known.all().find(|known| known.head().size > shown.head().size) {
        return smaller(log, larger, shown).await;
    }
    let tree = match SignedTree::open(log, shown).await {
        Ok(mut tree) => match extends(log, known, shown, &mut tree).await {
            Ok(None) => Ok(tree),
            Ok(Some(finding)) => return Ok(Verdict::Proven(finding)),
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    match tree {
        Ok(tree) => Ok(Verdict::Extends(Box::new(tree))),
        Err(fault) if fault.is_lie() => {
            Ok(Verdict::Suspicious(bad_tile(&fault, known.latest.as_ref(), shown)))
        }
        Err(TileFault::Unread(error)) => Err(error.into()),
        Err(_) => unreachable!("a fault is a lie or a tile that was not read"),
    }
}

/// What two notes, or a note and our own tree, contradict each other in.
fn contradiction(
    snapshot: &Snapshot,
    known: &Known,
    shown: &SignedCheckpoint,
) -> Result<Option<Finding>, StoreError> {
    let head = shown.head();
    for known in known.all() {
        if let Some(evidence) = Evidence::fork_size(known, shown) {
            return Ok(Some(fork(evidence, known, shown)));
        }
    }
    for note in snapshot.seen_others(Face::C2sp, head.size, head.root)? {
        let keys: Vec<_> = shown.verified().iter().map(|signature| signature.key.clone()).collect();
        let seen = open_checkpoint(&note, &shown.checkpoint().origin, &keys);
        let Ok(seen) = seen else { continue };
        if let Some(evidence) = Evidence::fork_size(&seen, shown) {
            return Ok(Some(fork(evidence, &seen, shown)));
        }
    }
    let own = OwnTree { snapshot, edge: &known.state.edge };
    let Some(root) = own.root_at(head.size)?.filter(|root| *root != head.root) else {
        return Ok(None);
    };
    // The tree that we computed is that of the checkpoint we followed, once it was read to its end.
    let whole = known.latest.as_ref().filter(|known| known.head() == own.edge.head());
    let proven = match (whole, own.proof_from(head.size)?) {
        (Some(latest), Some(proof)) => Evidence::fork_prefix(shown, latest, root, &proof)
            .map(|evidence| fork(evidence, shown, latest)),
        _ => None,
    };
    Ok(Some(match proven {
        Some(finding) => finding,
        None => {
            let why = format!(
                "the log signed a tree of {} entries with the root {}; the entries that it served \
                 lead to {root}",
                head.size, head.root
            );
            let evidence = known.latest.as_ref().map(|known| Evidence::unproven(known, shown));
            let key = format!("own {} {}", head.size, head.root);
            Finding::of_log(FindingKind::Fork, key, why).with(evidence)
        }
    }))
}

/// The log shows a smaller tree than before. If it still has the tiles of the larger one, they may
/// show more than a rollback.
async fn smaller(
    log: &LogReader<'_>,
    larger: &SignedCheckpoint,
    shown: &SignedCheckpoint,
) -> Result<Verdict, LookFault> {
    if let Ok(mut tree) = SignedTree::open(log, larger).await
        && let Ok(prefix) = tree.prefix(log, shown.head().size).await
        && let Some(evidence) = Evidence::fork_prefix(shown, larger, prefix.root, &prefix.proof)
    {
        return Ok(Verdict::Proven(fork(evidence, shown, larger)));
    }
    let evidence = Evidence::rollback(larger, shown);
    let (from, to) = (larger.head().size, shown.head().size);
    let key = format!("{} {from} {to} {}", evidence.kind().name(), shown.head().root);
    let finding = Finding::of_log(FindingKind::Rollback, key, evidence.to_string());
    Ok(match evidence.kind() {
        EvidenceKind::Rollback => Verdict::Proven(finding.with(Some(evidence))),
        _ => Verdict::Suspicious(finding.with(Some(evidence))),
    })
}

/// A fork, if the tree that was shown does not start with everything known.
async fn extends(
    log: &LogReader<'_>,
    known: &Known,
    shown: &SignedCheckpoint,
    tree: &mut SignedTree,
) -> Result<Option<Finding>, TileFault> {
    for old in known.all() {
        let prefix = tree.prefix(log, old.head().size).await?;
        if let Some(evidence) = Evidence::fork_prefix(old, shown, prefix.root, &prefix.proof) {
            return Ok(Some(fork(evidence, old, shown)));
        }
    }
    // What was read is part of no tree that was followed to its end, if reading it was cut.
    let own = known.state.edge.head();
    let is_known = known.latest.as_ref().is_some_and(|latest| latest.head() == own);
    if is_known || own.size.get() == 0 || own.size > shown.head().size {
        return Ok(None);
    }
    let prefix = tree.prefix(log, own.size).await?;
    Ok((prefix.root != own.root).then(|| {
        let why = format!(
            "the entries that the log served lead to the root {} at {} entries; the tree that it \
             signed now has {} there",
            own.root, own.size, prefix.root
        );
        let evidence = known.latest.as_ref().map(|latest| Evidence::unproven(latest, shown));
        let key = format!("edge {} {} {}", own.size, own.root, prefix.root);
        Finding::of_log(FindingKind::Fork, key, why).with(evidence)
    }))
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &SignedCheckpoint> {
        self.latest.iter().chain(&self.others)
    }
}

/// A proven fork between two heads. Its id does not depend on cosignatures, which come and go.
pub fn fork(evidence: Evidence, old: &SignedCheckpoint, new: &SignedCheckpoint) -> Finding {
    let (old, new) = (old.head(), new.head());
    let key = format!("{} {} {} {}", old.size, old.root, new.size, new.root);
    Finding::of_log(FindingKind::Fork, key, evidence.to_string()).with(Some(evidence))
}

/// A tile that does not belong to the checkpoint: nobody signed it, so it proves nothing.
pub fn bad_tile(
    fault: &dyn std::fmt::Display,
    latest: Option<&SignedCheckpoint>,
    shown: &SignedCheckpoint,
) -> Finding {
    let evidence = latest.filter(|latest| latest.head() != shown.head());
    let evidence = evidence.map(|latest| Evidence::unproven(latest, shown));
    // Not of the checkpoint: a tile that stays bad is one finding, however the log grows.
    Finding::of_log(FindingKind::BadTile, fault.to_string(), fault.to_string()).with(evidence)
}

fn foreign(note: &[u8], error: &OpenCheckpointError, latest: Option<&SignedCheckpoint>) -> Finding {
    let why = format!("the log's checkpoint is not acceptable: {error}");
    let evidence = latest.map(|latest| Evidence::foreign_key(latest, note));
    // Of the text and of who is said to sign it: signatures are made anew all the time.
    let mut said = note.to_vec();
    if let Ok(note) = Note::parse(note) {
        said = note.text.into_bytes();
        for line in &note.signatures {
            said.extend_from_slice(line.name.as_bytes());
            said.extend_from_slice(&line.key_id);
        }
    }
    Finding::of_log(FindingKind::ForeignKey, sha256(&said).to_hex(), why).with(evidence)
}
