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
//! counts. Out of scope: connections, chains of client certificates (TLS), journals.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use treering_proto::certificate::Certificate;
use treering_proto::entry::VerifiedEntry;

use crate::clock::{self, Reading};

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

use jwks::KeyCache;
use policy::{DEFAULT_PROJECT, KeySource, POLICY_FILE, Policy, Who};
pub use principal::Principal;
use quota::{Hold, QuotaRefusal, Quotas};
use summary::EntrySummary;
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
    pub async fn authenticate(&self, c: Credentials<'_>) -> Result<Principal, Denied> {
        if let Some(header) = c.authorization {
            return self.authenticate_header(header).await;
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
        self.policy()?;
        if !self.was_configured() {
            let message = "this log takes no entries: nobody may write yet (see treering-server \
                           token create)";
            return Err(Denied::forbidden("writes-closed", message.to_owned(), None));
        }
        let message = "this log takes entries from those it knows: send a token in the header \
                       Authorization, or a client certificate";
        Err(Denied::unauthenticated("credential-missing", message.to_owned()))
    }

    /// Whether `p` may log anything at all, as far as can be told before there is an entry:
    /// somebody for whom no rule is must not make the log read a body and verify signatures.
    ///
    /// # Errors
    /// [`Denied`]: forbidden, or unavailable.
    pub fn may_ask(&self, p: &Principal) -> Result<(), Denied> {
        if self.open_writes {
            return Ok(());
        }
        let policy = self.policy()?;
        let mut missed = policy::Missed::Principal;
        match &policy {
            None if matches!(p, Principal::Token { .. }) => return Ok(()),
            None => {}
            Some(policy) => {
                for rule in &policy.get().rules {
                    match rule.who.matches(p) {
                        Ok(_) => return Ok(()),
                        Err(closer @ policy::Missed::Claim(_)) => missed = closer,
                        Err(_) => {}
                    }
                }
            }
        }
        let (label, message) = missed.refusal();
        Err(Denied::forbidden(label, message, Some(p)))
    }

    /// Decides whether `p` may log `e`, and takes it from the quota.
    ///
    /// # Errors
    /// [`Denied`]: forbidden, quota, or unavailable.
    pub fn authorise(&self, p: &Principal, e: &VerifiedEntry) -> Result<Grant, Denied> {
        let policy = self.policy()?;
        let with_names = policy.as_ref().is_some_and(|policy| policy.get().asks_for_names());
        let entry = EntrySummary::of(e, with_names);
        let denied = match &policy {
            None => match self.without_policy(p, &entry) {
                Ok(grant) => return Ok(grant),
                Err(denied) => denied,
            },
            Some(policy) => {
                let decision = policy.get().decide(p, &entry);
                if let Some(granted) = decision.granted {
                    return self.take(p, granted, entry.bytes);
                }
                let (label, message) = decision.refusal();
                Denied::forbidden(label, message, Some(p))
            }
        };
        if self.open_writes { Ok(Grant::free(DEFAULT_PROJECT, "open-writes")) } else { Err(denied) }
    }

    /// A token opens everything that it is not narrowed from.
    fn without_policy(&self, p: &Principal, entry: &EntrySummary) -> Result<Grant, Denied> {
        match p {
            Principal::Token { scope, .. } if scope.covers_kind(entry) => {
                let project = scope.projects.first().map_or(DEFAULT_PROJECT, String::as_str);
                Ok(Grant::free(project, "token"))
            }
            Principal::Token { .. } => {
                let (label, message) = policy::Missed::Scope.refusal();
                Err(Denied::forbidden(label, message, Some(p)))
            }
            _ => {
                let (label, message) = policy::Missed::Principal.refusal();
                Err(Denied::forbidden(label, message, Some(p)))
            }
        }
    }

    fn take(
        &self,
        p: &Principal,
        granted: policy::Granted<'_>,
        bytes: u64,
    ) -> Result<Grant, Denied> {
        let policy::Granted { rule, who } = granted;
        let now_ms = self.now().boot_ms;
        let taken = self.quotas.take(&rule.name, &who, rule.quota, bytes, now_ms);
        let hold = taken.map_err(|refusal| match refusal {
            QuotaRefusal::Later(retry_after) => Denied {
                status: DeniedStatus::Quota { retry_after },
                label: "quota",
                message: format!("the quota of rule {:?} is used up for now", rule.name),
                principal: Some(p.to_string()),
            },
            QuotaRefusal::Never => {
                let message =
                    format!("the entry is larger than a day's quota of rule {:?}", rule.name);
                Denied::forbidden("quota-too-small", message, Some(p))
            }
        })?;
        Ok(Grant { project: rule.project.clone(), rule: rule.name.clone(), hold })
    }

    /// The policy in force, if there is one.
    fn policy(&self) -> Result<Option<InForce<Policy>>, Denied> {
        let Some(watched) = &self.policy else { return Ok(None) };
        let current = InForce::new(watched.current(self.now().wall_ms));
        current.map(Some).ok_or_else(|| {
            let message = "writes are closed: the policy of this log cannot be used, and its \
                           operator must look";
            Denied::unavailable(POLICY_BROKEN, message)
        })
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
