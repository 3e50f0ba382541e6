//! `POST /api/v1/log/entries`: 201 with the entry, its proof and its promise, once it is published;
//! 409 and where it is, if it was there before.
//!
//! `Location` is the path of the entry and nothing more: no slash twice where the request had one
//! at its end, and none of the request's query.

use hyper::body::Incoming;
use hyper::header::{ETAG, LOCATION};
use hyper::{Request, StatusCode};
use treering_proto::api::v1::{EntryId, LogEntries, code, to_json};
use treering_proto::entry::{EntryError, VerifiedEntry};

use super::entry::{Found, log_entry};
use super::{ENTRIES, ascii, require_json, tree_id};
use crate::http::gate::Visit;
use crate::http::reply::{Fault, Reply, json};
use crate::http::submit::{Submitted, read_body, submit};
use crate::limits::{ANSWER_TIME_MAX, V1_BODY_BYTES_MAX};
use crate::pool::{Logged, Outcome};

/// `POST /api/v1/log/entries`.
pub async fn serve_submit(visit: &mut Visit, request: Request<Incoming>) -> Result<Reply, Fault> {
    let app = visit.app();
    let app = app.as_ref();
    require_json(&request)?;
    let body = read_body(app, &visit.peer(), request, V1_BODY_BYTES_MAX).await?;
    let parse =
        |request: &[u8]| VerifiedEntry::from_v1_request(request).map_err(|error| invalid(&error));
    let submitted = submit(visit, body, parse, ANSWER_TIME_MAX).await?;
    let Submitted { leaf, kind, body, outcome } = submitted;
    let id = EntryId { tree_id: tree_id(app), leaf }.to_string();
    let location = format!("{ENTRIES}/{id}");
    match outcome {
        Outcome::Logged(Logged { index, time, snapshot, set }) => {
            let set = set.expect("an entry of Rekor v1 gets a SET");
            let found = Found { index, time, kind, body, set };
            let entries = LogEntries::from([(id.clone(), log_entry(app, &snapshot, &found)?)]);
            let mut reply = json(to_json(&entries));
            *reply.status_mut() = StatusCode::CREATED;
            let headers = reply.headers_mut();
            headers.insert(ETAG, ascii(&id));
            headers.insert(LOCATION, ascii(&location));
            Ok(reply)
        }
        Outcome::Duplicate(_) => {
            let message = format!(
                "an equivalent entry already exists in the transparency log with UUID {id}"
            );
            let fault = Fault::new(StatusCode::CONFLICT, "duplicate", message);
            Err(fault.with(LOCATION, &location))
        }
        Outcome::Refused(_) => unreachable!("refusals came back as faults"),
    }
}

fn invalid(error: &EntryError) -> Fault {
    match error {
        EntryError::UnknownKind(_) => {
            let fault = Fault::v1_invalid(422, error.to_string());
            Fault { label: "unknown-kind", ..fault }
        }
        EntryError::Missing(_) => {
            let fault = Fault::v1_invalid(code::REQUIRED, error.to_string());
            Fault { label: "missing-field", ..fault }
        }
        EntryError::Malformed(why) => Fault::bad_request("malformed", why.clone()),
        EntryError::RefusedKind { .. } => Fault::bad_request("refused-kind", error.to_string()),
        other => {
            let message = format!("error processing entry: {other}");
            Fault::bad_request("invalid-entry", message)
        }
    }
}
