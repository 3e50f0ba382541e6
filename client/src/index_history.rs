//! A history from the index that a monitor made: nothing is hidden in it. What statements say
//! beyond their facts (versions, renewals, notices) is not in the index, nor when entries were
//! logged; a log that can be reached still says it.
//!
//! Invariants: every entry is the one that the monitor read, and whose leaf is in its tree: a log
//! that shows another one is caught. Without the log, what is not known is `Opaque`, or has nothing
//! `said`. Out of scope: how the index comes to be (see [`crate::monitor`]).

use treering_proto::checkpoint::open_checkpoint;
use treering_proto::entry::{Entry, EntryKind};
use treering_proto::facts::{Fact, Tag};
use treering_proto::freshness::head_time;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::notice::{EntryRef, MODEL_ID_ALGORITHM, NOTICE_TYPES};
use treering_proto::tree::{LeafIndex, TreeSize};
use treering_proto::trust::TrustFile;

use crate::history::{Answer, By, History, Seen, SeenModel, SeenTime, Source, What, Who, Word};
use crate::log::LogReader;
use crate::monitor::record::{Record, is_digest};
use crate::monitor::search::LocalIndex;
use crate::monitor::store::StoreError;
use crate::status::side_by_side::side_by_side;
use crate::status::{Asked, QUESTIONS_MAX, TIME_MAX};

/// Rounds, as when a log is asked.
const ROUNDS_MAX: usize = 8;

/// Entries that are asked for at once.
const AT_ONCE: usize = 16;

/// Remarks of one history.
const REMARKS_MAX: usize = 50;

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum IndexHistoryError {
    /// The index cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log shows another entry than the monitor read.
    #[error("the log shows another entry at {index} than the one that the monitor read")]
    OtherEntry {
        /// Where.
        index: LeafIndex,
    },
}

/// Answers from `index` until `open` leaves nothing open; with a `log`, fetches what statements
/// say. The authorities of `trust` certify signers, through any of `intermediates` (DER).
///
/// # Errors
/// [`IndexHistoryError`].
pub async fn gather_from_index(
    index: &LocalIndex,
    log: Option<&LogReader<'_>>,
    trust: &TrustFile,
    intermediates: &[Vec<u8>],
    mut open: impl FnMut(&History) -> Vec<Asked>,
) -> Result<History, IndexHistoryError> {
    let (start, end) = index.read();
    let position = |at| StoreError::Damaged(at);
    let from = LeafIndex::new(start).ok_or_else(|| position("where it starts"))?;
    let size = TreeSize::new(end).ok_or_else(|| position("where it ends"))?;
    let without_statement = index.without_statement()?;
    let source = Source::Index { from, without_statement };
    let mut history = History::new(source, size, head_time_of(index, trust, size)?);
    for _ in 0..ROUNDS_MAX {
        let mut asked = open(&history);
        asked.retain(|asked| !history.answers.contains_key(&asked.question));
        asked.truncate(QUESTIONS_MAX - history.answers.len());
        if asked.is_empty() {
            break;
        }
        for Asked { question, wanted } in asked {
            let facts = question.facts();
            let facts: Vec<(Tag, &str)> = facts.iter().map(|(t, v)| (*t, v.as_str())).collect();
            let matching = index.matching(&facts)?;
            let is_whole = matching.len() <= wanted.all_up_to;
            let count = if is_whole { matching.len() } else { wanted.oldest };
            let hits = matching.into_iter().take(count).map(LeafIndex::new);
            let hits: Vec<LeafIndex> =
                hits.collect::<Option<_>>().ok_or_else(|| position("an index of an entry"))?;
            look_up(index, log, (trust, intermediates), &hits, &mut history).await?;
            let answer = if is_whole { Answer::All(hits) } else { Answer::Oldest(hits) };
            history.answers.insert(question, answer);
        }
    }
    history.remarks.truncate(REMARKS_MAX);
    Ok(history)
}

/// When the tree of `size` entries was the newest, if the monitor's newest checkpoint is of it.
fn head_time_of(
    index: &LocalIndex,
    trust: &TrustFile,
    size: TreeSize,
) -> Result<Option<u64>, StoreError> {
    let Some(note) = index.latest()? else { return Ok(None) };
    let head = open_checkpoint(&note, &trust.log.origin, &trust.note_keys()).ok();
    let head = head.filter(|head| head.head().size == size && trust.has_quorum(head));
    Ok(head.and_then(|head| head_time(trust, &head)))
}

/// Adds the entries at `hits` to `history`.
async fn look_up(
    index: &LocalIndex,
    log: Option<&LogReader<'_>>,
    certifying: (&TrustFile, &[Vec<u8>]),
    hits: &[LeafIndex],
    history: &mut History,
) -> Result<(), IndexHistoryError> {
    let missing: Vec<LeafIndex> =
        hits.iter().filter(|hit| !history.seen.contains_key(hit)).copied().collect();
    for chunk in missing.chunks(AT_ONCE) {
        let mut known = Vec::new();
        for at in chunk {
            let (leaf, record) = index.entry(at.get())?;
            known.push((EntryRef { index: *at, leaf }, record));
        }
        let reading = known.iter().map(|(at, record)| read(log, certifying, *at, record));
        for result in side_by_side(reading).await {
            let (seen, remark) = result?;
            history.remarks.extend(remark);
            history.seen.insert(seen.entry.index, seen);
        }
    }
    Ok(())
}

/// What the log shows of an entry; what the index has of it where the log shows nothing.
async fn read(
    log: Option<&LogReader<'_>>,
    (trust, intermediates): (&TrustFile, &[Vec<u8>]),
    at: EntryRef,
    record: &Record,
) -> Result<(Seen, Option<String>), IndexHistoryError> {
    let from_index = |remark| Ok((from_facts(at, record), remark));
    let Some(log) = log else { return from_index(None) };
    let index = at.index;
    let body = match log.entry(index).await {
        Ok(entry) => entry.canonicalized_body,
        Err(error) => return from_index(Some(format!("entry {index} is not shown: {error}"))),
    };
    if hash_leaf(&body) != at.leaf {
        return Err(IndexHistoryError::OtherEntry { index });
    }
    let Ok(entry) = Entry::parse(&body) else { return from_index(None) };
    let payload = match entry.payload_hash() {
        None => None,
        Some(hash) => match statement(log, hash).await {
            Ok(payload) => Some(payload),
            Err(why) => return from_index(Some(format!("the statement of entry {index}: {why}"))),
        },
    };
    let authorities = &trust.certificate_authorities;
    let time = time_of(log, index, entry.payload_hash()).await;
    Ok((Seen::read(at, &entry, payload.as_deref(), time, intermediates, authorities), None))
}

/// When the log says that it logged the entry with this payload; `None` if it does not say.
async fn time_of(
    log: &LogReader<'_>,
    index: LeafIndex,
    payload_hash: Option<Hash>,
) -> Option<SeenTime> {
    let digest = format!("sha256:{}", payload_hash?);
    let cursor = index.to_string();
    let page = [("order", "oldest"), ("limit", "1"), ("cursor", cursor.as_str())];
    let found = log.search(&[(Tag::PayloadDigest.name(), digest.as_str())], &page).await.ok()?;
    let hit = found.entries.first().filter(|hit| hit.index == cursor && hit.time <= TIME_MAX)?;
    Some(SeenTime { seconds: hit.time, word: Word::Log })
}

async fn statement(log: &LogReader<'_>, hash: Hash) -> Result<Vec<u8>, String> {
    let found = log.statement_or_none(hash).await.map_err(|error| error.to_string())?;
    found.ok_or_else(|| "the log does not have it".to_owned())
}

/// What facts say. The monitor verified the signatures, but not what certificates call the holder:
/// that may be true.
fn from_facts(at: EntryRef, record: &Record) -> Seen {
    let text = |fact: &Fact| String::from_utf8(fact.value.clone()).ok();
    let values = |tag: Tag| record.facts.iter().filter(move |fact| fact.tag == tag);
    let hash = |text: String| {
        let bytes = treering_proto::encoding::from_hex_lower(&text)?;
        Hash::from_slice(&bytes)
    };
    // Nor could it verify these: the one keeps no signature, the other not always what was signed.
    let is_unproven = matches!(record.kind, Some(EntryKind::IntotoV001 | EntryKind::RekordV001));
    let is_digest = record.kind.is_none_or(is_digest);
    let model = values(Tag::ModelId).find_map(text).and_then(hash);
    let predicate_type = values(Tag::PredicateType).find_map(text);
    let notice = predicate_type.filter(|predicate| predicate.starts_with(NOTICE_TYPES));
    let what = match (model, notice) {
        _ if record.kind == Some(EntryKind::IntotoV001) => What::Other,
        _ if is_digest || record.is_incomplete => What::Opaque,
        (_, Some(predicate_type)) => {
            let digests = values(Tag::ArtifactDigest).filter_map(text);
            let id = |digest: String| {
                let (algorithm, id) = digest.split_once(':')?;
                hash(id.to_owned()).filter(|_| algorithm == MODEL_ID_ALGORITHM)
            };
            let (models, why) = (digests.filter_map(id).collect(), "only the log has its text");
            What::UnreadableNotice { models, predicate_type, why: why.to_owned() }
        }
        (None, None) => What::Other,
        (Some(model_id), None) => What::Model(SeenModel {
            model_id,
            name: values(Tag::SubjectName).find_map(text),
            said: None,
        }),
    };
    // Whether a certificate was valid then is not known either.
    let identities: Vec<String> = values(Tag::Identity).filter_map(text).collect();
    let in_time = identities.is_empty();
    let issuers: Vec<String> = values(Tag::Issuer).filter_map(text).collect();
    let mut may_be = By::names(&identities, None);
    may_be.extend(issuers.iter().flat_map(|issuer| By::names(&identities, Some(issuer))));
    let who =
        |key| Who { key, identities: Vec::new(), issuer: None, in_time, may_be: may_be.clone() };
    let keys = values(Tag::PublicKey).filter_map(text).filter_map(hash);
    let signed_by = match record.is_incomplete || is_unproven {
        true => Vec::new(),
        false => keys.map(who).collect(),
    };
    Seen { entry: at, time: None, signed_by, what }
}

#[cfg(test)]
mod tests;
