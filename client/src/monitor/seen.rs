//! Heads that were seen and not followed, held against our own tree once it is large enough.
//!
//! A log may sign a head, show it once, and withhold its tiles; a cache may show a head that nobody
//! follows, because the newest one is shown right after. Each is kept when it is seen. When our
//! tree has grown past its size, its root is that of our tree at that size, or the log forked.
//!
//! Invariant: a head counts as compared only against a tree that was read to the end of a signed
//! one, so that what is found then is proven. Out of scope: heads of sizes that were compared
//! before they were seen (see `heads` and `v1`, which compare at once).

use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::evidence::Evidence;
use treering_proto::hash::Hash;
use treering_proto::tree::TreeSize;

use super::findings::{Finding, FindingKind};
use super::heads::fork;
use super::own_tree::OwnTree;
use super::read::Source;
use super::store::{Face, SEEN, Snapshot, StoreError};

/// A head that was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenHead {
    /// Size of the tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// The first note that stated it.
    pub note: Vec<u8>,
}

impl Snapshot {
    /// The notes with another root than `root` at `size` that were seen on `face`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn seen_others(
        &self,
        face: Face,
        size: TreeSize,
        root: Hash,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(SEEN)?;
            let (low, high) = ([0; 32], [255; 32]);
            let (face, size) = (face as u8, size.get());
            let mut notes = Vec::new();
            for row in table.range((face, size, &low)..=(face, size, &high))? {
                let (key, note) = row?;
                if key.value().2 != root.as_bytes() {
                    notes.push(note.value().to_vec());
                }
            }
            Ok::<_, redb::Error>(notes)
        };
        read().map_err(|error| self.failed(error))
    }

    /// Whether a note that states `root` at `size` was seen on `face`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_seen(&self, face: Face, size: TreeSize, root: Hash) -> Result<bool, StoreError> {
        let read = || {
            let table = self.transaction.open_table(SEEN)?;
            let note = table.get((face as u8, size.get(), root.as_bytes()))?;
            Ok::<_, redb::Error>(note.is_some())
        };
        read().map_err(|error| self.failed(error))
    }

    /// The notes seen on `face` of trees larger than `above` and up to `size`: sizes ascending.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn seen_between(
        &self,
        face: Face,
        above: u64,
        size: u64,
    ) -> Result<Vec<SeenHead>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(SEEN)?;
            let (low, high) = ([0; 32], [255; 32]);
            let face = face as u8;
            let mut heads = Vec::new();
            if above < size {
                for row in table.range((face, above + 1, &low)..=(face, size, &high))? {
                    let (key, note) = row?;
                    let (_, size, root) = key.value();
                    heads.push(SeenHead { size, root: Hash(*root), note: note.value().to_vec() });
                }
            }
            Ok::<_, redb::Error>(heads)
        };
        read().map_err(|error| self.failed(error))
    }
}

/// What is wrong with heads that were seen, of sizes that were not compared yet and that our tree
/// has now. `shown` is the checkpoint that was read.
///
/// # Errors
/// [`StoreError`].
pub fn compare_seen(
    source: &Source,
    shown: &SignedCheckpoint,
    snapshot: &Snapshot,
) -> Result<Vec<Finding>, StoreError> {
    let state = snapshot.state()?;
    let own = OwnTree { snapshot, edge: &state.edge };
    let mut found = Vec::new();
    for face in [Face::C2sp, Face::V1] {
        for seen in snapshot.seen_between(face, state.compared, state.edge.size().get())? {
            let Some(size) = TreeSize::new(seen.size) else { continue };
            let Some(root) = own.root_at(size)?.filter(|root| *root != seen.root) else { continue };
            found.extend(differs(source, shown, &own, face, (&seen, root))?);
        }
    }
    Ok(found)
}

fn differs(
    source: &Source,
    shown: &SignedCheckpoint,
    own: &OwnTree<'_>,
    face: Face,
    (seen, root): (&SeenHead, Hash),
) -> Result<Option<Finding>, StoreError> {
    let trust = &source.trust;
    let document = trust.log.identity.as_ref();
    let opened = match (face, document) {
        (Face::C2sp, _) => open_checkpoint(&seen.note, &trust.log.origin, &trust.note_keys()),
        (Face::V1, Some(document)) => {
            let keys = [document.identity.v1_note_key()];
            open_checkpoint(&seen.note, &document.identity.v1_origin(), &keys)
        }
        (Face::V1, None) => return Ok(None),
    };
    // The trust file lists other keys than when it was seen.
    let Ok(signed) = opened else { return Ok(None) };
    let proof = match own.edge.head() == shown.head() {
        true => own.proof_from(signed.head().size)?,
        false => None,
    };
    let evidence = match document.filter(|_| face == Face::V1) {
        None => Evidence::fork_size(&signed, shown).or_else(|| {
            proof.and_then(|proof| Evidence::fork_prefix(&signed, shown, root, &proof))
        }),
        Some(document) => Evidence::fork_size_across(document, shown, &signed).or_else(|| {
            let proof = proof?;
            Evidence::fork_prefix_across(document, &signed, shown, root, &proof)
        }),
    };
    if let (Face::C2sp, Some(evidence)) = (face, &evidence) {
        return Ok(Some(fork(evidence.clone(), &signed, shown)));
    }
    let what = match face {
        Face::C2sp => "the log",
        Face::V1 => "the Rekor v1 face",
    };
    let why = format!(
        "{what} showed a tree of {} entries with the root {}; the entries lead to {root}",
        seen.size, seen.root
    );
    let (kind, key) = match face {
        Face::C2sp => (FindingKind::Fork, format!("own {} {}", seen.size, seen.root)),
        Face::V1 => (FindingKind::V1Differs, super::v1::differs_key(signed.head(), shown.head())),
    };
    Ok(Some(Finding::of_log(kind, key, why).with(evidence)))
}
