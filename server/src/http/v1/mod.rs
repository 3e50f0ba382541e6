//! The Rekor v1 face. Contract: Rekor 1.5's OpenAPI document and what its clients rely on; what
//! this log serves of it stands in `swagger.json`, beside this file.
//!
//! Invariant: an answer's proofs, roots, sizes and notes come from one snapshot; a note has one
//! signature line.

mod entry;
mod index;
mod log;
mod negotiate;
mod newest;
mod retrieve;
mod submit;

pub use entry::{serve_entry_by_id, serve_entry_by_index};
pub use index::serve_index;
pub use log::{serve_log_info, serve_proof, serve_public_key};
pub use retrieve::serve_retrieve;
pub use submit::serve_submit;

use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use treering_proto::api::v1::query::QueryError;
use treering_proto::api::v1::{TreeId, code};

use super::App;
use super::media_type;
use super::query::Query;
use super::reply::{Fault, NO_ENTRY};

/// What this log serves of Rekor v1, as an OpenAPI 2.0 document.
pub const DOCUMENT: &str = include_str!("swagger.json");

/// An operation that Rekor has and this log does not offer, refused as Rekor refuses it.
pub fn not_enabled(operation: &str) -> Fault {
    let message = format!("{operation} API not enabled in this Rekor instance");
    Fault::new(StatusCode::NOT_IMPLEMENTED, "not-enabled", message)
}

/// A body must be JSON. A request that has none is told so where it is read.
fn require_json(request: &Request<Incoming>) -> Result<(), Fault> {
    if request.body().is_end_stream() {
        return Ok(());
    }
    media_type::require(request, &["application/json"]).map(drop)
}

/// A query that is refused.
fn refused(error: QueryError) -> Fault {
    let message = error.to_string();
    match error {
        QueryError::Malformed { .. } => Fault::bad_request("malformed", message),
        QueryError::Invalid { code, .. } => Fault::v1_invalid(code, message),
        QueryError::Key(_) => Fault::bad_request("public-key", message),
    }
}

/// A parameter that is a number; one that is empty counts as not given, as in Rekor.
fn number(query: &Query, name: &str, min: i64) -> Result<Option<i64>, Fault> {
    let Some(text) = query.last(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| {
        let message = format!("{name} in query must be of type int64: {text:?}");
        Fault::v1_invalid(code::TYPE, message)
    })?;
    if number >= min {
        return Ok(Some(number));
    }
    let message = format!("{name} in query should be greater than or equal to {min}");
    Err(Fault::v1_invalid(code::MINIMUM, message))
}

fn required(name: &str) -> Fault {
    Fault::v1_invalid(code::REQUIRED, format!("{name} in query is required"))
}

fn tree_id(app: &App) -> TreeId {
    app.signer.identity().tree_id()
}

fn no_entry() -> Fault {
    Fault::not_found(NO_ENTRY, "")
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("entry ids and paths are ASCII")
}

const ENTRIES: &str = "/api/v1/log/entries";

#[cfg(test)]
mod tests;
