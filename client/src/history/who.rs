//! Who signed, as far as rules are concerned.
//!
//! A key is itself. A certificate's names count only where an authority of the trust file certifies
//! them: what other certificates say about their holders is anybody's word.
//!
//! Invariant: two people are the same when they have a key in common, or a certified name of the
//! same issuer.

use treering_proto::certificate::Certificate;
use treering_proto::facts::Tag;
use treering_proto::hash::Hash;
use treering_proto::trust::{Signer, SignerRule};
use treering_proto::verifier::Verifier;

use super::SeenTime;
use crate::certificate_chain::check_chain;

/// Somebody whose signature was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// SHA-256 of the key (SubjectPublicKeyInfo in DER), bare or in a certificate.
    pub key: Hash,
    /// What a certificate of a trusted authority calls the holder; empty without one.
    pub identities: Vec<String>,
    /// The issuer in that certificate.
    pub issuer: Option<String>,
    /// Whether that certificate was valid when the entry was logged, by the log's word. A key that
    /// is older than its certificate may be in anybody's hands: such a signature may hold a model
    /// back, and never lets one pass. True for bare keys.
    pub in_time: bool,
}

/// Somebody, as a search knows them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum By {
    /// By the SHA-256 of the key.
    Key(Hash),
    /// By a name in a certificate.
    Identity {
        /// The name.
        identity: String,
        /// The issuer; `None` for certificates that name none.
        issuer: Option<String>,
    },
}

impl Who {
    /// The holder of `verifier`, whose signature was verified. The certificate counts if an
    /// authority certified it when it began: it does not say when it was used.
    pub fn of(
        verifier: &Verifier,
        intermediates: &[Vec<u8>],
        authorities: &[Certificate],
        logged: Option<SeenTime>,
    ) -> Self {
        let key = verifier.key().fingerprint();
        let bare = Self { key, identities: Vec::new(), issuer: None, in_time: true };
        let Some(leaf) = verifier.certificate() else { return bare };
        if check_chain(leaf, intermediates, authorities, leaf.not_before()).is_err() {
            return bare;
        }
        let in_time = logged
            .is_some_and(|time| (leaf.not_before()..=leaf.not_after()).contains(&time.seconds));
        Self {
            key,
            identities: leaf.identities().to_vec(),
            issuer: leaf.issuer().map(str::to_owned),
            in_time,
        }
    }

    /// Whether `rule` is about this person.
    pub fn is_accepted_by(&self, rule: &SignerRule) -> bool {
        match &rule.who {
            Signer::Key(key) => key.fingerprint() == self.key,
            Signer::Identity { identity, issuer } => {
                self.identities.contains(identity) && self.issuer == *issuer
            }
        }
    }

    /// Whether this is the same person as `other`.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let named = |name: &String| other.identities.contains(name);
        self.key == other.key || (self.issuer == other.issuer && self.identities.iter().any(named))
    }

    /// For people.
    pub fn describe(&self) -> String {
        let issuer = self.issuer.iter().map(|issuer| format!(" of {issuer}")).collect::<String>();
        match self.identities.as_slice() {
            [] => format!("key sha256:{}", self.key),
            names => format!("{}{issuer}", names.join(", ")),
        }
    }

    /// How a search finds what this person signed.
    pub fn by(&self) -> Vec<By> {
        match self.identities.as_slice() {
            [] => vec![By::Key(self.key)],
            names => {
                let by = |identity: &String| By::Identity {
                    identity: identity.clone(),
                    issuer: self.issuer.clone(),
                };
                names.iter().map(by).collect()
            }
        }
    }
}

impl By {
    /// How a search finds what the person of `rule` signed.
    pub fn of(rule: &SignerRule) -> Self {
        match &rule.who {
            Signer::Key(key) => Self::Key(key.fingerprint()),
            Signer::Identity { identity, issuer } => {
                Self::Identity { identity: identity.clone(), issuer: issuer.clone() }
            }
        }
    }

    /// The facts that an entry of this person has.
    pub fn facts(&self) -> Vec<(Tag, String)> {
        match self {
            Self::Key(key) => vec![(Tag::PublicKey, key.to_hex())],
            Self::Identity { identity, issuer } => {
                let issuer = issuer.iter().map(|issuer| (Tag::Issuer, issuer.clone()));
                std::iter::once((Tag::Identity, identity.clone())).chain(issuer).collect()
            }
        }
    }
}
