//! What only the log can answer about a verified bundle: does its tree still extend everything seen
//! before, were these bytes logged earlier, and has the same signer logged something newer under
//! the same name?
//!
//! Invariant: search answers are the log's word; the report says so. Consistency is proven.
//! Out of scope: everything that can be checked without the log (see [`crate::verify`]).

use treering_proto::trust::{Signer, SignerRule, TrustFile};

use crate::consistency::{FollowError, Since, follow};
use crate::evidence::Evidence;
use crate::log::{LogError, LogReader, SearchHit};
use crate::report::{Exit, Report};
use crate::state::StateDirectory;
use crate::transport::TransportError;
use crate::verify::{Opened, Verification};

/// The checks of this module, as the report names them.
pub const CHECKS: [&str; 3] = ["consistency", "first-seen", "newest"];

/// Newer entries that are asked for; more change nothing.
const NEWER_MAX: &str = "50";

/// What else is to be known.
#[derive(Clone, Copy, Debug)]
pub struct OnlinePolicy<'a> {
    /// The log and its floor.
    pub trust: &'a TrustFile,
    /// The rules that signers were accepted by.
    pub signers: &'a [SignerRule],
    /// Whether a model may be older than the newest of its name.
    pub allow_older: bool,
}

/// Adds a line for each check that was not asked for.
pub fn not_asked(report: &mut Report) {
    for check in CHECKS {
        report.not_checked(check, "the log was not asked; --online does");
    }
}

/// Asks the log, and adds a line for each check. Returns evidence if the log contradicts itself.
pub async fn check(
    log: &LogReader<'_>,
    state: &StateDirectory,
    opened: &Opened,
    policy: OnlinePolicy<'_>,
    verification: &mut Verification,
) -> Option<Evidence> {
    let evidence = consistency(log, policy.trust, state, verification).await;
    first_seen(log, opened, verification).await;
    newest(log, opened, policy, verification).await;
    evidence
}

/// Follows the log to its newest checkpoint, which must extend the bundle's and all seen before,
/// and adds the line about that. Returns evidence if the log contradicts itself.
pub async fn consistency(
    log: &LogReader<'_>,
    trust: &TrustFile,
    state: &StateDirectory,
    verification: &mut Verification,
) -> Option<Evidence> {
    let also = verification.entry.as_ref().map(|entry| entry.checkpoint.clone());
    let report = &mut verification.report;
    match follow(log, trust, state, also.as_ref()).await {
        Ok(followed) => {
            let size = followed.head.head().size;
            let since = match followed.since {
                Since::FirstContact => {
                    "this client had not seen the log before: first contact".to_owned()
                }
                Since::Floor(floor) => format!("it extends the floor of {floor}: first contact"),
                Since::Remembered(known) => format!("it extends the tree of {known} seen before"),
            };
            report.passed("consistency", format!("the log has {size} entries; {since}"));
            report.details(followed.remarks);
            None
        }
        Err(FollowError::Alarm(evidence)) => {
            report.failed("consistency", evidence.to_string(), Exit::Alarm);
            Some(*evidence)
        }
        Err(error @ FollowError::BadTiles { .. }) => {
            report.failed("consistency", error.to_string(), Exit::Alarm);
            None
        }
        Err(error) => {
            let exit = follow_exit(&error);
            report.could_not_check("consistency", error.to_string(), exit);
            None
        }
    }
}

/// How a failure to follow the log ends the process.
pub fn follow_exit(error: &FollowError) -> Exit {
    match error {
        FollowError::Alarm(_) | FollowError::BadTiles { .. } => Exit::Alarm,
        FollowError::Log(error) => log_exit(error),
        FollowError::State(_) | FollowError::BadState { .. } | FollowError::NoQuorum { .. } => {
            Exit::Unavailable
        }
    }
}

/// How a failure to read the log ends the process.
pub fn log_exit(error: &LogError) -> Exit {
    match error {
        LogError::Transport(TransportError::NotAuthorised { .. }) => Exit::NotAuthorised,
        LogError::Transport(
            TransportError::Url(_) | TransportError::TokenInClear | TransportError::Setup(_),
        ) => Exit::Usage,
        // A checkpoint under a stranger's signature: somebody speaks in the log's name.
        LogError::Checkpoint(_) => Exit::Alarm,
        _ => Exit::Unavailable,
    }
}

async fn first_seen(log: &LogReader<'_>, opened: &Opened, verification: &mut Verification) {
    let report = &mut verification.report;
    let id = opened.model_id().to_hex();
    let page = [("order", "oldest"), ("limit", "1")];
    match log.search(&[("model-id", &id)], &page).await {
        Ok(found) => match found.entries.first() {
            Some(hit) => report.passed(
                "first-seen",
                format!(
                    "the log says that these bytes were first logged as entry {}, {}",
                    hit.index,
                    time_text(hit.time)
                ),
            ),
            None if sees_statement(opened) => report.failed(
                "first-seen",
                "the log's search does not find this model, though the log has the entry",
                Exit::NotVerified,
            ),
            None => report.not_checked("first-seen", "the log was not shown what was signed"),
        },
        Err(error) => report.could_not_check("first-seen", error.to_string(), log_exit(&error)),
    }
}

/// Whether the log got the statement together with the signature: a `hashedrekord` is a digest
/// only.
fn sees_statement(opened: &Opened) -> bool {
    opened.bundle().log_entries.iter().any(|entry| entry.kind == "dsse")
}

async fn newest(
    log: &LogReader<'_>,
    opened: &Opened,
    policy: OnlinePolicy<'_>,
    verification: &mut Verification,
) {
    let facts = signer_facts(policy.signers, verification);
    let (Some(name), Some(entry)) = (opened.statement().name(), &verification.entry) else {
        let why = "it needs a proven entry, and a model with a name";
        return verification.report.could_not_check("newest", why, Exit::NotVerified);
    };
    let Some(mut facts) = facts else {
        let why = "no rule accepts the signer";
        return verification.report.could_not_check("newest", why, Exit::NotVerified);
    };
    facts.push(("subject-name", name.to_owned()));
    let newer = newer_of_other_models(log, opened, &facts, entry.index.get()).await;
    let report = &mut verification.report;
    let newer = match newer {
        Ok(newer) => newer,
        Err(error) => {
            return report.could_not_check("newest", error.to_string(), log_exit(&error));
        }
    };
    if newer.is_empty() {
        let why = format!("the log says that the signer logged nothing newer as {name:?}");
        report.passed("newest", why);
    } else if policy.allow_older {
        let why = format!("{} newer models are named {name:?}; that is allowed", newer.len());
        report.not_checked("newest", why);
    } else {
        let why = format!("the signer logged {} newer models as {name:?}", newer.len());
        report.failed("newest", why, Exit::Policy);
    }
    let line = |hit: &SearchHit| format!("newer: entry {}, {}", hit.index, time_text(hit.time));
    report.details(newer.iter().map(line).collect());
}

/// Entries above `index` with these facts that are about another model: the same bytes signed again
/// are no newer model.
async fn newer_of_other_models(
    log: &LogReader<'_>,
    opened: &Opened,
    facts: &[(&str, String)],
    index: u64,
) -> Result<Vec<SearchHit>, LogError> {
    let page = [("order", "newest"), ("limit", NEWER_MAX)];
    let newer = |hits: Vec<SearchHit>| {
        let above = |hit: &SearchHit| hit.index.parse::<u64>().is_ok_and(|at| at > index);
        hits.into_iter().filter(above).collect::<Vec<_>>()
    };
    let id = opened.model_id().to_hex();
    let facts: Vec<(&str, &str)> =
        facts.iter().map(|(tag, value)| (*tag, value.as_str())).collect();
    let all = newer(log.search(&facts, &page).await?.entries);
    if all.is_empty() {
        return Ok(all);
    }
    let same_model = [&facts[..], &[("model-id", id.as_str())]].concat();
    let same = newer(log.search(&same_model, &page).await?.entries);
    Ok(all.into_iter().filter(|hit| !same.iter().any(|s| s.index == hit.index)).collect())
}

/// How the log's search knows the accepted signer.
fn signer_facts(
    signers: &[SignerRule],
    verification: &Verification,
) -> Option<Vec<(&'static str, String)>> {
    let rule = signers.iter().find(|rule| Some(&rule.name) == verification.signer.as_ref())?;
    Some(match &rule.who {
        Signer::Key(key) => vec![("public-key", key.fingerprint().to_hex())],
        Signer::Identity { identity, issuer } => {
            let issuer = issuer.iter().map(|issuer| ("issuer", issuer.clone()));
            [("identity", identity.clone())].into_iter().chain(issuer).collect()
        }
    })
}

/// Unix seconds as RFC 3339.
pub fn time_text(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {seconds}"), |time| time.to_string())
}

#[cfg(test)]
mod tests;
