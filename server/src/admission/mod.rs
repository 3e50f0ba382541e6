//! Admission of what is said about models that are logged already: notices, and renewals.
//!
//! ```text
//! claim, as it was read with the signatures
//!   a notice  -> logged already? -> Notice -> about this log? -> what it is about is published
//!             -> its model is that of the notice -> signed by who may say it
//!             -> the other entry that it names is published
//!   a renewal -> logged already? -> the entry that it renews is published, of the same model
//!   none      -> admitted, and nothing was read
//! ```
//!
//! What an entry is about is looked up among its facts: they were made of the kept statement, after
//! strict admission, when the entry got its index, and never change. So a notice costs itself, read
//! again (32 KiB at most), and a few rows. Only one that leaves the name out has the statement of
//! its model read, which may be large: whoever calls [`check`] does so off the connection threads.
//!
//! Invariants: entries count below one published size, and a row counts only with the leaf that was
//! named beside its index; every verifier of a notice must be allowed, not one of them; a type
//! below `urn:treering:predicate:` that is not known is refused, so that none can get a meaning
//! after it was logged; what is logged already is not refused, whatever changed since: a client
//! that did not hear so asks again.
//!
//! Out of scope: who may write at all (`access`); chains of certificates. That a notice is in the
//! log proves only that it was said: verifiers decide all of this again.

use hyper::StatusCode;
use treering_proto::dsse_envelope::IN_TOTO_PAYLOAD_TYPE;
use treering_proto::entry::dsse::Dsse;
use treering_proto::entry::{Claim, Entry, Statement as Kept, VerifiedEntry};
use treering_proto::facts::{Tag, digest_value, search_key};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::model_statement::{ModelStatement, RENEWAL_ANNOTATION};
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
    /// Verifiers try one type only, so it would count nowhere.
    #[error("malformed notice: its envelope has another payload type than {IN_TOTO_PAYLOAD_TYPE}")]
    PayloadType,
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
            Self::Malformed(_) | Self::PayloadType | Self::TooLong => "notice-malformed",
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

/// Whether `entry` says something of logged models, so that [`check`] may refuse it.
pub fn is_asked(entry: &VerifiedEntry) -> bool {
    entry.statement().is_some_and(|statement| statement.claim.is_some())
}

/// Whether `entry` may be logged beside what is `logged`, as far as it speaks about that. Keys of
/// `recovery` may speak about what others signed. It may read a large statement.
///
/// # Errors
/// [`Refused`].
pub fn check(
    logged: Logged<'_>,
    recovery: &[Recovery],
    entry: &VerifiedEntry,
) -> Result<(), Refused> {
    let Some((statement, claim)) = entry.statement().and_then(|s| s.claim.map(|c| (s, c))) else {
        return Ok(());
    };
    if logged.store.index_of(&entry.leaf())?.is_some() {
        return Ok(());
    }
    match claim {
        Claim::Notice => check_notice(logged, recovery, entry, &read_notice(statement)?),
        Claim::Renews(renewed) => check_renewal(logged, entry, renewed),
    }
}

fn read_notice(kept: &Kept) -> Result<Notice, Refused> {
    if !kept.is_in_toto {
        return Err(Refused::PayloadType);
    }
    if kept.payload.len() > NOTICE_LEN_MAX {
        return Err(Refused::TooLong);
    }
    // It was read when the entry was admitted.
    let unknown = |name: &str| Refused::UnknownType(printable(name, SHOWN_LEN_MAX));
    let statement = Statement::parse(&kept.payload).map_err(|_| unknown(""))?;
    Notice::parse(&statement)?.ok_or_else(|| unknown(&statement.predicate_type))
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
    let Some(about) = dsse(&about) else { return Err(other_model) };
    if !logged.is_about(notice, &about)? {
        return Err(other_model);
    }
    let signers = verifiers(&about);
    let by = dsse(entry.body()).map(|entry| verifiers(&entry)).unwrap_or_default();
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

fn check_renewal(
    logged: Logged<'_>,
    entry: &VerifiedEntry,
    renewed: EntryRef,
) -> Result<(), Refused> {
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

    /// Whether the entry that a notice speaks about is one about its model. The name must be there
    /// if the entry has one: it is what the policy decides by, for writers and for recovery keys.
    fn is_about(&self, notice: &Notice, about: &Dsse) -> Result<bool, StoreError> {
        let at = notice.about;
        let root = digest_value("sha256", &notice.root.to_hex()).unwrap_or_default();
        if !self.is_model(at, &notice.model_id)? || !self.has(at, Tag::OmsRoot, &root)? {
            return Ok(false);
        }
        match &notice.name {
            Some(name) => self.has(at, Tag::SubjectName, name.as_bytes()),
            None => self.is_nameless(about),
        }
    }

    /// Whether a model signature has no name. That is no fact, so the statement is read.
    fn is_nameless(&self, entry: &Dsse) -> Result<bool, StoreError> {
        let kept = self.store.statement(&entry.payload_hash())?;
        let statement = kept.and_then(|payload| Statement::parse(&payload).ok());
        let model = statement.and_then(|statement| ModelStatement::parse(&statement).ok());
        Ok(model.is_some_and(|model| model.name().is_none()))
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

/// The entry, if the bytes are those of an envelope.
fn dsse(body: &[u8]) -> Option<Dsse> {
    match Entry::parse(body) {
        Ok(Entry::Dsse(entry)) => Some(entry),
        Ok(Entry::Hashedrekord(_) | Entry::Intoto(_) | Entry::Rekord(_)) | Err(_) => None,
    }
}

/// Who signed: at least one.
fn verifiers(entry: &Dsse) -> Vec<Verifier> {
    entry.signatures().iter().map(|signature| signature.verifier.clone()).collect()
}
