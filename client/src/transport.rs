//! HTTP to one log: the only file that opens connections.
//!
//! Every call ends by the deadline of the command. Reads are tried again after faults that may
//! pass; a write is tried once, and its caller learns whether it certainly failed or may have
//! arrived, because only the caller can look.
//!
//! Invariants: no answer above its limit is held in memory; no redirect leaves the log's scheme,
//! host and port; a token is not sent in clear text except to this machine, and to no proxy; no
//! error and no debug output has a secret. Out of scope: what answers mean (see [`crate::log`]).

mod fault;

use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use fault::Fault;

/// The header with the stable word for an error.
const ERROR_LABEL: &str = "treering-error";

/// The longest word taken from that header.
const ERROR_LABEL_LEN_MAX: usize = 40;

/// Labels of a 503 after which the entry may be in the log, or come there.
const MAYBE_TAKEN: [&str; 5] =
    ["publish-timeout", "not-published", "journal-failed", "latched", "stopping"];

/// How long one attempt may take: a log answers within seconds, and a dead connection should leave
/// time for another try.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(20);

/// The first wait between tries; doubled after each.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The longest wait that we choose ourselves.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The longest error text taken from an answer.
const ERROR_TEXT_LEN_MAX: usize = 300;

/// What is read of the body of an error: enough for its text, whatever limit its data has.
const ERROR_BODY_LEN_MAX: usize = 8 << 10;

const REDIRECTS_MAX: usize = 3;

/// How to reach a log. Not `Debug`: there are secrets in it.
#[derive(Clone, Default)]
pub struct TransportOptions {
    /// Time for everything that is sent through this transport.
    pub deadline: Option<Duration>,
    /// Sent as a bearer token.
    pub token: Option<Zeroizing<String>>,
    /// PEM of authorities that may certify the server, beside the system's.
    pub authorities: Option<Vec<u8>>,
    /// PEM of the client's certificates and its private key, one after the other.
    pub client_identity: Option<Zeroizing<Vec<u8>>>,
}

/// Connections to one log, and the time that is left for them.
pub struct Transport {
    http: Client,
    base: Url,
    deadline: Instant,
    authorization: Option<HeaderValue>,
}

/// Whether caches on the way may answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// They may.
    Cached,
    /// They must ask the log.
    Fresh,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The body, within the limit that was given.
    pub body: Vec<u8>,
    /// The stable word for an error, in the header `treering-error`.
    pub label: Option<String>,
    retry_after: Option<Duration>,
}

/// What became of one write.
#[derive(Debug)]
pub enum Sent {
    /// The log answered, and the write is done or refused.
    Answered(Answer),
    /// The log certainly did not take it, but may after a wait.
    NotTaken(Trouble),
    /// It may or may not have been taken.
    Unknown(Trouble),
}

/// A fault that may pass.
#[derive(Clone, Debug)]
pub struct Trouble {
    why: String,
    retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Not a URL that a log can have.
    #[error("{0:?} is not an http or https URL")]
    Url(String),
    /// A token would travel in clear text.
    #[error("a token is not sent over http to another machine")]
    TokenInClear,
    /// A token with control characters.
    #[error("the token has characters that no header can have")]
    TokenMalformed,
    /// The HTTP client could not start.
    #[error("cannot set up TLS: {0}")]
    Setup(#[source] reqwest::Error),
    /// Not PEM of certificates.
    #[error("the authorities are not PEM certificates")]
    Authorities,
    /// Not PEM of certificates and of the key that belongs to the first; says no more, for there
    /// is a private key in it.
    #[error("the client certificate and its key are not PEM, or do not belong together")]
    ClientIdentity,
    /// A fault of TLS or of a proxy that does not pass by itself.
    #[error("{fault} ({why})")]
    Fault {
        /// Which.
        fault: Fault,
        /// In the words of the library.
        why: String,
    },
    /// No usable answer before the deadline.
    #[error("{why}")]
    Unavailable {
        /// The last fault.
        why: String,
    },
    /// The answer is longer than any good one.
    #[error("the answer to {path} is longer than {limit} bytes")]
    TooLong {
        /// What was asked.
        path: String,
        /// In bytes.
        limit: usize,
    },
    /// 401 or 403.
    #[error("the log refused: {message}")]
    NotAuthorised {
        /// The log's words.
        message: String,
    },
}

impl Transport {
    /// A transport to the log at `url`; its time starts now.
    ///
    /// # Errors
    /// [`TransportError::Url`], [`TransportError::TokenInClear`],
    /// [`TransportError::TokenMalformed`], [`TransportError::Authorities`],
    /// [`TransportError::ClientIdentity`], [`TransportError::Setup`].
    pub fn new(url: &str, options: &TransportOptions) -> Result<Self, TransportError> {
        let base = Url::parse(url).map_err(|_| TransportError::Url(url.to_owned()))?;
        let here = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match base.scheme() {
            "https" => {}
            "http" if options.token.is_none() || here => {}
            "http" => return Err(TransportError::TokenInClear),
            _ => return Err(TransportError::Url(url.to_owned())),
        }
        let home = base.origin();
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX || attempt.url().origin() != home {
                attempt.stop()
            } else {
                attempt.follow()
            }
        });
        let mut builder = Client::builder()
            .user_agent(concat!("treering/", env!("CARGO_PKG_VERSION")))
            .redirect(redirects)
            .connect_timeout(Duration::from_secs(10));
        if let Some(pem) = &options.authorities {
            builder = builder.tls_certs_merge(authorities(pem)?);
        }
        if let Some(pem) = &options.client_identity {
            let identity = reqwest::Identity::from_pem(pem);
            builder = builder.identity(identity.map_err(|_| TransportError::ClientIdentity)?);
        }
        if base.scheme() == "http" && here {
            // A proxy is another machine, and would get the token in clear text. So nothing here
            // speaks TLS, and the system's authorities, some hundred files, are not read.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| match options.client_identity {
            // A key of another certificate is noticed only here.
            Some(_) => TransportError::ClientIdentity,
            None => TransportError::Setup(error),
        })?;
        let deadline = Instant::now() + options.deadline.unwrap_or(Duration::from_secs(60));
        let token = options.token.as_deref();
        let authorization = token.map(|token| authorization(token)).transpose()?;
        Ok(Self { http, base, deadline, authorization })
    }

    /// The same connections with `time` from now on, for those who go on asking.
    pub fn renewed(&self, time: Duration) -> Self {
        Self {
            http: self.http.clone(),
            base: self.base.clone(),
            deadline: Instant::now() + time,
            authorization: self.authorization.clone(),
        }
    }

    /// Reads `path`, which starts with `/`, until the log gives an answer that will not change by
    /// itself.
    ///
    /// # Errors
    /// Every [`TransportError`] but those of [`Transport::new`].
    pub async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: usize,
        reading: Reading,
    ) -> Result<Answer, TransportError> {
        let mut tries = 0;
        loop {
            let mut request = self.request(Method::GET, path, query);
            if reading == Reading::Fresh {
                request = request.header(CACHE_CONTROL, "no-cache");
            }
            let trouble = match self.attempt(request, path, limit).await? {
                Sent::Answered(answer) => return Ok(answer),
                Sent::NotTaken(trouble) | Sent::Unknown(trouble) => trouble,
            };
            self.wait(&mut tries, &trouble).await?;
        }
    }

    /// Sends JSON once.
    ///
    /// # Errors
    /// [`TransportError::TooLong`], [`TransportError::NotAuthorised`], [`TransportError::Fault`],
    /// [`TransportError::Unavailable`] when no time is left.
    pub async fn post_once(
        &self,
        path: &str,
        json: Vec<u8>,
        limit: usize,
    ) -> Result<Sent, TransportError> {
        let request = self
            .request(Method::POST, path, &[])
            .header(CONTENT_TYPE, "application/json")
            .body(json);
        self.attempt(request, path, limit).await
    }

    /// Waits before the next try: a random part of a doubling time, and longer if the log asks.
    ///
    /// # Errors
    /// [`TransportError::Unavailable`] when the wait would pass the deadline.
    pub async fn wait(&self, tries: &mut u32, trouble: &Trouble) -> Result<(), TransportError> {
        let pause = backoff(*tries).max(trouble.retry_after.unwrap_or_default());
        *tries = tries.saturating_add(1);
        // Compared with what is left: a time that far ahead may not exist.
        if pause >= self.deadline.saturating_duration_since(Instant::now()) {
            return Err(TransportError::Unavailable { why: trouble.why.clone() });
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(None);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    async fn attempt(
        &self,
        request: RequestBuilder,
        path: &str,
        limit: usize,
    ) -> Result<Sent, TransportError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(TransportError::Unavailable { why: "no time is left".to_owned() });
        }
        let response = match request.timeout(left.min(ATTEMPT_TIME_MAX)).send().await {
            Ok(response) => response,
            Err(error) => {
                let trouble = Trouble::of(&error);
                if let Some(fault) = Fault::of(&trouble.why) {
                    return Err(TransportError::Fault { fault, why: trouble.why });
                }
                let before = error.is_connect();
                return Ok(if before { Sent::NotTaken(trouble) } else { Sent::Unknown(trouble) });
            }
        };
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let label = label(response.headers());
        let body = if status.is_success() {
            match read_body(response, limit).await {
                Ok(Some(body)) => body,
                Ok(None) => return Err(TransportError::TooLong { path: path.to_owned(), limit }),
                Err(error) => return Ok(Sent::Unknown(Trouble::of(&error))),
            }
        } else {
            read_error_body(response).await
        };
        let answer = Answer { status: status.as_u16(), location, body, label, retry_after };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(TransportError::NotAuthorised { message: answer.message() })
            }
            // The log may have taken what it could not publish, or write down, in time.
            StatusCode::SERVICE_UNAVAILABLE
                if MAYBE_TAKEN.iter().any(|label| answer.label.as_deref() == Some(*label)) =>
            {
                Ok(Sent::Unknown(answer.trouble(path)))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Ok(Sent::NotTaken(answer.trouble(path)))
            }
            // What nobody offers nobody took.
            StatusCode::NOT_IMPLEMENTED => Ok(Sent::Answered(answer)),
            // A gateway that gave up, or a server that failed half way, may have passed the write
            // on.
            _ if status.is_server_error() => Ok(Sent::Unknown(answer.trouble(path))),
            _ => Ok(Sent::Answered(answer)),
        }
    }
}

impl Answer {
    /// The log's own words about an error: the `message` of a JSON body, or the start of the text,
    /// and its stable word for it.
    pub fn message(&self) -> String {
        let parsed = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let message = parsed.as_ref().and_then(|json| json["message"].as_str());
        let text = match message {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&self.body).trim().to_owned(),
        };
        // Control characters of a stranger could rewrite a terminal.
        let clean: String =
            text.chars().filter(|c| !c.is_control()).take(ERROR_TEXT_LEN_MAX).collect();
        let text = if clean.is_empty() { format!("HTTP {}", self.status) } else { clean };
        match &self.label {
            Some(label) => format!("{text} ({label})"),
            None => text,
        }
    }

    fn trouble(&self, path: &str) -> Trouble {
        Trouble {
            why: format!("HTTP {} from {path}: {}", self.status, self.message()),
            retry_after: self.retry_after,
        }
    }
}

impl Trouble {
    fn of(error: &reqwest::Error) -> Self {
        // The URL of an error may be that of a proxy, with a password in it.
        let mut why = match error.url() {
            Some(url) => error.to_string().replace(url.as_str(), &without_secrets(url)),
            None => error.to_string(),
        };
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            why = format!("{why}: {inner}");
            source = inner.source();
        }
        Self { why, retry_after: None }
    }
}

/// The URL as it may be shown.
fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    let hidden = url.password().is_some() && url.set_password(Some("hidden")).is_err();
    if hidden { "a URL".to_owned() } else { url.to_string() }
}

/// The certificates in `pem`, of which there must be one.
fn authorities(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, TransportError> {
    let read = reqwest::Certificate::from_pem_bundle(pem);
    read.ok().filter(|read| !read.is_empty()).ok_or(TransportError::Authorities)
}

/// The stable word of an error: lower-case letters, digits and hyphens, or it is none.
fn label(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(ERROR_LABEL)?.to_str().ok()?;
    let is_word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let fine = (1..=ERROR_LABEL_LEN_MAX).contains(&text.len()) && text.bytes().all(is_word);
    fine.then(|| text.to_owned())
}

/// The header with a token, which debug output does not show.
fn authorization(token: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| TransportError::TokenMalformed)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The first [`ERROR_BODY_LEN_MAX`] bytes of the body; a fault on the way ends it, because the
/// status is known.
async fn read_error_body(mut response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < ERROR_BODY_LEN_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(ERROR_BODY_LEN_MAX);
    body
}

async fn read_body(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response.content_length().is_some_and(|len| len > limit as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = date.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(wait.max(0) as u64))
}

/// Half of the doubled time is certain and half is random, so that clients who failed together do
/// not return together.
fn backoff(tries: u32) -> Duration {
    let whole = BACKOFF_FIRST.saturating_mul(1 << tries.min(16)).min(BACKOFF_MAX);
    let mut random = [0; 2];
    // Without random numbers the wait is whole: later, never sooner.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    whole.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests;
