//! The log's two private keys, and the three things they sign: C2SP notes, Rekor v1 notes, SETs.
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
use treering_proto::encoding::to_base64;
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::key::PublicKey;
use treering_proto::note::{Note, NoteKey, SignatureLine, sign_ed25519_line};
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

/// Both private keys and who they sign for.
pub struct Signer {
    note: SigningKey,
    v1: EcdsaKeyPair,
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
pub fn generate_v1_key() -> Zeroizing<String> {
    let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
        .and_then(|pair| pair.to_pkcs8v1())
        .expect("the system has randomness");
    let pem = pkcs8::der::pem::encode_string(
        pkcs8::PrivateKeyInfoRef::PEM_LABEL,
        LineEnding::LF,
        document.as_ref(),
    );
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
    /// Reads both keys for the log called `origin` with `tree_id`.
    pub fn load(
        note_path: &Path,
        v1_path: &Path,
        origin: &str,
        tree_id: TreeId,
    ) -> Result<Self, KeyFileError> {
        let note = SigningKey::from_pkcs8_pem(&read_key(note_path)?)
            .map_err(|_| KeyFileError::NotAKey { path: note_path.to_owned(), kind: "Ed25519" })?;
        let not_v1 = || KeyFileError::NotAKey { path: v1_path.to_owned(), kind: "ECDSA P-256" };
        let pem = read_key(v1_path)?;
        let (label, der) = pkcs8::der::pem::decode_vec(pem.as_bytes()).map_err(|_| not_v1())?;
        if label != pkcs8::PrivateKeyInfoRef::PEM_LABEL {
            return Err(not_v1());
        }
        let der = Zeroizing::new(der);
        let v1 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der)
            .map_err(|_| not_v1())?;
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(v1.public_key()).map_err(|_| not_v1())?;
        let v1_public = PublicKey::from_spki_der(spki.as_ref()).map_err(|_| not_v1())?;
        let note_key = NoteKey::ed25519(origin, note.verifying_key().as_bytes())
            .map_err(|_| KeyFileError::Origin(origin.to_owned()))?;
        let identity = LogIdentity::new(origin, tree_id, note_key, v1_public)?;
        let v1_log_id = identity.v1_log_id().to_hex();
        Ok(Self { note, v1, random: SystemRandom::new(), identity, v1_log_id })
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

    /// The C2SP checkpoint of a fenced head, followed by `cosignatures`. The same head gives the
    /// same text and the same first line.
    pub fn note(&self, fenced: &Fenced, cosignatures: &[SignatureLine]) -> Note {
        let text = checkpoint_text(self.identity.origin(), fenced.head());
        let own = sign_ed25519_line(self.identity.origin(), &self.note, &text);
        let signatures = std::iter::once(own).chain(cosignatures.iter().cloned()).collect();
        Note { text, signatures }
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

fn read_key(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let read = fs::read_to_string(path);
    read.map(Zeroizing::new).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}
