//! Notices: statements about a model that is already logged. They are how the people behind a model
//! say later what its signature cannot say: that it is bad, that another took its place, that an
//! older one is right again, that they looked at it.
//!
//! ```json
//! {
//!   "_type": "https://in-toto.io/Statement/v1",
//!   "subject": [{"name": "llm-7b", "digest": {"sha256": "<OMS root>",
//!                                             "treering-model-id": "<model id>"}}],
//!   "predicateType": "urn:treering:predicate:revoke:v1",
//!   "predicate": {
//!     "log": "log.example",
//!     "entry": {"index": 17, "leaf": "<leaf hash>"},
//!     "reason": "the weights were trained on poisoned data"
//!   }
//! }
//! ```
//!
//! | predicate type `urn:treering:predicate:` | further members of the predicate |
//! |---|---|
//! | `revoke:v1` | |
//! | `supersede:v1` | `by`: `index`, `leaf` and `modelId` of the entry that takes the place |
//! | `approve-rollback:v1` | `insteadOf`: `index` and `leaf` of the newest entry that was known |
//! | `approve:v1` | `role`: in what function; `reason` may be absent |
//!
//! The digests make a notice an entry like any other: all notices about a model are found by the
//! fact `artifact-digest` with the value `treering-model-id:<hex>`.
//!
//! Invariants: a notice that was read says one thing about one model: unknown members, further
//! digests, annotations and other spellings are refused. What [`Notice::to_payload`] writes,
//! [`Notice::parse`] reads back.
//! Out of scope: who may say it. The log and every verifier decide that, each for itself.

use serde_json::{Map, Value, json};

use crate::encoding::from_hex_lower;
use crate::hash::Hash;
use crate::model_statement::LABEL_LEN_MAX;
use crate::statement::{STATEMENT_TYPE_V1, Statement, StatementVersion, Subject};
use crate::tree::LeafIndex;
use crate::trust::TRUST_TEXT_LEN_MAX;

/// The algorithm under which the digests of a notice's subject hold the model id.
pub const MODEL_ID_ALGORITHM: &str = "treering-model-id";

/// The longest reason in bytes: a few sentences, and as much as a fact may have.
pub const REASON_LEN_MAX: usize = 1_024;

/// The longest role in bytes.
pub const ROLE_LEN_MAX: usize = 64;

/// What every notice is named under; the log takes no other type below it.
pub const NOTICE_TYPES: &str = "urn:treering:predicate:";

/// The predicate type of revocations.
pub const REVOKE_PREDICATE_TYPE: &str = "urn:treering:predicate:revoke:v1";

/// The predicate type of notices that another entry takes the place.
pub const SUPERSEDE_PREDICATE_TYPE: &str = "urn:treering:predicate:supersede:v1";

/// The predicate type of notices that an older model is right again.
pub const APPROVE_ROLLBACK_PREDICATE_TYPE: &str = "urn:treering:predicate:approve-rollback:v1";

/// The predicate type of approvals.
pub const APPROVE_PREDICATE_TYPE: &str = "urn:treering:predicate:approve:v1";

/// Whether `predicate_type` is that of a notice which this version can read.
pub fn is_notice(predicate_type: &str) -> bool {
    [
        REVOKE_PREDICATE_TYPE,
        SUPERSEDE_PREDICATE_TYPE,
        APPROVE_ROLLBACK_PREDICATE_TYPE,
        APPROVE_PREDICATE_TYPE,
    ]
    .contains(&predicate_type)
}

/// An entry of a log, named so that no other can be meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryRef {
    /// Its position.
    pub index: LeafIndex,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// A statement about a model that is logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// What is said.
    pub kind: NoticeKind,
    /// The origin of the log in which the entries are: 1 to [`TRUST_TEXT_LEN_MAX`] bytes without
    /// control characters.
    pub log: String,
    /// The logged signature of the model that it speaks about.
    pub about: EntryRef,
    /// The identity of the model.
    pub model_id: Hash,
    /// The OMS root of the model.
    pub root: Hash,
    /// The name of the model, if it has one: 1 to [`LABEL_LEN_MAX`] bytes without control
    /// characters.
    pub name: Option<String>,
    /// Why, for people: 1 to [`REASON_LEN_MAX`] bytes without control characters. Only an approval
    /// may have none.
    pub reason: Option<String>,
}

/// What a notice says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoticeKind {
    /// Nobody should use this model, under whatever name and signer. It is never taken back.
    Revoke,
    /// Another entry takes the place of this one.
    Supersede {
        /// Which.
        by: Successor,
    },
    /// This model is right again, although there is a newer one.
    ApproveRollback {
        /// The newest entry of signer and name that was known. What is logged later ends the
        /// approval.
        instead_of: EntryRef,
    },
    /// Somebody looked at the model and finds it good.
    Approve {
        /// In what function: 1 to [`ROLE_LEN_MAX`] of `a` to `z`, digits, `.`, `_` and `-`.
        role: String,
    },
}

/// The entry that takes the place of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Successor {
    /// The logged signature of the model.
    pub entry: EntryRef,
    /// The identity of that model; the same where a model is only renamed.
    pub model_id: Hash,
}

/// Why a statement with the predicate type of a notice is none. Members are named by their place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoticeError {
    /// Not an in-toto statement of version 1.
    #[error("a notice is an in-toto statement of version 1")]
    Version,
    /// Not exactly one subject.
    #[error("a notice has exactly one subject")]
    SubjectCount,
    /// The subject has other digests than `sha256` and [`MODEL_ID_ALGORITHM`], or annotations.
    #[error("the subject of a notice has the digests sha256 and {MODEL_ID_ALGORITHM}, no others")]
    Subject,
    /// A member is missing or malformed.
    #[error("{0} is missing or malformed")]
    Member(&'static str),
    /// A member that notices of this version do not have: it might change what the rest means.
    #[error("{0} has a member that is not known")]
    UnknownMember(&'static str),
    /// The other entry is the one that is spoken about.
    #[error("{0} is the entry that the notice speaks about")]
    SameEntry(&'static str),
}

use NoticeError as Error;

impl Notice {
    /// Reads a notice; `None` when `statement` has the predicate type of something else.
    ///
    /// # Errors
    /// [`NoticeError`] for what has the predicate type of a notice and is none.
    pub fn parse(statement: &Statement) -> Result<Option<Self>, Error> {
        if !is_notice(&statement.predicate_type) {
            return Ok(None);
        }
        if statement.version != StatementVersion::V1 {
            return Err(Error::Version);
        }
        let [subject] = statement.subjects.as_slice() else { return Err(Error::SubjectCount) };
        let (root, model_id) = digests(subject)?;
        let mut members = Members::of("predicate", Some(&statement.predicate))?;
        let notice = Self {
            log: members.text("log", "predicate.log")?,
            about: members.entry("entry", "predicate.entry")?,
            reason: members.optional_text("reason", "predicate.reason")?,
            kind: NoticeKind::read(&statement.predicate_type, &mut members)?,
            model_id,
            root,
            name: subject.name.clone(),
        };
        members.end()?;
        notice.check()?;
        Ok(Some(notice))
    }

    /// The in-toto statement: a DSSE payload.
    ///
    /// # Errors
    /// [`NoticeError`] for what [`Notice::parse`] would not read back.
    pub fn to_payload(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let mut predicate = json!({"log": self.log, "entry": self.about.to_json()});
        if let Some(reason) = &self.reason {
            predicate["reason"] = json!(reason);
        }
        match &self.kind {
            NoticeKind::Revoke => {}
            NoticeKind::Supersede { by } => {
                predicate["by"] = by.entry.to_json();
                predicate["by"]["modelId"] = json!(by.model_id.to_hex());
            }
            NoticeKind::ApproveRollback { instead_of } => {
                predicate["insteadOf"] = instead_of.to_json();
            }
            NoticeKind::Approve { role } => predicate["role"] = json!(role),
        }
        let mut digest = Map::new();
        digest.insert("sha256".to_owned(), json!(self.root.to_hex()));
        digest.insert(MODEL_ID_ALGORITHM.to_owned(), json!(self.model_id.to_hex()));
        let mut subject = json!({"digest": digest});
        if let Some(name) = &self.name {
            subject["name"] = json!(name);
        }
        let statement = json!({
            "_type": STATEMENT_TYPE_V1,
            "subject": [subject],
            "predicateType": self.kind.predicate_type(),
            "predicate": predicate,
        });
        Ok(statement.to_string().into_bytes())
    }

    fn check(&self) -> Result<(), Error> {
        require(is_text(&self.log, TRUST_TEXT_LEN_MAX), "predicate.log")?;
        require(self.name.iter().all(|name| is_text(name, LABEL_LEN_MAX)), "subject.name")?;
        let needs_reason = !matches!(self.kind, NoticeKind::Approve { .. });
        let reason = self.reason.as_ref();
        let fine = reason.map_or(!needs_reason, |reason| is_text(reason, REASON_LEN_MAX));
        require(fine, "predicate.reason")?;
        match &self.kind {
            NoticeKind::Supersede { by } if by.entry.index == self.about.index => {
                Err(Error::SameEntry("predicate.by"))
            }
            NoticeKind::ApproveRollback { instead_of } if instead_of.index == self.about.index => {
                Err(Error::SameEntry("predicate.insteadOf"))
            }
            NoticeKind::Approve { role } => require(is_role(role), "predicate.role"),
            _ => Ok(()),
        }
    }
}

impl NoticeKind {
    /// The type of the predicate that says it.
    pub fn predicate_type(&self) -> &'static str {
        match self {
            Self::Revoke => REVOKE_PREDICATE_TYPE,
            Self::Supersede { .. } => SUPERSEDE_PREDICATE_TYPE,
            Self::ApproveRollback { .. } => APPROVE_ROLLBACK_PREDICATE_TYPE,
            Self::Approve { .. } => APPROVE_PREDICATE_TYPE,
        }
    }

    /// One word, as commands and reports call it: `revoke`, `supersede`, `approve-rollback`,
    /// `approve`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Supersede { .. } => "supersede",
            Self::ApproveRollback { .. } => "approve-rollback",
            Self::Approve { .. } => "approve",
        }
    }

    fn read(predicate_type: &str, members: &mut Members<'_>) -> Result<Self, Error> {
        Ok(match predicate_type {
            SUPERSEDE_PREDICATE_TYPE => {
                let mut by = Members::of("predicate.by", members.take("by"))?;
                let entry = by.entry_members("predicate.by")?;
                let model_id = by.hash("modelId", "predicate.by.modelId")?;
                by.end()?;
                Self::Supersede { by: Successor { entry, model_id } }
            }
            APPROVE_ROLLBACK_PREDICATE_TYPE => Self::ApproveRollback {
                instead_of: members.entry("insteadOf", "predicate.insteadOf")?,
            },
            APPROVE_PREDICATE_TYPE => {
                Self::Approve { role: members.text("role", "predicate.role")? }
            }
            _ => Self::Revoke,
        })
    }
}

impl EntryRef {
    /// Reads `{"index": N, "leaf": "<hex>"}`; `None` for everything else.
    pub fn from_json(value: &Value) -> Option<Self> {
        Members::of("", Some(value))
            .and_then(|mut members| {
                let entry = members.entry_members("")?;
                members.end()?;
                Ok(entry)
            })
            .ok()
    }

    /// `{"index": N, "leaf": "<hex>"}`.
    pub fn to_json(self) -> Value {
        json!({"index": self.index.get(), "leaf": self.leaf.to_hex()})
    }
}

/// Whether `role` is a role: 1 to [`ROLE_LEN_MAX`] of `a` to `z`, digits, `.`, `_` and `-`.
pub fn is_role(role: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=ROLE_LEN_MAX).contains(&role.len()) && role.bytes().all(fine)
}

fn is_text(text: &str, len_max: usize) -> bool {
    (1..=len_max).contains(&text.len()) && !text.contains(char::is_control)
}

fn require(holds: bool, member: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Member(member)) }
}

/// Root and model id.
fn digests(subject: &Subject) -> Result<(Hash, Hash), Error> {
    if subject.digests.len() != 2 || !subject.annotations.is_empty() {
        return Err(Error::Subject);
    }
    let read = |algorithm| hash(subject.digest(algorithm)?);
    match (read("sha256"), read(MODEL_ID_ALGORITHM)) {
        (Some(root), Some(model_id)) => Ok((root, model_id)),
        _ => Err(Error::Subject),
    }
}

fn hash(text: &str) -> Option<Hash> {
    from_hex_lower(text).and_then(|bytes| Hash::from_slice(&bytes))
}

/// The members of an object that were not read yet.
struct Members<'a> {
    place: &'static str,
    left: Vec<(&'a str, &'a Value)>,
}

impl<'a> Members<'a> {
    fn of(place: &'static str, value: Option<&'a Value>) -> Result<Self, Error> {
        let object = value.and_then(Value::as_object).ok_or(Error::Member(place))?;
        let left = object.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Ok(Self { place, left })
    }

    fn take(&mut self, name: &str) -> Option<&'a Value> {
        let at = self.left.iter().position(|(known, _)| *known == name)?;
        Some(self.left.swap_remove(at).1)
    }

    fn text(&mut self, name: &str, place: &'static str) -> Result<String, Error> {
        self.optional_text(name, place)?.ok_or(Error::Member(place))
    }

    fn optional_text(&mut self, name: &str, place: &'static str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Error::Member(place)),
        }
    }

    fn hash(&mut self, name: &str, place: &'static str) -> Result<Hash, Error> {
        self.take(name).and_then(Value::as_str).and_then(hash).ok_or(Error::Member(place))
    }

    fn entry(&mut self, name: &str, place: &'static str) -> Result<EntryRef, Error> {
        let mut members = Members::of(place, self.take(name))?;
        let entry = members.entry_members(place)?;
        members.end()?;
        Ok(entry)
    }

    fn entry_members(&mut self, place: &'static str) -> Result<EntryRef, Error> {
        let index = self.take("index").and_then(Value::as_u64).and_then(LeafIndex::new);
        let leaf = self.hash("leaf", place)?;
        Ok(EntryRef { index: index.ok_or(Error::Member(place))?, leaf })
    }

    fn end(self) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::UnknownMember(self.place)) }
    }
}

#[cfg(test)]
mod tests;
