//! Verifying the signatures of a logged entry again, from what the log serves: the canonical bytes
//! and the statement. This is how a monitor finds an entry that no honest log would have taken.
//!
//! | kind | signed | needed beside the leaf |
//! |---|---|---|
//! | `hashedrekord` | the digest in the leaf | nothing |
//! | `dsse` | the PAE of payload type and payload | the statement, and the payload type |
//! | `intoto` 0.0.2 | the PAE of payload type and payload | the statement |
//! | `intoto` 0.0.1 | the same | the signatures, which no log keeps |
//! | `rekord` | content; as good as the digest in the leaf | nothing, but for Ed25519 the content |
//!
//! No `dsse` entry commits to its payload type. Envelopes of in-toto statements nearly always have
//! the one that the framework demands, so that one is tried. A signature under another type cannot
//! be told from a forged one here, and the outcome says so. But all signatures of one envelope are
//! over the same bytes: when one of them verifies, each other one must.
//!
//! Out of scope: who may sign, certificate chains, and whether the statement is admissible.

use super::envelope::Signed;
use super::{Entry, EntryKind, dsse};
use crate::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use crate::hash::sha256;

/// What verifying again came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Recheck {
    /// Every signature verifies.
    Valid,
    /// There is none, there are more than a log takes, or one does not verify.
    Invalid,
    /// The statement is needed and is not here.
    NoStatement,
    /// What was signed, or the signature, is not kept by this kind of entry: only the log ever
    /// verified it.
    NotKept,
    /// No signature verifies over the statement as an in-toto payload: they are forged, or the
    /// envelope called its payload something else.
    NotAsStatement,
}

impl Entry {
    /// Whether the signatures can ever be verified again: [`Entry::recheck`] then does not come to
    /// [`Recheck::NotKept`]. Of other entries only the log says who signed them.
    pub fn keeps_signatures(&self) -> bool {
        match self {
            Self::Hashedrekord(_) | Self::Dsse(_) => true,
            Self::Intoto(entry) => entry.kind() != EntryKind::IntotoV001,
            Self::Rekord(entry) => entry.is_over_digest(),
        }
    }

    /// Verifies the signatures again. A `payload` that is not the one that was signed counts as
    /// none.
    pub fn recheck(&self, payload: Option<&[u8]>) -> Recheck {
        let signed =
            payload.filter(|payload| self.payload_hash().is_some_and(|h| h == sha256(payload)));
        match (self, signed) {
            (Self::Hashedrekord(entry), _) => outcome(Some(entry.verifies())),
            (Self::Rekord(entry), _) => outcome(entry.verifies()),
            (Self::Dsse(entry), signed) => recheck_envelope(entry, signed),
            (Self::Intoto(entry), Some(payload)) => outcome(entry.verifies(payload)),
            (Self::Intoto(_), None) if !self.keeps_signatures() => Recheck::NotKept,
            (Self::Intoto(_), None) => Recheck::NoStatement,
        }
    }
}

fn outcome(verifies: Option<bool>) -> Recheck {
    match verifies {
        Some(true) => Recheck::Valid,
        Some(false) => Recheck::Invalid,
        None => Recheck::NotKept,
    }
}

fn recheck_envelope(entry: &dsse::Dsse, payload: Option<&[u8]>) -> Recheck {
    let count = entry.signatures().len();
    if !(1..=dsse::SIGNATURES_MAX).contains(&count) {
        return Recheck::Invalid;
    }
    let Some(payload) = payload else { return Recheck::NoStatement };
    let message = pae(IN_TOTO_PAYLOAD_TYPE, payload);
    let message = Signed::new(&message);
    let verified = entry.signatures().iter().filter(|one| one.verifies(&message)).count();
    match verified {
        0 => Recheck::NotAsStatement,
        all if all == count => Recheck::Valid,
        _ => Recheck::Invalid,
    }
}
