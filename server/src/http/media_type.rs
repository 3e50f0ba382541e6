//! What a request says that its body is.

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};

use super::reply::Fault;

/// Which of `allowed` the request says that its body is; parameters do not count, nor does case. A
/// request that says nothing says `application/octet-stream`, as Go's OpenAPI servers read it.
///
/// # Errors
/// 415 in the words of those servers.
pub fn require(
    request: &Request<Incoming>,
    allowed: &[&'static str],
) -> Result<&'static str, Fault> {
    let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or("application/octet-stream").split(';').next().unwrap_or("");
    let media_type = media_type.trim().to_ascii_lowercase();
    let found = allowed.iter().find(|name| **name == media_type);
    found.copied().ok_or_else(|| {
        let media_type: String = media_type.chars().take(80).collect();
        let allowed = allowed.join(" ");
        let message =
            format!("unsupported media type {media_type:?}, only [{allowed}] are allowed");
        Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message)
    })
}
