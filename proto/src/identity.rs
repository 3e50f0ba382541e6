//! The identity document: one log says, under both its keys, which keys, origin and tree are one.
//!
//! A log has two signing keys because its clients leave no choice: Ed25519 for C2SP notes, ECDSA
//! P-256 for Rekor v1. The document binds them, so that whoever trusts one can hold the log to
//! both. It is a signed note with this text:
//!
//! ```text
//! treering identity v1
//! origin log.corp
//! tree 4711
//! note-key log.corp+8eb6e5b2+AYqI...
//! v1-key MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE...
//! ```
//!
//! Invariant: a [`LogIdentity`] that was opened carries both signatures. Made once by `init`, never
//! changed.

use crate::api::v1::{TreeId, v1_origin};
use crate::encoding::{from_base64, to_base64};
use crate::hash::{Hash, sha256};
use crate::key::{KeyKind, PublicKey};
use crate::note::{self, Note, NoteError, NoteKey, NoteKeyKind, OpenError};

/// Who a log is, for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogIdentity {
    origin: String,
    tree_id: TreeId,
    note_key: NoteKey,
    v1_key: PublicKey,
}

/// Why a document does not say who a log is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not a signed note.
    #[error("identity document: {0}")]
    Note(#[from] NoteError),
    /// Not the five lines, or something else in one of them.
    #[error("identity document: malformed text")]
    Malformed,
    /// A signature is bad.
    #[error("identity document: {0}")]
    Open(#[from] OpenError),
    /// One of the two keys did not sign.
    #[error("identity document: it must be signed by both keys that it names")]
    Unsigned,
    /// The Rekor v1 key is not ECDSA P-256, the origin is no key name, or the note key has another
    /// name.
    #[error("identity document: the keys must be Ed25519 named by the origin, and ECDSA P-256")]
    Keys,
}

impl LogIdentity {
    /// The identity of a log called `origin`.
    pub fn new(
        origin: &str,
        tree_id: TreeId,
        note_key: NoteKey,
        v1_key: PublicKey,
    ) -> Result<Self, IdentityError> {
        let keys_fit = note_key.kind() == NoteKeyKind::Ed25519
            && note_key.name() == origin
            && v1_key.kind() == KeyKind::EcdsaP256;
        if !keys_fit {
            return Err(IdentityError::Keys);
        }
        Ok(Self { origin: origin.to_owned(), tree_id, note_key, v1_key })
    }

    /// Reads a signed document and verifies both signatures.
    pub fn open(document: &[u8]) -> Result<Self, IdentityError> {
        let note = Note::parse(document)?;
        let identity = Self::parse_text(&note.text)?;
        let keys = [identity.note_key.clone(), identity.v1_note_key()];
        let signers = note::open(&note, &keys)?;
        if keys.iter().all(|key| signers.iter().any(|signer| signer.key == *key)) {
            Ok(identity)
        } else {
            Err(IdentityError::Unsigned)
        }
    }

    /// The text that both keys sign.
    pub fn text(&self) -> String {
        format!(
            "{TITLE}\norigin {}\ntree {}\nnote-key {}\nv1-key {}\n",
            self.origin,
            self.tree_id,
            self.note_key.to_vkey(),
            to_base64(self.v1_key.spki_der())
        )
    }

    fn parse_text(text: &str) -> Result<Self, IdentityError> {
        let lines: Vec<&str> = text.lines().collect();
        let [TITLE, origin, tree, note_key, v1_key] = lines[..] else {
            return Err(IdentityError::Malformed);
        };
        let field = |line: &'_ str, name: &str| -> Result<String, IdentityError> {
            let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
            rest.map(str::to_owned).ok_or(IdentityError::Malformed)
        };
        let tree_id = field(tree, "tree")?.parse().ok().and_then(TreeId::new);
        let note_key = NoteKey::parse_vkey(&field(note_key, "note-key")?);
        let v1_key = from_base64(&field(v1_key, "v1-key")?)
            .and_then(|spki| PublicKey::from_spki_der(&spki).ok());
        let identity = Self::new(
            &field(origin, "origin")?,
            tree_id.ok_or(IdentityError::Malformed)?,
            note_key.map_err(|_| IdentityError::Malformed)?,
            v1_key.ok_or(IdentityError::Malformed)?,
        )?;
        if identity.text() == text { Ok(identity) } else { Err(IdentityError::Malformed) }
    }

    /// The C2SP origin: a bare host name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of the tree.
    pub fn tree_id(&self) -> TreeId {
        self.tree_id
    }

    /// The Ed25519 key of C2SP checkpoints.
    pub fn note_key(&self) -> &NoteKey {
        &self.note_key
    }

    /// The ECDSA P-256 key of Rekor v1 checkpoints and timestamps.
    pub fn v1_key(&self) -> &PublicKey {
        &self.v1_key
    }

    /// The Rekor v1 key as a note key: its lines bear the bare host name.
    pub fn v1_note_key(&self) -> NoteKey {
        NoteKey::ecdsa_p256(&self.origin, self.v1_key.spki_der())
            .expect("the constructor took only a P-256 key and a key name")
    }

    /// The Rekor v1 log id: SHA-256 of the SPKI DER.
    pub fn v1_log_id(&self) -> Hash {
        sha256(self.v1_key.spki_der())
    }

    /// The first line of Rekor v1 checkpoints.
    pub fn v1_origin(&self) -> String {
        v1_origin(&self.origin, self.tree_id)
    }
}

const TITLE: &str = "treering identity v1";

#[cfg(test)]
mod tests;
