//! Why bytes are not a trust file, and why one was not changed.
//!
//! Invariant: an error names the field at fault. Out of scope: what to do about it.

use super::model_policy::ModelPolicyError;
use super::{MAX_AGE_MAX, TRUST_LEN_MAX, TRUST_LIST_MAX, TRUST_SCHEMA};
use crate::canonical::JsonError;
use crate::certificate::CertificateError;
use crate::checkpoint::OpenCheckpointError;
use crate::identity::IdentityError;
use crate::key::KeyError;
use crate::note::NoteKeyError;
use crate::policy::PolicyError;

/// Why bytes are not a trust file. Lists are counted from 0.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// More than [`TRUST_LEN_MAX`] bytes.
    #[error("the trust file is longer than {TRUST_LEN_MAX} bytes")]
    TooLong,
    /// Not acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field is unknown, missing, or of the wrong type.
    #[error("the trust file does not have the right fields: {0}")]
    Fields(serde_json::Error),
    /// Another schema, perhaps of a later version.
    #[error("the schema is {found:?}, not {TRUST_SCHEMA:?}")]
    Schema {
        /// What stands there.
        found: String,
    },
    /// A list has more than [`TRUST_LIST_MAX`] items.
    #[error("{0} has more than {TRUST_LIST_MAX} items")]
    TooMany(&'static str),
    /// An empty text, one of more than [`super::TRUST_TEXT_LEN_MAX`] bytes, or one with control
    /// characters.
    #[error("{0} is empty, too long, or has control characters")]
    Text(&'static str),
    /// Not an http or https URL.
    #[error("log.url is not an http or https URL")]
    Url,
    /// A log key cannot be used.
    #[error("log.keys[{at}]: {error}")]
    LogKey {
        /// Which.
        at: usize,
        /// Why.
        error: NoteKeyError,
    },
    /// A witness's key among the log's.
    #[error("log.keys[{at}] is the key of a witness, which belongs in witnessPolicy")]
    WitnessKey {
        /// Which.
        at: usize,
    },
    /// A second ML-DSA-44 key: a log has one clock.
    #[error("log.keys[{at}] is a second ML-DSA-44 key of the log")]
    SecondTimeKey {
        /// Which.
        at: usize,
    },
    /// No key that can sign checkpoints of this origin.
    #[error("log.keys has no Ed25519 key named like the origin")]
    NoLogKey,
    /// The identity document cannot be read, or both keys did not sign it.
    #[error("log.identity: {0}")]
    Identity(#[from] IdentityError),
    /// The identity document is of another log, or of a key that is not listed.
    #[error("log.identity is not about this origin and one of log.keys")]
    OtherIdentity,
    /// The floor is not a checkpoint that the log signed.
    #[error("floor: {0}")]
    Floor(#[from] OpenCheckpointError),
    /// The policy cannot be read.
    #[error("witnessPolicy: {0}")]
    Policy(#[from] PolicyError),
    /// The policy is about other logs.
    #[error("witnessPolicy names logs, and none of them has the keys of this one")]
    PolicyLog,
    /// The log among its own witnesses: it would vouch for itself.
    #[error("witnessPolicy names a key of the log itself, or with its name, {name}, as a witness")]
    OwnWitness {
        /// The name of the key.
        name: String,
    },
    /// Not 1 to [`MAX_AGE_MAX`] seconds.
    #[error("maxCheckpointAgeSeconds is not 1 to {MAX_AGE_MAX}")]
    MaxAge,
    /// An authority's certificate cannot be used.
    #[error("{list}[{at}]: {error}")]
    Authority {
        /// Which list.
        list: &'static str,
        /// Which item.
        at: usize,
        /// Why.
        error: CertificateError,
    },
    /// A signer's key cannot be used.
    #[error("{list}[{at}]: {error}")]
    SignerKey {
        /// Which list.
        list: &'static str,
        /// Which.
        at: usize,
        /// Why.
        error: KeyError,
    },
    /// A signer is known in no way, or in two.
    #[error("{list}[{at}] needs either publicKey, or identity with or without issuer")]
    SignerRule {
        /// Which list.
        list: &'static str,
        /// Which.
        at: usize,
    },
    /// Two signers have the same name.
    #[error("two of {list} are named {name:?}")]
    DuplicateSigner {
        /// Which list.
        list: &'static str,
        /// The name.
        name: String,
    },
    /// The rules about the history of a model contradict themselves.
    #[error(transparent)]
    ModelPolicy(#[from] ModelPolicyError),
}
