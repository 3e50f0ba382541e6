//! Replies: one table of headers, one way to write an error.
//!
//! | reply | Content-Type | Cache-Control |
//! |---|---|---|
//! | checkpoint | text/plain | no-store |
//! | tile | application/octet-stream | immutable, a week |
//! | GET of Rekor v1, errors too | application/json | none of any kind |
//! | other | as stated | no-store |
//! | other error | as the face demands | no-store |
//!
//! Nothing is compressed here, and `ETag` is bare: Rekor v1 clients use its value as a key.

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE,
    EXPIRES, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use treering_proto::api::v1::{ApiError, to_json};

use super::body::AnswerBody;
use super::gate::whole_seconds;
use super::rates::TooOften;
use super::request_id::{REQUEST_ID, RequestId};
use super::route::Face;
use crate::limits::RETRY_AFTER_SECONDS;

/// What the server sends.
pub type Reply = Response<AnswerBody>;

/// The header that carries an error's stable label, whatever the face's body looks like.
pub const ERROR_LABEL: HeaderName = HeaderName::from_static("treering-error");

/// A request that was not served.
#[derive(Debug)]
pub struct Fault {
    /// The status.
    pub status: StatusCode,
    /// The stable label.
    pub label: &'static str,
    /// For people.
    pub message: String,
    /// Rekor v1's code, where it is not the status.
    pub v1_code: Option<u32>,
    /// Whether the answer is the message alone, on a line of its own, whatever the face.
    pub is_plain: bool,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What only the server's log may know.
    pub cause: Option<String>,
}

impl Fault {
    /// A fault with no further headers.
    pub fn new(status: StatusCode, label: &'static str, message: impl Into<String>) -> Self {
        let headers = Vec::new();
        let message = message.into();
        Self { status, label, message, v1_code: None, is_plain: false, headers, cause: None }
    }

    /// 400.
    pub fn bad_request(label: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, label, message)
    }

    /// Rekor v1's 422 with a code of its own.
    pub fn v1_invalid(code: u32, message: impl Into<String>) -> Self {
        let fault = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-parameter", message);
        Self { v1_code: Some(code), ..fault }
    }

    /// 404.
    pub fn not_found(label: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, label, message)
    }

    /// 503 with a time to come back.
    pub fn unavailable(label: &'static str, message: impl Into<String>) -> Self {
        let mut fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, label, message);
        fault.headers.push((RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS)));
        fault
    }

    /// 429 with the time to wait.
    pub fn too_often(TooOften(wait): TooOften) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut fault = Self::new(status, "rate-limited", "too many requests; wait and retry");
        fault.headers.push((RETRY_AFTER, HeaderValue::from(whole_seconds(wait))));
        fault
    }

    /// 500 that says nothing of the inside; the cause goes to the server's log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { cause: Some(cause.to_string()), ..Self::new(status, "internal", "internal error") }
    }

    /// Adds a header.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The reply in the shape that `face` has errors in. What only the server's log may know goes
    /// there, under the name of the request, and the name that it came with.
    pub fn into_reply(mut self, face: Face, request: RequestId, given: Option<&str>) -> Reply {
        if let Some(cause) = &self.cause {
            tracing::error!(%request, given, cause, "request failed");
            self.message =
                format!("{}; the server's log has the cause of request {request}", self.message);
        }
        let body = match face {
            _ if self.is_plain => format!("{}\n", self.message).into_bytes(),
            // An absent entry has no body in Rekor v1: a strict client would read JSON as an entry.
            Face::V1 if self.label == NO_ENTRY => Vec::new(),
            Face::V1 => {
                let code = self.v1_code.unwrap_or_else(|| u32::from(self.status.as_u16()));
                to_json(&ApiError { code, message: self.message })
            }
            Face::V2 => to_json(&GatewayError {
                code: grpc_code(self.status),
                message: &self.message,
                details: [],
            }),
            Face::Native => to_json(&NativeError {
                code: self.status.as_u16(),
                label: self.label,
                message: &self.message,
            }),
        };
        let mut reply = Response::new(body.into());
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.extend(self.headers);
        if self.label != NO_ENTRY || face != Face::V1 {
            headers.insert(CONTENT_TYPE, if self.is_plain { TEXT } else { JSON });
        }
        headers.insert(ERROR_LABEL, HeaderValue::from_static(self.label));
        headers.insert(REQUEST_ID, request.header());
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYONE);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        reply
    }
}

/// grpc-gateway's shape of an error.
#[derive(Serialize)]
struct GatewayError<'a> {
    code: u8,
    message: &'a str,
    details: [(); 0],
}

/// The shape of an error on the log's own face.
#[derive(Serialize)]
struct NativeError<'a> {
    code: u16,
    label: &'static str,
    message: &'a str,
}

/// 200 with `no-store`, for a small body.
pub fn plain(content_type: HeaderValue, body: impl Into<Bytes>) -> Reply {
    with_body(content_type, AnswerBody::from(body.into()))
}

/// 200 with `no-store`.
pub fn with_body(content_type: HeaderValue, body: AnswerBody) -> Reply {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYONE);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    reply
}

/// 200 JSON with `no-store`.
pub fn json(body: impl Into<Bytes>) -> Reply {
    plain(JSON, body)
}

/// 200 for bytes that never change.
pub fn immutable(content_type: HeaderValue, body: AnswerBody) -> Reply {
    let mut reply = with_body(content_type, body);
    reply.headers_mut().insert(CACHE_CONTROL, IMMUTABLE);
    reply
}

/// The cache headers of every GET of Rekor v1.
pub fn without_caching(mut reply: Reply) -> Reply {
    let headers = reply.headers_mut();
    headers.insert(EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
    headers.insert(CACHE_CONTROL, V1_NO_CACHE);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-expires"), HeaderValue::from_static("0"));
    reply
}

/// gRPC's number for a status, as grpc-gateway maps them; where it has none for the status, the
/// number that says the same.
fn grpc_code(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 | 413 | 415 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        405 | 501 => 12,
        408 | 504 => 4,
        409 => 6,
        429 => 8,
        500 => 13,
        503 => 14,
        _ => 2,
    }
}

/// The label of an entry that is not there.
pub const NO_ENTRY: &str = "no-entry";

/// `application/json`.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `text/plain`, UTF-8.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// `application/octet-stream`.
pub const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Everybody's browser may read.
pub const ANYONE: HeaderValue = HeaderValue::from_static("*");

/// What a browser's script may read beside the body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, location, x-log-index, treering-cut, treering-error, treering-request",
);
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=604800, immutable");
const V1_NO_CACHE: HeaderValue = HeaderValue::from_static(
    "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
);
