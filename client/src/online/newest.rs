//! Has the same signer logged something newer under the same name?
//!
//! Whoever may write can log an old signature again: the same envelope with another space in its
//! JSON is another entry. So the place of a model is that of its *first* entry by this signer under
//! this name, never that of the entry in the bundle, and pages full of copies are read to their
//! end.
//!
//! Invariant: a search of a smaller tree than the one that was followed answers nothing.
//! Out of scope: copies of *other* models. They can make a model look older than it is, which
//! refuses it, and never make it look newer.

use treering_proto::notice::{
    APPROVE_PREDICATE_TYPE, APPROVE_ROLLBACK_PREDICATE_TYPE, REVOKE_PREDICATE_TYPE,
    SUPERSEDE_PREDICATE_TYPE,
};
use treering_proto::trust::{Signer, SignerRule};

use super::{OnlinePolicy, log_exit, sees_statement, time_text};
use crate::log::{LogError, LogReader, SearchHit};
use crate::report::Exit;
use crate::verify::{Opened, Verification};

/// Entries on one page: the most that a log gives.
const PAGE_LEN: &str = "1000";

/// Pages of one search: copies of one signature up to 100,000 times. A log may give short pages.
const PAGES_MAX: usize = 100;

/// Newer models that the report names; the count is of all.
const NAMED_MAX: usize = 50;

/// What is said about a model under its name, and is none.
const NOTICES: [&str; 4] = [
    REVOKE_PREDICATE_TYPE,
    SUPERSEDE_PREDICATE_TYPE,
    APPROVE_ROLLBACK_PREDICATE_TYPE,
    APPROVE_PREDICATE_TYPE,
];

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index is behind the tree, or somebody holds it back.
    #[error("the log searched only {searched} entries of {size}")]
    Behind { searched: u64, size: u64 },
    /// Too much to read.
    #[error("the log found more than {PAGES_MAX} pages")]
    TooMany,
}

/// Searches that must cover a tree of at least `size` entries.
pub(super) struct Searcher<'a> {
    pub(super) log: &'a LogReader<'a>,
    pub(super) size: u64,
}

/// One hit and its index.
type Placed = (u64, SearchHit);

impl SearchError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Log(error) => log_exit(error),
            Self::Behind { .. } | Self::TooMany => Exit::Unavailable,
        }
    }
}

impl Searcher<'_> {
    /// The first entry that has all of `facts`.
    pub(super) async fn oldest(
        &self,
        facts: &[(&str, &str)],
    ) -> Result<Option<Placed>, SearchError> {
        let found = self.read(facts, "oldest", |found| !found.is_empty()).await?;
        Ok(found.into_iter().min_by_key(|(index, _)| *index))
    }

    /// All entries above `index` that have all of `facts`, newest first.
    async fn above(&self, facts: &[(&str, &str)], index: u64) -> Result<Vec<Placed>, SearchError> {
        let is_below = |(at, _): &Placed| *at <= index;
        let mut found = self.read(facts, "newest", |found| found.iter().any(is_below)).await?;
        found.retain(|hit| !is_below(hit));
        Ok(found)
    }

    /// Reads page after page, until the log has no more or what was found is `enough`.
    async fn read(
        &self,
        facts: &[(&str, &str)],
        order: &str,
        enough: impl Fn(&[Placed]) -> bool,
    ) -> Result<Vec<Placed>, SearchError> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        let limit = if order == "oldest" { "1" } else { PAGE_LEN };
        for _ in 0..PAGES_MAX {
            let mut page = vec![("order", order), ("limit", limit)];
            page.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let answer = self.log.search(facts, &page).await?;
            let malformed = || LogError::Malformed { path: "the search".to_owned() };
            let searched = answer.tree_size.parse().map_err(|_| malformed())?;
            if searched < self.size {
                return Err(SearchError::Behind { searched, size: self.size });
            }
            for hit in answer.entries {
                found.push((hit.index.parse().map_err(|_| malformed())?, hit));
            }
            if enough(&found) || answer.next.is_none() {
                return Ok(found);
            }
            cursor = answer.next;
        }
        Err(SearchError::TooMany)
    }
}

/// Adds the line about newer models.
pub(super) async fn check(
    searcher: &Searcher<'_>,
    opened: &Opened,
    policy: OnlinePolicy<'_>,
    verification: &mut Verification,
) {
    let facts = signer_facts(policy.signers, verification);
    let proven = verification.entry.is_some();
    let report = &mut verification.report;
    let (Some(name), true) = (opened.statement().name(), proven) else {
        let why = "it needs a proven entry, and a model with a name";
        return report.could_not_check("newest", why, Exit::NotVerified);
    };
    let Some(mut facts) = facts else {
        return report.could_not_check("newest", "no signer was accepted", Exit::NotVerified);
    };
    facts.push(("subject-name", name.to_owned()));
    let newer = match newer_models(searcher, opened, &facts).await {
        Ok(Some(newer)) => newer,
        Ok(None) if sees_statement(opened) => {
            let why = "the log's search does not find this model, though the log has the entry";
            return report.failed("newest", why, Exit::NotVerified);
        }
        Ok(None) if policy.allow_older => {
            return report.not_checked("newest", "the log was not shown what was signed");
        }
        Ok(None) => {
            let why = "the log was not shown what was signed, and cannot say what is newer";
            return report.could_not_check("newest", why, Exit::Unavailable);
        }
        Err(error) => return report.could_not_check("newest", error.to_string(), error.exit()),
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
    let line = |(index, hit): &Placed| format!("newer: entry {index}, {}", time_text(hit.time));
    report.details(newer.iter().take(NAMED_MAX).map(line).collect());
}

/// Entries with these facts about other models, above the first one about this model; `None` when
/// there is no entry about it. What the signer said about a model later is no newer model.
async fn newer_models(
    searcher: &Searcher<'_>,
    opened: &Opened,
    facts: &[(&str, String)],
) -> Result<Option<Vec<Placed>>, SearchError> {
    let id = opened.model_id().to_hex();
    let facts: Vec<(&str, &str)> =
        facts.iter().map(|(tag, value)| (*tag, value.as_str())).collect();
    let same_model = [&facts[..], &[("model-id", id.as_str())]].concat();
    let Some((first, _)) = searcher.oldest(&same_model).await? else { return Ok(None) };
    let mut newer = searcher.above(&facts, first).await?;
    if !newer.is_empty() {
        let same = searcher.above(&same_model, first).await?;
        let same: std::collections::HashSet<u64> = same.into_iter().map(|(at, _)| at).collect();
        newer.retain(|(index, _)| !same.contains(index));
    }
    for kind in NOTICES {
        if newer.is_empty() {
            break;
        }
        let notices = [&facts[..], &[("predicate-type", kind)]].concat();
        let notices = searcher.above(&notices, first).await?;
        let notices: std::collections::HashSet<u64> = notices.into_iter().map(|n| n.0).collect();
        newer.retain(|(index, _)| !notices.contains(index));
    }
    Ok(Some(newer))
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
