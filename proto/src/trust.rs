//! The trust file, `trust.json`: all that a verifier believes, in one file obtained out of band.
//!
//! ```json
//! {
//!   "schema": "treering.trust/v1",
//!   "log": {
//!     "url": "https://log.example",
//!     "origin": "log.example",
//!     "keys": ["log.example+721c73f4+AYqI4911cXrDTWeAgKpwvY/aRS3yjWL5wbeojDXPdmNp"],
//!     "identity": "<the identity document, text>"
//!   },
//!   "floor": "<a checkpoint note of the log, text>",
//!   "witnessPolicy": "witness w ...\nquorum w\n",
//!   "maxCheckpointAgeSeconds": 86400,
//!   "certificateAuthorities": ["-----BEGIN CERTIFICATE-----\n..."],
//!   "timestampAuthorities": ["-----BEGIN CERTIFICATE-----\n..."],
//!   "signers": [
//!     {"name": "release", "publicKey": "-----BEGIN PUBLIC KEY-----\n..."},
//!     {"name": "ci", "identity": "https://ci.example/job", "issuer": "https://issuer.example"}
//!   ],
//!   "modelPolicy": {"revoked": "refuse"}
//! }
//! ```
//!
//! `schema`, `log.url`, `log.origin` and `log.keys` are required, the rest is optional. Keys are
//! vkeys of C2SP signed-note: Ed25519 keys named like the origin sign checkpoints; one ML-DSA-44
//! key of that name may cosign them, with a time; an ECDSA key is that of the log's Rekor v1 side,
//! and `identity` binds it to the first. `floor` is the oldest state of the log that is believed;
//! `maxCheckpointAgeSeconds` is how old its newest may be (see [`crate::freshness`]); `modelPolicy`
//! is what is made of the history of a model (see [`model_policy`]).
//!
//! Invariants: unknown and duplicate fields are refused, so that a rule that this version cannot
//! read is never skipped; a floor in a trust file is signed by the log; no log is its own witness;
//! signer names are unique.
//! Out of scope: whether the file itself is genuine, and matching signers (see the client).

mod error;
pub mod model_policy;
mod signer;

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::certificate::Certificate;
use crate::checkpoint::{SignedCheckpoint, open_checkpoint};
use crate::hash::Hash;
use crate::identity::{IdentityError, LogIdentity};
use crate::note::{NoteKey, NoteKeyKind};
use crate::policy::Policy;
use model_policy::ModelPolicyJson;
use signer::SignerJson;

pub use error::TrustError;
pub use model_policy::ModelPolicy;
pub use signer::{Signer, SignerRule};

/// The longest trust file in bytes: two notes or policies of the greatest length, and certificates.
pub const TRUST_LEN_MAX: usize = 4 << 20;

/// Log keys, authorities, and signers: more than these in one file are a mistake.
pub const TRUST_LIST_MAX: usize = 1000;

/// The longest URL, name, identity or issuer in bytes.
pub const TRUST_TEXT_LEN_MAX: usize = 2048;

/// The longest age of a checkpoint that a file may allow, in seconds: ten years, after which a
/// limit limits nothing.
pub const MAX_AGE_MAX: u64 = 10 * 365 * 86_400;

/// The value of `schema`.
pub const TRUST_SCHEMA: &str = "treering.trust/v1";

/// A trust file that was read and makes sense.
#[derive(Clone, Debug)]
pub struct TrustFile {
    /// The one log that is trusted.
    pub log: TrustedLog,
    /// The oldest checkpoint that is believed.
    pub floor: Option<SignedCheckpoint>,
    /// Whose cosignatures a checkpoint needs.
    pub witness_policy: Option<WitnessPolicy>,
    /// How old the newest checkpoint of the log may be, in seconds: 1 to [`MAX_AGE_MAX`]; `None`
    /// accepts any age.
    pub max_checkpoint_age: Option<u64>,
    /// Roots that certify signers.
    pub certificate_authorities: Vec<Certificate>,
    /// Roots that certify RFC 3161 timestamps.
    pub timestamp_authorities: Vec<Certificate>,
    /// Who may sign. Without any, nobody is accepted.
    pub signers: Vec<SignerRule>,
    /// What is made of the history of a model; by default nothing.
    pub model_policy: ModelPolicy,
}

/// The log, and how to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedLog {
    /// Where it is served.
    pub url: String,
    /// The origin line of its checkpoints.
    pub origin: String,
    /// 1 to [`TRUST_LIST_MAX`] keys; at least one is Ed25519 and named like the origin, and at most
    /// one ML-DSA-44, of that name.
    pub keys: Vec<NoteKey>,
    /// The document in which the log's two keys vouch for each other.
    pub identity: Option<IdentityDocument>,
}

/// An identity document that both keys signed, with the text that it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityDocument {
    /// The signed note, byte for byte.
    pub text: String,
    /// What it says.
    pub identity: LogIdentity,
}

/// A witness policy, with the text that it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessPolicy {
    /// C2SP tlog-policy.
    pub text: String,
    /// What it says.
    pub policy: Policy,
}

impl TrustFile {
    /// Reads a trust file strictly.
    ///
    /// # Errors
    /// Any [`TrustError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() > TRUST_LEN_MAX {
            return Err(TrustError::TooLong);
        }
        let value = canonical::parse(bytes)?;
        let json: TrustJson = serde_json::from_value(value).map_err(TrustError::Fields)?;
        if json.schema != TRUST_SCHEMA {
            return Err(TrustError::Schema { found: json.schema.chars().take(100).collect() });
        }
        let log = TrustedLog::from_json(json.log)?;
        let witness_policy =
            json.witness_policy.map(|text| WitnessPolicy::parse(text, &log)).transpose()?;
        let mut file = Self {
            log,
            floor: None,
            witness_policy,
            max_checkpoint_age: None,
            certificate_authorities: authorities(
                "certificateAuthorities",
                &json.certificate_authorities,
            )?,
            timestamp_authorities: authorities(
                "timestampAuthorities",
                &json.timestamp_authorities,
            )?,
            signers: signer::read_list("signers", json.signers)?,
            model_policy: json
                .model_policy
                .map_or(Ok(ModelPolicy::default()), ModelPolicy::from_json)?,
        };
        // With the keys of all who date it, so that a rollback below it can be proven.
        if let Some(note) = json.floor {
            let keys = file.note_keys();
            file.floor = Some(open_checkpoint(note.as_bytes(), &file.log.origin, &keys)?);
        }
        file.set_max_checkpoint_age(json.max_checkpoint_age_seconds)?;
        Ok(file)
    }

    /// The text of the file, which [`TrustFile::parse`] reads back.
    pub fn format(&self) -> String {
        let pem = |list: &[Certificate]| list.iter().map(Certificate::to_pem).collect();
        let json = TrustJson {
            schema: TRUST_SCHEMA.to_owned(),
            log: LogJson {
                url: self.log.url.clone(),
                origin: self.log.origin.clone(),
                keys: self.log.keys.iter().map(NoteKey::to_vkey).collect(),
                identity: self.log.identity.as_ref().map(|document| document.text.clone()),
            },
            floor: self.floor.as_ref().map(|floor| {
                String::from_utf8(floor.note_bytes().to_vec()).expect("a note that parsed is UTF-8")
            }),
            witness_policy: self.witness_policy.as_ref().map(|policy| policy.text.clone()),
            max_checkpoint_age_seconds: self.max_checkpoint_age,
            certificate_authorities: pem(&self.certificate_authorities),
            timestamp_authorities: pem(&self.timestamp_authorities),
            signers: signer::list_json(&self.signers),
            model_policy: Some(&self.model_policy)
                .filter(|policy| **policy != ModelPolicy::default())
                .map(ModelPolicy::to_json),
        };
        let mut text =
            serde_json::to_string_pretty(&json).expect("texts and lists always serialize");
        text.push('\n');
        text
    }

    /// Accepts one more signer.
    ///
    /// # Errors
    /// [`TrustError::DuplicateSigner`], [`TrustError::TooMany`], [`TrustError::Text`].
    pub fn add_signer(&mut self, rule: SignerRule) -> Result<(), TrustError> {
        signer::add("signers", &mut self.signers, rule)
    }

    /// Allows checkpoints of at most this age in seconds, or of any.
    ///
    /// # Errors
    /// [`TrustError::MaxAge`].
    pub fn set_max_checkpoint_age(&mut self, seconds: Option<u64>) -> Result<(), TrustError> {
        if seconds.is_some_and(|seconds| !(1..=MAX_AGE_MAX).contains(&seconds)) {
            return Err(TrustError::MaxAge);
        }
        self.max_checkpoint_age = seconds;
        Ok(())
    }

    /// The keys whose signatures on a checkpoint mean something: the log's, and those of witnesses.
    pub fn note_keys(&self) -> Vec<NoteKey> {
        let mut keys = self.log.checkpoint_keys();
        keys.extend(self.log.time_key().cloned());
        if let Some(witnesses) = &self.witness_policy {
            keys.extend(witnesses.policy.witness_keys());
        }
        keys
    }

    /// Whether `checkpoint`, opened with [`TrustFile::note_keys`], has the cosignatures that the
    /// witness policy asks for; without a policy it asks for none.
    pub fn has_quorum(&self, checkpoint: &SignedCheckpoint) -> bool {
        let witnesses = self.witness_policy.as_ref();
        witnesses.is_none_or(|witnesses| witnesses.policy.is_met(checkpoint.verified()))
    }
}

impl TrustedLog {
    /// The keys that sign checkpoints of this origin: those of kind Ed25519 with its name.
    pub fn checkpoint_keys(&self) -> Vec<NoteKey> {
        let ours = |key: &&NoteKey| {
            key.kind() == NoteKeyKind::Ed25519 && key.name() == self.origin.as_str()
        };
        self.keys.iter().filter(ours).cloned().collect()
    }

    fn from_json(json: LogJson) -> Result<Self, TrustError> {
        check_text("log.url", &json.url)?;
        check_text("log.origin", &json.origin)?;
        if !json.url.starts_with("https://") && !json.url.starts_with("http://") {
            return Err(TrustError::Url);
        }
        check_count("log.keys", json.keys.len())?;
        let mut keys = Vec::new();
        for (at, vkey) in json.keys.iter().enumerate() {
            let key =
                NoteKey::parse_vkey(vkey).map_err(|error| TrustError::LogKey { at, error })?;
            match key.kind() {
                NoteKeyKind::Ed25519 | NoteKeyKind::EcdsaP256Sha256 => {}
                NoteKeyKind::MlDsa44 if key.name() == json.origin => {
                    if keys.iter().any(is_time_key) {
                        return Err(TrustError::SecondTimeKey { at });
                    }
                }
                NoteKeyKind::MlDsa44 | NoteKeyKind::Cosignature => {
                    return Err(TrustError::WitnessKey { at });
                }
            }
            keys.push(key);
        }
        let identity = json.identity.map(IdentityDocument::parse).transpose()?;
        let log = Self { url: json.url, origin: json.origin, keys, identity };
        let own_keys = log.checkpoint_keys();
        if own_keys.is_empty() {
            return Err(TrustError::NoLogKey);
        }
        match log.identity.as_ref().map(|document| document.identity.note_key()) {
            Some(key) if !own_keys.contains(key) => Err(TrustError::OtherIdentity),
            _ => Ok(log),
        }
    }

    /// The key with which the log cosigns its own checkpoints, and says when each was its newest.
    pub fn time_key(&self) -> Option<&NoteKey> {
        self.keys.iter().find(|key| is_time_key(key))
    }

    /// The keys of the log's Rekor v1 side, which sign its notes and promises there: those listed,
    /// and that of the identity document.
    pub fn v1_keys(&self) -> Vec<NoteKey> {
        let listed = self.keys.iter().filter(|key| key.kind() == NoteKeyKind::EcdsaP256Sha256);
        let documented = self.identity.iter().map(|document| document.identity.v1_note_key());
        listed.cloned().chain(documented).collect()
    }

    /// The ids of the log's Rekor v1 side, by which entries with v1 proofs are known.
    pub fn v1_log_ids(&self) -> Vec<Hash> {
        self.v1_keys().iter().map(NoteKey::key_id_full).collect()
    }
}

impl IdentityDocument {
    /// Reads a document and verifies both signatures.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn parse(text: String) -> Result<Self, IdentityError> {
        let identity = LogIdentity::open(text.as_bytes())?;
        Ok(Self { text, identity })
    }
}

impl WitnessPolicy {
    /// Reads a policy that is to be used for `log`. If the policy lists logs, this one is among
    /// them, with one of its keys. None of its keys is that of a witness, whatever the names are,
    /// and no witness has its name.
    ///
    /// # Errors
    /// [`TrustError::Policy`], [`TrustError::PolicyLog`], [`TrustError::OwnWitness`].
    pub fn parse(text: String, log: &TrustedLog) -> Result<Self, TrustError> {
        let policy = Policy::parse(text.as_bytes())?;
        let known = policy.log_keys(&log.origin);
        if !policy.logs().is_empty() && !known.iter().any(|key| log.keys.contains(key)) {
            return Err(TrustError::PolicyLog);
        }
        // A cosignature in the name of the origin is the log's own word, whatever the key is.
        let is_own = |key: &NoteKey| {
            key.name() == log.origin
                || log.keys.iter().any(|own| own.public_key() == key.public_key())
        };
        match policy.witness_keys().into_iter().find(is_own) {
            Some(key) => Err(TrustError::OwnWitness { name: key.name().to_owned() }),
            None => Ok(Self { text, policy }),
        }
    }
}

/// Of the keys that a log may list, one kind signs a time.
fn is_time_key(key: &NoteKey) -> bool {
    key.kind() == NoteKeyKind::MlDsa44
}

fn authorities(list: &'static str, pems: &[String]) -> Result<Vec<Certificate>, TrustError> {
    check_count(list, pems.len())?;
    let read = |(at, pem): (usize, &String)| {
        Certificate::from_pem(pem).map_err(|error| TrustError::Authority { list, at, error })
    };
    pems.iter().enumerate().map(read).collect()
}

fn check_count(list: &'static str, count: usize) -> Result<(), TrustError> {
    if count > TRUST_LIST_MAX { Err(TrustError::TooMany(list)) } else { Ok(()) }
}

fn check_text(what: &'static str, text: &str) -> Result<(), TrustError> {
    let fine = (1..=TRUST_TEXT_LEN_MAX).contains(&text.len()) && !text.contains(char::is_control);
    if fine { Ok(()) } else { Err(TrustError::Text(what)) }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TrustJson {
    schema: String,
    log: LogJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    witness_policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_checkpoint_age_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificate_authorities: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timestamp_authorities: Vec<String>,
    #[serde(default)]
    signers: Vec<SignerJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_policy: Option<ModelPolicyJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogJson {
    url: String,
    origin: String,
    keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

#[cfg(test)]
mod tests;
