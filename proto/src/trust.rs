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
//!   "certificateAuthorities": ["-----BEGIN CERTIFICATE-----\n..."],
//!   "timestampAuthorities": ["-----BEGIN CERTIFICATE-----\n..."],
//!   "signers": [
//!     {"name": "release", "publicKey": "-----BEGIN PUBLIC KEY-----\n..."},
//!     {"name": "ci", "identity": "https://ci.example/job", "issuer": "https://issuer.example"}
//!   ]
//! }
//! ```
//!
//! `schema`, `log.url`, `log.origin` and `log.keys` are required, the rest is optional. Keys are
//! vkeys of C2SP signed-note: Ed25519 keys named like the origin sign checkpoints; an ECDSA key is
//! that of the log's Rekor v1 side, and `identity` binds the two. `floor` is the oldest state of
//! the log that is believed.
//!
//! Invariants: unknown and duplicate fields are refused, so that a rule that this version cannot
//! read is never skipped; a floor in a trust file is signed by the log; signer names are unique.
//! Out of scope: whether the file itself is genuine, and matching signers (see the client).

use serde::{Deserialize, Serialize};

use crate::canonical::{self, JsonError};
use crate::certificate::{Certificate, CertificateError};
use crate::checkpoint::{OpenCheckpointError, SignedCheckpoint, open_checkpoint};
use crate::hash::Hash;
use crate::identity::{IdentityError, LogIdentity};
use crate::key::{KeyError, PublicKey};
use crate::note::{NoteKey, NoteKeyError, NoteKeyKind};
use crate::policy::{Policy, PolicyError};

/// The longest trust file in bytes: two notes or policies of the greatest length, and certificates.
pub const TRUST_LEN_MAX: usize = 4 << 20;

/// Log keys, authorities, and signers: more than these in one file are a mistake.
pub const TRUST_LIST_MAX: usize = 1000;

/// The longest URL, name, identity or issuer in bytes.
pub const TRUST_TEXT_LEN_MAX: usize = 2048;

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
    /// Roots that certify signers.
    pub certificate_authorities: Vec<Certificate>,
    /// Roots that certify RFC 3161 timestamps.
    pub timestamp_authorities: Vec<Certificate>,
    /// Who may sign. Without any, nobody is accepted.
    pub signers: Vec<SignerRule>,
}

/// The log, and how to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedLog {
    /// Where it is served.
    pub url: String,
    /// The origin line of its checkpoints.
    pub origin: String,
    /// 1 to [`TRUST_LIST_MAX`] keys; at least one is Ed25519 and named like the origin.
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

/// One accepted signer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignerRule {
    /// What reports call this signer; unique in the file.
    pub name: String,
    /// How the signer is known.
    pub who: Signer,
}

/// How a signer is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signer {
    /// By key, bare or in a certificate.
    Key(PublicKey),
    /// By a certificate of a trusted authority.
    Identity {
        /// One of the certificate's subject alternative names, exactly.
        identity: String,
        /// The OIDC issuer in the certificate, exactly; `None` accepts only certificates that name
        /// none, which is how enterprise authorities write them.
        issuer: Option<String>,
    },
}

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
    /// An empty text, or one of more than [`TRUST_TEXT_LEN_MAX`] bytes, or with control characters.
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
    #[error("signers[{at}]: {error}")]
    SignerKey {
        /// Which.
        at: usize,
        /// Why.
        error: KeyError,
    },
    /// A signer is known in no way, or in two.
    #[error("signers[{at}] needs either publicKey, or identity with or without issuer")]
    SignerRule {
        /// Which.
        at: usize,
    },
    /// Two signers have the same name.
    #[error("two signers are named {name:?}")]
    DuplicateSigner {
        /// The name.
        name: String,
    },
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
        let floor = json
            .floor
            .map(|note| open_checkpoint(note.as_bytes(), &log.origin, &log.checkpoint_keys()))
            .transpose()?;
        let witness_policy =
            json.witness_policy.map(|text| WitnessPolicy::parse(text, &log)).transpose()?;
        let mut file = Self {
            log,
            floor,
            witness_policy,
            certificate_authorities: authorities(
                "certificateAuthorities",
                &json.certificate_authorities,
            )?,
            timestamp_authorities: authorities(
                "timestampAuthorities",
                &json.timestamp_authorities,
            )?,
            signers: Vec::new(),
        };
        for (at, signer) in json.signers.into_iter().enumerate() {
            file.add_signer(SignerRule::from_json(at, signer)?)?;
        }
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
            certificate_authorities: pem(&self.certificate_authorities),
            timestamp_authorities: pem(&self.timestamp_authorities),
            signers: self.signers.iter().map(SignerRule::to_json).collect(),
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
        check_text("the name of a signer", &rule.name)?;
        if let Signer::Identity { identity, issuer } = &rule.who {
            check_text("the identity of a signer", identity)?;
            issuer
                .as_ref()
                .map_or(Ok(()), |issuer| check_text("the issuer of a signer", issuer))?;
        }
        if self.signers.len() == TRUST_LIST_MAX {
            return Err(TrustError::TooMany("signers"));
        }
        if self.signers.iter().any(|other| other.name == rule.name) {
            return Err(TrustError::DuplicateSigner { name: rule.name });
        }
        self.signers.push(rule);
        Ok(())
    }

    /// The keys whose signatures on a checkpoint mean something: the log's, and those of witnesses.
    pub fn note_keys(&self) -> Vec<NoteKey> {
        let mut keys = self.log.checkpoint_keys();
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
            if !key.is_log_key() {
                return Err(TrustError::WitnessKey { at });
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

    /// The ids of the log's Rekor v1 side, by which entries with v1 proofs are known.
    pub fn v1_log_ids(&self) -> Vec<Hash> {
        let listed = self.keys.iter().filter(|key| key.kind() == NoteKeyKind::EcdsaP256Sha256);
        let documented = self.identity.iter().map(|document| document.identity.v1_log_id());
        listed.map(NoteKey::key_id_full).chain(documented).collect()
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
    /// them, with one of its keys.
    ///
    /// # Errors
    /// [`TrustError::Policy`], [`TrustError::PolicyLog`].
    pub fn parse(text: String, log: &TrustedLog) -> Result<Self, TrustError> {
        let policy = Policy::parse(text.as_bytes())?;
        let known = policy.log_keys(&log.origin);
        let listed = policy.logs().is_empty() || known.iter().any(|key| log.keys.contains(key));
        if listed { Ok(Self { text, policy }) } else { Err(TrustError::PolicyLog) }
    }
}

impl SignerRule {
    fn from_json(at: usize, json: SignerJson) -> Result<Self, TrustError> {
        let who = match (json.public_key, json.identity, json.issuer) {
            (Some(pem), None, None) => Signer::Key(
                PublicKey::from_pem(&pem).map_err(|error| TrustError::SignerKey { at, error })?,
            ),
            (None, Some(identity), issuer) => Signer::Identity { identity, issuer },
            _ => return Err(TrustError::SignerRule { at }),
        };
        Ok(Self { name: json.name, who })
    }

    fn to_json(&self) -> SignerJson {
        let name = self.name.clone();
        match &self.who {
            Signer::Key(key) => {
                SignerJson { name, public_key: Some(key.to_pem()), identity: None, issuer: None }
            }
            Signer::Identity { identity, issuer } => SignerJson {
                name,
                public_key: None,
                identity: Some(identity.clone()),
                issuer: issuer.clone(),
            },
        }
    }
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificate_authorities: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timestamp_authorities: Vec<String>,
    #[serde(default)]
    signers: Vec<SignerJson>,
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignerJson {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
}

#[cfg(test)]
mod tests;
