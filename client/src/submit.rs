//! Logging a signed envelope: send it, and come back with the entry and its proof.
//!
//! ```text
//! refuse here what the log would refuse -> POST -> 201: index | 409: the same entry is there
//!                                            |-> not taken: wait, send again
//!                                            '-> unknown: look it up by its leaf, then send again
//! index -> GET the entry with its proof
//! ```
//!
//! Invariants: an envelope whose log entry would be refused is never sent; whatever the network
//! does, sending the same envelope again cannot make a second entry, because it has the same leaf;
//! once a request may have arrived, no error says that the envelope is not logged.
//! Out of scope: believing the answer; callers verify it like any bundle.

use treering_proto::api::v1::{LogEntries, LogEntry};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::dsse_envelope::Envelope;
use treering_proto::encoding::to_base64;
use treering_proto::entry::{EntryError, VerifiedEntry};
use treering_proto::evidence::Promise;
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;
use treering_proto::verifier::Verifier;

use crate::log::{ENTRY_ANSWER_LEN_MAX, LogError, LogReader, refused};
use crate::online::promise::promise_in;
use crate::transport::{Answer, Sent, TransportError, Trouble};

const ENTRIES: &str = "/api/v1/log/entries";

/// Why an envelope is not logged, as far as we know.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No log would take it; it was not sent.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log does not take it.
    #[error("the log does not take this entry: {message}")]
    Refused {
        /// The log's words.
        message: String,
    },
    /// The log could not be read, or not reached.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no log behind the URL.
    #[error("{ENTRIES} is not there, so log.url in the trust file is not that of a log")]
    NoLog,
    /// It was sent, and may or may not have arrived.
    #[error("the entry was sent, and what became of it is not known: {0}")]
    Unsure(#[source] Box<SubmitError>),
    /// The log took it, or had it, and did not prove that.
    #[error("the log answered that it has the entry, but gave no proof: {error}")]
    Unproven {
        /// Where, by the log's word.
        index: LeafIndex,
        /// The same under a signature that is not verified.
        promised: Option<Box<Promise>>,
        /// What came instead of a proof.
        #[source]
        error: Box<SubmitError>,
    },
    /// The log answered about another entry.
    #[error("the log answered with another entry than the one that was sent")]
    OtherEntry,
}

/// Whether the log had the entry already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Novelty {
    /// It is new.
    New,
    /// It was there.
    Known,
}

/// What came back for an envelope.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// Its entry, as the log shows it.
    pub entry: TransparencyLogEntry,
    /// Whether the log had it already.
    pub novelty: Novelty,
    /// The index and time that the log signed when it took the entry; nothing in it is verified.
    pub promised: Option<Promise>,
}

/// A Rekor v1 answer about the entry that was sent.
struct Placed {
    index: LeafIndex,
    answer: LogEntry,
}

/// Logs `envelope`, signed under `verifier`.
///
/// # Errors
/// [`SubmitError`].
pub async fn submit(
    log: &LogReader<'_>,
    envelope: &Envelope,
    verifier: &Verifier,
) -> Result<Submitted, SubmitError> {
    let request = request_json(envelope, verifier);
    let expected = VerifiedEntry::from_v1_request(&request)?;
    let (Placed { index, answer }, novelty) = send(log, request, expected.leaf()).await?;
    let promised = promise_in(&answer, expected.body());
    let unproven = |error| {
        let promised = promised.clone().map(Box::new);
        SubmitError::Unproven { index, promised, error: Box::new(error) }
    };
    let entry = log.entry(index).await.map_err(|error| unproven(error.into()))?;
    if entry.canonicalized_body != expected.body() || entry.log_index != index {
        return Err(unproven(SubmitError::OtherEntry));
    }
    Ok(Submitted { entry, novelty, promised })
}

/// The body of a Rekor v1 submission of kind `dsse` 0.0.1.
pub(crate) fn request_json(envelope: &Envelope, verifier: &Verifier) -> Vec<u8> {
    let envelope = String::from_utf8(envelope.to_json()).expect("JSON is UTF-8");
    let request = serde_json::json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "proposedContent": {
                "envelope": envelope,
                "verifiers": [to_base64(verifier.to_pem().as_bytes())],
            },
        },
    });
    request.to_string().into_bytes()
}

async fn send(
    log: &LogReader<'_>,
    request: Vec<u8>,
    leaf: Hash,
) -> Result<(Placed, Novelty), SubmitError> {
    let mut tries = 0;
    let mut maybe_arrived = false;
    loop {
        let tried = try_once(log, &request, leaf, &mut maybe_arrived).await;
        let trouble = match tried {
            Ok(Tried::Logged(placed, novelty)) => return Ok((placed, novelty)),
            Ok(Tried::Again(trouble)) => trouble,
            Err(error) => return Err(unsure_if(maybe_arrived, error)),
        };
        let waited = log.transport.wait(&mut tries, &trouble).await;
        waited.map_err(|error| unsure_if(maybe_arrived, LogError::from(error).into()))?;
    }
}

/// What came of one try that did not fail for good.
enum Tried {
    Logged(Placed, Novelty),
    Again(Trouble),
}

/// Looks the entry up if an earlier request may have arrived, and sends it unless it is there.
/// `maybe_arrived` becomes true as soon as it may have.
async fn try_once(
    log: &LogReader<'_>,
    request: &[u8],
    leaf: Hash,
    maybe_arrived: &mut bool,
) -> Result<Tried, SubmitError> {
    if *maybe_arrived && let Some(found) = log.rekor_v1_entry(&leaf.to_hex()).await? {
        return Ok(Tried::Logged(read_entry(&found, leaf)?, Novelty::New));
    }
    let sent = log.transport.post_once(ENTRIES, request.to_vec(), ENTRY_ANSWER_LEN_MAX).await;
    match sent {
        Ok(Sent::Answered(answer)) => {
            // Only a refusal says that nothing was taken.
            *maybe_arrived |= !(400..=499).contains(&answer.status) || answer.status == 409;
            let (placed, novelty) = read_answer(log, &answer, leaf).await?;
            Ok(Tried::Logged(placed, novelty))
        }
        Ok(Sent::NotTaken(trouble)) => Ok(Tried::Again(trouble)),
        Ok(Sent::Unknown(trouble)) => {
            *maybe_arrived = true;
            Ok(Tried::Again(trouble))
        }
        Err(error) => {
            *maybe_arrived |= matches!(error, TransportError::TooLong { .. });
            Err(LogError::from(error).into())
        }
    }
}

fn unsure_if(maybe_arrived: bool, error: SubmitError) -> SubmitError {
    if maybe_arrived { SubmitError::Unsure(Box::new(error)) } else { error }
}

async fn read_answer(
    log: &LogReader<'_>,
    answer: &Answer,
    leaf: Hash,
) -> Result<(Placed, Novelty), SubmitError> {
    match answer.status {
        200 | 201 => Ok((read_entry(&answer.body, leaf)?, Novelty::New)),
        409 => {
            let location = answer.location.as_deref().unwrap_or_default();
            let id = location.rsplit('/').next().unwrap_or_default();
            // The leaf in the answer must be ours; the entry behind it is compared again.
            if !is_entry_id(id, leaf) {
                return Err(SubmitError::OtherEntry);
            }
            let found = log.rekor_v1_entry(id).await?.ok_or(SubmitError::OtherEntry)?;
            Ok((read_entry(&found, leaf)?, Novelty::Known))
        }
        404 => Err(SubmitError::NoLog),
        // The log waited for the request and gave up.
        408 => Err(refused(ENTRIES, answer).into()),
        400..=499 => Err(SubmitError::Refused { message: answer.message() }),
        _ => Err(refused(ENTRIES, answer).into()),
    }
}

/// A Rekor v1 answer about exactly one entry, that of `leaf`.
fn read_entry(json: &[u8], leaf: Hash) -> Result<Placed, SubmitError> {
    let malformed = || LogError::Malformed { path: ENTRIES.to_owned() };
    let entries: LogEntries = serde_json::from_slice(json).map_err(|_| malformed())?;
    let mut entries = entries.into_iter();
    let (Some((id, answer)), None) = (entries.next(), entries.next()) else {
        return Err(malformed().into());
    };
    if !is_entry_id(&id, leaf) {
        return Err(SubmitError::OtherEntry);
    }
    // The index in the proof is that in this tree, also where a log has older shards.
    let index = answer.verification.inclusion_proof.log_index;
    let index = LeafIndex::new(index).ok_or_else(malformed)?;
    Ok(Placed { index, answer })
}

/// Whether `id` names `leaf` in some tree: 16 hexadecimal digits of the tree, 64 of the leaf.
fn is_entry_id(id: &str, leaf: Hash) -> bool {
    id.strip_suffix(&leaf.to_hex())
        .is_some_and(|tree| tree.len() == 16 && tree.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;
