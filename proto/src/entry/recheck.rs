//! Verifying the signatures of a logged entry again, from what the log serves: the canonical bytes
//! and the statement. This is how a monitor finds an entry that no honest log would have taken.
//!
//! | kind | signed | needed beside the leaf |
//! |---|---|---|
//! | `hashedrekord` | the digest in the leaf | nothing |
//! | `dsse` | the PAE of payload type and payload | the statement, and the payload type |
//!
//! No `dsse` entry commits to its payload type. Envelopes of in-toto statements nearly always have
//! the one that the framework demands, so that one is tried. A signature under another type cannot
//! be told from a forged one here, and the outcome says so. But all signatures of one envelope are
//! over the same bytes: when one of them verifies, each other one must.
//!
//! Out of scope: who may sign, certificate chains, and whether the statement is admissible.

use super::{Entry, dsse, hashedrekord};
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
    /// No signature verifies over the statement as an in-toto payload: they are forged, or the
    /// envelope called its payload something else.
    NotAsStatement,
}

impl Entry {
    /// Verifies the signatures again. A `payload` that is not the one that was signed counts as
    /// none.
    pub fn recheck(&self, payload: Option<&[u8]>) -> Recheck {
        match self {
            Self::Hashedrekord(entry) => recheck_digest(entry),
            Self::Dsse(entry) => {
                let signed = payload.filter(|payload| sha256(payload) == entry.payload_hash());
                recheck_envelope(entry, signed)
            }
        }
    }
}

fn recheck_digest(entry: &hashedrekord::Hashedrekord) -> Recheck {
    match entry.verifies() {
        true => Recheck::Valid,
        false => Recheck::Invalid,
    }
}

fn recheck_envelope(entry: &dsse::Dsse, payload: Option<&[u8]>) -> Recheck {
    let count = entry.signatures().len();
    if !(1..=dsse::SIGNATURES_MAX).contains(&count) {
        return Recheck::Invalid;
    }
    let Some(payload) = payload else { return Recheck::NoStatement };
    let message = pae(IN_TOTO_PAYLOAD_TYPE, payload);
    let verified = entry.signatures().iter().filter(|one| one.verifies(&message)).count();
    match verified {
        0 => Recheck::NotAsStatement,
        all if all == count => Recheck::Valid,
        _ => Recheck::Invalid,
    }
}
