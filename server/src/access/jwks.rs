//! The keys of an issuer (JSON Web Key Set, RFC 7517): fetched, kept, fetched again.
//!
//! Fetched when a token needs them: the first time, when they are older than 10 minutes, and when a
//! token names a key that is not among them; in any case at most once in 30 seconds, one fetch at a
//! time. While the issuer does not answer, the last keys count for up to 24 hours.
//!
//! Invariants: the place comes from the policy and from nowhere else, and no redirect is followed;
//! an answer is bounded in time, bytes and keys; secret keys in a set are ignored.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::jwt::JwtRefusal;
use super::policy::KeySource;

/// The largest key set in bytes.
pub const JWKS_BYTES_MAX: usize = 256 << 10;

/// Keys of one issuer.
pub const KEYS_MAX: usize = 64;

/// Time for one fetch.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(10);

/// The age at which keys are fetched again, in milliseconds.
const FRESH_MS: u64 = 10 * 60 * 1000;

/// The age at which keys no longer count, in milliseconds.
const STALE_MS: u64 = 24 * 3600 * 1000;

/// Least time between two fetches, in milliseconds: tokens with invented keys cause no more.
const FETCH_EVERY_MS: u64 = 30_000;

/// Why an issuer's keys do not open a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeysError {
    /// They are not to be had now.
    Unavailable(String),
    /// The token asks for a key that is not among them.
    Refused(JwtRefusal),
}

/// One usable key.
#[derive(Debug)]
pub struct IssuerKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// The keys of one issuer, as far as they are known.
#[derive(Debug)]
pub struct KeyCache {
    source: KeySource,
    state: Mutex<State>,
    /// Held by the one who fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default, Debug)]
struct State {
    keys: Option<Arc<Vec<IssuerKey>>>,
    fetched_ms: u64,
    tried_ms: Option<u64>,
    error: String,
}

impl KeyCache {
    /// Knows no keys yet.
    pub fn new(source: KeySource) -> Self {
        Self { source, state: Mutex::default(), fetching: Arc::default() }
    }

    /// The keys that a token may be signed with, at `now_ms` since boot, fetched if need be.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn keys(
        self: &Arc<Self>,
        http: &reqwest::Client,
        now_ms: impl Fn() -> u64,
    ) -> Result<Arc<Vec<IssuerKey>>, KeysError> {
        if self.is_stale(now_ms()) {
            self.fetch(http, &now_ms, |cache, now| cache.is_stale(now)).await;
        }
        self.known(now_ms())
    }

    /// The keys after looking for the one that a token names and that is not in `keys`.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn newer_than(
        self: &Arc<Self>,
        keys: &Arc<Vec<IssuerKey>>,
        http: &reqwest::Client,
        now_ms: impl Fn() -> u64,
    ) -> Result<Arc<Vec<IssuerKey>>, KeysError> {
        let is_same = |cache: &Self, _| {
            let state = cache.state();
            state.keys.as_ref().is_some_and(|current| Arc::ptr_eq(current, keys))
        };
        self.fetch(http, &now_ms, is_same).await;
        // Perhaps the issuer shows the key, but nobody could look.
        let error = self.state().error.clone();
        match error.is_empty() {
            true => self.known(now_ms()),
            false => Err(KeysError::Unavailable(error)),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stale(&self, now_ms: u64) -> bool {
        let state = self.state();
        state.keys.is_none() || now_ms.saturating_sub(state.fetched_ms) >= FRESH_MS
    }

    fn known(&self, now_ms: u64) -> Result<Arc<Vec<IssuerKey>>, KeysError> {
        let state = self.state();
        match &state.keys {
            Some(keys) if now_ms.saturating_sub(state.fetched_ms) < STALE_MS => Ok(keys.clone()),
            _ => Err(KeysError::Unavailable(state.error.clone())),
        }
    }

    /// Fetches the keys, unless somebody did so just now or `needed` is no longer so. In a task of
    /// its own: a client that hangs up must not end the fetch for all others.
    async fn fetch(
        self: &Arc<Self>,
        http: &reqwest::Client,
        now_ms: &impl Fn() -> u64,
        needed: impl Fn(&Self, u64) -> bool,
    ) {
        let turn = self.fetching.clone().lock_owned().await;
        let now = now_ms();
        let tried = self.state().tried_ms;
        if tried.is_some_and(|at| now.saturating_sub(at) < FETCH_EVERY_MS) || !needed(self, now) {
            return;
        }
        self.state().tried_ms = Some(now);
        let (cache, http) = (self.clone(), http.clone());
        let task = tokio::spawn(async move {
            let fetched = match &cache.source {
                KeySource::Url(url) => fetch(&http, url).await,
                KeySource::File(path) => read(path),
            };
            cache.store(fetched.and_then(|bytes| parse(&bytes)), now);
            drop(turn);
        });
        if task.await.is_err() {
            tracing::error!(source = self.source.as_str(), "fetching keys was cut short");
        }
    }

    fn store(&self, parsed: Result<Vec<IssuerKey>, String>, now_ms: u64) {
        let mut state = self.state();
        match parsed {
            Ok(keys) => {
                (state.keys, state.fetched_ms) = (Some(Arc::new(keys)), now_ms);
                state.error.clear();
            }
            Err(why) => {
                let source = self.source.as_str();
                tracing::warn!(source, why, "the keys of an issuer cannot be had");
                state.error = why;
            }
        }
    }
}

/// The keys that a token with this key id and algorithm can be signed with.
///
/// # Errors
/// [`JwtRefusal::Key`], also when the key is of another algorithm, and [`JwtRefusal::KeyUnnamed`].
pub fn select<'a>(
    keys: &'a [IssuerKey],
    key_id: Option<&str>,
    algorithm: Algorithm,
) -> Result<Vec<&'a DecodingKey>, JwtRefusal> {
    let Some(key_id) = key_id else {
        return match keys {
            [only] if only.algorithms.contains(&algorithm) => Ok(vec![&only.key]),
            [_] => Err(JwtRefusal::Key),
            _ => Err(JwtRefusal::KeyUnnamed),
        };
    };
    let is_meant =
        |key: &&IssuerKey| key.id.as_deref() == Some(key_id) && key.algorithms.contains(&algorithm);
    let found: Vec<_> = keys.iter().filter(is_meant).map(|key| &key.key).collect();
    if found.is_empty() { Err(JwtRefusal::Key) } else { Ok(found) }
}

/// A client for key sets, to which certificates of authorities may be added.
pub fn http_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("treering-server/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FETCH_TIME_MAX)
}

async fn fetch(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let request = http.get(url).timeout(FETCH_TIME_MAX);
    let request = request.header(reqwest::header::ACCEPT, "application/json");
    let mut response = request.send().await.map_err(|error| sentence(&error))?;
    // A client that follows redirects asks somebody whom the policy does not name.
    if reqwest::Url::parse(url).ok().as_ref() != Some(response.url()) {
        return Err("the answer came from another address".to_owned());
    }
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("HTTP {}", response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| sentence(&error))? {
        if bytes.len() + chunk.len() > JWKS_BYTES_MAX {
            return Err(format!("a key set of more than {JWKS_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let limited = file.take(JWKS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    limited.map_err(|error| error.to_string())?;
    match bytes.len() > JWKS_BYTES_MAX {
        true => Err(format!("a key set of more than {JWKS_BYTES_MAX} bytes")),
        false => Ok(bytes),
    }
}

/// Reads a key set. Keys for other purposes, of other kinds, or malformed are passed over, as
/// issuers show more than one needs; a set without one usable key is an error.
fn parse(bytes: &[u8]) -> Result<Vec<IssuerKey>, String> {
    let set: KeySetJson =
        serde_json::from_slice(bytes).map_err(|_| "the answer is not a key set".to_owned())?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("more than {KEYS_MAX} keys"));
    }
    let keys: Vec<_> = set.keys.into_iter().filter_map(IssuerKey::read).collect();
    match keys.is_empty() {
        true => Err("a key set without a usable key".to_owned()),
        false => Ok(keys),
    }
}

impl IssuerKey {
    fn read(value: Value) -> Option<Self> {
        let json: KeyJson = serde_json::from_value(value).ok()?;
        if json.r#use.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (x, y) = (json.x.as_deref(), json.y.as_deref());
        let (algorithms, key) = match (json.kty.as_str(), json.crv.as_deref()) {
            ("RSA", _) => {
                let key = DecodingKey::from_rsa_components(&json.n?, &json.e?).ok()?;
                (RSA_ALGORITHMS.to_vec(), key)
            }
            ("EC", Some("P-256")) => {
                (vec![Algorithm::ES256], DecodingKey::from_ec_components(x?, y?).ok()?)
            }
            ("EC", Some("P-384")) => {
                (vec![Algorithm::ES384], DecodingKey::from_ec_components(x?, y?).ok()?)
            }
            ("OKP", Some("Ed25519")) => {
                (vec![Algorithm::EdDSA], DecodingKey::from_ed_components(x?).ok()?)
            }
            _ => return None,
        };
        let algorithms = match json.alg.as_deref() {
            None => algorithms,
            Some(name) => algorithms.into_iter().filter(|a| format!("{a:?}") == name).collect(),
        };
        (!algorithms.is_empty()).then_some(Self { id: json.kid, algorithms, key })
    }
}

impl KeySource {
    /// The URL or path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Url(text) | Self::File(text) => text,
        }
    }
}

/// The error and its causes, without the URL: the policy names it.
fn sentence(error: &reqwest::Error) -> String {
    let mut why = if error.is_timeout() { "timed out" } else { "no answer" }.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        why = format!("{why}: {inner}");
        source = inner.source();
    }
    why
}

const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

#[derive(Deserialize)]
struct KeySetJson {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct KeyJson {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}
