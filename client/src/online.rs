//! What only the log can answer about a verified bundle: does its tree still extend everything seen
//! before, when did it log the entry, were these bytes logged earlier, and has the same signer
//! logged something newer under the same name?
//!
//! ```text
//! examine the bundle -> ask the log -> conclude, with what it showed -> check, with more questions
//! ```
//!
//! Invariants: search answers are the log's word; the report says so. Consistency is proven, and so
//! is that of every checkpoint that dates something.
//! Out of scope: everything that can be checked without the log (see [`crate::verify`]).

mod dates;
mod newest;
pub mod promise;
pub mod rekor_v1;

use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::evidence::{Evidence, Promise};
use treering_proto::trust::model_policy::Rule;
use treering_proto::trust::{ModelPolicy, SignerRule, TrustFile};

use crate::consistency::{FollowError, Since, contradiction, follow};
use crate::log::{LogError, LogReader};
use crate::report::{Exit, Report};
use crate::state::StateDirectory;
use crate::transport::{Fault, TransportError};
use crate::verify::{Newest, Opened, ProvenEntry, Shown, Verification};
use newest::Searcher;

pub use crate::time::time_text;

/// The checks of this module, as the report names them. The last two give way to the rules of the
/// model policy that ask the same and more, `firstSeen` and `notNewest`.
pub const CHECKS: [&str; 3] = ["consistency", "first-seen", "newest"];

/// What else is to be known.
#[derive(Clone, Copy, Debug)]
pub struct OnlinePolicy<'a> {
    /// The rules that signers were accepted by.
    pub signers: &'a [SignerRule],
    /// Whether a model may be older than the newest of its name.
    pub allow_older: bool,
    /// The rules that are judged beside these checks.
    pub rules: &'a ModelPolicy,
}

/// What the log answered about an entry, before anything is concluded from it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it showed.
    pub shown: Shown,
    /// Of everything in which the log contradicts itself, or may.
    pub evidence: Vec<Evidence>,
    /// The line about consistency.
    report: Report,
}

/// What else the log is asked than its newest checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Questions {
    /// Nothing.
    Newest,
    /// When it logged the entry, and what its trees around it were.
    Dates,
}

const NOT_ASKED: &str = "the log was not asked; --online does";

/// Adds a line for each check that was not asked for, and that no rule takes the place of.
pub fn not_asked(rules: &ModelPolicy, report: &mut Report) {
    report.not_checked("consistency", NOT_ASKED);
    models_not_asked(rules, report);
}

fn models_not_asked(rules: &ModelPolicy, report: &mut Report) {
    for (check, rule) in [("first-seen", Rule::FirstSeen), ("newest", Rule::NotNewest)] {
        if !rules.is_on(rule) {
            report.not_checked(check, NOT_ASKED);
        }
    }
}

/// The same, after comparing the bundle's checkpoint with what is remembered: two trees of one size
/// are a fork, and no log is needed to say so.
pub fn offline(trust: &TrustFile, state: Option<&StateDirectory>, verification: &mut Verification) {
    let checkpoint = verification.entry.as_ref().map(|entry| &entry.checkpoint);
    let compared = match (state, checkpoint) {
        (Some(state), Some(checkpoint)) => contradiction(trust, state, checkpoint),
        _ => Ok(None),
    };
    let report = &mut verification.report;
    match compared {
        Ok(Some(fork)) => {
            report.failed("consistency", fork.to_string(), Exit::Alarm);
            verification.evidence.push(fork);
        }
        Ok(None) => report.not_checked("consistency", NOT_ASKED),
        Err(error) => report.not_checked("consistency", format!("{NOT_ASKED}; {error}")),
    }
    models_not_asked(&trust.model_policy, report);
}

/// Follows the log to its newest checkpoint, which must extend that of `entry` and all seen before,
/// and asks `questions`. `promised` is what the log promised about the entry elsewhere.
pub async fn ask(
    log: &LogReader<'_>,
    trust: &TrustFile,
    state: &StateDirectory,
    entry: Option<&ProvenEntry>,
    promised: Option<Promise>,
    questions: Questions,
) -> Asked {
    let mut shown = Shown::default();
    let mut report = Report::default();
    let followed = match follow(log, trust, state, entry.map(|entry| &entry.checkpoint)).await {
        Ok(followed) => followed,
        Err(error) => {
            shown.newest = match error {
                FollowError::NoQuorum { size } => Newest::NoQuorum { size },
                _ => Newest::Unknown,
            };
            not_consistent(&error, &mut report);
            return Asked {
                shown,
                evidence: error.evidence().cloned().into_iter().collect(),
                report,
            };
        }
    };
    let size = followed.head.head().size;
    let head = followed.head;
    shown.newest = Newest::Followed(head.clone());
    let mut promises: Vec<Promise> = promised.into_iter().collect();
    if let (Questions::Dates, Some(entry)) = (questions, entry) {
        match dates::ask(log, trust, entry, &mut shown).await {
            Ok(elsewhere) => promises.extend(elsewhere),
            Err(error) => {
                not_consistent(&error, &mut report);
                let evidence = error.evidence().cloned().into_iter().collect();
                return Asked { shown, evidence, report };
            }
        }
    }
    let evidence = check_promises(log, trust, &promises, &head, &mut report).await;
    if report.outcome("consistency").is_some() {
        return Asked { shown, evidence, report };
    }
    let since = match followed.since {
        Since::FirstContact => "this client had not seen the log before: first contact".to_owned(),
        Since::Floor(floor) => format!("it extends the floor of {floor}: first contact"),
        Since::Remembered(known) => format!("it extends the tree of {known} seen before"),
    };
    report.passed("consistency", format!("the log has {size} entries; {since}"));
    report.details(followed.remarks);
    Asked { shown, evidence: Vec::new(), report }
}

/// Adds a line if another entry stands where the log promised one, or may. Returns evidence.
async fn check_promises(
    log: &LogReader<'_>,
    trust: &TrustFile,
    promises: &[Promise],
    head: &SignedCheckpoint,
    report: &mut Report,
) -> Vec<Evidence> {
    let (mut found, mut unknown) = (Vec::new(), None);
    for promise in promises {
        match promise::broken(log, trust, promise, head).await {
            Ok(broken) => found.extend(broken),
            Err(why) => unknown = Some(why),
        }
    }
    if let Some(broken) = found.first() {
        report.failed("consistency", broken.to_string(), Exit::Alarm);
    } else if let Some(why) = unknown {
        report.could_not_check("consistency", why, Exit::Unavailable);
    }
    found.into_iter().filter_map(|broken| broken.evidence).collect()
}

fn not_consistent(error: &FollowError, report: &mut Report) {
    match follow_exit(error) {
        exit if error.is_alarm() => report.failed("consistency", error.to_string(), exit),
        exit => report.could_not_check("consistency", error.to_string(), exit),
    }
}

/// Adds the line about consistency, and the evidence.
pub fn consistency(asked: Asked, verification: &mut Verification) {
    verification.evidence.extend(asked.evidence);
    verification.report.append(asked.report);
}

/// Adds a line for each check of this module, after asking the log for older and newer models.
pub async fn check(
    log: &LogReader<'_>,
    opened: &Opened,
    policy: OnlinePolicy<'_>,
    asked: Asked,
    verification: &mut Verification,
) {
    let size = match &asked.shown.newest {
        Newest::Followed(head) => head.head().size.get(),
        _ => 0,
    };
    consistency(asked, verification);
    let known = verification.entry.as_ref().map_or(0, |entry| entry.checkpoint.head().size.get());
    let searcher = Searcher { log, size: size.max(known) };
    if !policy.rules.is_on(Rule::FirstSeen) {
        first_seen(&searcher, opened, verification).await;
    }
    if !policy.rules.is_on(Rule::NotNewest) {
        newest::check(&searcher, opened, policy, verification).await;
    }
}

/// How a failure to follow the log ends the process.
pub fn follow_exit(error: &FollowError) -> Exit {
    match error {
        FollowError::Alarm(_) | FollowError::BadTiles(_) => Exit::Alarm,
        FollowError::Log(error) | FollowError::NoTiles { error, .. } => log_exit(error),
        FollowError::State(_) | FollowError::BadState { .. } => Exit::Unavailable,
        FollowError::NoQuorum { .. } => Exit::NotVerified,
    }
}

/// How a failure to read the log ends the process.
pub fn log_exit(error: &LogError) -> Exit {
    match error {
        LogError::Transport(
            TransportError::NotAuthorised { .. }
            | TransportError::Fault {
                fault: Fault::ClientCertificateRequired | Fault::ClientCertificateRefused,
                ..
            },
        ) => Exit::NotAuthorised,
        LogError::Transport(
            TransportError::Url(_)
            | TransportError::Authorities
            | TransportError::ClientIdentity
            | TransportError::TokenInClear
            | TransportError::TokenMalformed
            | TransportError::Setup(_),
        ) => Exit::Usage,
        // A checkpoint under a stranger's signature: somebody speaks in the log's name.
        LogError::Checkpoint(refused) if refused.is_foreign() => Exit::Alarm,
        _ => Exit::Unavailable,
    }
}

async fn first_seen(searcher: &Searcher<'_>, opened: &Opened, verification: &mut Verification) {
    let report = &mut verification.report;
    let id = opened.model_id().to_hex();
    match searcher.oldest(&[("model-id", &id)]).await {
        Ok(Some((index, hit))) => report.passed(
            "first-seen",
            format!(
                "the log says that these bytes were first logged as entry {index}, {}",
                time_text(hit.time)
            ),
        ),
        Ok(None) if sees_statement(opened) => report.failed(
            "first-seen",
            "the log's search does not find this model, though the log has the entry",
            Exit::NotVerified,
        ),
        Ok(None) => report.not_checked("first-seen", "the log was not shown what was signed"),
        Err(error) => report.could_not_check("first-seen", error.to_string(), error.exit()),
    }
}

/// Whether the log got the statement together with the signature: a `hashedrekord` is a digest
/// only.
fn sees_statement(opened: &Opened) -> bool {
    opened.bundle().log_entries.iter().any(|entry| entry.kind == "dsse")
}

#[cfg(test)]
mod tests;
