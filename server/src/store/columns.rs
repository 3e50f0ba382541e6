//! The table of what is stored. Each column family is named `value_by_key`.
//!
//! | column | key | value | written | class |
//! |---|---|---|---|---|
//! | `entry_by_index` | index, u64 | canonical bytes | once | primary |
//! | `time_by_index` | index, u64 | Unix seconds, u64 | once | primary |
//! | `set_by_index` | index, u64 | SignedEntryTimestamp, DER | once | primary |
//! | `statement_by_payload_hash` | SHA-256 of the payload | payload | once | primary |
//! | `note_by_size` | size, u64 | published notes | once, then more lines; thinned | primary |
//! | `meta` | name | see `format` | each commit | primary |
//! | `tile_by_coordinate` | level u8, index u64 | 256 hashes | once, when full | derived |
//! | `index_by_leaf` | leaf hash | index, u64 | once | derived |
//! | `posting_by_search_key` | search key, index u64 | nothing | once | derived |
//!
//! All integers are big-endian, so that keys sort as numbers. Primary rows cannot be rebuilt;
//! derived rows follow from entries and statements. Growing tiles are not stored: start-up rebuilds
//! them from entries and full tiles.
//!
//! The format version must rise with every change to this table or to `format`; golden bytes there
//! say when.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBPath, Options,
};

/// The version of this table and of `store::format`.
///
/// History: 1, the first. The rows `dated`, `witnessed`, `access-policy` and `frozen` of `meta`
/// came later without a new version: whoever does not know them signs no dates, asks no witnesses,
/// minds no lost policy, and takes entries.
pub const FORMAT_VERSION: u32 = 1;

pub(super) const ENTRY_BY_INDEX: &str = "entry_by_index";
pub(super) const TIME_BY_INDEX: &str = "time_by_index";
pub(super) const SET_BY_INDEX: &str = "set_by_index";
pub(super) const STATEMENT_BY_PAYLOAD_HASH: &str = "statement_by_payload_hash";
pub(super) const NOTE_BY_SIZE: &str = "note_by_size";
pub(super) const META: &str = "meta";
pub(super) const TILE_BY_COORDINATE: &str = "tile_by_coordinate";
pub(super) const INDEX_BY_LEAF: &str = "index_by_leaf";
pub(super) const POSTING_BY_SEARCH_KEY: &str = "posting_by_search_key";

/// Every column, with how its values are shaped.
const COLUMNS: [(&str, Shape); 9] = [
    (ENTRY_BY_INDEX, Shape::Text),
    (TIME_BY_INDEX, Shape::Small),
    (SET_BY_INDEX, Shape::Small),
    (STATEMENT_BY_PAYLOAD_HASH, Shape::Blob),
    (NOTE_BY_SIZE, Shape::Text),
    (META, Shape::Small),
    (TILE_BY_COORDINATE, Shape::Hashes),
    (INDEX_BY_LEAF, Shape::Lookup),
    (POSTING_BY_SEARCH_KEY, Shape::Small),
];

/// The number that RocksDB gave the column that has files of large values. It counts columns as
/// they are made, from 1: 0 is the one that every database has.
pub(super) fn with_large_values() -> u32 {
    let position = COLUMNS.iter().position(|(_, shape)| matches!(shape, Shape::Blob));
    position.and_then(|at| u32::try_from(at + 1).ok()).expect("one of the columns has them")
}

/// How the values of a column are shaped, which decides how they are packed.
#[derive(Clone, Copy)]
enum Shape {
    /// JSON and base64: compresses.
    Text,
    /// Kilobytes to megabytes: kept out of compaction.
    Blob,
    /// Random bytes in big rows: do not compress.
    Hashes,
    /// Random keys, mostly asked for when absent: a filter answers.
    Lookup,
    /// A few bytes.
    Small,
}

/// Options for each column. `cache` is shared by all of them, so that one number bounds memory.
///
/// # Errors
/// If RocksDB does not take the path of the database.
pub(super) fn descriptors(
    path: &Path,
    cache: &Cache,
) -> Result<Vec<ColumnFamilyDescriptor>, rocksdb::Error> {
    let describe = |(name, shape): &(&str, Shape)| {
        let mut options = options(*shape, cache)?;
        // Where the columns are anyway. But a database that names no paths RocksDB brings back by
        // itself after a write for which there was no space: it syncs the write-ahead log again,
        // and what the first sync lost is a hole in it, with which the log does not open any more.
        // After a failed write nobody goes on here.
        options.set_cf_paths(&[DBPath::new(path, u64::MAX)?]);
        Ok(ColumnFamilyDescriptor::new(*name, options))
    };
    COLUMNS.iter().map(describe).collect()
}

fn options(shape: Shape, cache: &Cache) -> Result<Options, rocksdb::Error> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    match shape {
        Shape::Text => options.set_compression_type(DBCompressionType::Lz4),
        Shape::Small => options.set_compression_type(DBCompressionType::Lz4),
        Shape::Hashes => options.set_compression_type(DBCompressionType::None),
        Shape::Lookup => {
            blocks.set_bloom_filter(10.0, false);
            options.set_memtable_prefix_bloom_ratio(0.1);
            options.set_memtable_whole_key_filtering(true);
            options.set_compression_type(DBCompressionType::None);
        }
        Shape::Blob => {
            // Statements about models are mostly digests in hexadecimal, of which the first level
            // of Zstandard makes less than the third does, in half the time; of others, as much.
            options = options.get_options_from_string("blob_compression_opts={level=1}")?;
            options.set_enable_blob_files(true);
            options.set_min_blob_size(1024);
            options.set_blob_compression_type(DBCompressionType::Zstd);
        }
    }
    options.set_write_buffer_size(32 << 20);
    options.set_block_based_table_factory(&blocks);
    Ok(options)
}
