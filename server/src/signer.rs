//! The log's private keys, and the three things they sign: C2SP notes, Rekor v1 notes, SETs. A log
//! may have a third key, ML-DSA-44, which adds a dated line to its C2SP notes: two such lines prove
//! a roll-back.
//!
//! Invariants: the keys never leave this module; a checkpoint is signed only from a [`Fenced`]
//! head.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use pkcs8::LineEnding;
use pkcs8::der::pem::PemLabel as _;
use treering_proto::api::v1::{TreeId, set_payload};
use treering_proto::checkpoint::{Checkpoint, open_checkpoint};
use treering_proto::cosignature::ml_dsa_44::{MlDsa44SigningKey, SEED_LEN};
use treering_proto::encoding::to_base64;
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::key::PublicKey;
use treering_proto::note::{Note, NoteKey, SignatureLine, sign_ed25519_line, sign_ml_dsa_44_line};
use treering_proto::tree::{LeafIndex, TreeHead};
use zeroize::Zeroizing;

use crate::anchor::Fenced;
use crate::store::format::NotePair;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Reading or writing the file failed.
    #[error("key file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not an unencrypted PKCS#8 PEM of the needed kind.
    #[error("key file {path}: expected an unencrypted PKCS#8 PEM private key of kind {kind}")]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// The kind that is needed.
        kind: &'static str,
    },
    /// The keys are not those of the log.
    #[error("{path} does not belong to the log whose identity document stands beside it")]
    OtherLog {
        /// Which directory.
        path: PathBuf,
    },
    /// The origin cannot name a key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The origin cannot name a key.
    #[error("{0:?} cannot name a log: a host name without spaces or plus signs is needed")]
    Origin(String),
}

/// Where the private keys are.
#[derive(Clone, Debug)]
pub struct KeyPaths {
    /// Ed25519, for C2SP notes.
    pub note: PathBuf,
    /// ECDSA P-256, for Rekor v1.
    pub v1: PathBuf,
    /// ML-DSA-44, for a dated line in C2SP notes; there may be none.
    pub ml_dsa: PathBuf,
    /// ECDSA P-256 with its certificates, for timestamps ([`crate::timestamp`]); there may be none.
    pub timestamp: PathBuf,
}

impl KeyPaths {
    /// The keys in `directory`, by their names.
    pub fn of(directory: &Path) -> Self {
        let key = |name: &str| directory.join(name);
        Self {
            note: key("note.pem"),
            v1: key("v1.pem"),
            ml_dsa: key("ml-dsa.pem"),
            timestamp: key("timestamp.pem"),
        }
    }
}

/// The private keys and who they sign for.
pub struct Signer {
    note: SigningKey,
    v1: EcdsaKeyPair,
    ml_dsa: Option<MlDsa44SigningKey>,
    random: SystemRandom,
    identity: LogIdentity,
    v1_log_id: String,
}

/// A new Ed25519 key as PKCS#8 PEM.
pub fn generate_note_key() -> Zeroizing<String> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut()).expect("the system has randomness");
    let key = SigningKey::from_bytes(&seed);
    key.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key has a PKCS#8 form")
}

/// A new ECDSA P-256 key as PKCS#8 PEM.
pub fn generate_p256_key() -> Zeroizing<String> {
    let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
        .and_then(|pair| pair.to_pkcs8v1())
        .expect("the system has randomness");
    private_pem(document.as_ref())
}

/// A new ML-DSA-44 key as PKCS#8 PEM.
pub fn generate_ml_dsa_key() -> Zeroizing<String> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    getrandom::fill(seed.as_mut()).expect("the system has randomness");
    let document = MlDsa44SigningKey::from_seed(&seed).to_pkcs8();
    private_pem(document.expect("a key that was made from its seed has it").as_ref())
}

fn private_pem(der: &[u8]) -> Zeroizing<String> {
    let label = pkcs8::PrivateKeyInfoRef::PEM_LABEL;
    let pem = pkcs8::der::pem::encode_string(label, LineEnding::LF, der);
    Zeroizing::new(pem.expect("a private key fits PEM"))
}

/// Writes a private key to a new file that only its owner reads.
pub fn write_key(path: &Path, pem: &str) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

impl Signer {
    /// Reads the keys for the log called `origin` with `tree_id`; it need not have the ML-DSA-44
    /// key.
    pub fn load(paths: &KeyPaths, origin: &str, tree_id: TreeId) -> Result<Self, KeyFileError> {
        let not = |path: &Path, kind| KeyFileError::NotAKey { path: path.to_owned(), kind };
        let note = SigningKey::from_pkcs8_pem(&read_key(&paths.note)?)
            .map_err(|_| not(&paths.note, "Ed25519"))?;
        let not_v1 = || not(&paths.v1, "ECDSA P-256");
        let der = read_der(&paths.v1)?.ok_or_else(not_v1)?;
        let v1 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der)
            .map_err(|_| not_v1())?;
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(v1.public_key()).map_err(|_| not_v1())?;
        let v1_public = PublicKey::from_spki_der(spki.as_ref()).map_err(|_| not_v1())?;
        let ml_dsa = if paths.ml_dsa.exists() {
            let der = read_der(&paths.ml_dsa)?;
            let key = der.and_then(|der| MlDsa44SigningKey::from_pkcs8(&der));
            Some(key.ok_or_else(|| not(&paths.ml_dsa, "ML-DSA-44"))?)
        } else {
            None
        };
        let note_key = NoteKey::ed25519(origin, note.verifying_key().as_bytes())
            .map_err(|_| KeyFileError::Origin(origin.to_owned()))?;
        let identity = LogIdentity::new(origin, tree_id, note_key, v1_public)?;
        let v1_log_id = identity.v1_log_id().to_hex();
        Ok(Self { note, v1, ml_dsa, random: SystemRandom::new(), identity, v1_log_id })
    }

    /// Who the keys sign for.
    pub fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// The Rekor v1 log id in hexadecimal.
    pub fn v1_log_id(&self) -> &str {
        &self.v1_log_id
    }

    /// The identity document, signed with both keys.
    pub fn identity_document(&self) -> String {
        let text = self.identity.text();
        let signatures = vec![
            sign_ed25519_line(self.identity.origin(), &self.note, &text),
            self.ecdsa_line(&text),
        ];
        Note { text, signatures }.format()
    }

    /// The ML-DSA-44 key, if the log has one.
    pub fn ml_dsa_key(&self) -> Option<NoteKey> {
        let key = self.ml_dsa.as_ref()?;
        let key = NoteKey::ml_dsa_44(self.identity.origin(), key.public_key());
        Some(key.expect("the origin named the other key, too"))
    }

    /// The C2SP checkpoint of a fenced head with the log's first line only. The same head gives the
    /// same bytes.
    pub fn undated_note(&self, fenced: &Fenced) -> Note {
        let text = checkpoint_text(self.identity.origin(), fenced.head());
        let signatures = vec![sign_ed25519_line(self.identity.origin(), &self.note, &text)];
        Note { text, signatures }
    }

    /// The same, followed by the log's own dated line if it has the key for it, and by
    /// `cosignatures`.
    ///
    /// `time` is in Unix seconds, and no smaller than for any head before: the line says that this
    /// is the newest tree.
    pub fn note(&self, fenced: &Fenced, time: u64, cosignatures: &[SignatureLine]) -> Note {
        let mut note = self.undated_note(fenced);
        if let Some(key) = &self.ml_dsa {
            let origin = self.identity.origin();
            note.signatures.push(sign_ml_dsa_44_line(origin, key, origin, fenced.head(), time));
        }
        note.signatures.extend_from_slice(cosignatures);
        note
    }

    /// The Rekor v1 checkpoint of a fenced head: another origin, ECDSA, exactly one signature line.
    pub fn v1_note(&self, fenced: &Fenced) -> String {
        let text = checkpoint_text(&self.identity.v1_origin(), fenced.head());
        let signatures = vec![self.ecdsa_line(&text)];
        Note { text, signatures }.format()
    }

    /// Whether both notes are ours and state `head`.
    pub fn has_signed(&self, notes: &NotePair, head: TreeHead) -> bool {
        let note_key = [self.identity.note_key().clone()];
        let v1_key = [self.identity.v1_note_key()];
        let note = open_checkpoint(notes.note.as_bytes(), self.identity.origin(), &note_key);
        let v1_origin = self.identity.v1_origin();
        let v1_note = open_checkpoint(notes.v1_note.as_bytes(), &v1_origin, &v1_key);
        note.is_ok_and(|note| note.head() == head) && v1_note.is_ok_and(|note| note.head() == head)
    }

    /// The SignedEntryTimestamp of a logged entry, DER.
    pub fn set(&self, body: &[u8], time: u64, index: LeafIndex) -> Vec<u8> {
        self.ecdsa(&set_payload(&to_base64(body), time, &self.v1_log_id, index.get()))
    }

    fn ecdsa_line(&self, text: &str) -> SignatureLine {
        SignatureLine {
            name: self.identity.origin().to_owned(),
            key_id: self.identity.v1_note_key().key_id(),
            signature: self.ecdsa(text.as_bytes()),
        }
    }

    fn ecdsa(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.v1.sign(&self.random, message);
        signature.expect("a P-256 key signs any message").as_ref().to_vec()
    }
}

fn checkpoint_text(origin: &str, head: TreeHead) -> String {
    Checkpoint { origin: origin.to_owned(), head, extensions: Vec::new() }.format()
}

/// The DER of a PEM file with an unencrypted private key; `None` if it is something else.
fn read_der(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeyFileError> {
    Ok(decode_key(&read_key(path)?))
}

/// The DER of an unencrypted private key in PEM; `None` if it is something else.
pub fn decode_key(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let decoded = pkcs8::der::pem::decode_vec(pem.as_bytes()).ok();
    let is_key = |(label, _): &(&str, Vec<u8>)| *label == pkcs8::PrivateKeyInfoRef::PEM_LABEL;
    decoded.filter(is_key).map(|(_, der)| Zeroizing::new(der))
}

/// The text of a key file.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn read_key(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let read = fs::read_to_string(path);
    read.map(Zeroizing::new).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}
