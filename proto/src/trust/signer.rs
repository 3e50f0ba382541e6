//! Signer rules: how a verifier knows somebody who may sign, approve or revoke.
//!
//! Invariants: names are unique in a list; a rule knows its signer in exactly one way. Out of
//! scope: whether a signature is by that signer (see the client).

use serde::{Deserialize, Serialize};

use super::{TRUST_LIST_MAX, TrustError, check_text};
use crate::key::PublicKey;

/// One accepted signer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignerRule {
    /// What reports call this signer; unique in its list.
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

/// A rule as a trust file spells it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignerJson {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
}

/// Reads the list of rules that errors call `list`.
pub(super) fn read_list(
    list: &'static str,
    json: Vec<SignerJson>,
) -> Result<Vec<SignerRule>, TrustError> {
    let mut rules = Vec::new();
    for (at, signer) in json.into_iter().enumerate() {
        add(list, &mut rules, SignerRule::from_json(list, at, signer)?)?;
    }
    Ok(rules)
}

/// The rules as a trust file spells them.
pub(super) fn list_json(rules: &[SignerRule]) -> Vec<SignerJson> {
    rules.iter().map(SignerRule::to_json).collect()
}

/// Adds one rule to the list that errors call `list`.
pub(super) fn add(
    list: &'static str,
    rules: &mut Vec<SignerRule>,
    rule: SignerRule,
) -> Result<(), TrustError> {
    check_text("the name of a signer", &rule.name)?;
    if let Signer::Identity { identity, issuer } = &rule.who {
        check_text("the identity of a signer", identity)?;
        issuer.as_ref().map_or(Ok(()), |issuer| check_text("the issuer of a signer", issuer))?;
    }
    if rules.len() == TRUST_LIST_MAX {
        return Err(TrustError::TooMany(list));
    }
    if rules.iter().any(|other| other.name == rule.name) {
        return Err(TrustError::DuplicateSigner { list, name: rule.name });
    }
    rules.push(rule);
    Ok(())
}

impl SignerRule {
    fn from_json(list: &'static str, at: usize, json: SignerJson) -> Result<Self, TrustError> {
        let who = match (json.public_key, json.identity, json.issuer) {
            (Some(pem), None, None) => {
                Signer::Key(PublicKey::from_pem(&pem).map_err(|error| TrustError::SignerKey {
                    list,
                    at,
                    error,
                })?)
            }
            (None, Some(identity), issuer) => Signer::Identity { identity, issuer },
            _ => return Err(TrustError::SignerRule { list, at }),
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
