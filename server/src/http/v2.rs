//! The Rekor v2 face: submissions. (Its reads are the C2SP face under another prefix.)
//!
//! Contract: rekor-tiles' `POST /api/v2/log/entries`. 201 with one `TransparencyLogEntry`; 409 with
//! `x-log-index`; errors as grpc-gateway writes them. A message begins with the words of
//! rekor-tiles and goes on with the reason, which rekor-tiles tells its own log only.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Request, StatusCode};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::entry::{EntryError, RequestV2, VerifiedEntry};

use super::App;
use super::gate::Visit;
use super::native::log_entry;
use super::reply::{Fault, Reply, json};
use super::submit::{Submitted, read_body, submit};
use crate::limits::{ANSWER_TIME_MAX, V2_ANSWER_TIME_MAX, V2_BODY_BYTES_MAX};
use crate::pool::Outcome;

/// `POST /api/v2/log/entries`.
pub async fn serve_submit(visit: &mut Visit, request: Request<Incoming>) -> Result<Reply, Fault> {
    let app = visit.app();
    let app = app.as_ref();
    let body =
        read_body(app, &visit.peer(), request, V2_BODY_BYTES_MAX).await.map_err(|fault| {
            // grpc-gateway answers 400 where HTTP would have 413.
            if fault.status == StatusCode::PAYLOAD_TOO_LARGE {
                return Fault::bad_request(fault.label, "http: request body too large");
            }
            fault
        })?;
    let refuse_dsse = app.offer.refuse_dsse;
    let parse = move |request: &[u8]| verify(request, refuse_dsse);
    let submitted = submit(visit, body, parse, answer_time(app)).await?;
    let Submitted { kind, body, outcome, .. } = submitted;
    match outcome {
        Outcome::Logged(logged) => {
            let entry: TransparencyLogEntry =
                log_entry(app, &logged.snapshot, logged.index, &body, kind)?;
            let mut reply = json(entry.to_json());
            *reply.status_mut() = StatusCode::CREATED;
            Ok(reply)
        }
        Outcome::Duplicate(index) => {
            let message = format!(
                "an equivalent entry already exists in the transparency log with index {index}"
            );
            let fault = Fault::new(StatusCode::CONFLICT, "duplicate", message);
            Err(fault.with(HeaderName::from_static("x-log-index"), &index.to_string()))
        }
        Outcome::Refused(_) => unreachable!("refusals came back as faults"),
    }
}

/// How long a submitter waits. sigstore-js gives up after 5 s and sends the same again, so that it
/// should hear before that; but a quorum of witnesses may take longer than 4 s, and the other
/// clients are patient.
pub(super) fn answer_time(app: &App) -> Duration {
    if app.is_witnessed { ANSWER_TIME_MAX } else { V2_ANSWER_TIME_MAX }
}

/// Reads a submission, then decides about its kind, then verifies it.
fn verify(request: &[u8], refuse_dsse: bool) -> Result<VerifiedEntry, Fault> {
    let request = RequestV2::parse(request).map_err(|error| match error {
        EntryError::Malformed(why) => Fault::bad_request("malformed", format!("proto: {why}")),
        other => Fault::bad_request("malformed", format!("proto: {other}")),
    })?;
    match request.kind() {
        Some("dsse") if refuse_dsse => {
            Err(Fault::bad_request("dsse-refused", "invalid type, must be hashedrekord"))
        }
        None if refuse_dsse => {
            Err(Fault::bad_request("unknown-kind", "invalid type, must be hashedrekord"))
        }
        None => {
            let message = "invalid type, must be either hashedrekord or dsse";
            Err(Fault::bad_request("unknown-kind", message))
        }
        Some(kind) => request.verify().map_err(|error| invalid(kind, &error)),
    }
}

fn invalid(kind: &str, error: &EntryError) -> Fault {
    let message = match error {
        EntryError::TooLong { .. } => format!("invalid entry: {error}"),
        _ => format!("invalid {kind} request: {error}"),
    };
    Fault::bad_request("invalid-entry", message)
}
