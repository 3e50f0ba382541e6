//! The gate that every submission passes: how often, who, whether they may, and the line in the
//! journal that says how it ended.
//!
//! ```text
//! place -> address rate -> offered -> writes possible -> principal -> its rate
//!  503         429        405, 501         503           401, 403      429
//!       -> body, signature -> policy -> what it says of logged models, if anything -> pool
//!               400          403, 429                400, 403
//! ```
//!
//! Invariants: whatever becomes of a submission that may be in the log, one line of the journal
//! says so before the client hears it, and without the line the client hears 503; while lines
//! cannot be written, or take too long, nothing is taken. What an entry that is certainly not in
//! the log took from a quota goes back. Of refusals in a flood one line stands for many, and says
//! for how many. Open submissions are bounded, and with them the lines that wait; each holds its
//! place until its line is written, also when its client has gone.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use treering_proto::entry::{EntryKind, VerifiedEntry};
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;

use super::App;
use super::accept::Peer;
use super::rates::TooOften;
use super::reply::{Fault, Reply};
use super::request_id::{REQUEST_ID, RequestId};
use super::route::Face;
use crate::access::{Access, Credentials, Denied, DeniedStatus, Grant, PolicyView, Principal};
use crate::admission::{self, Logged, Refused};
use crate::journal::{Act, Journal, JournalError, Line, Lines};
use crate::limits::{
    DRAIN_TIME_MAX, REFUSAL_LINES_PER_SECOND, STRANGER_LINES_PER_SECOND, SUBMISSIONS_MAX,
};
use crate::metrics::Limited;
use crate::pool::{Arriving, Submitter};

/// What keeps the gate.
pub struct Gate {
    /// Who may write what.
    pub access: Access,
    /// Where it is written down.
    pub journal: Arc<Journal>,
    /// By whom.
    lines: Lines,
    /// Lines about those whom nobody knows, and about principals.
    strangers: RefusalLines,
    principals: RefusalLines,
    /// One for each submission that may be open.
    places: Arc<Semaphore>,
}

impl Gate {
    /// A gate that nobody has passed.
    pub fn new(access: Access, journal: Journal) -> Self {
        let journal = Arc::new(journal);
        let lines = Lines::to(journal.clone());
        let strangers = RefusalLines::new(STRANGER_LINES_PER_SECOND);
        let principals = RefusalLines::new(REFUSAL_LINES_PER_SECOND);
        let places = Arc::new(Semaphore::new(SUBMISSIONS_MAX));
        Self { access, journal, lines, strangers, principals, places }
    }

    /// Lets nobody in any more, and waits until all submissions have ended, for `DRAIN_TIME_MAX` at
    /// most.
    pub async fn close(&self) {
        // Who waits for all places gets each that becomes free, before anybody who knocks, and has
        // them until there are no places any more.
        let all = self.places.acquire_many(u32::try_from(SUBMISSIONS_MAX).unwrap_or(u32::MAX));
        let ended = tokio::time::timeout(DRAIN_TIME_MAX, all).await;
        if ended.is_err() {
            tracing::warn!("submissions were still open when the time to stop was over");
        }
        self.places.close();
    }

    /// Takes no more lines; those that were handed over are written when the thread has ended.
    pub fn end_lines(&self) -> Option<JoinHandle<()>> {
        self.lines.end()
    }
}

/// Why there is a principal, and a policy, when the entry is looked at.
const KNOWN: &str = "nobody gets to the entry before the gate knows them";

/// One submission at the gate.
pub struct Visit {
    app: Arc<App>,
    peer: Arc<Peer>,
    /// Who may hang up before the visit is over.
    submitter: Submitter,
    /// Announces the entry to the pool, until it is there or refused.
    arriving: Option<Arriving>,
    request: RequestId,
    principal: Option<Principal>,
    /// The policy when they came in, which decides the rest, too.
    policy: Option<PolicyView>,
    /// Who was refused, if it is not known who it is.
    refused: Option<String>,
    grant: Option<Grant>,
    entry: Option<(EntryKind, Hash)>,
    /// Whether the entry may be in the log.
    is_taken: bool,
    index: Option<LeafIndex>,
    /// Its place among those that may be open, if it got one; the last that it lets go of.
    place: Option<OwnedSemaphorePermit>,
}

impl Visit {
    /// Somebody knocks.
    pub fn new(app: Arc<App>, peer: Arc<Peer>, submitter: Submitter, request: RequestId) -> Self {
        let arriving = Some(app.pool.arriving());
        let place = app.gate.places.clone().try_acquire_owned().ok();
        Self {
            app,
            peer,
            submitter,
            arriving,
            request,
            principal: None,
            policy: None,
            refused: None,
            grant: None,
            entry: None,
            is_taken: false,
            index: None,
            place,
        }
    }

    /// The server.
    pub fn app(&self) -> Arc<App> {
        self.app.clone()
    }

    /// Who knocks.
    pub fn peer(&self) -> Arc<Peer> {
        self.peer.clone()
    }

    /// The same, as the pool sees them.
    pub fn submitter(&self) -> Submitter {
        self.submitter.clone()
    }

    /// The announcement of the entry, which now comes.
    pub fn arrives(&mut self) -> Arriving {
        self.arriving.take().expect("an entry comes once")
    }

    /// Lets in whoever may write something through `face` now. Nothing of the body is read before.
    ///
    /// # Errors
    /// The answer.
    pub async fn enter(&mut self, face: Face, headers: &HeaderMap) -> Result<(), Fault> {
        if self.place.is_none() {
            return Err(Fault::unavailable("pool-full", "reached max pushback; retry"));
        }
        let app = self.app();
        let by_address = app.rates.write(self.peer.address);
        by_address.map_err(|wait| self.too_often(Limited::Address, wait))?;
        if let Some(refused) = app.offer.refusal(face) {
            return Err(refused);
        }
        if let Some(refusal) = app.health.refusal() {
            return Err(Fault::unavailable(refusal.label(), refusal.public_message()));
        }
        if app.gate.journal.is_failing() || app.gate.lines.is_stalled() {
            return Err(not_written_down());
        }
        let credentials = Credentials {
            authorization: one_authorization(headers)?,
            certificate: self.peer.certificate.as_deref(),
        };
        let policy = app.gate.access.policy_now();
        let known = app.gate.access.authenticate(&policy, credentials).await;
        let principal = known.map_err(|denied| self.denied(denied))?;
        let allowed = app.gate.access.may_ask(&policy, &principal);
        refuse_other_sites(&principal, headers)?;
        let rate_name = principal.rate_name();
        (self.principal, self.policy) = (Some(principal), Some(policy));
        allowed.map_err(|denied| self.denied(denied))?;
        let by_principal = rate_name.map_or(Ok(()), |name| app.rates.principal(&name));
        by_principal.map_err(|wait| self.too_often(Limited::Principal, wait))
    }

    /// Decides whether this entry may be logged by whoever came in.
    ///
    /// # Errors
    /// The answer.
    pub fn authorise(&mut self, entry: &VerifiedEntry) -> Result<(), Fault> {
        self.entry = Some((entry.kind(), entry.leaf()));
        let known = self.principal.as_ref().zip(self.policy.clone());
        let (principal, policy) = known.expect(KNOWN);
        let decided = self.app.gate.access.authorise(&policy, principal, entry);
        self.grant = Some(decided.map_err(|denied| self.denied(denied))?);
        Ok(())
    }

    /// Decides whether this entry may say what it says about models that are logged, and gives it
    /// back. What says nothing of them is not looked at.
    ///
    /// # Errors
    /// The answer.
    pub async fn admit(&mut self, entry: VerifiedEntry) -> Result<VerifiedEntry, Fault> {
        if !admission::is_asked(&entry) {
            return Ok(entry);
        }
        let policy = self.policy.clone().expect(KNOWN);
        let recovery = policy.recovery().map_err(|denied| self.denied(denied))?.to_vec();
        let app = self.app();
        let heavy = app.heavy_writes.clone();
        let decided = heavy.run(move || {
            let (size, origin) =
                (app.published.snapshot().head.size, app.signer.identity().origin());
            let logged = Logged { store: &app.store, size, origin };
            admission::check(logged, &recovery, &entry).map(|()| entry)
        });
        decided.await?.map_err(|refused| match refused {
            Refused::Store(error) => Fault::internal(error),
            refused => Fault::new(refused.status(), refused.label(), refused.to_string()),
        })
    }

    /// The entry may end up in the log from here on, whatever becomes of its sender.
    pub fn taken(&mut self) {
        self.is_taken = true;
        if let Some(grant) = &mut self.grant {
            grant.keep();
        }
    }

    /// The entry is certainly not in the log after all.
    pub fn not_logged(&mut self) {
        self.is_taken = false;
        if let Some(grant) = &mut self.grant {
            grant.refund();
        }
    }

    /// The entry is in the log, at `index`, now or since an earlier submission.
    pub fn logged(&mut self, index: LeafIndex) {
        self.index = Some(index);
    }

    /// Writes down how it ended; gives `result` back, or 503 if that failed.
    ///
    /// # Errors
    /// Those of `result`; 503.
    pub async fn close(mut self, result: Result<Reply, Fault>) -> Result<Reply, Fault> {
        self.arriving = None;
        let outcome = result.as_ref().map_or_else(|fault| fault.label, |_| "logged");
        let written = self.write_down(outcome).await;
        let result = written.map_or_else(
            |error| {
                tracing::error!(%error, request = %self.request, outcome, "no line in the journal");
                self.app.metrics.journal_failed(&error);
                Err(not_written_down())
            },
            |()| result,
        );
        let label = result.as_ref().map_or_else(|fault| fault.label, |_| "logged");
        self.app.metrics.submission(label);
        result.map(|mut reply| {
            reply.headers_mut().insert(REQUEST_ID, self.request.header());
            reply
        })
    }

    async fn write_down(&self, outcome: &str) -> Result<(), Arc<JournalError>> {
        if self.is_taken {
            return self.write_line(Act::Submit, outcome, 0).await;
        }
        let gate = &self.app.gate;
        let lines = match (&self.principal, &self.refused) {
            (None, None) | (Some(Principal::Anonymous), _) => &gate.strangers,
            _ => &gate.principals,
        };
        // Whoever has no place may not wait for a line, and nobody begins to wait for a disk that
        // has stalled: the next line counts them.
        if self.place.is_none() || gate.lines.is_stalled() {
            lines.add(1);
            return Ok(());
        }
        // While lines fail each refusal tries to write one: the first that succeeds ends that.
        let repeated = match gate.journal.is_failing() {
            true => Some(lines.unwritten()),
            false => lines.next(),
        };
        let Some(repeated) = repeated else { return Ok(()) };
        let written = self.write_line(Act::Refuse, outcome, repeated).await;
        if written.is_err() {
            lines.add(repeated + 1);
        }
        written
    }

    async fn write_line(
        &self,
        act: Act,
        outcome: &str,
        repeated: u64,
    ) -> Result<(), Arc<JournalError>> {
        let request = self.request.to_string();
        let principal = match (&self.principal, &self.refused) {
            (Some(principal), _) => principal.to_string(),
            (None, Some(refused)) => refused.clone(),
            (None, None) => "unknown".to_owned(),
        };
        let kind =
            self.entry.as_ref().map(|(kind, _)| format!("{}:{}", kind.kind(), kind.version()));
        let line = Line {
            request: &request,
            act,
            principal: &principal,
            source: Some(self.peer.address),
            project: self.grant.as_ref().map(|grant| grant.project.as_str()),
            rule: self.grant.as_ref().map(|grant| grant.rule.as_str()),
            kind: kind.as_deref(),
            leaf: self.entry.as_ref().map(|(_, leaf)| leaf),
            index: self.index.map(LeafIndex::get),
            outcome,
            repeated,
        };
        self.app.gate.lines.write(line.text()).await
    }

    fn too_often(&self, by: Limited, wait: TooOften) -> Fault {
        self.app.metrics.rate_refused(by);
        Fault::too_often(wait)
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

fn not_written_down() -> Fault {
    let message = "what happens cannot be written down now; submit it again later";
    Fault::unavailable("journal-failed", message)
}

/// The header `Authorization`. Two of them would leave open who asks.
fn one_authorization(headers: &HeaderMap) -> Result<Option<&[u8]>, Fault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|value| value.as_bytes())),
        (_, Some(_)) => {
            let message = "more than one header Authorization";
            Err(Fault::new(StatusCode::UNAUTHORIZED, "credential-ambiguous", message))
        }
    }
}

/// A browser sends what another site's page wants it to send, with the client certificate of its
/// user or from inside the network; it does not send a token that the page does not have.
fn refuse_other_sites(principal: &Principal, headers: &HeaderMap) -> Result<(), Fault> {
    let brings_token = matches!(principal, Principal::Token { .. } | Principal::Workload { .. });
    if brings_token || !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let message = "a web page may submit only with a token";
    Err(Fault::new(StatusCode::FORBIDDEN, "cross-site", message))
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

impl RefusalLines {
    fn new(per_second: u32) -> Self {
        let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::direct(Quota::per_second(rate));
        Self { limiter, unwritten: AtomicU64::new(0) }
    }

    /// For how many earlier refusals the next line stands; `None` if there is no line now.
    fn next(&self) -> Option<u64> {
        if self.limiter.check().is_ok() {
            return Some(self.unwritten());
        }
        self.add(1);
        None
    }

    /// How many refusals have no line; the caller writes one for them.
    fn unwritten(&self) -> u64 {
        self.unwritten.swap(0, Ordering::Relaxed)
    }

    fn add(&self, count: u64) {
        self.unwritten.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_app::TestApp;
    use crate::pool::Listening;

    #[tokio::test]
    async fn beyond_the_bound_a_submission_is_refused_and_only_counted() {
        let log = TestApp::new(false);
        let (gate, listening) = (&log.app.gate, Listening::default());
        let first = log.visit(Face::V1, &listening).await;
        let all = u32::try_from(SUBMISSIONS_MAX).unwrap();
        assert!(gate.places.try_acquire_many(all).is_err(), "who is in has a place");
        let others = gate.places.try_acquire_many(all - 1).unwrap();
        let (head, peer) = (gate.journal.head(), first.peer());
        let submitter = listening.submitter();
        let mut second = Visit::new(log.app.clone(), peer, submitter, RequestId::next());
        let refused = second.enter(Face::V1, &HeaderMap::new()).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.label), (503, "pool-full"));
        let answer = second.close(Err(refused)).await;
        assert!(answer.is_err_and(|fault| fault.label == "pool-full"));
        assert_eq!(gate.journal.head(), head);
        assert_eq!(gate.strangers.unwritten.load(Ordering::Relaxed), 1);

        // The one who is in has a line, which counts the other, and then leaves.
        drop(others);
        let refused = Fault::bad_request("bad-entry", "no entry");
        assert!(first.close(Err(refused)).await.is_err());
        assert_eq!(gate.journal.head().sequence, head.sequence + 1);
        assert_eq!(gate.strangers.unwritten.load(Ordering::Relaxed), 0);
        assert!(gate.places.try_acquire_many(all).is_ok(), "nobody is in");
    }

    #[tokio::test]
    async fn a_gate_that_closes_waits_for_whoever_is_in_and_for_their_lines() {
        let log = TestApp::new(false);
        let (gate, listening) = (&log.app.gate, Listening::default());
        let visit = log.visit(Face::V1, &listening).await;
        let (head, peer) = (gate.journal.head(), visit.peer());
        let leaves = async {
            let submitter = listening.submitter();
            let knocks = Visit::new(log.app.clone(), peer, submitter, RequestId::next());
            assert!(knocks.place.is_none(), "nobody is let in any more");
            visit.close(Err(Fault::bad_request("bad-entry", "no entry"))).await
        };
        let closes = async {
            gate.close().await;
            assert_eq!(gate.journal.head().sequence, head.sequence + 1, "the line is there");
        };
        let ((), answer) = tokio::join!(biased; closes, leaves);
        assert!(answer.is_err_and(|fault| fault.label == "bad-entry"));
    }

    #[test]
    fn a_flood_of_refusals_is_counted_and_not_written() {
        let refusals = RefusalLines::new(50);
        let written = (0..10_000).filter_map(|_| refusals.next()).collect::<Vec<_>>();
        assert!(written.len() >= 50 && written.len() < 10_000);
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
