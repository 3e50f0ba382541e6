//! Who may write to the log, what, and how much (`docs/access.md`).
//!
//! ```text
//! header, client certificate -> authenticate -> Principal    token, oidc (jwt, jwks)    401, 503
//! Principal, verified entry  -> authorise    -> Grant        policy, quota         403, 429, 503
//! ```
//!
//! Writes are closed until somebody is let in: by a token, by a rule of the policy, or everybody by
//! `--open-writes`. Without a policy a token opens everything that it is not narrowed from; client
//! certificates and workloads always need a rule.
//!
//! Invariants: fail closed, whatever is missing, malformed or not to be had; a refusal says what to
//! change and never repeats a credential; what was taken from a quota goes back unless the entry
//! counts; one request is authenticated and decided by one look at the policy. Out of scope:
//! connections, chains of client certificates (TLS), journals.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use treering_proto::certificate::Certificate;

use crate::clock::{self, Reading};

mod authorise;
pub mod commands;
mod credential;
pub mod jwks;
pub mod jwt;
mod nearest;
mod oidc;
mod pattern;
pub mod policy;
pub mod principal;
pub mod quota;
pub mod summary;
#[cfg(test)]
mod test_entry;
#[cfg(test)]
mod test_issuer;
#[cfg(test)]
mod tests;
pub mod token;
pub mod token_file;
mod watched;

pub use authorise::PolicyView;
use jwks::KeyCache;
use policy::{KeySource, POLICY_FILE, Policy, Who};
pub use principal::Principal;
use quota::{Hold, Quotas};
use token_file::{TOKEN_FILE, Tokens};
use watched::{Content, Watched};

/// Where access control is configured.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// The policy, if there is one.
    pub policy: Option<PathBuf>,
    /// `DIR/tokens.json`, which need not exist.
    pub tokens: PathBuf,
    /// Whether everybody may write.
    pub open_writes: bool,
}

/// Why access control cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The policy cannot be used.
    #[error("the policy {0}")]
    Policy(String),
    /// The token file cannot be used.
    #[error("the token file {0}")]
    Tokens(String),
}

/// What a client presents.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The header `Authorization`, as it came.
    pub authorization: Option<&'a [u8]>,
    /// The leaf of the client certificate in DER, whose chain TLS verified.
    pub certificate: Option<&'a [u8]>,
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// What kind.
    pub status: DeniedStatus,
    /// For machines; never changes its meaning.
    pub label: &'static str,
    /// For people; holds no credential.
    pub message: String,
    /// Who was refused, as far as that is known.
    pub principal: Option<String>,
}

/// Kinds of refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeniedStatus {
    /// HTTP 401: no credential, or none that opens anything.
    Unauthenticated,
    /// HTTP 403: known, and not allowed this.
    Forbidden,
    /// HTTP 429: allowed, and not so much.
    Quota {
        /// When to try again.
        retry_after: Duration,
    },
    /// HTTP 503: it cannot be decided now.
    Unavailable,
}

/// Leave to log one entry. Dropped, it gives back what it took from the quota; so say
/// [`Grant::keep`] as soon as the entry may end up in the log, whatever becomes of the client.
#[derive(Debug)]
#[must_use = "a grant that is dropped takes nothing from the quota"]
pub struct Grant {
    /// What the entry belongs to.
    pub project: String,
    /// The rule that allowed it.
    pub rule: String,
    hold: Option<Hold>,
}

/// Who may write. Shared by all requests.
pub struct Access {
    open_writes: bool,
    tokens: Watched<Tokens>,
    policy: Option<Watched<Policy>>,
    http: reqwest::Client,
    keys: Mutex<HashMap<KeySource, Arc<KeyCache>>>,
    quotas: Arc<Quotas>,
    clock: Clock,
    /// Whether anybody could write, and the second in which that was found out.
    configured: Mutex<Option<(u64, bool)>>,
}

/// Where the time comes from.
type Clock = Arc<dyn Fn() -> Reading + Send + Sync>;

impl Grant {
    /// The entry counts from here on.
    pub fn keep(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.keep();
        }
    }

    /// The entry was not logged after all, by no fault of its sender: gives back what was taken.
    pub fn refund(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.refund();
        }
    }

    fn free(project: &str, rule: &str) -> Self {
        Self { project: project.to_owned(), rule: rule.to_owned(), hold: None }
    }
}

impl Access {
    /// Reads the configuration. `http` fetches the keys of issuers; make it of
    /// [`jwks::http_client`], so that it follows no redirect.
    ///
    /// # Errors
    /// [`AccessError`]: later, a file that breaks closes writes; at the start, it stops the start.
    pub fn load(settings: AccessSettings, http: reqwest::Client) -> Result<Self, AccessError> {
        Self::load_with_clock(settings, http, Arc::new(clock::read))
    }

    fn load_with_clock(
        settings: AccessSettings,
        http: reqwest::Client,
        clock: Clock,
    ) -> Result<Self, AccessError> {
        let access = Self {
            open_writes: settings.open_writes,
            tokens: Watched::new(settings.tokens, TOKEN_FILE, Tokens::parse),
            policy: settings.policy.map(|path| Watched::new(path, POLICY_FILE, Policy::parse)),
            http,
            keys: Mutex::default(),
            quotas: Arc::default(),
            clock,
            configured: Mutex::default(),
        };
        let now_ms = access.now().wall_ms;
        if let Err(why) = &*access.tokens.current(now_ms) {
            return Err(AccessError::Tokens(why.clone()));
        }
        let policy = access.policy.as_ref().map(|policy| policy.current(now_ms));
        if let Some(Err(why)) = policy.as_deref() {
            return Err(AccessError::Policy(why.clone()));
        }
        Ok(access)
    }

    /// Whether everybody may write.
    pub fn is_open(&self) -> bool {
        self.open_writes
    }

    /// Whether some principal can write now: a live token that the policy has a rule for, or any
    /// token without a policy; or a rule for a certificate or a workload.
    pub fn is_configured(&self) -> bool {
        let now_ms = self.now().wall_ms;
        let tokens = self.tokens.current(now_ms);
        let live: HashSet<&str> = match &*tokens {
            Ok(tokens) => tokens.live_names(now_ms / 1000).collect(),
            Err(_) => HashSet::new(),
        };
        let Some(watched) = &self.policy else { return !live.is_empty() };
        let policy = watched.current(now_ms);
        policy.as_ref().as_ref().is_ok_and(|policy| {
            policy.rules.iter().any(|rule| match &rule.who {
                Who::Token(name) => live.contains(name.as_str()),
                Who::Certificate(_) | Who::Workload { .. } => true,
            })
        })
    }

    /// The same, found out once a second: strangers ask as often as they like.
    pub fn was_configured(&self) -> bool {
        let second = self.now().boot_ms / 1000;
        let mut last = self.configured.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, answer)) if at == second => answer,
            _ => {
                let answer = self.is_configured();
                *last = Some((second, answer));
                answer
            }
        }
    }

    /// What keeps principals out although they should be let in: labels with a sentence for the
    /// operator. Empty when all is well.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let now_ms = self.now().wall_ms;
        let mut problems = Vec::new();
        if let Some(policy) = &self.policy
            && let Err(why) = &*policy.current(now_ms)
        {
            problems.push((POLICY_BROKEN, why.clone()));
        }
        if let Err(why) = &*self.tokens.current(now_ms) {
            problems.push((TOKENS_BROKEN, why.clone()));
        }
        problems
    }

    /// Finds out who asks. The header counts before the certificate; one that is wrong is refused
    /// even where everybody may write, for its sender believes to be somebody.
    ///
    /// # Errors
    /// [`Denied`]: unauthenticated, forbidden where writes are closed, or unavailable.
    pub async fn authenticate(
        &self,
        policy: &PolicyView,
        c: Credentials<'_>,
    ) -> Result<Principal, Denied> {
        if let Some(header) = c.authorization {
            return self.authenticate_header(policy, header).await;
        }
        if let Some(der) = c.certificate {
            let certificate = Certificate::from_der(der).map_err(|error| {
                let message = format!("the client certificate cannot be used: {error}");
                Denied::unauthenticated("certificate-unreadable", message)
            })?;
            // TLS verified it when the connection began, which may be a while ago.
            let now = self.now().wall_ms / 1000;
            if !(certificate.not_before()..=certificate.not_after()).contains(&now) {
                let message = "the client certificate is not valid now".to_owned();
                return Err(Denied::unauthenticated("certificate-expired", message));
            }
            return Ok(Principal::Certificate { names: certificate.identities().to_vec() });
        }
        if self.open_writes {
            return Ok(Principal::Anonymous);
        }
        policy.get()?;
        if !self.was_configured() {
            let message = "this log takes no entries: nobody may write yet (see treering-server \
                           token create)";
            return Err(Denied::forbidden("writes-closed", message.to_owned(), None));
        }
        let message = "this log takes entries from those it knows: send a token in the header \
                       Authorization, or a client certificate";
        Err(Denied::unauthenticated("credential-missing", message.to_owned()))
    }

    /// The policy as its file says it now: for one request, from who it is to what it may log.
    pub fn policy_now(&self) -> PolicyView {
        PolicyView::new(self.policy.as_ref().map(|policy| policy.current(self.now().wall_ms)))
    }

    /// The tokens in force.
    fn tokens(&self) -> Result<InForce<Tokens>, Denied> {
        InForce::new(self.tokens.current(self.now().wall_ms)).ok_or_else(|| {
            let message = "no token is accepted: the token file of this log cannot be used, and \
                           its operator must look";
            Denied::unavailable(TOKENS_BROKEN, message)
        })
    }

    /// The keys of an issuer: one cache for each place, across policies.
    fn key_cache(&self, source: &KeySource) -> Arc<KeyCache> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEY_CACHES_MAX && !keys.contains_key(source) {
            // Places of policies that are gone; those that are needed are fetched again.
            keys.clear();
        }
        let cache = keys.entry(source.clone());
        cache.or_insert_with(|| Arc::new(KeyCache::new(source.clone()))).clone()
    }

    fn now(&self) -> Reading {
        (self.clock)()
    }
}

impl Denied {
    fn unauthenticated(label: &'static str, message: String) -> Self {
        Self { status: DeniedStatus::Unauthenticated, label, message, principal: None }
    }

    fn forbidden(label: &'static str, message: String, principal: Option<&Principal>) -> Self {
        let principal = principal.map(Principal::to_string);
        Self { status: DeniedStatus::Forbidden, label, message, principal }
    }

    fn unavailable(label: &'static str, message: &str) -> Self {
        let status = DeniedStatus::Unavailable;
        Self { status, label, message: message.to_owned(), principal: None }
    }
}

/// What a watched file says, when it says something.
struct InForce<T>(Arc<Content<T>>);

impl<T> InForce<T> {
    fn new(content: Arc<Content<T>>) -> Option<Self> {
        content.is_ok().then_some(Self(content))
    }

    fn get(&self) -> &T {
        match self.0.as_ref() {
            Ok(value) => value,
            Err(_) => unreachable!("only content that is there is made into this"),
        }
    }
}

/// Issuers of this policy and a few earlier ones.
const KEY_CACHES_MAX: usize = 128;

const POLICY_BROKEN: &str = "policy-broken";
const TOKENS_BROKEN: &str = "tokens-broken";
