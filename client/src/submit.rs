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
//! does, sending again cannot make a second entry, because the same envelope has the same leaf.
//! Out of scope: believing the answer; callers verify it like any bundle.

use treering_proto::api::v1::LogEntries;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::dsse_envelope::Envelope;
use treering_proto::encoding::to_base64;
use treering_proto::entry::{EntryError, VerifiedEntry};
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;
use treering_proto::verifier::Verifier;

use crate::log::{ENTRY_ANSWER_LEN_MAX, LogError, LogReader, refused};
use crate::transport::{Answer, Sent, TransportError};

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
    /// It was sent, and no answer came in time.
    #[error("the entry was sent, and no answer came in time: {why}")]
    Unknown {
        /// The last fault.
        why: String,
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

/// Logs `envelope`, signed under `verifier`.
///
/// # Errors
/// [`SubmitError`].
pub async fn submit(
    log: &LogReader<'_>,
    envelope: &Envelope,
    verifier: &Verifier,
) -> Result<(TransparencyLogEntry, Novelty), SubmitError> {
    let request = request_json(envelope, verifier);
    let expected = VerifiedEntry::from_v1_request(&request)?;
    let (index, novelty) = send(log, request, expected.leaf()).await?;
    let entry = log.entry(index).await?;
    let same = entry.canonicalized_body == expected.body() && entry.log_index == index;
    if same { Ok((entry, novelty)) } else { Err(SubmitError::OtherEntry) }
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
) -> Result<(LeafIndex, Novelty), SubmitError> {
    let mut tries = 0;
    loop {
        let sent = log
            .transport
            .post_once(ENTRIES, request.clone(), ENTRY_ANSWER_LEN_MAX)
            .await
            .map_err(LogError::from)?;
        match sent {
            Sent::Answered(answer) => return read_answer(log, &answer, leaf).await,
            Sent::NotTaken(trouble) => {
                log.transport.wait(&mut tries, &trouble).await.map_err(LogError::from)?;
            }
            Sent::Unknown(trouble) => {
                let unknown = |error| match error {
                    LogError::Transport(TransportError::Unavailable { why }) => {
                        SubmitError::Unknown { why }
                    }
                    other => SubmitError::Log(other),
                };
                log.transport.wait(&mut tries, &trouble).await.map_err(|e| unknown(e.into()))?;
                if let Some(found) = log.rekor_v1_entry(&leaf.to_hex()).await.map_err(unknown)? {
                    return Ok((read_entry(&found, leaf)?, Novelty::New));
                }
            }
        }
    }
}

async fn read_answer(
    log: &LogReader<'_>,
    answer: &Answer,
    leaf: Hash,
) -> Result<(LeafIndex, Novelty), SubmitError> {
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
        400..=499 => Err(SubmitError::Refused { message: answer.message() }),
        _ => Err(refused(ENTRIES, answer).into()),
    }
}

/// The index in a Rekor v1 answer about exactly one entry, that of `leaf`.
fn read_entry(json: &[u8], leaf: Hash) -> Result<LeafIndex, SubmitError> {
    let malformed = || LogError::Malformed { path: ENTRIES.to_owned() };
    let entries: LogEntries = serde_json::from_slice(json).map_err(|_| malformed())?;
    let mut entries = entries.into_iter();
    let (Some((id, entry)), None) = (entries.next(), entries.next()) else {
        return Err(malformed().into());
    };
    if !is_entry_id(&id, leaf) {
        return Err(SubmitError::OtherEntry);
    }
    // The index in the proof is that in this tree, also where a log has older shards.
    let index = entry.verification.inclusion_proof.log_index;
    LeafIndex::new(index).ok_or_else(|| malformed().into())
}

/// Whether `id` names `leaf` in some tree: 16 hexadecimal digits of the tree, 64 of the leaf.
fn is_entry_id(id: &str, leaf: Hash) -> bool {
    id.strip_suffix(&leaf.to_hex())
        .is_some_and(|tree| tree.len() == 16 && tree.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;
