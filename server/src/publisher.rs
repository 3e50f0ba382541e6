//! The publisher: signs a fenced head under both keys, stores the notes, and makes readers see it.
//!
//! Invariants: nothing is visible above the published size; size, root, edge and both notes of an
//! answer come from one [`Snapshot`]; the Rekor v1 note is signed only for a head that the C2SP
//! note is signed for.

use std::sync::{Arc, PoisonError, RwLock};

use treering_proto::append::RightEdge;
use treering_proto::tree::{LeafIndex, TreeHead};

use crate::anchor::Fenced;
use crate::crash_point::CrashPoint;
use crate::signer::Signer;
use crate::store::format::NotePair;
use crate::store::{Store, StoreError};

/// One published tree: everything that an answer needs beside rows.
#[derive(Debug)]
pub struct Snapshot {
    /// Size and root.
    pub head: TreeHead,
    /// The growing tiles.
    pub edge: RightEdge,
    /// The C2SP checkpoint, with cosignatures.
    pub note: String,
    /// The Rekor v1 checkpoint.
    pub v1_note: String,
    /// When the last batch was sequenced, Unix milliseconds.
    pub time_ms: u64,
}

/// Where readers find the newest snapshot.
#[derive(Clone, Debug)]
pub struct Published(Arc<RwLock<Arc<Snapshot>>>);

impl Published {
    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An entry that wants a SET.
pub struct SetRequest<'a> {
    /// Where it was logged.
    pub index: LeafIndex,
    /// When, Unix seconds.
    pub time: u64,
    /// Its canonical bytes.
    pub body: &'a [u8],
}

/// Signs and publishes. Owned by the sequencer.
pub struct Publisher {
    signer: Arc<Signer>,
    store: Store,
    published: Published,
}

impl Publisher {
    /// Publishes the head that start-up found, and starts.
    pub fn start(signer: Arc<Signer>, store: Store, fenced: Fenced) -> Result<Self, StoreError> {
        let notes = match store.notes(fenced.head().size)? {
            Some(notes) => notes,
            None => {
                let notes = sign(&signer, &fenced);
                store.publish(fenced.head(), &notes, &[])?;
                notes
            }
        };
        let published = Published(Arc::new(RwLock::new(snapshot(&fenced, notes))));
        Ok(Self { signer, store, published })
    }

    /// Where readers find what is published.
    pub fn published(&self) -> Published {
        self.published.clone()
    }

    /// Signs `fenced`, stores the notes and SETs, and shows it to readers.
    ///
    /// Returns the snapshot, and one SET for each request.
    pub fn publish(
        &mut self,
        fenced: &Fenced,
        requests: &[SetRequest<'_>],
        in_flight: usize,
    ) -> Result<(Arc<Snapshot>, Vec<Vec<u8>>), StoreError> {
        let notes = sign(&self.signer, fenced);
        let sets: Vec<(LeafIndex, Vec<u8>)> = requests
            .iter()
            .map(|entry| (entry.index, self.signer.set(entry.body, entry.time, entry.index)))
            .collect();
        CrashPoint::Signed.pass(in_flight);
        self.store.publish(fenced.head(), &notes, &sets)?;
        let snapshot = snapshot(fenced, notes);
        *self.published.0.write().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
        Ok((snapshot, sets.into_iter().map(|(_, set)| set).collect()))
    }
}

fn sign(signer: &Signer, fenced: &Fenced) -> NotePair {
    NotePair {
        time_ms: fenced.time_ms(),
        note: signer.note(fenced),
        v1_note: signer.v1_note(fenced),
    }
}

fn snapshot(fenced: &Fenced, notes: NotePair) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        head: fenced.head(),
        edge: fenced.edge().clone(),
        note: notes.note,
        v1_note: notes.v1_note,
        time_ms: fenced.time_ms(),
    })
}
