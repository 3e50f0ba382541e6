//! What a principal may log, by the policy as one request sees it.
//!
//! Invariant: from who it is to what it may log, one request is decided by one look at the policy
//! file, so that a change in between never mixes two policies; the next request sees the change.
//! Out of scope: who it is (`oidc`, `token`), what rules mean (`policy`).

use std::sync::Arc;

use treering_proto::entry::VerifiedEntry;

use super::policy::{DEFAULT_PROJECT, Granted, Missed, Policy, Recovery};
use super::quota::QuotaRefusal;
use super::summary::EntrySummary;
use super::watched::Content;
use super::{Access, Denied, DeniedStatus, Grant, POLICY_BROKEN, Principal};

/// The policy as one look at its file found it; there may be none.
#[derive(Clone)]
pub struct PolicyView(Option<Arc<Content<Policy>>>);

impl PolicyView {
    pub(super) fn new(seen: Option<Arc<Content<Policy>>>) -> Self {
        Self(seen)
    }

    /// Who may speak about models that others signed; nobody without a policy.
    ///
    /// # Errors
    /// [`Denied`]: the policy makes no sense.
    pub fn recovery(&self) -> Result<&[Recovery], Denied> {
        Ok(self.get()?.map_or(&[], |policy| &policy.recovery))
    }

    /// The policy, if there is one.
    ///
    /// # Errors
    /// [`Denied`]: it makes no sense, and so lets nobody in.
    pub(super) fn get(&self) -> Result<Option<&Policy>, Denied> {
        match self.0.as_deref() {
            None => Ok(None),
            Some(Ok(policy)) => Ok(Some(policy)),
            Some(Err(_)) => {
                let message = "writes are closed: the policy of this log cannot be used, and its \
                               operator must look";
                Err(Denied::unavailable(POLICY_BROKEN, message))
            }
        }
    }
}

impl Access {
    /// Whether `p` may log anything at all, as far as can be told before there is an entry:
    /// somebody for whom no rule is must not make the log read a body and verify signatures.
    ///
    /// # Errors
    /// [`Denied`]: forbidden, or unavailable.
    pub fn may_ask(&self, policy: &PolicyView, p: &Principal) -> Result<(), Denied> {
        if self.open_writes {
            return Ok(());
        }
        let mut missed = Missed::Principal;
        match policy.get()? {
            None if matches!(p, Principal::Token { .. }) => return Ok(()),
            None => {}
            Some(policy) => {
                for rule in &policy.rules {
                    match rule.who.matches(p) {
                        Ok(_) => return Ok(()),
                        Err(closer @ Missed::Claim(_)) => missed = closer,
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
    pub fn authorise(
        &self,
        policy: &PolicyView,
        p: &Principal,
        e: &VerifiedEntry,
    ) -> Result<Grant, Denied> {
        let policy = policy.get()?;
        let entry = EntrySummary::of(e, policy.is_some_and(Policy::asks_for_names));
        let denied = match policy {
            None => match self.without_policy(p, &entry) {
                Ok(grant) => return Ok(grant),
                Err(denied) => denied,
            },
            Some(policy) => {
                let decision = policy.decide(p, &entry);
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
                let (label, message) = Missed::Scope.refusal();
                Err(Denied::forbidden(label, message, Some(p)))
            }
            _ => {
                let (label, message) = Missed::Principal.refusal();
                Err(Denied::forbidden(label, message, Some(p)))
            }
        }
    }

    fn take(&self, p: &Principal, granted: Granted<'_>, bytes: u64) -> Result<Grant, Denied> {
        let Granted { rule, who } = granted;
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
}
