//! The Rekor v2 face: submissions. (Its reads are the C2SP face under another prefix.)
//!
//! Contract: rekor-tiles' `POST /api/v2/log/entries`. 201 with one `TransparencyLogEntry`; 409 with
//! `x-log-index`; errors as grpc-gateway writes them.

use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Request, StatusCode};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::entry::{EntryError, VerifiedEntry};

use super::gate::Visit;
use super::native::log_entry;
use super::reply::{Fault, Reply, json};
use super::submit::{NotSubmitted, Submitted, read_body, submit};
use crate::limits::V2_BODY_BYTES_MAX;
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
    let submitted = submit(visit, body, VerifiedEntry::from_v2_request).await;
    let Submitted { kind, body, outcome, .. } = submitted.map_err(|error| match error {
        NotSubmitted::Fault(fault) => fault,
        NotSubmitted::Entry(error) => invalid(&error),
    })?;
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

fn invalid(error: &EntryError) -> Fault {
    match error {
        EntryError::UnknownKind(_) => {
            let message = "invalid type, must be either hashedrekord or dsse";
            Fault::bad_request("unknown-kind", message)
        }
        EntryError::Malformed(why) => Fault::bad_request("malformed", format!("proto: {why}")),
        other => Fault::bad_request("invalid-entry", format!("invalid entry: {other}")),
    }
}
