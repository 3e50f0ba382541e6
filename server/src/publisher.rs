//! The publisher: signs a fenced head under both keys, stores the notes, and makes readers see it.
//!
//! Without witnesses a head is published as soon as it is fenced. With witnesses the newest fenced
//! head is signed and shown to them, and published when their quorum cosigned it
//! ([`crate::witness`]); what was published before stays visible until then.
//!
//! Invariants: nothing is visible above the published size; size, root, edge and both notes of an
//! answer come from one [`Snapshot`]; the Rekor v1 note is signed only for a head that the C2SP
//! note is signed for, and shown only together with it; what is stored for a size are the first
//! notes, with whatever lines came later: a renewal is shown and not stored, because the earliest
//! cosignatures say most about when an entry was logged.

use std::sync::{Arc, PoisonError, RwLock};

use treering_proto::append::RightEdge;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::note::{Note, SignatureLine};
use treering_proto::policy::Policy;
use treering_proto::tree::{LeafIndex, TreeHead};

use crate::anchor::Fenced;
use crate::crash_point::CrashPoint;
use crate::signer::Signer;
use crate::store::format::NotePair;
use crate::store::{Store, StoreError};

/// Whether witnesses stand behind a published head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Witnessed {
    /// The log has no witnesses.
    NotAsked,
    /// Their quorum cosigned it.
    Quorum,
    /// It was published without their quorum: the log fails open, or was not witnessed then.
    Missing,
}

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
    /// When it was published, Unix milliseconds.
    pub time_ms: u64,
    /// Who stands behind it.
    pub witnessed: Witnessed,
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

/// A fenced head that may be published, and what its note carries.
#[derive(Debug)]
pub struct Ready {
    /// The head.
    pub fenced: Arc<Fenced>,
    /// When it is published, Unix milliseconds, by the batch clock.
    pub time_ms: u64,
    /// Cosignatures that verified.
    pub cosignatures: Vec<SignatureLine>,
    /// What they amount to.
    pub witnessed: Witnessed,
    /// Whether the same head was published before, at another time.
    pub is_renewal: bool,
}

/// Signs and publishes. Owned by the sequencer.
pub struct Publisher {
    signer: Arc<Signer>,
    store: Store,
    published: Published,
}

/// Shows the newest stored notes again and signs nothing: for a log that is behind what it signed.
///
/// # Errors
/// [`StoreError`]; a log that has entries has notes.
pub fn show_newest(
    signer: &Signer,
    store: &Store,
    policy: Option<&Policy>,
) -> Result<Published, StoreError> {
    let head = store.committed()?.head;
    let (head, edge, notes) = newest_stored(signer, store, head)?;
    let witnessed = witnessed_by(signer, policy, &notes.note);
    Ok(Published(Arc::new(RwLock::new(snapshot(head, edge, notes, witnessed)))))
}

/// What start-up found to publish.
pub struct Started {
    /// The publisher; what it shows may be older than the newest fenced head.
    pub publisher: Publisher,
    /// The newest fenced head.
    pub fenced: Arc<Fenced>,
    /// The latest time that the log has put into a note, Unix milliseconds.
    pub time_ms: u64,
}

impl Publisher {
    /// Starts with the head that start-up found.
    ///
    /// It is published here, unless it never was and the log waits for witnesses, those of
    /// `policy`: then the newest published head is shown again. A head is not dated before they
    /// were asked; the empty tree needs no cosignature, because it says nothing. `now_ms` is the
    /// time of day, Unix milliseconds.
    ///
    /// # Errors
    /// [`StoreError`]; the notes of a log that has entries are never all missing.
    pub fn start(
        signer: Arc<Signer>,
        store: Store,
        fenced: Fenced,
        policy: Option<&Policy>,
        now_ms: u64,
    ) -> Result<Started, StoreError> {
        let head = fenced.head();
        let waits = policy.is_some() && store.is_witnessed()?;
        let stored = store.notes(head.size)?.filter(|notes| signer.has_signed(notes, head));
        let (head, edge, mut notes) = match stored {
            Some(notes) => (head, fenced.edge().clone(), notes),
            None if !waits || head == TreeHead::EMPTY => {
                let time_ms = fenced.time_ms().max(now_ms);
                let notes = match policy {
                    None => sign(&signer, &fenced, time_ms, &[]),
                    Some(_) => sign_undated(&signer, &fenced, time_ms),
                };
                store.publish(head, &notes, &[])?;
                store.sync()?;
                (head, fenced.edge().clone(), notes)
            }
            None => newest_stored(&signer, &store, head)?,
        };
        if policy.is_some() != store.is_witnessed()? {
            store.put_witnessed(policy.is_some())?;
        }
        // The same head may have been dated again since its notes were stored.
        notes.time_ms = notes.time_ms.max(store.date()?);
        let time_ms = notes.time_ms.max(fenced.time_ms());
        let witnessed = witnessed_by(&signer, policy, &notes.note);
        let shown = snapshot(head, edge, notes, witnessed);
        let published = Published(Arc::new(RwLock::new(shown)));
        let publisher = Self { signer, store, published };
        Ok(Started { publisher, fenced: Arc::new(fenced), time_ms })
    }

    /// Where readers find what is published.
    pub fn published(&self) -> Published {
        self.published.clone()
    }

    /// Who signs.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs the head, stores notes and SETs, and shows it to readers.
    ///
    /// Returns the snapshot, and one SET for each request.
    ///
    /// # Errors
    /// [`StoreError`]; what was written is then unknown, and the caller must stop.
    pub fn publish(
        &mut self,
        ready: Ready,
        requests: &[SetRequest<'_>],
        in_flight: usize,
    ) -> Result<(Arc<Snapshot>, Vec<Vec<u8>>), StoreError> {
        let head = ready.fenced.head();
        let notes = sign(&self.signer, &ready.fenced, ready.time_ms, &ready.cosignatures);
        let sets: Vec<(LeafIndex, Vec<u8>)> = requests
            .iter()
            .map(|entry| (entry.index, self.signer.set(entry.body, entry.time, entry.index)))
            .collect();
        CrashPoint::Signed.pass(in_flight);
        if ready.witnessed == Witnessed::NotAsked && !ready.is_renewal {
            // Rides in the next commit's sync: the same can be signed again, with the time of the
            // same batch.
            self.store.publish(head, &notes, &sets)?;
        } else {
            // Nothing here can make a cosignature again, and a time that was signed must be known
            // after a crash.
            let first = self.store.notes(head.size)?;
            let kept = first.map_or(notes.clone(), |first| completed(first, &notes));
            self.store.publish(head, &kept, &sets)?;
            self.store.put_date(ready.time_ms)?;
        }
        let snapshot = snapshot(head, ready.fenced.edge().clone(), notes, ready.witnessed);
        *self.published.0.write().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
        Ok((snapshot, sets.into_iter().map(|(_, set)| set).collect()))
    }
}

/// The notes that were stored `first`, with the lines of `new` whose keys they lack.
fn completed(first: NotePair, new: &NotePair) -> NotePair {
    let parse = |note: &str| Note::parse(note.as_bytes()).ok();
    let (Some(mut note), Some(new)) = (parse(&first.note), parse(&new.note)) else {
        return first;
    };
    for line in new.signatures {
        let key = (&line.name, line.key_id);
        if note.signatures.iter().all(|known| (&known.name, known.key_id) != key) {
            note.signatures.push(line);
        }
    }
    NotePair { note: note.format(), ..first }
}

/// What the cosignatures of a stored note amount to under `policy`.
fn witnessed_by(signer: &Signer, policy: Option<&Policy>, note: &str) -> Witnessed {
    let Some(policy) = policy else { return Witnessed::NotAsked };
    let mut keys = policy.witness_keys();
    keys.push(signer.identity().note_key().clone());
    let opened = open_checkpoint(note.as_bytes(), signer.identity().origin(), &keys);
    let is_met = opened.is_ok_and(|checkpoint| policy.is_met(checkpoint.verified()));
    if is_met { Witnessed::Quorum } else { Witnessed::Missing }
}

/// The newest notes that were published, for a tree below `head`, and that tree.
fn newest_stored(
    signer: &Signer,
    store: &Store,
    head: TreeHead,
) -> Result<(TreeHead, RightEdge, NotePair), StoreError> {
    let stored = store.notes_up_to(head.size)?;
    let (size, notes) = stored.ok_or_else(|| store.damaged_notes(head.size))?;
    let edge = store.edge_at(size)?;
    if !signer.has_signed(&notes, edge.head()) {
        return Err(store.damaged_notes(size));
    }
    Ok((edge.head(), edge, notes))
}

fn sign_undated(signer: &Signer, fenced: &Fenced, time_ms: u64) -> NotePair {
    let note = signer.undated_note(fenced).format();
    NotePair { time_ms, note, v1_note: signer.v1_note(fenced) }
}

fn sign(
    signer: &Signer,
    fenced: &Fenced,
    time_ms: u64,
    cosignatures: &[SignatureLine],
) -> NotePair {
    let note = signer.note(fenced, time_ms / 1000, cosignatures).format();
    NotePair { time_ms, note, v1_note: signer.v1_note(fenced) }
}

fn snapshot(
    head: TreeHead,
    edge: RightEdge,
    notes: NotePair,
    witnessed: Witnessed,
) -> Arc<Snapshot> {
    let NotePair { time_ms, note, v1_note } = notes;
    Arc::new(Snapshot { head, edge, note, v1_note, time_ms, witnessed })
}
