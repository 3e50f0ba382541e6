//! Submissions, common to both Rekor faces: read the body, verify the entry, ask the gate, wait for
//! the outcome.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::{Request, StatusCode};
use treering_proto::entry::{EntryKind, VerifiedEntry};
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;

use super::App;
use super::accept::Peer;
use super::body::Room;
use super::gate::Visit;
use super::reply::Fault;
use crate::health::Refusal;
use crate::limits::{BODY_TIME_MAX, DROPPED_BYTES_MAX, LARGE_BODY_BYTES};
use crate::pool::{Outcome, Rejected};
use crate::publisher::Witnessed;

/// A submission that ended well: it is logged now, or was before.
pub struct Submitted {
    /// What it was.
    pub kind: EntryKind,
    /// Its leaf.
    pub leaf: Hash,
    /// Its canonical bytes.
    pub body: Vec<u8>,
    /// Logged, or a duplicate.
    pub outcome: Outcome,
}

/// A request body, and the room that it takes in memory.
pub struct RequestBody {
    /// The bytes.
    pub bytes: Bytes,
    _room: Room,
}

/// Reads a body of at most `max` bytes, if there is room for it. Compressed bodies are refused:
/// what they unpack to has no bound.
pub async fn read_body(
    app: &App,
    peer: &Peer,
    request: Request<Incoming>,
    max: usize,
) -> Result<RequestBody, Fault> {
    if request.headers().contains_key(CONTENT_ENCODING) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Fault::new(status, "content-encoding", "compressed bodies are not accepted"));
    }
    let mut room = app.budget.request(&peer.guest);
    let collected = collect(request.into_body(), max, &mut room);
    let bytes = tokio::time::timeout(BODY_TIME_MAX, collected).await.map_err(|_| {
        let message = "the request body took too long";
        Fault::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", message)
    })??;
    Ok(RequestBody { bytes, _room: room })
}

/// Keeps at most `max` bytes. What comes after them is read and dropped for a while: a client whose
/// connection is closed while it still sends does not hear why.
async fn collect(mut body: Incoming, max: usize, room: &mut Room) -> Result<Bytes, Fault> {
    let (mut kept, mut read) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let cut_off = |_| Fault::bad_request("body-cut-off", "the request body was cut off");
        let Ok(data) = frame.map_err(cut_off)?.into_data() else { continue };
        read += data.len();
        if read <= max {
            room.grow_to(read)?;
            kept.extend_from_slice(&data);
        } else if read > max + DROPPED_BYTES_MAX {
            break;
        }
    }
    if read > max {
        let message = format!("Request Entity Too Large. Limit set to {max}");
        return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", message));
    }
    Ok(kept.freeze())
}

/// Verifies a submission as `parse` reads it, asks whether it may be logged, and takes it through
/// the pool, within the time that clients of the face wait.
pub async fn submit<P>(
    visit: &mut Visit,
    body: RequestBody,
    parse: P,
    time_max: Duration,
) -> Result<Submitted, Fault>
where
    P: FnOnce(&[u8]) -> Result<VerifiedEntry, Fault> + Send + 'static,
{
    let app = visit.app();
    let verified = verify_and_wait(&app, visit, body, parse);
    match tokio::time::timeout(time_max, verified).await {
        Ok(submitted) => submitted,
        Err(_) => {
            let message = "the entry was not published in time; submit it again to learn its fate";
            Err(Fault::unavailable("publish-timeout", message))
        }
    }
}

async fn verify_and_wait<P>(
    app: &App,
    visit: &mut Visit,
    body: RequestBody,
    parse: P,
) -> Result<Submitted, Fault>
where
    P: FnOnce(&[u8]) -> Result<VerifiedEntry, Fault> + Send + 'static,
{
    let entry = verify(app, body, parse).await?;
    visit.authorise(&entry)?;
    let mut entry = visit.admit(entry).await?;
    // It is decided who may log it; what waits in the pool need not keep them.
    entry.forget_verifiers();
    let (kind, leaf, body) = (entry.kind(), entry.leaf(), entry.body().to_vec());
    let receiver = match app.pool.submit_for(visit.submitter(), visit.arrives(), entry) {
        Ok(receiver) => {
            visit.taken();
            receiver
        }
        Err(Rejected::Full) => {
            let message = "reached max pushback; retry";
            return Err(Fault::unavailable("pool-full", message));
        }
        Err(Rejected::Refused(refusal)) => return Err(refused(&refusal)),
    };
    match receiver.await {
        Ok(Outcome::Refused(refusal)) => {
            // After a latch, or when the server stops, nobody knows whether it is in the log; else
            // it certainly is not.
            if !matches!(refusal, Refusal::Latched(..) | Refusal::Stopping) {
                visit.not_logged();
            }
            Err(refused(&refusal))
        }
        // Logged by an earlier process, whose head the witnesses have not cosigned yet.
        Ok(Outcome::Duplicate(index)) if !is_published(app, index) => {
            let message = "the entry is logged and not published yet; submit it again";
            Err(Fault::unavailable("not-published", message))
        }
        Ok(outcome) => {
            match &outcome {
                Outcome::Logged(logged) => visit.logged(logged.index),
                Outcome::Duplicate(index) => visit.logged(*index),
                Outcome::Refused(_) => unreachable!("refusals were answered above"),
            }
            Ok(Submitted { kind, leaf, body, outcome })
        }
        Err(_) => Err(refused(&Refusal::Stopping)),
    }
}

/// Whether the entry at `index` may be acknowledged: it is published, and cosigned where that is
/// needed. What start-up shows again may be from a time without witnesses.
fn is_published(app: &App, index: LeafIndex) -> bool {
    let shown = app.published.snapshot();
    let lacks_quorum = app.needs_quorum && shown.witnessed == Witnessed::Missing;
    shown.head.size.contains(index) && !lacks_quorum
}

/// Verifies small bodies here, where a hand-over would cost more than the signature, and large ones
/// off this thread.
async fn verify<P>(app: &App, body: RequestBody, parse: P) -> Result<VerifiedEntry, Fault>
where
    P: FnOnce(&[u8]) -> Result<VerifiedEntry, Fault> + Send + 'static,
{
    if body.bytes.len() <= LARGE_BODY_BYTES {
        return parse(&body.bytes);
    }
    app.heavy_writes.run(move || parse(&body.bytes)).await?
}

fn refused(refusal: &Refusal) -> Fault {
    Fault::unavailable(refusal.label(), refusal.public_message())
}

#[cfg(test)]
mod tests;
