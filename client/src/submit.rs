//! Logging a signed envelope: send it, and come back with the entry and its proof.
//!
//! ```text
//! refuse here what the log would refuse -> POST -> 201: index | 409: the same entry is there
//!                                            |-> not taken: wait, send again
//!                                            '-> unknown: look it up by its leaf, then send again
//! index -> GET the entry with its proof
//! ```
//!
//! It is sent as `dsse` 0.0.1 of Rekor v1, and to a log that takes nothing through Rekor v1 as
//! `dsse` 0.0.2 of Rekor v2: both tell the log the same statement.
//!
//! Invariants: an envelope whose log entry would be refused is never sent; whatever the network
//! does, sending the same envelope again through one face cannot make a second entry, because it
//! has the same leaf; it goes through Rekor v2 only if it is not there from Rekor v1; once a
//! request may have arrived, no error says that the envelope is not logged.
//! Out of scope: believing the answer; callers verify it like any bundle. A log that takes entries
//! through Rekor v1 again, after it did not, gets a second entry for what was sent meanwhile.

use treering_proto::api::v1::{LogEntries, LogEntry};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::dsse_envelope::Envelope;
use treering_proto::encoding::to_base64;
use treering_proto::entry::hashedrekord::KeyDetails;
use treering_proto::entry::{EntryError, VerifiedEntry};
use treering_proto::evidence::Promise;
use treering_proto::hash::Hash;
use treering_proto::key::KeyKind;
use treering_proto::tree::LeafIndex;
use treering_proto::verifier::Verifier;

use crate::log::{ENTRY_ANSWER_LEN_MAX, LogError, LogReader, refused};
use crate::online::promise::promise_in;
use crate::transport::{Answer, Sent, TransportError, Trouble};

const ENTRIES: &str = "/api/v1/log/entries";

const V2_ENTRIES: &str = "/api/v2/log/entries";

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

/// An envelope as it is sent through one face, and the entry that it must become.
struct Proposal {
    path: &'static str,
    request: Vec<u8>,
    entry: VerifiedEntry,
}

impl Proposal {
    fn v1(envelope: &Envelope, verifier: &Verifier) -> Result<Self, EntryError> {
        let request = request_json(envelope, verifier);
        let entry = VerifiedEntry::from_v1_request(&request)?;
        Ok(Self { path: ENTRIES, request, entry })
    }

    fn v2(envelope: &Envelope, verifier: &Verifier) -> Result<Self, EntryError> {
        let request = v2_request_json(envelope, verifier);
        let entry = VerifiedEntry::from_v2_request(&request)?;
        Ok(Self { path: V2_ENTRIES, request, entry })
    }
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
    let mut proposal = Proposal::v1(envelope, verifier)?;
    let mut sent = send(log, &proposal).await?;
    // It may have been logged before this face was closed, and is another entry through the other.
    if let Tried::NotOffered(_) = sent
        && let Ok(Some(placed)) = look_up(log, proposal.entry.leaf()).await
    {
        sent = Tried::Logged(placed, Novelty::Known);
    }
    // Not every signature that Rekor v1 takes has a form in Rekor v2.
    if let Tried::NotOffered(_) = sent
        && let Ok(v2) = Proposal::v2(envelope, verifier)
    {
        proposal = v2;
        sent = send(log, &proposal).await?;
    }
    let (Placed { index, answer }, novelty) = match sent {
        Tried::Logged(placed, novelty) => (placed, novelty),
        Tried::NotOffered(message) => return Err(SubmitError::Refused { message }),
        Tried::Again(_) => unreachable!("it was tried again until it was known"),
    };
    let body = proposal.entry.body();
    let promised = promise_in(&answer, body);
    let unproven = |error| {
        let promised = promised.clone().map(Box::new);
        SubmitError::Unproven { index, promised, error: Box::new(error) }
    };
    let entry = log.entry(index).await.map_err(|error| unproven(error.into()))?;
    if entry.canonicalized_body != body || entry.log_index != index {
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

/// The body of a Rekor v2 submission of kind `dsse` 0.0.2.
fn v2_request_json(envelope: &Envelope, verifier: &Verifier) -> Vec<u8> {
    let envelope: serde_json::Value =
        serde_json::from_slice(&envelope.to_json()).expect("an envelope is written as JSON");
    let (field, raw) = match verifier.certificate() {
        None => ("publicKey", verifier.key().spki_der()),
        Some(certificate) => ("x509Certificate", certificate.der()),
    };
    let details = match verifier.key().kind() {
        // Envelopes are signed without hashing them first.
        KeyKind::Ed25519 => KeyDetails::Ed25519,
        kind => KeyDetails::prehashed(kind),
    };
    let verifier = serde_json::json!({
        field: { "rawBytes": to_base64(raw) }, "keyDetails": details.name(),
    });
    let dsse = serde_json::json!({ "envelope": envelope, "verifiers": [verifier] });
    serde_json::json!({ "dsseRequestV002": dsse }).to_string().into_bytes()
}

/// Sends it until it is known what became of it; never [`Tried::Again`].
async fn send(log: &LogReader<'_>, proposal: &Proposal) -> Result<Tried, SubmitError> {
    let mut tries = 0;
    let mut maybe_arrived = false;
    loop {
        let tried = try_once(log, proposal, &mut maybe_arrived).await;
        let trouble = match tried {
            Ok(Tried::Again(trouble)) => trouble,
            Ok(done) => return Ok(done),
            Err(error) => return Err(unsure_if(maybe_arrived, error)),
        };
        let waited = log.transport.wait(&mut tries, &trouble).await;
        waited.map_err(|error| unsure_if(maybe_arrived, LogError::from(error).into()))?;
    }
}

/// What came of one try that did not fail for good.
enum Tried {
    Logged(Placed, Novelty),
    /// The log takes nothing through this face; its words.
    NotOffered(String),
    Again(Trouble),
}

/// Looks the entry up if an earlier request may have arrived, and sends it unless it is there.
/// `maybe_arrived` becomes true as soon as it may have.
async fn try_once(
    log: &LogReader<'_>,
    proposal: &Proposal,
    maybe_arrived: &mut bool,
) -> Result<Tried, SubmitError> {
    let Proposal { path, request, entry } = proposal;
    if *maybe_arrived && let Some(placed) = look_up(log, entry.leaf()).await? {
        return Ok(Tried::Logged(placed, Novelty::New));
    }
    let sent = log.transport.post_once(path, request.clone(), ENTRY_ANSWER_LEN_MAX).await;
    match sent {
        Ok(Sent::Answered(answer)) if answer.status == 501 && !*maybe_arrived => {
            Ok(Tried::NotOffered(answer.message()))
        }
        Ok(Sent::Answered(answer)) => {
            // Only a refusal says that nothing was taken.
            *maybe_arrived |= !(400..=499).contains(&answer.status) || answer.status == 409;
            read_answer(log, proposal, &answer).await
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

/// The entry with this leaf as Rekor v1 shows it, whichever face it came through.
async fn look_up(log: &LogReader<'_>, leaf: Hash) -> Result<Option<Placed>, SubmitError> {
    let found = log.rekor_v1_entry(&leaf.to_hex()).await?;
    found.map(|found| read_entry(&found, leaf)).transpose()
}

fn unsure_if(maybe_arrived: bool, error: SubmitError) -> SubmitError {
    if maybe_arrived { SubmitError::Unsure(Box::new(error)) } else { error }
}

async fn read_answer(
    log: &LogReader<'_>,
    proposal: &Proposal,
    answer: &Answer,
) -> Result<Tried, SubmitError> {
    let (leaf, is_v2) = (proposal.entry.leaf(), proposal.path == V2_ENTRIES);
    match answer.status {
        // Both faces are asked for the same afterwards.
        200 | 201 | 409 if is_v2 => {
            let placed = look_up(log, leaf).await?.ok_or(SubmitError::OtherEntry)?;
            let is_known = answer.status == 409;
            Ok(Tried::Logged(placed, if is_known { Novelty::Known } else { Novelty::New }))
        }
        200 | 201 => Ok(Tried::Logged(read_entry(&answer.body, leaf)?, Novelty::New)),
        409 => {
            let location = answer.location.as_deref().unwrap_or_default();
            let id = location.rsplit('/').next().unwrap_or_default();
            // The leaf in the answer must be ours; the entry behind it is compared again.
            if !is_entry_id(id, leaf) {
                return Err(SubmitError::OtherEntry);
            }
            let found = log.rekor_v1_entry(id).await?.ok_or(SubmitError::OtherEntry)?;
            Ok(Tried::Logged(read_entry(&found, leaf)?, Novelty::Known))
        }
        404 => Err(SubmitError::NoLog),
        // The log waited for the request and gave up.
        408 => Err(refused(proposal.path, answer).into()),
        400..=499 => Err(SubmitError::Refused { message: answer.message() }),
        _ => Err(refused(proposal.path, answer).into()),
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
