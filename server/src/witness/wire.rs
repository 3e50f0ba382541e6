//! HTTP to one witness: add-checkpoint, and the checkpoint that it remembers.
//!
//! Invariants: nothing above its limit is held in memory; no redirect is followed, for a redirected
//! POST becomes a GET; every call ends by its timeout. Out of scope: what answers mean.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response};
use treering_proto::checkpoint::parse_decimal;
use treering_proto::hash::sha256;
use treering_proto::note::{NOTE_LEN_MAX, Note, SignatureLine, parse_signature_lines};
use treering_proto::tree::TreeSize;

/// The longest answer to add-checkpoint: a few lines, of which the longest take 3.3 KB.
const LINES_LEN_MAX: usize = 64 << 10;

/// What a witness said to add-checkpoint.
#[derive(Debug)]
pub enum Answer {
    /// Signature lines; none is verified.
    Lines(Vec<SignatureLine>),
    /// It cosigned another size last than the request said.
    Conflict(TreeSize),
    /// It does not take this: for good, as far as HTTP can tell.
    Refused(u16),
    /// It cannot now; perhaps it says for how long.
    Unavailable {
        /// What happened.
        why: String,
        /// In what time it may be asked again.
        retry_after: Option<Duration>,
    },
}

/// A client for all witnesses.
#[derive(Clone, Debug)]
pub struct Wire {
    http: Client,
}

impl Wire {
    /// A client whose calls take at most `timeout`.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .user_agent(concat!("treering-server/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .build()?;
        Ok(Self { http })
    }

    /// `POST <url>/add-checkpoint`.
    pub async fn add_checkpoint(&self, url: &str, body: String) -> Answer {
        let request = self.http.post(format!("{url}/add-checkpoint")).body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return unavailable(&error),
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let kind = header(&response, CONTENT_TYPE).unwrap_or_default();
        let media_type = kind.split(';').next().unwrap_or_default().trim();
        let is_size = media_type.eq_ignore_ascii_case(SIZE_TYPE);
        let Some(body) = read(response, LINES_LEN_MAX).await else {
            let why = format!("HTTP {status} with a body that cannot be read");
            return Answer::Unavailable { why, retry_after };
        };
        match status {
            200 => match parse_signature_lines(&body) {
                Ok(lines) => Answer::Lines(lines),
                Err(error) => Answer::Unavailable { why: error.to_string(), retry_after },
            },
            409 if is_size => match parse_size(&body) {
                Some(size) => Answer::Conflict(size),
                None => Answer::Refused(status),
            },
            429 | 500.. => Answer::Unavailable { why: format!("HTTP {status}"), retry_after },
            _ => Answer::Refused(status),
        }
    }

    /// `GET <url>/<hash of the origin>/checkpoint`: the note that the witness cosigned last; `None`
    /// when it says that it has none. Everything else is no answer.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn remembered(&self, url: &str, origin: &str) -> Result<Option<Vec<u8>>, String> {
        let url = format!("{url}/{}/checkpoint", sha256(origin.as_bytes()));
        let response = self.http.get(url).send().await.map_err(|error| sentence(&error))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            status => return Err(format!("HTTP {status}")),
        }
        // A login page is no checkpoint.
        let body = read(response, NOTE_LEN_MAX).await.filter(|body| Note::parse(body).is_ok());
        body.map(Some).ok_or_else(|| "a checkpoint that cannot be read".to_owned())
    }
}

fn unavailable(error: &reqwest::Error) -> Answer {
    Answer::Unavailable { why: sentence(error), retry_after: None }
}

/// The error and its causes, without the URL: it stands beside the witness's name already.
fn sentence(error: &reqwest::Error) -> String {
    let mut why = if error.is_timeout() { "timed out" } else { "no answer" }.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        why = format!("{why}: {inner}");
        source = inner.source();
    }
    why
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn retry_after(response: &Response) -> Option<Duration> {
    header(response, RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

fn parse_size(body: &[u8]) -> Option<TreeSize> {
    let text = str::from_utf8(body).ok()?;
    parse_decimal(text.strip_suffix('\n').unwrap_or(text)).and_then(TreeSize::new)
}

async fn read(mut response: Response, limit: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > limit {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// The content type of a 409 that carries a size (c2sp.org/tlog-witness).
const SIZE_TYPE: &str = "text/x.tlog.size";
