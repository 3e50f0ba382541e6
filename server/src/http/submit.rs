//! Submissions, common to both Rekor faces: read the body, verify the entry, wait for its outcome.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::{Request, StatusCode};
use treering_proto::entry::{EntryError, VerifiedEntry};

use super::App;
use super::reply::Fault;
use crate::health::Refusal;
use crate::limits::{ANSWER_TIME_MAX, BODY_TIME_MAX, LARGE_BODY_BYTES};
use crate::pool::{Outcome, Rejected};

/// How a face reads its submissions.
pub type Parse = fn(&[u8]) -> Result<VerifiedEntry, EntryError>;

/// A submission that ended well: it is logged now, or was before.
pub struct Submitted {
    /// The entry.
    pub entry: VerifiedEntry,
    /// Logged, or a duplicate.
    pub outcome: Outcome,
}

/// Why a submission did not end well.
pub enum NotSubmitted {
    /// It is not an entry.
    Entry(EntryError),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for NotSubmitted {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a body of at most `max` bytes. Compressed bodies are refused: what they unpack to has no
/// bound.
pub async fn read_body(request: Request<Incoming>, max: usize) -> Result<Bytes, Fault> {
    if request.headers().contains_key(CONTENT_ENCODING) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Fault::new(status, "content-encoding", "compressed bodies are not accepted"));
    }
    let collect = Limited::new(request.into_body(), max).collect();
    match tokio::time::timeout(BODY_TIME_MAX, collect).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("Request Entity Too Large. Limit set to {max}");
            Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", message))
        }
        Ok(Err(_)) => Err(Fault::bad_request("body-cut-off", "the request body was cut off")),
        Err(_) => {
            let message = "the request body took too long";
            Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", message))
        }
    }
}

/// Verifies a submission and takes it through the pool.
pub async fn submit(
    app: &App,
    body: Bytes,
    parse: Parse,
    wants_set: bool,
) -> Result<Submitted, NotSubmitted> {
    if !app.open_writes {
        let message = "this log takes no entries: writes are closed (serve with --open-writes)";
        return Err(Fault::new(StatusCode::FORBIDDEN, "writes-closed", message).into());
    }
    if let Some(refusal) = app.health.refusal() {
        return Err(refused(&refusal).into());
    }
    let entry = verify(app, body, parse).await?;
    let receiver = match app.pool.submit(entry.clone(), wants_set) {
        Ok(receiver) => receiver,
        Err(Rejected::Full) => {
            let message = "reached max pushback; retry";
            return Err(Fault::unavailable("pool-full", message).into());
        }
        Err(Rejected::Refused(refusal)) => return Err(refused(&refusal).into()),
    };
    match tokio::time::timeout(ANSWER_TIME_MAX, receiver).await {
        Ok(Ok(Outcome::Refused(refusal))) => Err(refused(&refusal).into()),
        Ok(Ok(outcome)) => Ok(Submitted { entry, outcome }),
        Ok(Err(_)) => Err(refused(&Refusal::Stopping).into()),
        Err(_) => {
            let message = "the entry was not published in time; submit it again to learn its fate";
            Err(Fault::unavailable("publish-timeout", message).into())
        }
    }
}

/// Verifies small bodies here, where a hand-over would cost more than the signature, and large ones
/// off this thread.
async fn verify(app: &App, body: Bytes, parse: Parse) -> Result<VerifiedEntry, NotSubmitted> {
    if body.len() <= LARGE_BODY_BYTES {
        return parse(&body).map_err(NotSubmitted::Entry);
    }
    let permit = app.large_bodies.clone().acquire_owned().await.map_err(Fault::internal)?;
    let verified = tokio::task::spawn_blocking(move || {
        let verified = parse(&body);
        drop(permit);
        verified
    });
    verified.await.map_err(Fault::internal)?.map_err(NotSubmitted::Entry)
}

fn refused(refusal: &Refusal) -> Fault {
    Fault::unavailable(refusal.label(), refusal.message())
}
