//! `fsck`: rebuilds the whole log from its entries and compares everything else with it. Needs the
//! server to be stopped.
//!
//! With `--drop-unsigned` it takes out entries above the anchor, which were never signed nor
//! acknowledged, after writing them to a file. It refuses to touch anything at or below the anchor.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use treering_proto::audit::{Audit, Finding, Report};
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::dsse_envelope::IN_TOTO_PAYLOAD_TYPE;
use treering_proto::entry::Entry;
use treering_proto::facts::{FactSources, extract, search_key};
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::identity::LogIdentity;
use treering_proto::tile::TileKind;
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};

use crate::startup::{Parts, StartError, compare, parts};
use crate::store::{Store, StoreError};

/// What `fsck` saw.
#[derive(Debug)]
pub struct Checkup {
    /// The audit of entries, tiles and heads.
    pub report: Report,
    /// Problems beyond what the audit looks at, one sentence each.
    pub problems: Vec<String>,
    /// The head in the anchor.
    pub anchored: TreeHead,
    /// How many entries lie above the anchor.
    pub unsigned: u64,
}

/// Why `fsck` could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The log does not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Rows do not read back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The entries to drop could not be saved first.
    #[error("{path}: {source}. Nothing was dropped")]
    Export {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Checkup {
    /// Whether everything agrees.
    pub fn is_clean(&self) -> bool {
        self.report.findings_count == 0 && self.problems.is_empty()
    }
}

/// Checks every row of the log in `data`. `progress` hears the number of entries read.
pub fn check(
    data: &Path,
    anchor: Option<&Path>,
    mut progress: impl FnMut(u64),
) -> Result<Checkup, FsckError> {
    let Parts { identity, store, anchor, .. } = parts(data, anchor)?;
    let committed = store.committed()?.head;
    let mut problems = Problems::default();
    let mut heads = vec![committed, anchor.head()];
    heads.extend(signed_heads(&store, &identity, &mut problems)?);
    let mut audit = Audit::new(
        heads,
        Box::new(|tile| {
            let TileKind::Hashes(level) = tile.kind else { return None };
            store.tile_if_present(level, tile.index).ok().flatten()
        }),
    );
    let mut leaves = HashSet::new();
    let mut last_time = 0;
    for index in 0..committed.size.get() {
        let at = LeafIndex::new(index).expect("a committed size is a tree size");
        let Some(body) = store.entry(at)? else {
            problems.add(format!("entry {index} is missing"));
            break;
        };
        let leaf = hash_leaf(&body);
        if !leaves.insert(leaf) {
            problems.add(format!("entry {index} repeats an earlier one"));
        }
        audit.entry(&body);
        last_time = check_rows(&store, at, leaf, &body, last_time, &mut problems)?;
        if index % PROGRESS_ENTRIES == 0 {
            progress(index);
        }
    }
    let report = audit.finish();
    let unsigned = committed.size.get().saturating_sub(anchor.head().size.get());
    Ok(Checkup { report, problems: problems.0, anchored: anchor.head(), unsigned })
}

/// Takes the entries above the anchor out of the log, after writing them to `export`. Returns how
/// many.
pub fn drop_unsigned(data: &Path, anchor: Option<&Path>, export: &Path) -> Result<u64, FsckError> {
    let Parts { directory, identity, store, anchor } = parts(data, anchor)?;
    let stored = compare(&store, &directory.shard(identity.tree_id()), &anchor)?;
    let keep = anchor.head();
    let count = stored.size.get() - keep.size.get();
    if count == 0 {
        return Ok(0);
    }
    let bodies = store.entries(keep.size.get(), count)?;
    write_lines(export, keep.size, &bodies)
        .map_err(|source| FsckError::Export { path: export.to_owned(), source })?;
    let mut dropped = Vec::new();
    for (index, body) in (keep.size.get()..).zip(&bodies) {
        dropped.push((index, hash_leaf(body), posted_keys(&store, body)?));
    }
    store.truncate(keep, &dropped)?;
    Ok(count)
}

/// The heads of every published note, each checked for its signature.
fn signed_heads(
    store: &Store,
    identity: &LogIdentity,
    problems: &mut Problems,
) -> Result<Vec<TreeHead>, StoreError> {
    let mut heads = Vec::new();
    let mut next = 0;
    loop {
        let notes = store.notes_from(next, NOTES_AT_ONCE)?;
        let Some((last, _)) = notes.last() else { return Ok(heads) };
        next = last + 1;
        for (size, pair) in notes {
            let note_key = [identity.note_key().clone()];
            let v1_key = [identity.v1_note_key()];
            let note = open_checkpoint(pair.note.as_bytes(), identity.origin(), &note_key);
            let v1_note = open_checkpoint(pair.v1_note.as_bytes(), &identity.v1_origin(), &v1_key);
            match (note, v1_note) {
                (Ok(note), Ok(v1))
                    if note.head() == v1.head() && note.head().size.get() == size =>
                {
                    heads.push(note.head());
                }
                _ => problems
                    .add(format!("the notes stored for size {size} are not both ours and equal")),
            }
        }
    }
}

/// Checks the rows that belong to one entry; returns its time.
fn check_rows(
    store: &Store,
    index: LeafIndex,
    leaf: Hash,
    body: &[u8],
    last_time: u64,
    problems: &mut Problems,
) -> Result<u64, StoreError> {
    if store.index_of(&leaf)? != Some(index) {
        problems.add(format!("index_by_leaf does not lead to entry {index}"));
    }
    let time = store.time(index)?;
    match time {
        None => problems.add(format!("entry {index} has no time")),
        Some(time) if time < last_time => {
            problems.add(format!("entry {index} is dated {time}, before the entry below it"));
        }
        Some(_) => {}
    }
    for key in posted_keys(store, body)? {
        if !store.is_posted(&key, index)? {
            problems.add(format!("entry {index} cannot be found under search key {key}"));
        }
    }
    Ok(time.unwrap_or(last_time))
}

/// The search keys of an entry, computed again from its bytes and its statement.
pub(super) fn posted_keys(store: &Store, body: &[u8]) -> Result<Vec<Hash>, StoreError> {
    let Ok(entry) = Entry::parse(body) else { return Ok(Vec::new()) };
    let facts = match &entry {
        Entry::Hashedrekord(entry) => extract(&FactSources {
            verifiers: std::slice::from_ref(entry.verifier()),
            artifact: Some((entry.hash(), entry.digest())),
            ..FactSources::default()
        }),
        Entry::Dsse(entry) => {
            let verifiers: Vec<_> =
                entry.signatures().iter().map(|signature| signature.verifier.clone()).collect();
            let statement = store.statement(&entry.payload_hash())?;
            let statement = statement.filter(|payload| sha256(payload) == entry.payload_hash());
            extract(&FactSources {
                verifiers: &verifiers,
                payload: statement.as_deref().map(|payload| (IN_TOTO_PAYLOAD_TYPE, payload)),
                envelope_sha256: entry.envelope_hash(),
                ..FactSources::default()
            })
        }
    };
    Ok(facts.iter().map(|fact| search_key(fact.tag, &fact.value)).collect())
}

/// One line of JSON for each entry, durable before anything is dropped.
fn write_lines(path: &Path, first: TreeSize, bodies: &[Vec<u8>]) -> io::Result<()> {
    let file = File::create_new(path)?;
    let mut writer = BufWriter::new(&file);
    for (index, body) in (first.get()..).zip(bodies) {
        let body = String::from_utf8_lossy(body);
        writeln!(writer, "{}", serde_json::json!({ "index": index, "body": body }))?;
    }
    writer.flush()?;
    drop(writer);
    file.sync_all()
}

/// Problems, bounded: a damaged log could have one for every entry.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: String) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(problem);
        }
    }
}

/// One sentence about a finding of the audit.
pub fn describe(finding: &Finding) -> String {
    match finding {
        Finding::EntryUnreadable { index } => {
            format!("entry {index} is not the canonical bytes of a known kind")
        }
        Finding::TileMissing { tile } => format!("{} is missing or too short", tile.path()),
        Finding::TileWrong { tile } => {
            format!("{} does not hold the hashes of its entries", tile.path())
        }
        Finding::HeadWrong { signed, rebuilt } => format!(
            "the head signed at size {} has root {}, the entries lead to {rebuilt}",
            signed.size, signed.root
        ),
        Finding::HeadBeyondEntries { signed } => {
            format!("a head of {} entries was signed, and they are not all here", signed.size)
        }
    }
}

const PROGRESS_ENTRIES: u64 = 10_000;
const PROBLEMS_MAX: usize = 1000;
const NOTES_AT_ONCE: usize = 1000;
