//! Every bound of the server in one place, each with its reason. `docs/design.md` shows the same
//! table.

use std::time::Duration;

/// Body of a Rekor v1 submission: an envelope over 20,000 resources is 6 MB once its base64 is
/// quoted in JSON.
pub const V1_BODY_BYTES_MAX: usize = 8 << 20;

/// Body of a Rekor v2 submission, as rekor-tiles has it.
pub const V2_BODY_BYTES_MAX: usize = 4 << 20;

/// Body of a bulk request for statements: 256 hashes in JSON.
pub const BULK_BODY_BYTES_MAX: usize = 32 << 10;

/// Submissions that are waiting or not yet published. With 10,000 entries/s this is 0.4 s of work;
/// more would only wait longer, so the client is told to come back.
pub const POOL_ENTRIES_MAX: usize = 4096;

/// Bytes of the same, statements included: bounds memory when submissions are large.
pub const POOL_BYTES_MAX: usize = 128 << 20;

/// Entries in one batch: larger ones make flushes and compaction show in the tail of the latency.
pub const BATCH_ENTRIES_MAX: usize = 512;

/// Bytes in one batch, statements included.
pub const BATCH_BYTES_MAX: usize = 32 << 20;

/// Postings in one batch. One model of 20,000 files alone makes as many, so one entry always fits.
pub const BATCH_POSTINGS_MAX: usize = 40_000;

/// Submissions verified at once, small ones excepted: bounds memory in parsing.
pub const LARGE_BODIES_AT_ONCE_MAX: usize = 8;

/// A body above this is verified off the connection threads, so that it does not hold up others.
pub const LARGE_BODY_BYTES: usize = 64 << 10;

/// Open connections: each costs a file descriptor and some 50 KB.
pub const CONNECTIONS_MAX: usize = 4096;

/// Time to send the request's headers.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// Time to send the request's body.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Time from submission to answer: clients give up after 30 s and later.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// Time that open requests get when the server stops; service managers kill after 10 s.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(8);

/// Entries in one page of search results.
pub const SEARCH_LIMIT_MAX: usize = 1000;

/// Terms in one search.
pub const SEARCH_TERMS_MAX: usize = 8;

/// Postings read for one page: what a search for two common terms may cost.
pub const SEARCH_READS_MAX: usize = 20_000;

/// Statements in one bulk answer.
pub const BULK_STATEMENTS_MAX: usize = 256;

/// Bytes of statements in one bulk answer; what does not fit is named as left out.
pub const BULK_BYTES_MAX: usize = 16 << 20;

/// Free disk space below which no submission is acknowledged. RocksDB needs room to open again.
pub const FREE_DISK_BYTES_MIN: u64 = 1 << 30;

/// How long a client is asked to wait before it tries again, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 1;

const _: () = assert!(BATCH_BYTES_MAX > V1_BODY_BYTES_MAX, "one entry always fits a batch");
const _: () = assert!(POOL_BYTES_MAX > BATCH_BYTES_MAX, "a batch always fits the pool");
const _: () = assert!(POOL_ENTRIES_MAX > BATCH_ENTRIES_MAX, "a batch always fits the pool");
