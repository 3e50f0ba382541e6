//! What the kinds of signed envelopes have in common: strict admission of what is inside, and
//! trying several keys on one message.
//!
//! A payload that calls itself a statement must be one, and a model statement must mean one thing.
//! Statements that the log gives a meaning to, model signatures and notices, have one kind: they
//! are looked for in `dsse` entries only, by admission, by history and by verification. As `intoto`
//! they would be logged and never found, so they are refused there.

use std::cell::OnceCell;

use super::{Claim, EntryError, Statement};
use crate::dsse_envelope::IN_TOTO_PAYLOAD_TYPE;
use crate::facts::ReadStatement;
use crate::hash::{Hash, sha256};
use crate::key::{HashAlgorithm, KeyKind, PublicKey};
use crate::model_statement::{MODEL_PREDICATE_TYPES, is_model_statement};
use crate::notice::NOTICE_TYPES;
use crate::statement;

/// A statement that may be logged: its bytes, and what they say.
pub(super) struct Admitted {
    pub(super) kept: Statement,
    pub(super) read: ReadStatement,
}

/// Admits the payload of a `dsse` envelope. Returns it if it is a statement, whatever it is called.
pub(super) fn admit(
    payload_type: &str,
    payload: Vec<u8>,
    payload_hash: Hash,
) -> Result<Option<Admitted>, EntryError> {
    let Some(statement) = read(payload_type, &payload)? else { return Ok(None) };
    let read = ReadStatement::new(statement);
    let predicate_type = &read.statement().predicate_type;
    let claim = if is_model_statement(predicate_type) {
        read.model().map_err(Clone::clone)?.renews().map(Claim::Renews)
    } else {
        predicate_type.starts_with(NOTICE_TYPES).then_some(Claim::Notice)
    };
    let is_in_toto = payload_type == IN_TOTO_PAYLOAD_TYPE;
    let kept = Statement { payload_hash, payload, is_in_toto, claim };
    Ok(Some(Admitted { kept, read }))
}

/// The same for `intoto`, which has no claims.
pub(super) fn admit_intoto(
    payload_type: &str,
    payload: Vec<u8>,
    payload_hash: Hash,
) -> Result<Option<Admitted>, EntryError> {
    let Some(statement) = read(payload_type, &payload)? else { return Ok(None) };
    let predicate_type = &statement.predicate_type;
    if [MODEL_PREDICATE_TYPES, NOTICE_TYPES].iter().any(|kept| predicate_type.starts_with(kept)) {
        return Err(EntryError::OnlyAsDsse(predicate_type.chars().take(SHOWN_MAX).collect()));
    }
    let is_in_toto = payload_type == IN_TOTO_PAYLOAD_TYPE;
    let kept = Statement { payload_hash, payload, is_in_toto, claim: None };
    Ok(Some(Admitted { kept, read: ReadStatement::new(statement) }))
}

/// The statement in a payload, whatever the payload is called; what is called one must be one.
fn read(payload_type: &str, payload: &[u8]) -> Result<Option<statement::Statement>, EntryError> {
    match statement::Statement::parse(payload) {
        Ok(statement) => Ok(Some(statement)),
        Err(error) if payload_type == IN_TOTO_PAYLOAD_TYPE => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// The statement in a payload that may not be the one that was signed; then it does not count.
pub(super) fn signed_statement(
    payload: Option<&[u8]>,
    payload_hash: Hash,
) -> Option<ReadStatement> {
    let payload = payload.filter(|payload| sha256(payload) == payload_hash)?;
    statement::Statement::parse(payload).ok().map(ReadStatement::new)
}

/// Bytes that were signed. They may be megabytes, and ten keys may be tried on ten signatures, so
/// each hash of them is made once; only pure Ed25519 reads them again each time.
pub(super) struct Signed<'a> {
    message: &'a [u8],
    sha256: OnceCell<Vec<u8>>,
    sha384: OnceCell<Vec<u8>>,
    sha512: OnceCell<Vec<u8>>,
}

impl<'a> Signed<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        let (sha256, sha384, sha512) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { message, sha256, sha384, sha512 }
    }

    /// As [`PublicKey::verify`].
    pub(super) fn verifies(&self, key: &PublicKey, signature: &[u8]) -> bool {
        match key.kind() {
            KeyKind::Ed25519 => key.verify(self.message, signature).is_ok(),
            kind => self.verifies_hash(key, kind.hash(), signature),
        }
    }

    /// As [`PublicKey::verify_dsse`].
    pub(super) fn verifies_dsse(&self, key: &PublicKey, signature: &[u8]) -> bool {
        let has_two = matches!(key.kind(), KeyKind::EcdsaP384 | KeyKind::EcdsaP521);
        self.verifies(key, signature)
            || (has_two && self.verifies_hash(key, HashAlgorithm::Sha256, signature))
    }

    /// As [`PublicKey::verify_sha256`].
    pub(super) fn verifies_sha256(&self, key: &PublicKey, signature: &[u8]) -> bool {
        match key.kind() {
            KeyKind::Ed25519 => key.verify(self.message, signature).is_ok(),
            _ => self.verifies_hash(key, HashAlgorithm::Sha256, signature),
        }
    }

    /// As [`PublicKey::verify_digest`] of this hash.
    pub(super) fn verifies_hash(
        &self,
        key: &PublicKey,
        hash: HashAlgorithm,
        signature: &[u8],
    ) -> bool {
        let made = match hash {
            HashAlgorithm::Sha256 => &self.sha256,
            HashAlgorithm::Sha384 => &self.sha384,
            HashAlgorithm::Sha512 => &self.sha512,
        };
        let digest = made.get_or_init(|| hash.digest(self.message));
        key.verify_digest(hash, digest, signature).is_ok()
    }
}

/// How many characters of a predicate type an error repeats.
const SHOWN_MAX: usize = 64;
