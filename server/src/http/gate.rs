//! The gate that every submission passes: how often, who, whether they may, and the line in the
//! journal that says how it ended.
//!
//! ```text
//! address rate -> writes possible -> principal -> its rate -> body, signature -> policy -> pool
//!      429            503            401, 403      429           400              403, 429
//! ```
//!
//! Invariants: whatever becomes of a submission, one line of the journal says so before the client
//! hears it, and without the line the client hears 503; what a refused or failed submission took
//! from a quota goes back. Of refusals in a flood one line stands for many, and says for how many.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use treering_proto::entry::{EntryKind, VerifiedEntry};
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;

use super::App;
use super::accept::Peer;
use super::rates::TooOften;
use super::reply::Fault;
use super::request_id::RequestId;
use crate::access::{Access, Credentials, Denied, DeniedStatus, Grant, Principal};
use crate::journal::{Act, Journal, JournalError, Line};
use crate::limits::REFUSAL_LINES_PER_SECOND;
use crate::metrics::Limited;

/// What keeps the gate.
pub struct Gate {
    /// Who may write what.
    pub access: Access,
    /// Where it is written down.
    pub journal: Journal,
    refusals: RefusalLines,
}

impl Gate {
    /// A gate that nobody has passed.
    pub fn new(access: Access, journal: Journal) -> Self {
        Self { access, journal, refusals: RefusalLines::default() }
    }
}

/// One submission at the gate.
pub struct Visit<'a> {
    app: &'a App,
    request: RequestId,
    source: IpAddr,
    principal: Option<Principal>,
    /// Who was refused, if it is not known who it is.
    refused: Option<String>,
    grant: Option<Grant>,
    entry: Option<(EntryKind, Hash)>,
    index: Option<LeafIndex>,
}

impl<'a> Visit<'a> {
    /// Somebody knocks.
    pub fn new(app: &'a App, request: RequestId, source: IpAddr) -> Self {
        let (principal, refused, grant, entry, index) = (None, None, None, None, None);
        Self { app, request, source, principal, refused, grant, entry, index }
    }

    /// Lets in whoever may write at all now. Nothing of the body is read before.
    ///
    /// # Errors
    /// The answer.
    pub async fn enter(&mut self, peer: &Peer, headers: &HeaderMap) -> Result<(), Fault> {
        let by_address = self.app.rates.write(peer.address);
        by_address.map_err(|wait| self.too_often(Limited::Address, wait))?;
        if let Some(refusal) = self.app.health.refusal() {
            return Err(Fault::unavailable(refusal.label(), refusal.public_message()));
        }
        let credentials = Credentials {
            authorization: headers.get(AUTHORIZATION).map(|value| value.as_bytes()),
            certificate: peer.certificate.as_deref(),
        };
        let known = self.app.gate.access.authenticate(credentials).await;
        let principal = known.map_err(|denied| self.denied(denied))?;
        // Of those whom nobody knows only the address can be counted.
        let name = (principal != Principal::Anonymous).then(|| principal.to_string());
        self.principal = Some(principal);
        let by_principal = name.map_or(Ok(()), |name| self.app.rates.principal(&name));
        by_principal.map_err(|wait| self.too_often(Limited::Principal, wait))
    }

    /// Decides whether this entry may be logged by whoever came in.
    ///
    /// # Errors
    /// The answer.
    pub fn authorise(&mut self, entry: &VerifiedEntry) -> Result<(), Fault> {
        self.entry = Some((entry.kind(), entry.leaf()));
        let principal = self.principal.as_ref();
        let principal = principal.expect("nobody gets to the entry before the gate knows them");
        let decided = self.app.gate.access.authorise(principal, entry);
        self.grant = Some(decided.map_err(|denied| self.denied(denied))?);
        Ok(())
    }

    /// The entry may end up in the log from here on, whatever becomes of its sender.
    pub fn taken(&mut self) {
        if let Some(grant) = &mut self.grant {
            grant.keep();
        }
    }

    /// The entry is in the log, at `index`.
    pub fn logged(&mut self, index: LeafIndex, is_new: bool) {
        self.index = Some(index);
        if !is_new {
            self.refund();
        }
    }

    /// Writes down how it ended; gives `result` back, or 503 if that failed.
    pub fn close<T>(mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        let is_own_fault = result.as_ref().is_err_and(|fault| fault.status.is_server_error());
        if is_own_fault {
            self.refund();
        }
        let outcome = result.as_ref().map_or_else(|fault| fault.label, |_| "logged");
        let gate = &self.app.gate;
        let act = if self.index.is_some() { Act::Submit } else { Act::Refuse };
        let repeated = match act {
            Act::Refuse => gate.refusals.next(),
            _ => Some(0),
        };
        let Some(repeated) = repeated else { return result };
        let written = self.write_line(act, outcome, repeated);
        match written {
            Ok(()) => result,
            Err(error) => {
                tracing::error!(%error, request = %self.request, outcome, "no line in the journal");
                self.app.metrics.journal_failed(&error);
                let message = "what happened could not be written down; submit it again later";
                Err(Fault::unavailable("journal-failed", message))
            }
        }
    }

    fn write_line(&self, act: Act, outcome: &str, repeated: u64) -> Result<(), JournalError> {
        let request = self.request.to_string();
        let principal = match (&self.principal, &self.refused) {
            (Some(principal), _) => principal.to_string(),
            (None, Some(refused)) => refused.clone(),
            (None, None) => "unknown".to_owned(),
        };
        let kind =
            self.entry.as_ref().map(|(kind, _)| format!("{}:{}", kind.kind(), kind.version()));
        self.app.gate.journal.write(&Line {
            request: &request,
            act,
            principal: &principal,
            source: Some(self.source),
            project: self.grant.as_ref().map(|grant| grant.project.as_str()),
            rule: self.grant.as_ref().map(|grant| grant.rule.as_str()),
            kind: kind.as_deref(),
            leaf: self.entry.as_ref().map(|(_, leaf)| leaf),
            index: self.index.map(LeafIndex::get),
            outcome,
            repeated,
        })
    }

    fn too_often(&self, by: Limited, wait: TooOften) -> Fault {
        self.app.metrics.rate_refused(by);
        Fault::too_often(wait)
    }

    fn refund(&mut self) {
        if let Some(grant) = &mut self.grant {
            grant.refund();
        }
    }

    fn denied(&mut self, denied: Denied) -> Fault {
        let Denied { status, label, message, principal } = denied;
        self.app.metrics.denied(label);
        self.refused = principal;
        match status {
            DeniedStatus::Unauthenticated => {
                let fault = Fault::new(StatusCode::UNAUTHORIZED, label, message);
                fault.with(WWW_AUTHENTICATE, "Bearer realm=\"treering\"")
            }
            DeniedStatus::Forbidden => Fault::new(StatusCode::FORBIDDEN, label, message),
            DeniedStatus::Quota { retry_after } => {
                self.app.metrics.rate_refused(Limited::Quota);
                let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, label, message);
                fault.with(RETRY_AFTER, &whole_seconds(retry_after).to_string())
            }
            DeniedStatus::Unavailable => Fault::unavailable(label, message),
        }
    }
}

/// Seconds to wait, never 0.
pub fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs_f64().ceil() as u64).max(1)
}

/// Lines about refusals: a flood of them must not fill the disk that the log needs.
struct RefusalLines {
    limiter: DefaultDirectRateLimiter,
    unwritten: AtomicU64,
}

impl Default for RefusalLines {
    fn default() -> Self {
        let rate = NonZeroU32::new(REFUSAL_LINES_PER_SECOND).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::direct(Quota::per_second(rate));
        Self { limiter, unwritten: AtomicU64::new(0) }
    }
}

impl RefusalLines {
    /// For how many earlier refusals the next line stands; `None` if there is no line now.
    fn next(&self) -> Option<u64> {
        match self.limiter.check() {
            Ok(()) => Some(self.unwritten.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.unwritten.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_not_written() {
        let refusals = RefusalLines::default();
        let written = (0..10_000).filter_map(|_| refusals.next()).collect::<Vec<_>>();
        assert!(written.len() >= REFUSAL_LINES_PER_SECOND as usize && written.len() < 10_000);
        let unwritten = refusals.unwritten.load(Ordering::Relaxed);
        let said = written.len() as u64 + written.iter().sum::<u64>();
        assert_eq!(said + unwritten, 10_000, "every refusal is counted once");
    }

    #[test]
    fn a_wait_is_never_zero_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1001)), 2);
    }
}
