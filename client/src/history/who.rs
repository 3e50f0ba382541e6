//! Who signed, as far as rules are concerned.
//!
//! A key is itself. A certificate's names count only where an authority of the trust file certifies
//! them: what other certificates say about their holders is anybody's word. Where it could not be
//! looked at whether one does, the names are kept beside, as names that may be true.
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
    /// Names that may be theirs: nobody could look whether an authority certifies them. Such a
    /// person lets no model pass and refuses none, but leaves open what they may have said.
    pub may_be: Vec<By>,
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
    ///
    /// Where the trust file leaves intermediates to bundles, other certificates may lack theirs, so
    /// what they call their holders may be true. Where it lists them, it is not: anybody can make a
    /// certificate with any name, and would else keep every model from being verified.
    pub fn of(
        verifier: &Verifier,
        intermediates: &[Vec<u8>],
        authorities: &[Certificate],
        logged: Option<SeenTime>,
    ) -> Self {
        let key = verifier.key().fingerprint();
        let (identities, may_be) = (Vec::new(), Vec::new());
        let bare = Self { key, identities, issuer: None, in_time: true, may_be };
        let Some(leaf) = verifier.certificate() else { return bare };
        if check_chain(leaf, intermediates, authorities, leaf.not_before()).is_err() {
            let is_listed = |der: &Vec<u8>| authorities.iter().any(|known| known.der() == der);
            return match intermediates.iter().all(is_listed) {
                true => bare,
                false => Self { may_be: By::names(leaf.identities(), leaf.issuer()), ..bare },
            };
        }
        let in_time = logged
            .is_some_and(|time| (leaf.not_before()..=leaf.not_after()).contains(&time.seconds));
        Self {
            key,
            identities: leaf.identities().to_vec(),
            issuer: leaf.issuer().map(str::to_owned),
            in_time,
            may_be: Vec::new(),
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

    /// Whether this may be the person of `rule`.
    pub fn may_be_accepted_by(&self, rule: &SignerRule) -> bool {
        self.may_be.contains(&By::of(rule))
    }

    /// Whether this may be the same person as `other`.
    pub fn may_be_same_as(&self, other: &Self) -> bool {
        let known = other.by();
        let named = |by: &By| known.contains(by) || other.may_be.contains(by);
        self.may_be.iter().any(named) || other.may_be.iter().any(|by| self.by().contains(by))
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
            names => By::names(names, self.issuer.as_deref()),
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

    /// How a search finds whom a certificate calls so.
    pub fn names(identities: &[String], issuer: Option<&str>) -> Vec<Self> {
        let by = |identity: &String| Self::Identity {
            identity: identity.clone(),
            issuer: issuer.map(str::to_owned),
        };
        identities.iter().map(by).collect()
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::certificate_chain::tests::{authority, leaf};

    #[test]
    fn names_may_be_true_while_intermediates_are_left_to_bundles() {
        let dir = TempDir::new().unwrap();
        let [root, middle, other] =
            ["root", "middle", "other"].map(|name| authority(dir.path(), name));
        let signer = leaf(dir.path(), "middle", "extendedKeyUsage=codeSigning");
        let rule = SignerRule {
            name: "ci".to_owned(),
            who: Signer::Identity {
                identity: signer.identities()[0].clone(),
                issuer: signer.issuer().map(str::to_owned),
            },
        };
        let verifier = Verifier::Certificate(Box::new(signer));
        let who = |brought: &[&Certificate], listed: &[&Certificate]| {
            let brought: Vec<Vec<u8>> = brought.iter().map(|one| one.der().to_vec()).collect();
            let listed: Vec<Certificate> = listed.iter().map(|one| (*one).clone()).collect();
            Who::of(&verifier, &brought, &listed, None)
        };
        let certified = who(&[], &[&root, &middle]);
        assert!(certified.is_accepted_by(&rule) && certified.may_be.is_empty());
        // The bundle in hand brought what the trust file does not list; this one's may lack too.
        let perhaps = who(&[&other], &[&root]);
        assert!(perhaps.may_be_accepted_by(&rule) && !perhaps.is_accepted_by(&rule));
        assert!(perhaps.may_be_same_as(&certified));
        // Otherwise anybody could make such a certificate.
        for stranger in [who(&[], &[&root]), who(&[&other], &[&root, &other])] {
            assert!(!stranger.may_be_accepted_by(&rule) && !stranger.is_accepted_by(&rule));
        }
    }
}
