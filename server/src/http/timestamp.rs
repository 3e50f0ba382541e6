//! Timestamps over HTTP, as Sigstore's timestamp authority gives them: the request in DER or in
//! JSON, the answer in DER.
//!
//! ```text
//! POST /api/v1/timestamp            application/timestamp-query, application/json
//!                                   -> 200 application/timestamp-reply
//! GET  /api/v1/timestamp/certchain  -> 200 application/pem-certificate-chain
//! ```
//!
//! Open to everybody, because Sigstore's clients send no credentials; it counts as a read of its
//! address, because it costs about as much and leaves nothing. There is no line of it in the access
//! journal, which says who changed the log. As that authority does, a request that gets no token
//! gets an error in JSON, and no `TimeStampResp` with a status: its clients look at the HTTP status
//! first.
//!
//! A token says nothing of the tree. So a log that takes no entries, for want of disk, witnesses or
//! what a backup lacked, stamps still; one whose clock is behind, or that has latched for whatever
//! reason, does not.

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use treering_proto::timestamp::TimestampRequest;

use super::App;
use super::accept::Peer;
use super::media_type;
use super::reply::{Fault, Reply, plain};
use super::submit::read_body;
use crate::clock::ClockError;
use crate::health::{LatchReason, Refusal};
use crate::limits::TIMESTAMP_BODY_BYTES_MAX;
use crate::timestamp::Unstamped;

/// `POST /api/v1/timestamp`.
///
/// # Errors
/// 400 for what is no request; 413, 415; 501 without an authority; 503 while no time can be given.
pub async fn serve_timestamp(
    app: &App,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    let stamped = stamp(app, peer, request).await;
    app.metrics.timestamp(stamped.as_ref().map_or_else(|fault| fault.label, |_| "granted"));
    stamped.map(|token| plain(REPLY, token))
}

async fn stamp(app: &App, peer: &Peer, request: Request<Incoming>) -> Result<Vec<u8>, Fault> {
    let Some(timestamps) = &app.timestamps else {
        let status = StatusCode::NOT_IMPLEMENTED;
        return Err(Fault::new(status, NO_TIMESTAMPS, "this log gives no timestamps"));
    };
    let media_type = media_type::require(&request, &[QUERY, JSON])?;
    let body = read_body(app, peer, request, TIMESTAMP_BODY_BYTES_MAX).await?;
    let asked = match media_type {
        QUERY => TimestampRequest::from_der(&body.bytes),
        _ => TimestampRequest::from_json(&body.bytes),
    };
    let asked = asked.map_err(|error| Fault::bad_request(error.label(), error.to_string()))?;
    if let Some(refusal) = app.health.refusal().filter(Refusal::stops_timestamps) {
        return Err(Fault::unavailable(refusal.label(), refusal.public_message()));
    }
    timestamps.stamp(&asked).map_err(|unstamped| unavailable(app, unstamped))
}

/// What the sequencer would do about the same clock, which it may not have looked at yet.
fn unavailable(app: &App, unstamped: Unstamped) -> Fault {
    let refusal = match unstamped {
        Unstamped::Expired { .. } => {
            let message = "the certificates of the log's timestamp authority are not valid now";
            return Fault::unavailable("timestamps-expired", message);
        }
        Unstamped::Clock(error @ ClockError::Behind { .. }) => {
            Refusal::ClockBehind(error.to_string())
        }
        Unstamped::Clock(error @ ClockError::Jumped { .. }) => {
            let why = error.to_string();
            app.health.latch(LatchReason::Clock, why.clone());
            Refusal::Latched(LatchReason::Clock, why)
        }
    };
    Fault::unavailable(refusal.label(), refusal.public_message())
}

/// `GET /api/v1/timestamp/certchain`: the leaf first, the root last.
///
/// # Errors
/// 404 without an authority.
pub fn serve_chain(app: &App) -> Result<Reply, Fault> {
    let timestamps = app.timestamps.as_ref().ok_or_else(|| {
        Fault::not_found(
            NO_TIMESTAMPS,
            "this log gives no timestamps, and has no certificates for it",
        )
    })?;
    Ok(plain(CHAIN, timestamps.authority.chain().to_owned()))
}

const NO_TIMESTAMPS: &str = "no-timestamps";
const QUERY: &str = "application/timestamp-query";
const JSON: &str = "application/json";
const REPLY: HeaderValue = HeaderValue::from_static("application/timestamp-reply");
const CHAIN: HeaderValue = HeaderValue::from_static("application/pem-certificate-chain");
