//! What is known about a log's key, and the opening of its checkpoints.
//!
//! | known | as | origin of its checkpoints |
//! |---|---|---|
//! | identity document | Treering's signed note of both keys | as it says |
//! | vkey | `name+id+base64` (c2sp.org/signed-note) | the name, or `name - number` in Rekor v1 |
//! | public key | PEM, Ed25519 or ECDSA P-256 | whatever the checkpoint says |
//! | nothing | | whatever the checkpoint says; no signature is verified |

use anyhow::{Context as _, bail, ensure};
use treering_proto::checkpoint::{Checkpoint, open_checkpoint};
use treering_proto::identity::LogIdentity;
use treering_proto::key::{KeyKind, PublicKey};
use treering_proto::note::{Note, NoteKey, NoteKeyKind};
use treering_proto::tree::TreeHead;

/// What is known about a log's key.
#[derive(Clone, Debug)]
pub enum LogKey {
    /// Both keys of a Treering log.
    Identity(Box<LogIdentity>),
    /// The key of its notes, with its name.
    Note(Box<NoteKey>),
    /// The key alone.
    Public(Box<PublicKey>),
    /// Nothing: signatures of the log are not verified.
    Unknown,
}

impl LogKey {
    /// Reads an identity document, a vkey or PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        if text.starts_with("treering identity ") {
            return Ok(Self::Identity(Box::new(LogIdentity::open(text.as_bytes())?)));
        }
        if text.trim_start().starts_with("-----BEGIN ") {
            let key = PublicKey::from_pem(text)?;
            let signs = matches!(key.kind(), KeyKind::Ed25519 | KeyKind::EcdsaP256);
            ensure!(signs, "checkpoints are verified with Ed25519 or ECDSA P-256 keys only");
            return Ok(Self::Public(Box::new(key)));
        }
        let key = NoteKey::parse_vkey(text.trim());
        let key = key.context("neither an identity document, nor a vkey, nor PEM")?;
        ensure!(key.is_log_key(), "the vkey is that of a witness, not of a log");
        Ok(Self::Note(Box::new(key)))
    }

    /// Whether signatures can be verified.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }

    /// The head that `note` states, under the log's signature where the key is known.
    ///
    /// # Errors
    /// If it is not a checkpoint, or not one of this log.
    pub fn open(&self, note: &[u8]) -> anyhow::Result<TreeHead> {
        let stated = Checkpoint::parse(&Note::parse(note)?.text)?;
        let origin = stated.origin.as_str();
        let (expected, key) = match self {
            Self::Unknown => return Ok(stated.head),
            Self::Identity(identity) if origin == identity.v1_origin() => {
                (identity.v1_origin(), identity.v1_note_key())
            }
            Self::Identity(identity) => (identity.origin().to_owned(), identity.note_key().clone()),
            Self::Note(key) if host(origin) == key.name() => (origin.to_owned(), (**key).clone()),
            Self::Note(key) => (key.name().to_owned(), (**key).clone()),
            Self::Public(key) => (origin.to_owned(), note_key(host(origin), key)?),
        };
        Ok(open_checkpoint(note, &expected, &[key])?.head())
    }

    /// The key of signed entry timestamps, where it is known.
    pub(super) fn timestamp_key(&self) -> Option<PublicKey> {
        match self {
            Self::Unknown => None,
            Self::Identity(identity) => Some(identity.v1_key().clone()),
            Self::Public(key) => Some((**key).clone()),
            Self::Note(key) if key.kind() == NoteKeyKind::EcdsaP256Sha256 => {
                PublicKey::from_spki_der(key.public_key()).ok()
            }
            Self::Note(_) => None,
        }
    }
}

/// The name that signs for `origin`: Rekor v1 adds ` - ` and the number of the tree.
fn host(origin: &str) -> &str {
    match origin.rsplit_once(" - ") {
        Some((host, tree)) if tree.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => origin,
    }
}

fn note_key(name: &str, key: &PublicKey) -> anyhow::Result<NoteKey> {
    let spki = key.spki_der();
    match key.kind() {
        KeyKind::EcdsaP256 => Ok(NoteKey::ecdsa_p256(name, spki)?),
        KeyKind::Ed25519 => {
            let raw = spki.last_chunk().context("an Ed25519 key ends with its 32 bytes")?;
            Ok(NoteKey::ed25519(name, raw)?)
        }
        other => bail!("checkpoints are not verified with keys of kind {other:?}"),
    }
}

#[cfg(test)]
mod tests;
