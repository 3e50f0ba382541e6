//! Admission of what is said about models that are logged already: notices, and renewals.
//!
//! ```text
//! predicate type, a fact of the entry
//!   urn:treering:predicate:*  -> Notice -> about this log? -> the entry it is about is published
//!                             -> its model is that of the notice -> signed by who may say it
//!                             -> the other entry that it names is published
//!   OMS, with a renewal       -> the entry that it renews is published, of the same model
//!   any other                 -> admitted, and nothing was read
//! ```
//!
//! What an entry is about is looked up among its facts: they were made of the kept statement, after
//! strict admission, when the entry got its index, and never change. So nothing is parsed again,
//! and a short notice costs no more than a few rows, however large the model.
//!
//! Invariants: entries count below one published size, and a row counts only with the leaf that was
//! named beside its index; every verifier of a notice must be allowed, not one of them; a type
//! below `urn:treering:predicate:` that is not known is refused, so that none can get a meaning
//! after it was logged.
//!
//! Out of scope: who may write at all (`access`); chains of certificates. That a notice is in the
//! log proves only that it was said: verifiers decide all of this again.

use std::borrow::Cow;

use hyper::StatusCode;
use treering_proto::entry::{Entry, VerifiedEntry};
use treering_proto::facts::{Tag, digest_value, search_key};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::model_statement::{ModelStatement, RENEWAL_ANNOTATION, is_model_statement};
use treering_proto::notice::{EntryRef, Notice, NoticeError, NoticeKind};
use treering_proto::statement::Statement;
use treering_proto::tree::TreeSize;
use treering_proto::verifier::Verifier;

use crate::access::policy::Recovery;
use crate::access::principal::printable;
use crate::store::{Store, StoreError};

mod signers;
#[cfg(test)]
mod tests;

/// What every notice is named under.
const NOTICE_TYPES: &str = "urn:treering:predicate:";

/// The longest notice in bytes: its texts, every character of them escaped, are about half of it.
const NOTICE_LEN_MAX: usize = 32 << 10;

/// The longest piece of a submission that a refusal repeats, in bytes.
const SHOWN_LEN_MAX: usize = 120;

/// What the log holds, as of one published size.
#[derive(Clone, Copy)]
pub struct Logged<'a> {
    /// The rows.
    pub store: &'a Store,
    /// Entries below this count.
    pub size: TreeSize,
    /// Who the log is.
    pub origin: &'a str,
}

/// Why something that is said about a logged model is not logged.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A type that may mean something one day.
    #[error("the predicate type {0:?} is kept for notices, and none that this log knows")]
    UnknownType(String),
    /// It has the type of a notice, and is none.
    #[error("malformed notice: {0}")]
    Malformed(#[from] NoticeError),
    /// Longer than any notice.
    #[error("malformed notice: it has more than {NOTICE_LEN_MAX} bytes")]
    TooLong,
    /// It names entries of another log.
    #[error("the notice is about the log {0:?}, which is not this one")]
    OtherLog(String),
    /// What it names is not an entry of this log.
    #[error("{member} names no entry of this log: nothing with that leaf is published at {index}")]
    NotLogged {
        /// Where it is named.
        member: &'static str,
        /// Under which index.
        index: u64,
    },
    /// What it names is an entry about something else.
    #[error(
        "{member} names entry {index}, which is no signature with a statement about that model: \
         model id, root and name must be those of the entry"
    )]
    OtherModel {
        /// Where it is named.
        member: &'static str,
        /// Under which index.
        index: u64,
    },
    /// Who signed it may not say it.
    #[error(
        "only who signed entry {index}, all of them and nobody else, or a recovery key of this \
         log may {what} it"
    )]
    Signer {
        /// The entry.
        index: u64,
        /// What they wish to do.
        what: &'static str,
    },
    /// A renewal of what is not an entry of this log.
    #[error(
        "the annotation {RENEWAL_ANNOTATION} names no entry of this log: nothing with that leaf \
         is published at {0}"
    )]
    RenewsNothing(u64),
    /// A renewal of another model.
    #[error(
        "the annotation {RENEWAL_ANNOTATION} names entry {0}, which is no signature with a \
         statement about the same files: only the same model can be renewed"
    )]
    RenewsOther(u64),
    /// The rows cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refused {
    /// The label for machines.
    pub fn label(&self) -> &'static str {
        match self {
            Self::UnknownType(_) => "notice-unknown",
            Self::Malformed(_) | Self::TooLong => "notice-malformed",
            Self::OtherLog(_) => "notice-other-log",
            Self::NotLogged { .. } => "notice-entry",
            Self::OtherModel { .. } => "notice-model",
            Self::Signer { .. } => "notice-signer",
            Self::RenewsNothing(_) => "renewal-entry",
            Self::RenewsOther(_) => "renewal-model",
            Self::Store(_) => "internal",
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Signer { .. } => StatusCode::FORBIDDEN,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Whether `entry` may be logged beside what is `logged`, as far as it speaks about that. Keys of
/// `recovery` may speak about what others signed.
///
/// # Errors
/// [`Refused`].
pub fn check(
    logged: Logged<'_>,
    recovery: &[Recovery],
    entry: &VerifiedEntry,
) -> Result<(), Refused> {
    let Some(statement) = entry.statement() else { return Ok(()) };
    let payload = statement.payload.as_slice();
    let predicate_type = predicate_type(entry, payload);
    if predicate_type.starts_with(NOTICE_TYPES) {
        let notice = read_notice(&predicate_type, payload)?;
        return check_notice(logged, recovery, entry, &notice);
    }
    match is_model_statement(&predicate_type) && may_renew(payload) {
        true => check_renewal(logged, entry, payload),
        false => Ok(()),
    }
}

/// The type of the predicate of a statement that was admitted; empty if it has none.
fn predicate_type<'a>(entry: &'a VerifiedEntry, payload: &[u8]) -> Cow<'a, str> {
    match fact(entry, Tag::PredicateType) {
        Some(value) => String::from_utf8_lossy(value),
        // One that is too long for a fact must not pass as no notice.
        None => {
            let statement = Statement::parse(payload);
            statement.map_or_else(|_| "".into(), |statement| statement.predicate_type.into())
        }
    }
}

fn read_notice(predicate_type: &str, payload: &[u8]) -> Result<Notice, Refused> {
    if payload.len() > NOTICE_LEN_MAX {
        return Err(Refused::TooLong);
    }
    let unknown = || Refused::UnknownType(printable(predicate_type, SHOWN_LEN_MAX));
    // It was read when the entry was admitted.
    let statement = Statement::parse(payload).map_err(|_| unknown())?;
    Notice::parse(&statement)?.ok_or_else(unknown)
}

fn check_notice(
    logged: Logged<'_>,
    recovery: &[Recovery],
    entry: &VerifiedEntry,
    notice: &Notice,
) -> Result<(), Refused> {
    if notice.log != logged.origin {
        return Err(Refused::OtherLog(printable(&notice.log, SHOWN_LEN_MAX)));
    }
    let index = notice.about.index.get();
    let named = |member, at: EntryRef| {
        let not_logged = Refused::NotLogged { member, index: at.index.get() };
        logged.entry(at)?.ok_or(not_logged)
    };
    let about = named("entry", notice.about)?;
    let other_model = Refused::OtherModel { member: "entry", index };
    let (Some(signers), true) = (dsse_verifiers(&about), logged.is_about(notice)?) else {
        return Err(other_model);
    };
    let by = dsse_verifiers(entry.body()).unwrap_or_default();
    let is_recovery = |key: &str| recovery.iter().any(|r| r.covers(key, notice.name.as_deref()));
    match &notice.kind {
        NoticeKind::Approve { .. } => return Ok(()),
        _ if !signers::may_say(&by, &signers, is_recovery) => {
            return Err(Refused::Signer { index, what: notice.kind.name() });
        }
        NoticeKind::Revoke => {}
        NoticeKind::Supersede { by } => {
            named("by", by.entry)?;
            if !logged.is_model(by.entry, &by.model_id)? {
                return Err(Refused::OtherModel { member: "by", index: by.entry.index.get() });
            }
        }
        NoticeKind::ApproveRollback { instead_of } => drop(named("insteadOf", *instead_of)?),
    }
    Ok(())
}

/// Whether a statement may have the annotation of a renewal: cheap, and wrong only by saying yes. A
/// name in JSON that is not there letter by letter has an escape in it.
fn may_renew(payload: &[u8]) -> bool {
    let text = String::from_utf8_lossy(payload);
    text.contains(RENEWAL_ANNOTATION) || text.contains("\\u")
}

fn check_renewal(logged: Logged<'_>, entry: &VerifiedEntry, payload: &[u8]) -> Result<(), Refused> {
    // Both were read when the entry was admitted.
    let statement = Statement::parse(payload).ok();
    let model = statement.and_then(|statement| ModelStatement::parse(&statement).ok());
    let Some(renewed) = model.and_then(|model| model.renews()) else { return Ok(()) };
    let index = renewed.index.get();
    logged.entry(renewed)?.ok_or(Refused::RenewsNothing(index))?;
    match fact(entry, Tag::ModelId) {
        Some(model_id) if logged.has(renewed, Tag::ModelId, model_id)? => Ok(()),
        _ => Err(Refused::RenewsOther(index)),
    }
}

impl Logged<'_> {
    /// The bytes of the entry that is named; `None` unless it is published.
    fn entry(&self, at: EntryRef) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.size.contains(at.index) {
            return Ok(None);
        }
        Ok(self.store.entry(at.index)?.filter(|body| hash_leaf(body) == at.leaf))
    }

    /// Whether the entry that a notice speaks about is one about its model. A notice may leave the
    /// name out; another name than the entry's would be found under that.
    fn is_about(&self, notice: &Notice) -> Result<bool, StoreError> {
        let at = notice.about;
        let root = digest_value("sha256", &notice.root.to_hex()).unwrap_or_default();
        let has_name = match &notice.name {
            Some(name) => self.has(at, Tag::SubjectName, name.as_bytes())?,
            None => true,
        };
        Ok(has_name && self.is_model(at, &notice.model_id)? && self.has(at, Tag::OmsRoot, &root)?)
    }

    fn is_model(&self, at: EntryRef, model_id: &Hash) -> Result<bool, StoreError> {
        self.has(at, Tag::ModelId, model_id.to_hex().as_bytes())
    }

    fn has(&self, at: EntryRef, tag: Tag, value: &[u8]) -> Result<bool, StoreError> {
        self.store.is_posted(&search_key(tag, value), at.index)
    }
}

/// The first fact of a kind; facts stand in the order of their kinds.
fn fact(entry: &VerifiedEntry, tag: Tag) -> Option<&[u8]> {
    let facts = entry.facts();
    let fact = facts.get(facts.partition_point(|fact| fact.tag < tag))?;
    (fact.tag == tag).then_some(&fact.value)
}

/// Who signed, if the bytes are those of an envelope: at least one.
fn dsse_verifiers(body: &[u8]) -> Option<Vec<Verifier>> {
    match Entry::parse(body) {
        Ok(Entry::Dsse(entry)) => {
            Some(entry.signatures().iter().map(|signature| signature.verifier.clone()).collect())
        }
        Ok(Entry::Hashedrekord(_)) | Err(_) => None,
    }
}
