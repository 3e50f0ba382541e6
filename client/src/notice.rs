//! Saying something about a model that is logged: finding what is spoken about, and who the speaker
//! is to it. What notices look like stands in [`treering_proto::notice`].
//!
//! ```text
//! index  -> the log: entry, proof, statement  \
//!                                              > proven, followed, signature verified, read
//! bundle -> its entry, its proof, its payload /      -> LoggedModel -> Notice -> sign, submit
//! ```
//!
//! Invariants: nothing is said about an entry that is not proven to be in a tree that extends all
//! that is remembered, whose signature does not verify, or which is not the signature of a model.
//! Out of scope: whether the log and verifiers let the speaker speak; each decides for itself.

mod line;
mod revoked;

use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::bundle::Bundle;
use treering_proto::dsse_envelope::{Envelope, IN_TOTO_PAYLOAD_TYPE};
use treering_proto::entry::{Entry, Recheck};
use treering_proto::evidence::Evidence;
use treering_proto::hash::{Hash, sha256};
use treering_proto::key::PublicKey;
use treering_proto::model_id::model_id;
use treering_proto::model_statement::{ModelStatement, is_model_statement};
use treering_proto::notice::{EntryRef, Notice, NoticeKind};
use treering_proto::statement::Statement;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::{Signer, SignerRule, TrustFile};
use treering_proto::verifier::Verifier;

use crate::consistency::{FollowError, follow};
use crate::log::{LogError, LogReader};
use crate::report::{Exit, Outcome};
use crate::state::StateDirectory;
use crate::verify::{Opened, examine_entry};

pub use line::{LineError, newest_of_line};
pub use revoked::RevokedError;

/// A log, whom to believe, and what it said before.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The way to the log.
    pub log: &'a LogReader<'a>,
    /// Its keys, floor and witnesses.
    pub trust: &'a TrustFile,
    /// What is remembered of it.
    pub state: &'a StateDirectory,
}

/// A logged signature of a model: proven to be in the log, verified, and read.
#[derive(Clone, Debug)]
pub struct LoggedModel {
    /// Where it is.
    pub entry: EntryRef,
    /// The identity of the model.
    pub model_id: Hash,
    /// What was signed.
    pub statement: ModelStatement,
    /// What the signatures verify under: at least one.
    pub signed_by: Vec<Verifier>,
}

/// Why there is no such model in the log.
#[derive(Debug, thiserror::Error)]
pub enum LoggedModelError {
    /// The log has no entry there.
    #[error("the log has no entry {0}")]
    NoEntry(LeafIndex),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log could not be followed to its newest checkpoint.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The log answered about another index.
    #[error("the log was asked for entry {asked} and answered about entry {answered}")]
    OtherEntry {
        /// Which was asked for.
        asked: LeafIndex,
        /// Which came.
        answered: LeafIndex,
    },
    /// The bundle does not have exactly one log entry.
    #[error("the bundle has {0} log entries instead of one")]
    EntryCount(usize),
    /// The proof does not hold.
    #[error("the proof of the log entry does not hold: {why}")]
    NotProven {
        /// The check that failed, and how.
        why: String,
        /// How the process ends.
        exit: Exit,
        /// Of a tree that contradicts the floor.
        evidence: Option<Box<Evidence>>,
    },
    /// The entry in the bundle is about another signature.
    #[error("entry {0} is about another signature than that of the bundle")]
    OtherSignature(LeafIndex),
    /// The log has a digest, not what was signed.
    #[error("the log was not shown what entry {0} signs, so it cannot be spoken of by its index")]
    DigestOnly(LeafIndex),
    /// The signature does not verify over the statement.
    #[error("the signature of entry {0} does not verify over its statement")]
    Signature(LeafIndex),
    /// Something else was signed.
    #[error("entry {index} is not the signature of a model: {what}")]
    NotModel {
        /// Where.
        index: LeafIndex,
        /// What it is instead.
        what: String,
    },
}

use LoggedModelError as Error;

/// What a speaker is to the model, as far as the trust file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The signer of the entry.
    Signer,
    /// A recovery key of the trust file, by the name of its rule.
    Recovery(String),
    /// An approver of the trust file in the role, by the name of the rule.
    Approver(String),
    /// None of these.
    Stranger,
}

impl Access<'_> {
    /// The signature of a model at `index`, as the log shows it.
    ///
    /// # Errors
    /// Every [`LoggedModelError`] but those about bundles.
    pub async fn look_up(&self, index: LeafIndex) -> Result<LoggedModel, Error> {
        let entry = match self.log.entry(index).await {
            Err(LogError::NotFound { .. }) => return Err(Error::NoEntry(index)),
            entry => entry?,
        };
        let answered = entry.log_index;
        if answered != index || entry.inclusion_proof.log_index != index {
            return Err(Error::OtherEntry { asked: index, answered });
        }
        let (at, body) = self.prove(&entry).await?;
        let Some(payload_hash) = body.payload_hash() else {
            return Err(Error::DigestOnly(index));
        };
        let payload = match self.log.statement(payload_hash).await {
            Err(LogError::NotFound { .. }) => return Err(Error::DigestOnly(index)),
            payload => payload?,
        };
        LoggedModel::read(at, &body, &payload)
    }

    /// The signature in a bundle, which need not be by an accepted signer.
    ///
    /// # Errors
    /// [`LoggedModelError`].
    pub async fn in_bundle(&self, opened: &Opened) -> Result<LoggedModel, Error> {
        let entries = &opened.bundle().log_entries;
        let [entry] = entries.as_slice() else { return Err(Error::EntryCount(entries.len())) };
        let (at, body) = self.prove(entry).await?;
        if !records(&body, opened.envelope()) {
            return Err(Error::OtherSignature(at.index));
        }
        LoggedModel::read(at, &body, &opened.envelope().payload)
    }

    /// Proves that the entry is in a tree that goes together with all that is known of the log.
    async fn prove(&self, entry: &TransparencyLogEntry) -> Result<(EntryRef, Entry), Error> {
        let examined = examine_entry(entry, self.trust);
        let report = examined.report();
        let failed = report.checks().iter().find(|check| check.outcome == Outcome::Failed);
        let (None, Some((proven, body))) = (failed, examined.entry()) else {
            let why = failed.map_or_else(String::new, |c| format!("{}: {}", c.check, c.why));
            let evidence = examined.evidence().cloned().map(Box::new);
            return Err(Error::NotProven { why, exit: report.exit(), evidence });
        };
        follow(self.log, self.trust, self.state, Some(&proven.checkpoint)).await?;
        Ok((EntryRef { index: proven.index, leaf: proven.leaf }, body.clone()))
    }
}

impl LoggedModel {
    /// Reads the entry at `at`, of which `payload` is what was signed.
    fn read(at: EntryRef, entry: &Entry, payload: &[u8]) -> Result<Self, Error> {
        let index = at.index;
        if entry.recheck(Some(payload)) != Recheck::Valid {
            return Err(Error::Signature(index));
        }
        let not_model = |what: String| Error::NotModel { index, what };
        let statement = Statement::parse(payload).map_err(|error| not_model(error.to_string()))?;
        let kind = &statement.predicate_type;
        if !is_model_statement(kind) {
            return Err(not_model(format!("its predicate type is {kind:?}")));
        }
        let statement =
            ModelStatement::parse(&statement).map_err(|error| not_model(error.to_string()))?;
        let signed_by = entry.verifiers().into_iter().cloned().collect();
        Ok(Self { entry: at, model_id: model_id(&statement), statement, signed_by })
    }

    /// The name of the model, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.statement.name().filter(|name| !name.is_empty())
    }

    /// Whether `key` made one of its signatures.
    pub fn is_signed_with(&self, key: &PublicKey) -> bool {
        self.signed_by.iter().any(|verifier| verifier.key() == key)
    }

    /// What the holder of `key`, who says `kind`, is to this model.
    pub fn standing(&self, key: &PublicKey, kind: &NoticeKind, trust: &TrustFile) -> Standing {
        let policy = &trust.model_policy;
        let is_holder = |rule: &&SignerRule| matches!(&rule.who, Signer::Key(own) if own == key);
        let name = |rule: &SignerRule| rule.name.clone();
        if let NoticeKind::Approve { role } = kind {
            let approvers = policy.approvals.iter().filter_map(|rule| rule.roles.get(role));
            let approver = approvers.flatten().find(is_holder).map(name);
            return approver.map_or(Standing::Stranger, Standing::Approver);
        }
        if self.is_signed_with(key) {
            return Standing::Signer;
        }
        let recovery = policy.recovery.iter().find(is_holder).map(name);
        recovery.map_or(Standing::Stranger, Standing::Recovery)
    }
}

/// The notice in a bundle, if there is one; nothing about it is verified.
pub fn notice_in(bundle: &Bundle) -> Option<Notice> {
    let envelope = bundle.envelope()?;
    let statement = Statement::parse(&envelope.payload).ok()?;
    (envelope.payload_type == IN_TOTO_PAYLOAD_TYPE).then(|| Notice::parse(&statement).ok())??
}

/// Whether the entry records the payload and the first signature of `envelope`.
fn records(entry: &Entry, envelope: &Envelope) -> bool {
    let Some(first) = envelope.signatures.first() else { return false };
    match entry {
        Entry::Dsse(entry) => {
            let logged = entry.signatures().iter().any(|one| one.signature == first.signature);
            entry.payload_hash() == sha256(&envelope.payload) && logged
        }
        Entry::Hashedrekord(entry) => {
            entry.digest() == entry.hash().digest(&envelope.pae())
                && entry.signature() == first.signature
        }
        // No log takes a notice as these.
        Entry::Intoto(_) | Entry::Rekord(_) => false,
    }
}

#[cfg(test)]
mod tests;
