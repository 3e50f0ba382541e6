//! `restore --as-new-log`: begins another log with the entries of a backup.
//!
//! It has keys, an origin and a tree id of its own, and an anchor of its own: it is for whoever
//! cannot put back what is missing, and must not sign as the old log. Entries, times and statements
//! are those of the backup; notes and SETs are not carried over, because they name the old log.
//! Clients need the new trust file.

use std::path::Path;

use treering_proto::append::RightEdge;
use treering_proto::identity::LogIdentity;
use treering_proto::tree::TreeHead;

use super::load::{Keep, Loader};
use super::stop::StopPoint;
use super::{FileReader, LogRecord, RestoreError, Restored, load, open_backup};
use crate::anchor::Anchor;
use crate::data_directory::DirectoryError;
use crate::ops::init::{InitError, NewLog, Prepared, origin_of, prepare};
use crate::signer::Signer;
use crate::store::Store;
use crate::store::format::Remembered;

/// Makes the new log from `backup`. `progress` hears how many entries were written, and of how
/// many.
///
/// # Errors
/// [`RestoreError`]; there is then no log in the directory, and it says what to remove.
pub fn restore_as_new(
    backup: &Path,
    new: &NewLog,
    progress: impl FnMut(u64, u64),
) -> Result<(Signer, Restored), RestoreError> {
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
    let head = made.map_err(|source| RestoreError::Unfinished {
        data: new.data.clone(),
        anchor: new.anchor.exists().then(|| new.anchor.clone()),
        source: source.into(),
    })?;
    Ok((prepared.signer, Restored { head, missing: 0 }))
}

/// Loads the backup into the directory, and finishes it.
fn fill(
    reader: &mut FileReader,
    backup: &Path,
    log: &LogRecord,
    new: &NewLog,
    prepared: &Prepared,
    progress: impl FnMut(u64, u64),
) -> Result<TreeHead, RestoreError> {
    let (directory, signer) = (&prepared.directory, &prepared.signer);
    let shard = directory.shard(signer.identity().tree_id());
    let store = Store::create(&shard, prepared.public.identity.as_bytes())?;
    let stop = StopPoint::new("restore");
    let loader = Loader::new(&store, RightEdge::EMPTY, Keep::Entries, stop);
    let loader = load(reader, backup, log, loader, progress)?;
    let head = loader.finish(log.time_ms, 0, Remembered::default())?;
    // Every entry was read back: the new log may sign what it begins with.
    Anchor::create(&new.anchor, prepared.anchor_id, head)?;
    directory.finish(&prepared.public)?;
    Ok(head)
}
