//! Every bound of the server in one place, each with its reason. `docs/design.md` shows the same
//! table.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Body of a Rekor v1 submission: an envelope over 20,000 resources is 6 MB once its base64 is
/// quoted in JSON.
pub const V1_BODY_BYTES_MAX: usize = 8 << 20;

/// Body of a Rekor v2 submission, as rekor-tiles has it.
pub const V2_BODY_BYTES_MAX: usize = 4 << 20;

/// Body of a request for a timestamp: a digest, a nonce and two names are 250 bytes; base64, JSON
/// and white space around them make no more than this.
pub const TIMESTAMP_BODY_BYTES_MAX: usize = 4 << 10;

/// Body of a bulk request for statements: 256 hashes in JSON.
pub const BULK_BODY_BYTES_MAX: usize = 32 << 10;

/// Bytes beyond the limit that are read and dropped, so that the client hears that it was too much.
pub const DROPPED_BYTES_MAX: usize = 16 << 20;

/// Submissions that are waiting or not yet published. With 10,000 entries/s this is 0.4 s of work;
/// more would only wait longer, so the client is told to come back.
pub const POOL_ENTRIES_MAX: usize = 4096;

/// Bytes of the same, statements included: bounds memory when submissions are large.
pub const POOL_BYTES_MAX: usize = 128 << 20;

/// Submissions that are open, from their headers to their line in the journal, those whose clients
/// hung up too: what the pool takes, and as much three times over that is still read or verified,
/// joins an entry on its way, or waits for its line.
pub const SUBMISSIONS_MAX: usize = 4 * POOL_ENTRIES_MAX;

/// Requests that wait for one and the same entry: a client retries a few times, not more.
pub const WAITERS_MAX: usize = 64;

/// Entries in one batch: larger ones make flushes and compaction show in the tail of the latency.
pub const BATCH_ENTRIES_MAX: usize = 512;

/// Bytes in one batch, statements included.
pub const BATCH_BYTES_MAX: usize = 32 << 20;

/// Postings in one batch. One model of 20,000 files alone makes as many, so one entry always fits.
pub const BATCH_POSTINGS_MAX: usize = 40_000;

/// Submissions verified, searches and large reads at once, off the connection threads: more would
/// only wait for the same cores and disk.
pub const HEAVY_AT_ONCE_MAX: usize = 8;

/// Time that such work may wait for its turn before the client is sent away.
pub const HEAVY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bytes of request bodies in memory at once.
pub const REQUEST_BYTES_MAX: usize = 256 << 20;

/// Bytes of large answers that wait for their clients at once.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Answers below this are not counted: there is one for each stream, and streams are bounded.
pub const BUDGETED_BYTES_MIN: usize = 8 << 10;

/// An answer goes to its connection in pieces of this size: what a client does not read is not all
/// in the connection's buffers.
pub const ANSWER_PIECE_BYTES: usize = 64 << 10;

/// Connections of one address: half a dozen machines behind one gateway, each with its CI jobs.
pub const ADDRESS_CONNECTIONS_MAX: usize = 256;

/// Memory that one address may hold in requests and answers on the way, in KiB: an eighth of what
/// there is for everybody, and several of the largest requests.
pub const ADDRESS_KIBIBYTES_MAX: usize = 64 << 10;

/// Bytes of the headers of one request.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// Bytes that one HTTP/2 stream may send before they are taken, and all streams of a connection
/// together: a request that waits for its turn holds no more.
pub const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// See [`STREAM_WINDOW_BYTES`].
pub const WINDOW_BYTES: u32 = 256 << 10;

/// Bytes of answers in the buffers of one HTTP/2 stream.
pub const SEND_BYTES_MAX: usize = 64 << 10;

/// A body above this is verified off the connection threads, so that it does not hold up others. A
/// `hashedrekord` with a keyless certificate fits. Ten keys and signatures of P-521 do not, nor of
/// P-384 as Rekor v1 spells them: each key may be tried on each signature, 60 ms of work.
pub const LARGE_BODY_BYTES: usize = 4 << 10;

/// Open connections: each costs a file descriptor and some 50 KB.
pub const CONNECTIONS_MAX: usize = 4096;

/// Streams of one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 16;

/// Streams of one HTTP/2 connection that were reset and are not yet cleaned up; one more closes the
/// connection. A client cancels a few requests at a time, a flood cancels all.
pub const RESETS_MAX: usize = 20;

/// Silence on a connection: no request begins or ends. No request is served for so long, so that an
/// answer that is still being read then is read too slowly.
pub const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Age at which a connection is ended when its open requests are answered: nothing that a client
/// does keeps a place for ever. Connecting again costs a monitor nothing.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);

/// Time for open requests of a connection that ends for its age or silence: longer than any answer
/// takes that is read.
pub const LEAVE_TIME_MAX: Duration = Duration::from_secs(60);

/// Time in which a client must take some of an answer.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// Time to send the request's headers.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// Time to send the request's body.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Time from submission to answer: clients give up after 30 s and later.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// The same for Rekor v2, by a log that waits for no witnesses: sigstore-js gives up after 5 s. A
/// log that is alone publishes within milliseconds, so that after 4 s something is wrong.
pub const V2_ANSWER_TIME_MAX: Duration = Duration::from_secs(4);

/// Time that open requests get when the server stops; service managers kill after 10 s. Submissions
/// that outlive their connections get as much again, of which a log that works needs milliseconds.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(8);

/// Entries in one page of search results.
pub const SEARCH_LIMIT_MAX: usize = 1000;

/// Terms in one search.
pub const SEARCH_TERMS_MAX: usize = 8;

/// Postings read for one page: what a search for two common terms may cost.
pub const SEARCH_READS_MAX: usize = 20_000;

/// Reads that a proposed entry in a Rekor v1 search counts as: its signature is verified as that of
/// a submission, of which an address may make a tenth as many.
pub const READS_OF_A_PROPOSAL: u32 = ADDRESS_READS_PER_SECOND / ADDRESS_WRITES_PER_SECOND;

/// Reads that a search in the index of Rekor v1 counts as, beside its request: it may read
/// [`INDEX_READS_MAX`] postings, and the tiles of [`INDEX_HITS_MAX`] entries all over the log.
pub const READS_OF_AN_INDEX_SEARCH: u32 = 20;

/// Body of a search in the index of Rekor v1: a chain of certificates in base64.
pub const INDEX_BODY_BYTES_MAX: usize = 64 << 10;

/// Ids in the answer to such a search: 830 KB. Rekor has no pages, and names no limit.
pub const INDEX_HITS_MAX: usize = 10_000;

/// Postings read for it: an answer of that length of which every entry is found five times.
pub const INDEX_READS_MAX: usize = 50_000;

/// Payload that goes with an entry in Rekor v1; longer ones are left out, as Rekor does.
pub const ATTESTATION_BYTES_MAX: usize = 100 << 10;

/// Published notes in one answer.
pub const CHECKPOINTS_LIMIT_MAX: usize = 1000;

/// Bytes of notes in one answer, after which it ends early: 1,000 with a few Ed25519 cosignatures
/// are a megabyte, but ML-DSA lines have 3.3 KB each.
pub const CHECKPOINTS_BYTES_MAX: usize = 2 << 20;

/// Statements in one bulk answer.
pub const BULK_STATEMENTS_MAX: usize = 256;

/// Bytes of statements in one bulk answer; what does not fit is named as left out.
pub const BULK_BYTES_MAX: usize = 16 << 20;

/// Reads per second from one address; ten seconds' worth may come at once. A monitor that reads a
/// whole log asks for some hundred tiles a second.
pub const ADDRESS_READS_PER_SECOND: u32 = 1000;

/// Submissions per second from one address: hundred CI jobs behind one gateway, each once a second.
pub const ADDRESS_WRITES_PER_SECOND: u32 = 100;

/// Submissions per second of one principal: entries stay for ever, so a token that was stolen must
/// not fill the disk in an hour.
pub const PRINCIPAL_WRITES_PER_SECOND: u32 = 100;

/// Seconds' worth of a rate that may come at once: a CI matrix starts all its jobs together.
pub const BURST_SECONDS: u32 = 10;

/// Buckets that addresses and principals fall into, by a random key of the process: memory for
/// rates is bounded whoever asks, and two that share a bucket share its rate. 8 bytes each.
pub const RATE_BUCKETS: usize = 1 << 16;

/// Lines about refused strangers in the journal, per second: a flood of refused requests must not
/// fill the disk; these make 100 MB a day. What is not written is counted in the next line.
pub const STRANGER_LINES_PER_SECOND: u32 = 4;

/// Lines about refusals of principals that the log knows, per second; counted apart, so that no
/// stranger can hide them.
pub const REFUSAL_LINES_PER_SECOND: u32 = 50;

/// Lines of the journal in one write: those of one batch.
pub const JOURNAL_GROUP_LINES_MAX: usize = BATCH_ENTRIES_MAX;

/// Free disk space below which no submission is acknowledged. RocksDB needs room to open again.
pub const FREE_DISK_BYTES_MIN: u64 = 1 << 30;

/// How long a client is asked to wait before it tries again, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 1;

const _: () = assert!(BATCH_BYTES_MAX > V1_BODY_BYTES_MAX, "one entry always fits a batch");
const _: () = assert!(POOL_BYTES_MAX > BATCH_BYTES_MAX, "a batch always fits the pool");
const _: () = assert!(
    REQUEST_BYTES_MAX > 16 * V1_BODY_BYTES_MAX,
    "a few large submissions do not send everybody else away"
);
const _: () = assert!(SUBMISSIONS_MAX > POOL_ENTRIES_MAX, "the pool can be full");
const _: () = assert!(POOL_ENTRIES_MAX > BATCH_ENTRIES_MAX, "a batch always fits the pool");

/// Raises the limit of open files as far as allowed; returns what it is then.
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused only by a sandbox; then the old limit stands, and is read below.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
