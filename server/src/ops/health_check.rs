//! `health`: asks a running server how it is, for container health checks where there is no curl.
//!
//! Alive means that the process answers: an orchestrator that restarts a log because it is latched,
//! short of disk or without witnesses makes nothing better. Ready means that it takes entries.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, Url};

/// Time for the whole request.
pub const HEALTH_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes of an answer that are shown.
const ANSWER_BYTES_MAX: usize = 4096;

/// What is asked.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Where the server says that it is; its certificate must be for this host.
    pub url: String,
    /// Where it is really reached, if not there.
    pub connect: Option<SocketAddr>,
    /// Authorities that are trusted beside those of the system, PEM.
    pub authorities: Option<PathBuf>,
    /// Whether it must take entries, and not only answer.
    pub ready: bool,
}

/// What the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Whether it is well.
    pub is_well: bool,
    /// In its own words.
    pub text: String,
}

/// Why nobody knows how it is.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Not a URL.
    #[error("{0:?} is not the http or https URL of a log")]
    Url(String),
    /// The authorities cannot be used.
    #[error("{path}: {why}")]
    Authorities {
        /// Which file.
        path: String,
        /// Why not.
        why: String,
    },
    /// It cannot be asked.
    #[error("no answer from {url}: {source}")]
    NoAnswer {
        /// Where.
        url: String,
        /// What happened.
        source: reqwest::Error,
    },
}

/// Asks.
///
/// # Errors
/// [`HealthError`]: then nobody knows whether it is well.
pub async fn check(check: &HealthCheck) -> Result<Answer, HealthError> {
    let is_web = |url: &Url| matches!(url.scheme(), "http" | "https");
    let url = Url::parse(&check.url).ok().filter(is_web);
    let mut url = url.ok_or_else(|| HealthError::Url(check.url.clone()))?;
    url.set_path(if check.ready { "/readyz" } else { "/livez" });
    let failed = |source: reqwest::Error| {
        let source = source.without_url();
        HealthError::NoAnswer { url: check.url.clone(), source }
    };
    // The server is asked itself, not through somebody who may answer for it.
    let mut builder = Client::builder()
        .timeout(HEALTH_TIME_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let (Some(address), Some(host)) = (check.connect, url.host_str()) {
        builder = builder.resolve(host, address);
    }
    if let Some(path) = &check.authorities {
        for authority in read_authorities(path)? {
            builder = builder.add_root_certificate(authority);
        }
    }
    let client = builder.build().map_err(failed)?;
    let mut response = client.get(url).send().await.map_err(failed)?;
    let is_well = response.status() == StatusCode::OK;
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        answer.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - answer.len())]);
        if answer.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(Answer { is_well, text: String::from_utf8_lossy(&answer).trim_end().to_owned() })
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>, HealthError> {
    let failed = |why: String| HealthError::Authorities { path: path.display().to_string(), why };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    Certificate::from_pem_bundle(&bytes).map_err(|error| failed(error.to_string()))
}
