//! What a log takes on disk, column by column.
//!
//! The database is copied while nobody has it open, and the copy is compacted with the server's own
//! options, as RocksDB keeps them beside the data. Table and blob files never change once they are
//! written, so the copy has them as hard links; everything else in it is a file of its own.
//!
//! Invariant: the log itself is not touched. The write-ahead log is none of the columns: it has a
//! bound of its own, and is measured alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use rocksdb::{BottommostLevelCompaction, Cache, CompactOptions, DB, Env, Options};

use crate::figures::DiskPerEntry;

/// What must be left free beside all that is written here, in bytes.
pub(crate) const FREE_BYTES_MIN: u64 = 20_000_000_000;

/// Memory for blocks while compacting, in bytes.
const CACHE_BYTES: usize = 64 << 20;

/// Bytes of each column for each of `entries` entries of the log in `data`, whose canonical bytes
/// are `body_bytes` together. `work` is on the same file system and is left as it was.
pub(crate) fn per_entry(
    data: &Path,
    work: &Path,
    entries: u64,
    body_bytes: u64,
) -> anyhow::Result<DiskPerEntry> {
    let copy = work.join("compacted");
    link_or_copy(&database(data)?, &copy)?;
    let columns = compacted(&copy)?;
    fs::remove_dir_all(&copy)?;
    let mut disk = by_class(&columns)?;
    let each = |bytes: &mut f64| *bytes /= entries.max(1) as f64;
    disk.body = body_bytes as f64;
    for bytes in [
        &mut disk.body,
        &mut disk.entries,
        &mut disk.tiles,
        &mut disk.leaves,
        &mut disk.postings,
        &mut disk.notes,
    ] {
        each(bytes);
    }
    Ok(disk)
}

/// Bytes that are free where `directory` lies.
pub(crate) fn free(directory: &Path) -> anyhow::Result<u64> {
    let room = rustix::fs::statvfs(directory)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Whether there is room for a compacted copy of the log in `data`.
pub(crate) fn has_room_for_copy(data: &Path) -> anyhow::Result<bool> {
    Ok(free(data)? >= FREE_BYTES_MIN + used(data)?)
}

/// Bytes of the write-ahead log of the log in `data`.
pub(crate) fn write_ahead_log(data: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(database(data)?)? {
        let file = file?;
        // What RocksDB tells people is called LOG, without an extension.
        if file.path().extension().is_some_and(|extension| extension == "log") {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Bytes of the files below `directory`, those of links once more.
pub(crate) fn used(directory: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for file in fs::read_dir(directory)? {
        let file = file?;
        // A file may go while the database is in use.
        let Ok(metadata) = file.metadata() else { continue };
        bytes += if metadata.is_dir() { used(&file.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

/// Sums up columns by what they are for: the classes of `server/src/store/columns.rs`, derived
/// columns each on its own.
fn by_class(columns: &[(String, u64)]) -> anyhow::Result<DiskPerEntry> {
    let mut disk = DiskPerEntry::default();
    for (name, bytes) in columns {
        let class = match name.as_str() {
            "entry_by_index"
            | "time_by_index"
            | "set_by_index"
            | "statement_by_payload_hash"
            | "meta"
            | "default" => &mut disk.entries,
            "tile_by_coordinate" => &mut disk.tiles,
            "index_by_leaf" => &mut disk.leaves,
            "posting_by_search_key" => &mut disk.postings,
            "note_by_size" => &mut disk.notes,
            other => bail!("the column {other} is new: say in tests/bench/disk.rs what it is for"),
        };
        *class += *bytes as f64;
    }
    Ok(disk)
}

/// The one database of the log in `data`.
fn database(data: &Path) -> anyhow::Result<PathBuf> {
    let shards = fs::read_dir(data.join("shards"))?.collect::<Result<Vec<_>, _>>()?;
    let [shard] = shards.as_slice() else { bail!("{} has not one shard", data.display()) };
    Ok(shard.path())
}

fn link_or_copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let (path, copy) = (file.path(), to.join(file.file_name()));
        if file.metadata()?.is_dir() || file.file_name() == "LOCK" {
            continue;
        }
        let extension = path.extension().unwrap_or_default();
        let copied = match extension == "sst" || extension == "blob" {
            true => fs::hard_link(&path, &copy),
            false => fs::copy(&path, &copy).map(|_| ()),
        };
        copied.with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

/// Compacts the database at `path`, and returns the bytes of each of its columns.
fn compacted(path: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let (mut options, columns) = Options::load_latest(path, Env::new()?, false, cache)
        .context("the database has no options that can be read")?;
    // The options could name the directory of the log itself.
    options.set_wal_dir(path);
    let names: Vec<String> = columns.iter().map(|column| column.name().to_owned()).collect();
    ensure!(names.iter().any(|name| name == "entry_by_index"), "the database has no entries");
    let db = DB::open_cf_descriptors(&options, path, columns)?;
    let mut all = CompactOptions::default();
    all.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    let mut sizes = Vec::new();
    for name in names {
        let column = db.cf_handle(&name).context("a column that was opened is there")?;
        db.compact_range_cf_opt(column, None::<&[u8]>, None::<&[u8]>, &all);
        let blobs = db.property_int_value_cf(column, "rocksdb.live-blob-file-size")?;
        sizes.push((name, blobs.unwrap_or(0)));
    }
    for file in db.live_files()? {
        let column = sizes.iter_mut().find(|(name, _)| *name == file.column_family_name);
        let (_, bytes) = column.context("a file of an unknown column")?;
        *bytes += file.size as u64;
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options
    }

    /// A log directory with rows of two columns, one of them overwritten again and again.
    fn log() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("shards/0");
        fs::create_dir_all(&path).unwrap();
        let db = DB::open_cf(&options(), &path, ["entry_by_index", "note_by_size"]).unwrap();
        let entries = db.cf_handle("entry_by_index").unwrap();
        for number in 0..64_u64 {
            let mut body = [0; 4096];
            aws_lc_rs::rand::fill(&mut body).unwrap();
            db.put_cf(entries, number.to_be_bytes(), body).unwrap();
            db.put_cf(db.cf_handle("note_by_size").unwrap(), b"same", body).unwrap();
            if number % 16 == 15 {
                db.flush_cf(entries).unwrap();
            }
        }
        data
    }

    #[test]
    fn a_copy_is_compacted_and_the_log_is_left_alone() {
        let (data, work) = (log(), tempfile::tempdir().unwrap());
        let before = used(data.path()).unwrap();
        let disk = per_entry(data.path(), work.path(), 64, 64 * 4096).unwrap();
        assert_eq!(disk.body, 4096.0);
        assert!((4096.0..4300.0).contains(&disk.entries), "{disk:?}");
        assert!(disk.notes < 130.0, "one row is left of 64: {disk:?}");
        assert_eq!((disk.tiles, disk.leaves, disk.postings), (0.0, 0.0, 0.0));
        assert_eq!(used(data.path()).unwrap(), before);
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_write_ahead_log_has_what_was_written() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("shards/0");
        fs::create_dir_all(&path).unwrap();
        let db = DB::open(&options(), &path).unwrap();
        let before = write_ahead_log(data.path()).unwrap();
        db.put(b"key", [7; 5000]).unwrap();
        let written = write_ahead_log(data.path()).unwrap() - before;
        assert!((5000..6000).contains(&written), "{written} bytes");
    }

    #[test]
    fn every_column_has_a_class_and_a_new_one_is_an_error() {
        let columns = |name: &str| vec![(name.to_owned(), 7)];
        assert_eq!(by_class(&columns("posting_by_search_key")).unwrap().postings, 7.0);
        assert_eq!(by_class(&columns("set_by_index")).unwrap().entries, 7.0);
        assert!(by_class(&columns("something_new")).is_err());
    }
}
