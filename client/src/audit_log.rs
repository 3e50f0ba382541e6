//! Auditing a log from outside: rebuild it from the bytes that it serves, and hold everything else
//! that it serves against that.
//!
//! ```text
//! kept and newest checkpoints of both faces --+
//! entry tiles -> leaves -> rebuilt tree ------+-> equal?    treering_proto::audit
//! tiles of hashes, full and growing ----------+
//! statements, signatures, timestamps, search answers -> against the entries
//! ```
//!
//! Where a monitor reads what is new, an audit reads everything, remembers nothing, and believes
//! nothing but the trust file.
//!
//! Invariants: every check has a line in the report, also when it could not run. What is held in
//! memory is bounded by the tiles at once, the heads, and the search terms. Out of scope: views
//! that are not shown to this auditor.

mod faults;
mod heads;
mod read;
mod terms;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinHandle;
use treering_proto::audit::{self, Audit, Finding, FindingClass, Times};
use treering_proto::hash::Hash;
use treering_proto::tile::{TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, hashes_at};
use treering_proto::tree::{LeafIndex, TreeSize};

use crate::log::{LogError, LogReader};
use crate::monitor::findings::FindingKind;
use crate::monitor::read::{Source, Tally};
use crate::report::{Exit, Report};
use crate::transport::Reading;
use faults::Faults;
use heads::Heads;
use read::{Part, ReadTile, read_tile};
use terms::Terms;

/// Search terms that are checked unless somebody says otherwise.
pub const SEARCH_TERMS: usize = 1000;

/// What is checked, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct AuditOptions {
    /// Tiles that are read at once.
    pub tiles: usize,
    /// Search terms that are asked for, with all their pages: all there are, or a sample.
    pub search_terms: usize,
    /// Makes the sample; the same seed makes the same one.
    pub seed: u64,
}

/// What an audit came to.
pub struct Audited {
    /// Every check.
    pub report: Report,
    /// Entries that were read.
    pub entries: u64,
    /// The head that they lead to.
    pub root: Option<Hash>,
    /// Entries by kind and version.
    pub kinds: BTreeMap<(&'static str, &'static str), u64>,
    /// What was verified of signatures.
    pub tally: Tally,
}

/// What is found while entries are read.
#[derive(Default)]
struct Found {
    signatures: Faults,
    statements: Faults,
    timestamps: Faults,
    times_wrong: Faults,
    timestamped: u64,
    /// Whether the Rekor v1 face showed any entry.
    has_sets: bool,
    times: Times,
    tally: Tally,
    unread: Option<LogError>,
}

/// Tiles of hashes as they were served, until the audit asks for them.
type Served = Rc<RefCell<HashMap<Tile, Option<Vec<Hash>>>>>;

/// Audits the log in `source`; `progress` hears the number of entries read.
pub async fn audit(
    source: &Arc<Source>,
    options: AuditOptions,
    mut progress: impl FnMut(u64),
) -> Audited {
    let mut report = Report::default();
    let heads = heads::gather(source, &mut report).await;
    let mut audited =
        Audited { report, entries: 0, root: None, kinds: BTreeMap::new(), tally: Tally::default() };
    let Some(size) = heads.size else {
        for check in AFTER_HEADS {
            let why = "the newest checkpoint could not be read";
            audited.report.could_not_check(check, why, Exit::Unavailable);
        }
        return audited;
    };
    let served = Served::default();
    let asked = served.clone();
    let tiles = Box::new(move |tile: Tile| asked.borrow_mut().remove(&tile).flatten());
    let mut audit = Audit::new(heads.all.iter().map(|(head, _)| *head), tiles);
    let mut terms = Terms::new(options.search_terms, options.seed);
    let mut found = Found { times: Times::new(&heads.dated), ..Found::default() };
    let done = read_all(source, options, size, |part| {
        served.borrow_mut().extend(part.tiles.iter().cloned());
        part.entries.iter().for_each(|entry| audit.entry(entry));
        found.take(&part);
        terms.take(&part.run);
        audited.entries = part.run.end();
        progress(audited.entries);
    })
    .await;
    let done = match done {
        Ok(()) => growing_tiles(source, size, &served).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => audit.compare_growing(),
        Err(error) => found.unread = Some(error),
    }
    let rebuilt = match &found.unread {
        None => audit.finish(),
        // What was not read is not missing: the heads beyond it say nothing.
        Some(_) => audit.finish_early(),
    };
    audited.root = Some(rebuilt.head.root);
    audited.tally = found.tally;
    let report = &mut audited.report;
    report_tree(report, &heads, &rebuilt, &found);
    audited.kinds = rebuilt.kinds;
    // A face that shows entries is there, whatever it says about its head.
    let has_v1 = source.trust.log.identity.is_some() && (heads.has_v1 || found.has_sets);
    report_entries(report, source, &found, has_v1, audited.entries);
    terms.check(source, audited.entries, report).await;
    audited
}

/// The checks that need the newest checkpoint.
const AFTER_HEADS: [&str; 8] = [
    "entries",
    "tiles",
    "heads",
    "signatures",
    "statements",
    "entry-timestamps",
    "entry-times",
    "search",
];

/// Reads all entry tiles, several at once, and hands them over in order.
async fn read_all(
    source: &Arc<Source>,
    options: AuditOptions,
    size: TreeSize,
    mut take: impl FnMut(Part),
) -> Result<(), LogError> {
    let mut reading: VecDeque<(ReadTile, JoinHandle<Result<Part, LogError>>)> = VecDeque::new();
    let start = |job: ReadTile| {
        let source = source.clone();
        (job, tokio::spawn(async move { read_tile(&source, job).await }))
    };
    let mut next = 0;
    loop {
        while reading.len() < options.tiles && next < size.get() {
            let job = ReadTile { tile: next / TILE_WIDTH, from: next, size: size.get() };
            next = job.end();
            reading.push_back(start(job));
        }
        let Some((job, part)) = reading.pop_front() else { return Ok(()) };
        match part.await.expect("reading does not panic") {
            Ok(part) => {
                if part.run.end() < job.end() {
                    reading.push_front(start(ReadTile { from: part.run.end(), ..job }));
                }
                take(part);
            }
            Err(error) => {
                reading.iter().for_each(|(_, tile)| tile.abort());
                return Err(error);
            }
        }
    }
}

/// Reads the growing tiles of all levels.
async fn growing_tiles(source: &Source, size: TreeSize, served: &Served) -> Result<(), LogError> {
    let transport = source.renewed();
    let log = LogReader::new(&transport, &source.trust);
    for level in 0..=TILE_LEVEL_MAX {
        let count = hashes_at(level, size);
        if count.is_multiple_of(TILE_WIDTH) {
            continue;
        }
        let (index, width) = (count / TILE_WIDTH, count % TILE_WIDTH);
        let tile = Tile { kind: TileKind::Hashes(level), index, width };
        let hashes = read::tile_or_none(log.tile(tile, Reading::Fresh)).await?;
        served.borrow_mut().insert(tile, hashes);
    }
    Ok(())
}

impl Found {
    fn take(&mut self, part: &Part) {
        self.tally.add(part.run.tally);
        for finding in &part.run.findings {
            let faults = match finding.kind {
                // The audit proper finds it, too.
                FindingKind::EntryUnparseable => continue,
                FindingKind::SignatureInvalid => &mut self.signatures,
                _ => &mut self.statements,
            };
            let index = finding.index.unwrap_or_default();
            faults.add(format!("entry {index}: {}", finding.why));
        }
        for set in &part.sets {
            self.timestamped += 1;
            self.has_sets |= set.is_shown;
            match &set.outcome {
                Err(why) => self.timestamps.add(format!("entry {}: {why}", set.index)),
                Ok(time) => {
                    if let Err(why) = self.times.entry(set.index, *time) {
                        let text = format!("entry {} is dated {time}, {why}", set.index);
                        self.times_wrong.add(text);
                    }
                }
            }
        }
    }
}

fn report_tree(report: &mut Report, heads: &Heads, rebuilt: &audit::Report, found: &Found) {
    let mut faults: BTreeMap<FindingClass, Faults> = BTreeMap::new();
    for finding in &rebuilt.findings {
        faults.entry(finding.class()).or_default().add(fault(heads, finding));
    }
    let mut of = |class| {
        let mut faults = faults.remove(&class).unwrap_or_default();
        let listed = rebuilt.findings.iter().filter(|finding| finding.class() == class).count();
        let count = rebuilt.counts.get(&class).copied().unwrap_or_default();
        faults.add_unlisted(count - listed as u64);
        faults
    };
    let (entries, tiles, wrong) =
        (of(FindingClass::Entries), of(FindingClass::Tiles), of(FindingClass::Heads));
    if let Some(error) = &found.unread {
        let why = format!("reading ended early: {error}");
        entries.report_early(report, "entries", &why, read::exit(error));
        tiles.report_early(report, "tiles", UNREAD, Exit::Unavailable);
        wrong.report_early(report, "heads", UNREAD, Exit::Unavailable);
        return;
    }
    entries.report(report, "entries", "every entry is canonical and of a known kind");
    tiles.report(report, "tiles", "every tile, full or growing, holds its entries' hashes");
    let text = format!("all {} signed heads are heads of the rebuilt tree", heads.all.len());
    wrong.report(report, "heads", &text);
}

/// Why a check could not run though reading began.
const UNREAD: &str = "not every entry was read";

/// What is wrong, in a sentence.
fn fault(heads: &Heads, finding: &Finding) -> String {
    match finding {
        Finding::EntryUnreadable { index } => unreadable(*index),
        Finding::TileMissing { tile } => format!("/{} is missing or malformed", tile.path()),
        Finding::TileWrong { tile } => {
            format!("/{} does not hold the hashes of its entries", tile.path())
        }
        Finding::HeadWrong { signed, rebuilt } => format!(
            "{} of {} entries: signed {}, rebuilt {rebuilt}",
            heads.whose(signed),
            signed.size,
            signed.root
        ),
        Finding::HeadBeyondEntries { signed } => {
            format!("{} is of {} entries, which are not there", heads.whose(signed), signed.size)
        }
        Finding::HeadsDisagree { one, other } => format!(
            "{} and {} are of {} entries, with roots {} and {}",
            heads.whose(one),
            heads.whose(other),
            one.size,
            one.root,
            other.root
        ),
    }
}

fn unreadable(index: LeafIndex) -> String {
    format!("entry {index} is not the canonical bytes of a known kind")
}

fn report_entries(report: &mut Report, source: &Source, found: &Found, has_v1: bool, entries: u64) {
    let tally = found.tally;
    // What was found counts however far reading came; that nothing was found does not.
    let add = |report: &mut Report, check, faults: &Faults, passed: &str| match found.unread {
        None => faults.report(report, check, passed),
        Some(_) => faults.report_early(report, check, UNREAD, Exit::Unavailable),
    };
    if source.signatures {
        let text = format!(
            "{} of {entries} entries verified again; {} without statement, {} over other \
             payloads, {} of kinds that keep too little",
            tally.verified, tally.no_statement, tally.other_payload, tally.not_kept
        );
        add(report, "signatures", &found.signatures, &text);
    } else {
        report.not_checked("signatures", "not asked for");
    }
    add(report, "statements", &found.statements, "every statement is there and has its hash");
    if has_v1 {
        let text = format!("the signed timestamps of {} entries verify", found.timestamped);
        add(report, "entry-timestamps", &found.timestamps, &text);
        let text = "times never go back, and fit the log's dated heads";
        add(report, "entry-times", &found.times_wrong, text);
    } else {
        for check in ["entry-timestamps", "entry-times"] {
            report
                .not_checked(check, "the log has no Rekor v1 face, or the trust file no identity");
        }
    }
}

#[cfg(test)]
mod tests;
