//! Reading one entry tile: fetch it, hold it against what the checkpoint commits to, read each
//! entry with its statement, and make of it what the index keeps.
//!
//! ```text
//! entry tile --hash--> leaves --+-- equal to the signed hashes?  no: once more past caches,
//! hash tile ---------- leaves --+                                    then say which entry
//! entries --parse--> payload hashes --ask--> statements --> facts, signatures, rules
//! ```
//!
//! Tiles are read side by side, each on its own; who puts them in order is `grow`.
//!
//! Invariants: nothing of a tile is used before its leaves were found equal. What one tile holds in
//! memory is bounded: a tile with very large statements is read in parts. Out of scope: what was
//! told before, and what the log had before.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use treering_proto::api::v1::{EntryId, TreeId};
use treering_proto::entry::{Entry, Recheck};
use treering_proto::facts::search_key;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, perfect_root};
use treering_proto::trust::TrustFile;

use super::findings::{Finding, FindingKind};
use super::record::{Record, may_lack_statement, signers, vouched};
use super::rules::{Hit, Proven, Rules};
use super::tiles::is_garbage;
use crate::log::whole::{EntryTile, STATEMENTS_AT_ONCE, Statements};
use crate::log::{LogError, LogReader};
use crate::transport::{Reading, Transport, TransportError};

/// Bytes of statements after which a tile is cut, to be gone on with later: eight of them in memory
/// are less than a gigabyte.
const STATEMENT_BYTES_MAX: usize = 32 << 20;

/// The log, and what is looked for in it.
pub struct Source {
    /// The way to the log.
    pub transport: Transport,
    /// Who the log is.
    pub trust: TrustFile,
    /// Time for each answer, tries included.
    pub answer_time: Duration,
    /// Whether submitters' signatures are verified again.
    pub signatures: bool,
    /// Whether envelopes may have payloads that are no in-toto statements.
    pub other_payloads: bool,
    /// What somebody wants to hear of.
    pub rules: Arc<Rules>,
}

/// A tile to read.
#[derive(Clone, Debug)]
pub struct Job {
    /// Position of the tile.
    pub tile: u64,
    /// The first entry that is wanted.
    pub from: u64,
    /// What the checkpoint commits to.
    pub signed: Signed,
}

/// What a checkpoint commits to about one tile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signed {
    /// The root of a full tile.
    Root(Hash),
    /// The leaves of the growing one.
    Leaves(Vec<Hash>),
}

/// Consecutive entries, read.
#[derive(Default)]
pub struct Run {
    /// The first entry.
    pub first: u64,
    /// Their leaves.
    pub leaves: Vec<Hash>,
    /// Their records.
    pub records: Vec<u8>,
    /// Their facts, unsorted.
    pub postings: Vec<(Hash, u64)>,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
    /// Rules they hit, by index.
    pub hits: Vec<(u64, Hash, Vec<Hit>)>,
    /// How many entries there were of what.
    pub tally: Tally,
    /// Bytes of the statements that were read.
    pub statement_bytes: usize,
}

/// What was verified, and what could not be.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Entries whose signatures verify.
    pub verified: u64,
    /// Entries without the statement that their signatures are over.
    pub no_statement: u64,
    /// Entries whose signatures do not verify over their statement as an in-toto payload, where
    /// other payloads were allowed for.
    pub other_payload: u64,
    /// Entries of kinds that keep too little to verify a signature again.
    pub not_kept: u64,
    /// Entries that cannot be read.
    pub unreadable: u64,
}

/// Why a tile was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// The log did not give what its checkpoint commits to.
    #[error(transparent)]
    Unread(#[from] LogError),
    /// The entry at this index is not the one that the checkpoint commits to.
    #[error("entry {index} is not the entry that the checkpoint commits to")]
    BadEntry {
        /// Where.
        index: u64,
    },
    /// The tile cannot be read, or which entry is wrong cannot be told.
    #[error("/{} does not hold the entries that the checkpoint commits to", tile.path())]
    BadTile {
        /// Which.
        tile: Tile,
    },
}

impl Source {
    /// The way to the log, with time for one more answer.
    pub fn renewed(&self) -> Transport {
        self.transport.renewed(self.answer_time)
    }

    /// The id of an entry: with the tree id, if the trust file says it.
    pub fn entry_id(&self, leaf: Hash) -> String {
        let identity = self.trust.log.identity.as_ref().map(|document| &document.identity);
        entry_id(identity.map(|identity| identity.tree_id()), leaf)
    }
}

/// 80 hexadecimal digits if the tree id is known, 64 otherwise.
pub fn entry_id(tree_id: Option<TreeId>, leaf: Hash) -> String {
    match tree_id {
        Some(tree_id) => EntryId { tree_id, leaf }.to_string(),
        None => leaf.to_hex(),
    }
}

impl Job {
    /// The index after the last entry of the tile.
    pub fn end(&self) -> u64 {
        self.tile * TILE_WIDTH + self.width()
    }

    fn width(&self) -> u64 {
        match &self.signed {
            Signed::Root(_) => TILE_WIDTH,
            Signed::Leaves(leaves) => leaves.len() as u64,
        }
    }

    fn of(&self, kind: TileKind) -> Tile {
        Tile { kind, index: self.tile, width: self.width() }
    }
}

impl Run {
    /// The index after the last entry.
    pub fn end(&self) -> u64 {
        self.first + self.leaves.len() as u64
    }
}

impl Tally {
    /// Adds what another run had.
    pub fn add(&mut self, other: Self) {
        self.verified += other.verified;
        self.no_statement += other.no_statement;
        self.other_payload += other.other_payload;
        self.not_kept += other.not_kept;
        self.unreadable += other.unreadable;
    }
}

/// Runs `work` where it holds up no connection.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = tokio::sync::oneshot::channel();
    rayon::spawn(move || {
        // Nobody waits any more if the process is being stopped.
        let _ = done.send(work());
    });
    result.await.expect("work on bytes does not panic")
}

/// Reads the tile of `job` from `job.from` on: to its end, or less if its statements are large.
///
/// # Errors
/// [`ReadFault`].
pub async fn read(source: &Arc<Source>, job: &Job) -> Result<Run, ReadFault> {
    let (tile, leaves, findings) = fetch(source, job).await?;
    let skipped = (job.from - job.tile * TILE_WIDTH) as usize;
    let mut run = read_entries(source, tile, leaves, job.from, skipped).await?;
    run.findings.splice(0..0, findings);
    Ok(run)
}

/// Reads the entries of `tile` after the first `skipped`, of which `first` is the index of the
/// next: to the end, or less if their statements are large, but at least one.
///
/// # Errors
/// [`LogError`], for statements.
pub async fn read_entries(
    source: &Arc<Source>,
    tile: EntryTile,
    leaves: Vec<Hash>,
    first: u64,
    skipped: usize,
) -> Result<Run, LogError> {
    let mut waiting = compute(move || parse(&tile, skipped)).await;
    let mut run = Run { first, ..Run::default() };
    let mut leaves: VecDeque<Hash> = leaves.into_iter().skip(skipped).collect();
    while !waiting.is_empty() && run.statement_bytes < STATEMENT_BYTES_MAX {
        let asked = wanted(&waiting);
        let answer = match asked.is_empty() {
            true => None,
            false => Some(ask(source, &asked).await?),
        };
        let source = source.clone();
        let read = compute(move || {
            let statements = match answer {
                None => Statements::default(),
                Some(Answer::Many(answer)) => Statements::parse(&answer, &asked)?,
                Some(Answer::Single(statements)) => statements,
            };
            run.take(&source, &mut waiting, &mut leaves, &statements);
            Some((run, waiting, leaves))
        });
        let path = "/api/treering/v1/statements".to_owned();
        (run, waiting, leaves) = read.await.ok_or(LogError::Malformed { path })?;
    }
    // Whoever reads on where a run ended must get further each time.
    match run.leaves.is_empty() {
        true => Err(LogError::Malformed { path: "/api/treering/v1/statements".to_owned() }),
        false => Ok(run),
    }
}

/// What the log said about statements.
enum Answer {
    /// About all of them at once.
    Many(Vec<u8>),
    /// About one after the other.
    Single(Statements),
}

/// Asks for all statements at once, and for one after the other if the log does not answer that:
/// one request that is refused must not stop a monitor for ever.
async fn ask(source: &Source, asked: &[Hash]) -> Result<Answer, LogError> {
    let transport = source.renewed();
    let log = LogReader::new(&transport, &source.trust);
    match log.statements_answer(asked).await {
        Ok(answer) => return Ok(Answer::Many(answer)),
        Err(LogError::Refused { .. } | LogError::NotFound { .. }) => {}
        Err(LogError::Transport(TransportError::Unavailable { .. })) => {}
        Err(error) => return Err(error),
    }
    let mut statements = Statements::default();
    let mut bytes = 0;
    for hash in asked {
        if bytes >= STATEMENT_BYTES_MAX {
            statements.left_out.insert(*hash);
            continue;
        }
        let transport = source.renewed();
        let log = LogReader::new(&transport, &source.trust);
        let statement = log.statement_or_none(*hash).await?;
        bytes += statement.as_ref().map_or(0, Vec::len);
        statements.found.extend(statement.map(|statement| (*hash, statement)));
    }
    Ok(Answer::Single(statements))
}

/// The entry tile and its leaves, equal to what was signed; and what is wrong with the tile of
/// hashes beside it, which proves nothing about the entries.
async fn fetch(
    source: &Source,
    job: &Job,
) -> Result<(EntryTile, Vec<Hash>, Vec<Finding>), ReadFault> {
    let transport = source.renewed();
    let log = LogReader::new(&transport, &source.trust);
    let (tile, hashes) = tokio::join!(
        garbage_as_none(log.entry_tile(job.of(TileKind::Entries), Reading::Cached)),
        hash_tile(&log, job, Reading::Cached),
    );
    let (mut tile, mut hashes) = (tile?, hashes?);
    let mut leaves = check(&mut tile, job).await;
    if leaves.is_none() {
        let fresh = log.entry_tile(job.of(TileKind::Entries), Reading::Fresh);
        tile = garbage_as_none(fresh).await?;
        leaves = check(&mut tile, job).await;
    }
    let fits = |hashes: &Option<Vec<Hash>>| match (hashes, &leaves) {
        (Some(hashes), Some(leaves)) => hashes == leaves,
        (Some(hashes), None) => job.signed.is_met_by(hashes),
        (None, _) => false,
    };
    if !fits(&hashes) {
        hashes = hash_tile(&log, job, Reading::Fresh).await?;
    }
    let fits = fits(&hashes);
    match (tile, leaves) {
        (Some(tile), Some(leaves)) => {
            let path = job.of(TileKind::Hashes(0)).path();
            let wrong = (!fits).then(|| {
                let why = format!("/{path} does not hold the hashes of its entries");
                Finding::of_log(FindingKind::BadTile, path, why)
            });
            Ok((tile, leaves, wrong.into_iter().collect()))
        }
        (tile, _) => Err(localise(tile.as_ref(), job, hashes.filter(|_| fits))),
    }
}

/// The tile of hashes beside the entries; the growing one is known already.
async fn hash_tile(
    log: &LogReader<'_>,
    job: &Job,
    reading: Reading,
) -> Result<Option<Vec<Hash>>, LogError> {
    match &job.signed {
        Signed::Leaves(leaves) => Ok(Some(leaves.clone())),
        Signed::Root(_) => garbage_as_none(log.tile(job.of(TileKind::Hashes(0)), reading)).await,
    }
}

async fn garbage_as_none<T>(
    answer: impl Future<Output = Result<T, LogError>>,
) -> Result<Option<T>, LogError> {
    match answer.await {
        Err(error) if is_garbage(&error) => Ok(None),
        other => other.map(Some),
    }
}

/// The leaves of the tile, if they are those that were signed.
async fn check(tile: &mut Option<EntryTile>, job: &Job) -> Option<Vec<Hash>> {
    let (bytes, signed) = (tile.take()?, job.signed.clone());
    let (bytes, leaves) = compute(move || {
        let leaves = leaves_of(&bytes).filter(|leaves| signed.is_met_by(leaves));
        (bytes, leaves)
    })
    .await;
    *tile = Some(bytes);
    leaves
}

fn leaves_of(tile: &EntryTile) -> Option<Vec<Hash>> {
    Some(tile.entries()?.into_iter().map(hash_leaf).collect())
}

/// The first entry that is wrong, if the right leaves are known.
fn localise(tile: Option<&EntryTile>, job: &Job, signed: Option<Vec<Hash>>) -> ReadFault {
    let bad_tile = ReadFault::BadTile { tile: job.of(TileKind::Entries) };
    let (Some(leaves), Some(signed)) = (tile.and_then(leaves_of), signed) else { return bad_tile };
    match leaves.iter().zip(&signed).position(|(leaf, right)| leaf != right) {
        Some(at) => ReadFault::BadEntry { index: job.tile * TILE_WIDTH + at as u64 },
        None => bad_tile,
    }
}

impl Signed {
    fn is_met_by(&self, leaves: &[Hash]) -> bool {
        match self {
            Self::Root(root) => leaves.len() as u64 == TILE_WIDTH && perfect_root(leaves) == *root,
            Self::Leaves(signed) => leaves == signed,
        }
    }
}

/// The entries after the first `skipped`, `None` for what is none.
fn parse(tile: &EntryTile, skipped: usize) -> VecDeque<Option<Entry>> {
    let entries = tile.entries().unwrap_or_default();
    entries.into_iter().skip(skipped).map(|bytes| Entry::parse(bytes).ok()).collect()
}

/// The statements of the next entries, each once.
fn wanted(waiting: &VecDeque<Option<Entry>>) -> Vec<Hash> {
    let mut seen = HashSet::new();
    let hashes = waiting.iter().flatten().filter_map(Entry::payload_hash);
    hashes.filter(|hash| seen.insert(*hash)).take(STATEMENTS_AT_ONCE).collect()
}

impl Run {
    /// Takes entries as far as their statements are at hand.
    fn take(
        &mut self,
        source: &Source,
        waiting: &mut VecDeque<Option<Entry>>,
        leaves: &mut VecDeque<Hash>,
        statements: &Statements,
    ) {
        self.statement_bytes += statements.found.values().map(Vec::len).sum::<usize>();
        while let Some(entry) = waiting.front() {
            let hash = entry.as_ref().and_then(Entry::payload_hash);
            if hash.is_some_and(|hash| statements.left_out.contains(&hash)) {
                return;
            }
            let statement = hash.and_then(|hash| statements.found.get(&hash));
            let leaf = leaves.pop_front().expect("each entry has a leaf");
            let record = match entry {
                None => self.unreadable(source, leaf),
                Some(entry) => self.entry(source, leaf, entry, statement.map(Vec::as_slice)),
            };
            record.encode(&mut self.records);
            self.leaves.push(leaf);
            waiting.pop_front();
        }
    }

    fn unreadable(&mut self, source: &Source, leaf: Hash) -> Record {
        self.tally.unreadable += 1;
        let why = "it is not the canonical bytes of an entry of a known kind";
        self.find(source, leaf, FindingKind::EntryUnparseable, why);
        let hits = source.rules.hits_unparseable();
        if !hits.is_empty() {
            self.hits.push((self.end(), leaf, hits));
        }
        Record::UNREADABLE
    }

    fn entry(
        &mut self,
        source: &Source,
        leaf: Hash,
        entry: &Entry,
        statement: Option<&[u8]>,
    ) -> Record {
        let index = self.end();
        let is_incomplete = entry.payload_hash().is_some() && statement.is_none();
        if is_incomplete && !source.other_payloads && !may_lack_statement(entry) {
            let why = "the log does not give out its statement";
            self.find(source, leaf, FindingKind::StatementMissing, why);
        }
        if source.signatures {
            self.recheck(source, leaf, entry, statement);
        }
        let facts = entry.facts(statement);
        let keys = facts.iter().map(|fact| (search_key(fact.tag, &fact.value), index));
        self.postings.extend(keys);
        let vouched = vouched(entry, &source.trust.certificate_authorities);
        let identities: Vec<&str> = vouched
            .iter()
            .flat_map(|certificate| certificate.identities())
            .map(String::as_str)
            .collect();
        let proven = Proven { keys: entry.keeps_signatures(), identities: &identities };
        let hits = source.rules.hits(entry.kind(), &facts, proven);
        if !hits.is_empty() {
            self.hits.push((index, leaf, hits));
        }
        let signers = signers(entry, &vouched);
        Record { kind: Some(entry.kind()), is_incomplete, signers, facts }
    }

    fn recheck(&mut self, source: &Source, leaf: Hash, entry: &Entry, statement: Option<&[u8]>) {
        let why = match entry.recheck(statement) {
            Recheck::Valid => {
                self.tally.verified += 1;
                return;
            }
            Recheck::NoStatement => {
                self.tally.no_statement += 1;
                return;
            }
            Recheck::NotAsStatement if source.other_payloads => {
                self.tally.other_payload += 1;
                return;
            }
            Recheck::NotKept => {
                self.tally.not_kept += 1;
                return;
            }
            Recheck::Invalid => "a signature in it does not verify",
            Recheck::NotAsStatement => {
                "its signatures do not verify over its statement as an in-toto payload"
            }
        };
        self.find(source, leaf, FindingKind::SignatureInvalid, why);
    }

    fn find(&mut self, source: &Source, leaf: Hash, kind: FindingKind, why: &str) {
        let entry_id = Some(source.entry_id(leaf));
        self.findings.push(Finding { entry_id, ..Finding::of_entry(kind, self.end(), why) });
    }
}
