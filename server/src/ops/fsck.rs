//! `fsck`: rebuilds the whole log from its entries and compares everything else with it. Needs the
//! server to be stopped.
//!
//! With `--drop-unsigned` it takes out entries above the anchor, which were never signed nor
//! acknowledged, after writing them to a file. It refuses to touch anything at or below the anchor.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use treering_proto::api::v1::set_payload;
use treering_proto::audit::{Audit, Finding, Report, Times};
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::encoding::to_base64;
use treering_proto::entry::Entry;
use treering_proto::facts::search_key;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::identity::LogIdentity;
use treering_proto::note::NoteKey;
use treering_proto::tile::TileKind;
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};

use crate::anchor::sync_directory_of;
use crate::data_directory::DataDirectory;
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
    Store(StoreError),
    /// The entries to drop could not be saved first.
    #[error("{path}: {source}. Nothing was dropped")]
    Export {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl From<StoreError> for FsckError {
    /// Names the damaged file, where RocksDB does not: there is time to look for it.
    fn from(error: StoreError) -> Self {
        Self::Store(error.naming_the_file())
    }
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
    let Parts { directory: _directory, identity, store, anchor } = parts(data, anchor)?;
    let committed = store.committed()?.head;
    let mut problems = Problems::default();
    let mut heads = vec![committed, anchor.head()];
    let time_key = time_key(data, &mut problems)?;
    let signed = signed_heads(&store, &identity, time_key, &mut problems)?;
    heads.extend(&signed.heads);
    let mut audit = Audit::new(
        heads,
        Box::new(|tile| {
            let TileKind::Hashes(level) = tile.kind else { return None };
            store.tile_if_present(level, tile.index).ok().flatten()
        }),
    );
    let mut times = Times::new(&signed.dated);
    for index in 0..committed.size.get() {
        let at = LeafIndex::new(index).expect("a committed size is a tree size");
        let Some(body) = store.entry(at)? else {
            problems.add(format!("entry {index} is missing"));
            break;
        };
        let leaf = hash_leaf(&body);
        audit.entry(&body);
        check_rows(&store, at, leaf, &body, &mut problems)?;
        check_time(&store, &identity, at, &body, &mut times, &mut problems)?;
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
    store.truncate(keep)?;
    Ok(count)
}

/// What the published notes say.
#[derive(Default)]
struct Signed {
    heads: Vec<TreeHead>,
    /// Size and time of those that the log dated itself.
    dated: Vec<(u64, u64)>,
}

/// The key of the log's own dated line, if it has one.
fn time_key(data: &Path, problems: &mut Problems) -> Result<Option<NoteKey>, StartError> {
    let Some(vkey) = DataDirectory::public(data)?.ml_dsa_vkey else { return Ok(None) };
    let key = NoteKey::parse_vkey(&vkey).ok();
    if key.is_none() {
        problems.add("ml-dsa.vkey holds no key".to_owned());
    }
    Ok(key)
}

/// The heads of every published note, each checked for its signature.
fn signed_heads(
    store: &Store,
    identity: &LogIdentity,
    time_key: Option<NoteKey>,
    problems: &mut Problems,
) -> Result<Signed, StoreError> {
    let mut signed = Signed::default();
    let v1_key = [identity.v1_note_key()];
    let mut note_keys = vec![identity.note_key().clone()];
    note_keys.extend(time_key.clone());
    let mut next = 0;
    loop {
        let notes = store.notes_from(next, NOTES_AT_ONCE)?;
        let Some((last, _)) = notes.last() else { return Ok(signed) };
        next = last + 1;
        for (size, pair) in notes {
            let note = open_checkpoint(pair.note.as_bytes(), identity.origin(), &note_keys);
            let v1_note = open_checkpoint(pair.v1_note.as_bytes(), &identity.v1_origin(), &v1_key);
            match (note, v1_note) {
                (Ok(note), Ok(v1))
                    if note.head() == v1.head() && note.head().size.get() == size =>
                {
                    signed.heads.push(note.head());
                    let line =
                        note.verified().iter().find(|line| Some(&line.key) == time_key.as_ref());
                    let time = line.and_then(|line| line.time).filter(|time| *time != 0);
                    signed.dated.extend(time.map(|time| (size, time)));
                }
                _ => problems
                    .add(format!("the notes stored for size {size} are not both ours and equal")),
            }
        }
    }
}

/// Checks the rows that lead to an entry.
fn check_rows(
    store: &Store,
    index: LeafIndex,
    leaf: Hash,
    body: &[u8],
    problems: &mut Problems,
) -> Result<(), StoreError> {
    if store.index_of(&leaf)? != Some(index) {
        problems.add(format!("index_by_leaf does not lead to entry {index}, or it is there twice"));
    }
    for key in posted_keys(store, body)? {
        if !store.is_posted(&key, index)? {
            problems.add(format!("entry {index} cannot be found under search key {key}"));
        }
    }
    Ok(())
}

/// Checks the time of an entry, and the signature over it that is kept.
fn check_time(
    store: &Store,
    identity: &LogIdentity,
    index: LeafIndex,
    body: &[u8],
    times: &mut Times,
    problems: &mut Problems,
) -> Result<(), StoreError> {
    let Some(time) = store.time(index)? else {
        problems.add(format!("entry {index} has no time"));
        return Ok(());
    };
    if let Err(why) = times.entry(index.get(), time) {
        problems.add(format!("entry {index} is dated {time}, {why}"));
    }
    if let Some(set) = store.set(index)? {
        let log_id = identity.v1_log_id().to_hex();
        let payload = set_payload(&to_base64(body), time, &log_id, index.get());
        if identity.v1_key().verify(&payload, &set).is_err() {
            problems.add(format!("the signed timestamp kept for entry {index} does not verify"));
        }
    }
    Ok(())
}

/// The search keys of an entry, computed again from its bytes and its statement.
pub(super) fn posted_keys(store: &Store, body: &[u8]) -> Result<Vec<Hash>, StoreError> {
    let Ok(entry) = Entry::parse(body) else { return Ok(Vec::new()) };
    let statement = match entry.payload_hash() {
        Some(hash) => store.statement(&hash)?,
        None => None,
    };
    let facts = entry.facts(statement.as_deref());
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
    file.sync_all()?;
    sync_directory_of(path)
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
        Finding::HeadsDisagree { one, other } => format!(
            "two heads of {} entries were signed, with roots {} and {}",
            one.size, one.root, other.root
        ),
    }
}

const PROGRESS_ENTRIES: u64 = 10_000;
const PROBLEMS_MAX: usize = 1000;
const NOTES_AT_ONCE: usize = 1000;
