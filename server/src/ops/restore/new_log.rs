//! `restore --as-new-log`: begins another log with the entries of a backup.
//!
//! It has keys, an origin and a tree id of its own, and an anchor of its own: it is for whoever
//! cannot put back what is missing, and must not sign as the old log. Entries, times and statements
//! are those of the backup; notes and SETs are not carried over, because they name the old log.
//! Clients need the new trust file.
//!
//! Notices are carried over as entries, and as nothing else: each names the log that it was said
//! in, so that verifiers of the new log count none. Whoever makes it hears which lapse.

use std::path::Path;

use treering_proto::append::RightEdge;
use treering_proto::facts::{Tag, search_key};
use treering_proto::identity::LogIdentity;
use treering_proto::notice::{
    APPROVE_PREDICATE_TYPE, APPROVE_ROLLBACK_PREDICATE_TYPE, REVOKE_PREDICATE_TYPE,
    SUPERSEDE_PREDICATE_TYPE,
};
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};

use super::load::{Keep, Loader};
use super::{FileReader, LogRecord, RestoreError, Restored, load, open_backup};
use crate::anchor::Anchor;
use crate::data_directory::DirectoryError;
use crate::ops::init::{InitError, NewLog, Prepared, origin_of, prepare};
use crate::ops::stop::StopPoint;
use crate::signer::Signer;
use crate::store::format::Remembered;
use crate::store::{Order, Store, StoreError};

/// How many entries of each kind are named.
const LAPSED_NAMED_MAX: usize = 20;

/// Postings that are read at once.
const PAGE_LEN: usize = 1_000;

/// Notices of one kind that the new log begins with and that count nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lapsed {
    /// As commands call it: `revoke` and so on.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// The first of them, at most 20.
    pub first: Vec<LeafIndex>,
}

/// Makes the new log from `backup`; says which notices lapse, by kind. `progress` hears how many
/// entries were written, and of how many.
///
/// # Errors
/// [`RestoreError`]; there is then no log in the directory, and it says what to remove.
pub fn restore_as_new(
    backup: &Path,
    new: &NewLog,
    progress: impl FnMut(u64, u64),
) -> Result<(Signer, Restored, Vec<Lapsed>), RestoreError> {
    let (mut reader, log) = open_backup(backup)?;
    let old = LogIdentity::open(log.public.identity.as_bytes())?;
    if origin_of(&new.url)? == old.origin() {
        return Err(InitError::SameName { origin: old.origin().to_owned() }.into());
    }
    let is_log = new.data.join("FORMAT").exists();
    if new.anchor.exists() && !is_log {
        let (path, data) = (new.anchor.clone(), new.data.clone());
        return Err(RestoreError::NotFree { path, data });
    }
    let prepared = prepare(new).map_err(|error| match error {
        InitError::Directory(DirectoryError::Exists { path }) if !is_log => {
            RestoreError::NotFree { path, data: new.data.clone() }
        }
        error => error.into(),
    })?;
    let made = fill(&mut reader, backup, &log, new, &prepared, progress);
    let (head, lapsed) = made.map_err(|source| RestoreError::Unfinished {
        data: new.data.clone(),
        anchor: new.anchor.exists().then(|| new.anchor.clone()),
        source: source.into(),
    })?;
    Ok((prepared.signer, Restored { head, missing: 0 }, lapsed))
}

/// Which notices stand below `size`; kinds of which there are none are left out.
fn lapsed(store: &Store, size: TreeSize) -> Result<Vec<Lapsed>, StoreError> {
    let mut all = Vec::new();
    for (kind, predicate_type) in [
        ("revoke", REVOKE_PREDICATE_TYPE),
        ("supersede", SUPERSEDE_PREDICATE_TYPE),
        ("approve-rollback", APPROVE_ROLLBACK_PREDICATE_TYPE),
        ("approve", APPROVE_PREDICATE_TYPE),
    ] {
        let key = search_key(Tag::PredicateType, predicate_type.as_bytes());
        let (mut from, mut found) = (0, Lapsed { kind, count: 0, first: Vec::new() });
        loop {
            let page = store.postings(&key, Some(from), size, Order::Oldest, PAGE_LEN)?;
            let Some(last) = page.last() else { break };
            from = last.get() + 1;
            found.count += page.len() as u64;
            let room = LAPSED_NAMED_MAX - found.first.len();
            found.first.extend(page.iter().take(room));
        }
        all.extend((found.count > 0).then_some(found));
    }
    Ok(all)
}

/// Loads the backup into the directory, and finishes it.
fn fill(
    reader: &mut FileReader,
    backup: &Path,
    log: &LogRecord,
    new: &NewLog,
    prepared: &Prepared,
    progress: impl FnMut(u64, u64),
) -> Result<(TreeHead, Vec<Lapsed>), RestoreError> {
    let (directory, signer) = (&prepared.directory, &prepared.signer);
    let shard = directory.shard(signer.identity().tree_id());
    let store = Store::create(&shard, prepared.public.identity.as_bytes())?;
    let stop = StopPoint::new("restore");
    let loader = Loader::new(&store, RightEdge::EMPTY, Keep::Entries, stop);
    let loader = load(reader, backup, log, loader, progress)?;
    let head = loader.finish(log.time_ms, 0, Remembered::default())?;
    let lapsed = lapsed(&store, head.size)?;
    // Every entry was read back: the new log may sign what it begins with.
    Anchor::create(&new.anchor, prepared.anchor_id, head)?;
    directory.finish(&prepared.public)?;
    Ok((head, lapsed))
}
