//! Who may say what about an entry: who signed it, or a recovery key.
//!
//! Two signers are the same if their keys are, or if their certificates have the same names and the
//! same issuer: a certificate of Fulcio has a new key each time. As anywhere in the log, nobody
//! vouches for a certificate here; verifiers ask for its chain.
//!
//! Invariant: whoever signed an entry *beside* others cannot speak for them. Anybody can put a
//! signature of their own beside one that is public, and have the two logged together.

use treering_proto::verifier::Verifier;

/// Whether a statement signed `by` these may take back what `signers` signed: each of them is one
/// of the signers or a recovery key, and either every signer is among them or a recovery key is.
pub(super) fn may_say(
    by: &[Verifier],
    signers: &[Verifier],
    is_recovery: impl Fn(&str) -> bool,
) -> bool {
    let is_recovery = |verifier: &Verifier| is_recovery(&verifier.key().fingerprint().to_hex());
    let is_one_of = |one: &Verifier, all: &[Verifier]| all.iter().any(|other| is_same(one, other));
    let allowed = |verifier: &Verifier| is_one_of(verifier, signers) || is_recovery(verifier);
    let speaks_for_all = || signers.iter().all(|signer| is_one_of(signer, by));
    !by.is_empty() && by.iter().all(allowed) && (by.iter().any(is_recovery) || speaks_for_all())
}

/// Whether two verifiers stand for the same signer.
fn is_same(one: &Verifier, other: &Verifier) -> bool {
    if one.key() == other.key() {
        return true;
    }
    let (Some(one), Some(other)) = (one.certificate(), other.certificate()) else { return false };
    let names = |identities: &[String]| {
        let mut names = identities.to_vec();
        names.sort();
        names
    };
    !one.identities().is_empty()
        && names(one.identities()) == names(other.identities())
        && one.issuer() == other.issuer()
}
