//! The model policy of a trust file: what a verifier makes of the history of a model, beyond whose
//! signature it has (`docs/model-policy.md`).
//!
//! ```json
//! "modelPolicy": {
//!   "firstSeen": {"action": "refuse", "days": 30},
//!   "weightsFirstSeen": {"action": "warn", "days": 30},
//!   "notNewest": "refuse",
//!   "versionNotRising": "refuse",
//!   "revoked": "refuse",
//!   "superseded": "warn",
//!   "newSigner": "warn",
//!   "otherSigner": "warn",
//!   "noStatement": "warn",
//!   "checkpointAge": {"action": "refuse", "hours": 24},
//!   "approvals": {"action": "refuse", "count": 2, "roles": {
//!     "security": [{"name": "sam", "publicKey": "-----BEGIN PUBLIC KEY-----\n..."}],
//!     "qa": [{"name": "kim", "identity": "kim@corp.example"}]}},
//!   "recovery": [{"name": "recovery", "publicKey": "-----BEGIN PUBLIC KEY-----\n..."}]
//! }
//! ```
//!
//! Invariants: a rule that is absent is off; an unknown rule, member or action is an error, so that
//! nothing that this version cannot read is skipped; numbers have bounds; as many approvals can be
//! had as are asked for. Out of scope: judging by it (see the client).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::signer::{SignerJson, list_json, read_list};
use super::{SignerRule, TRUST_LIST_MAX, TrustError};
use crate::notice::is_role;

/// The greatest age in days: ten years, as for checkpoints.
pub const DAYS_MAX: u32 = 3_650;

/// The greatest age in hours.
pub const HOURS_MAX: u32 = 24 * DAYS_MAX;

/// Roles of one policy.
pub const ROLES_MAX: usize = 32;

/// What becomes of a model against which a rule speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: the rule is not looked at.
    #[default]
    Off,
    /// It is said.
    Warn,
    /// The model is not verified.
    Refuse,
}

/// A rule of the model policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// These very bytes were logged long before this entry.
    FirstSeen,
    /// A weight file of the model was.
    WeightsFirstSeen,
    /// The signer logged another model of this name later.
    NotNewest,
    /// The version is not above those that the signer logged before.
    VersionNotRising,
    /// Somebody who may revoked the model.
    Revoked,
    /// Somebody who may said that another entry takes its place.
    Superseded,
    /// Others signed this name before, and this signer did not.
    NewSigner,
    /// Others signed these bytes before.
    OtherSigner,
    /// The log was never shown what was signed.
    NoStatement,
    /// The newest checkpoint is old.
    CheckpointAge,
    /// Too few people approved.
    Approvals,
}

/// A rule about an age in days.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaysRule {
    /// What becomes of the model.
    pub action: Action,
    /// More than this is too long: 0 to [`DAYS_MAX`].
    pub days: u32,
}

/// A rule about an age in hours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursRule {
    /// What becomes of the model.
    pub action: Action,
    /// More than this is too old: 1 to [`HOURS_MAX`].
    pub hours: u32,
}

/// The rule about approvals.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApprovalsRule {
    /// What becomes of the model.
    pub action: Action,
    /// So many distinct people must have approved: 1 to the number of approvers.
    pub count: usize,
    /// Whose approval counts in which role: 1 to [`ROLES_MAX`].
    pub roles: BTreeMap<String, Vec<SignerRule>>,
}

/// All rules. By default all are off.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModelPolicy {
    /// [`Rule::FirstSeen`].
    pub first_seen: Option<DaysRule>,
    /// [`Rule::WeightsFirstSeen`]; it never refuses, because honest models share files.
    pub weights_first_seen: Option<DaysRule>,
    /// [`Rule::NotNewest`].
    pub not_newest: Option<Action>,
    /// [`Rule::VersionNotRising`].
    pub version_not_rising: Option<Action>,
    /// [`Rule::Revoked`].
    pub revoked: Option<Action>,
    /// [`Rule::Superseded`].
    pub superseded: Option<Action>,
    /// [`Rule::NewSigner`].
    pub new_signer: Option<Action>,
    /// [`Rule::OtherSigner`].
    pub other_signer: Option<Action>,
    /// [`Rule::NoStatement`].
    pub no_statement: Option<Action>,
    /// [`Rule::CheckpointAge`].
    pub checkpoint_age: Option<HoursRule>,
    /// [`Rule::Approvals`].
    pub approvals: Option<ApprovalsRule>,
    /// Who else than its signer may revoke, supersede or roll back any model.
    pub recovery: Vec<SignerRule>,
}

/// Why a model policy cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelPolicyError {
    /// An age is out of bounds.
    #[error("modelPolicy.{0} is out of bounds")]
    Age(&'static str),
    /// A hit on single weight files refuses.
    #[error("modelPolicy.weightsFirstSeen may warn and not refuse: honest models share files")]
    WeightsRefuse,
    /// Not 1 to [`ROLES_MAX`] roles, or one that is not spelled as a role.
    #[error("modelPolicy.approvals.roles is not 1 to {ROLES_MAX} roles of a-z, 0-9, '.', '_', '-'")]
    Roles,
    /// More approvals are asked for than there are approvers, or none.
    #[error("modelPolicy.approvals.count is not 1 to the number of approvers, {approvers}")]
    Count {
        /// How many there are, each name counted once.
        approvers: usize,
    },
}

use ModelPolicyError as Error;

impl Rule {
    /// All rules, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::FirstSeen,
        Self::WeightsFirstSeen,
        Self::NotNewest,
        Self::VersionNotRising,
        Self::Revoked,
        Self::Superseded,
        Self::NewSigner,
        Self::OtherSigner,
        Self::NoStatement,
        Self::CheckpointAge,
        Self::Approvals,
    ];

    /// The member of the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstSeen => "firstSeen",
            Self::WeightsFirstSeen => "weightsFirstSeen",
            Self::NotNewest => "notNewest",
            Self::VersionNotRising => "versionNotRising",
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
            Self::NewSigner => "newSigner",
            Self::OtherSigner => "otherSigner",
            Self::NoStatement => "noStatement",
            Self::CheckpointAge => "checkpointAge",
            Self::Approvals => "approvals",
        }
    }
}

impl ModelPolicy {
    /// The policy that `docs/model-policy.md` recommends: no honest history is refused by it.
    pub fn recommended() -> Self {
        let days = |action| Some(DaysRule { action, days: 30 });
        Self {
            first_seen: days(Action::Refuse),
            weights_first_seen: days(Action::Warn),
            not_newest: Some(Action::Refuse),
            version_not_rising: Some(Action::Refuse),
            revoked: Some(Action::Refuse),
            superseded: Some(Action::Warn),
            new_signer: Some(Action::Warn),
            other_signer: Some(Action::Warn),
            no_statement: Some(Action::Warn),
            checkpoint_age: Some(HoursRule { action: Action::Refuse, hours: 24 }),
            approvals: None,
            recovery: Vec::new(),
        }
    }

    /// What becomes of a model against which `rule` speaks.
    pub fn action(&self, rule: Rule) -> Action {
        match rule {
            Rule::FirstSeen => self.first_seen.map(|rule| rule.action),
            Rule::WeightsFirstSeen => self.weights_first_seen.map(|rule| rule.action),
            Rule::NotNewest => self.not_newest,
            Rule::VersionNotRising => self.version_not_rising,
            Rule::Revoked => self.revoked,
            Rule::Superseded => self.superseded,
            Rule::NewSigner => self.new_signer,
            Rule::OtherSigner => self.other_signer,
            Rule::NoStatement => self.no_statement,
            Rule::CheckpointAge => self.checkpoint_age.map(|rule| rule.action),
            Rule::Approvals => self.approvals.as_ref().map(|rule| rule.action),
        }
        .unwrap_or_default()
    }

    /// Whether `rule` warns or refuses.
    pub fn is_on(&self, rule: Rule) -> bool {
        self.action(rule) != Action::Off
    }

    /// Reads a policy that stands alone: the value of the member `modelPolicy`.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() > super::TRUST_LEN_MAX {
            return Err(TrustError::TooLong);
        }
        let value = crate::canonical::parse(bytes)?;
        Self::from_json(serde_json::from_value(value).map_err(TrustError::Fields)?)
    }

    /// The text that [`ModelPolicy::parse`] reads back.
    pub fn format(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.to_json())
            .expect("texts, numbers and lists always serialize");
        text.push('\n');
        text
    }

    pub(super) fn from_json(json: ModelPolicyJson) -> Result<Self, TrustError> {
        let approvals = json.approvals.map(ApprovalsRule::from_json).transpose()?;
        let policy = Self {
            first_seen: json.first_seen,
            weights_first_seen: json.weights_first_seen,
            not_newest: json.not_newest,
            version_not_rising: json.version_not_rising,
            revoked: json.revoked,
            superseded: json.superseded,
            new_signer: json.new_signer,
            other_signer: json.other_signer,
            no_statement: json.no_statement,
            checkpoint_age: json.checkpoint_age,
            approvals,
            recovery: read_list("modelPolicy.recovery", json.recovery)?,
        };
        policy.check()?;
        Ok(policy)
    }

    pub(super) fn to_json(&self) -> ModelPolicyJson {
        ModelPolicyJson {
            first_seen: self.first_seen,
            weights_first_seen: self.weights_first_seen,
            not_newest: self.not_newest,
            version_not_rising: self.version_not_rising,
            revoked: self.revoked,
            superseded: self.superseded,
            new_signer: self.new_signer,
            other_signer: self.other_signer,
            no_statement: self.no_statement,
            checkpoint_age: self.checkpoint_age,
            approvals: self.approvals.as_ref().map(ApprovalsRule::to_json),
            recovery: list_json(&self.recovery),
        }
    }

    fn check(&self) -> Result<(), Error> {
        for (rule, name) in [
            (self.first_seen, "firstSeen.days"),
            (self.weights_first_seen, "weightsFirstSeen.days"),
        ] {
            if rule.is_some_and(|rule| rule.days > DAYS_MAX) {
                return Err(Error::Age(name));
            }
        }
        if self.action(Rule::WeightsFirstSeen) == Action::Refuse {
            return Err(Error::WeightsRefuse);
        }
        if self.checkpoint_age.is_some_and(|rule| !(1..=HOURS_MAX).contains(&rule.hours)) {
            return Err(Error::Age("checkpointAge.hours"));
        }
        Ok(())
    }
}

impl ApprovalsRule {
    fn from_json(json: ApprovalsJson) -> Result<Self, TrustError> {
        let fits = (1..=ROLES_MAX).contains(&json.roles.len());
        if !fits || !json.roles.keys().all(|role| is_role(role)) {
            return Err(Error::Roles.into());
        }
        let mut roles = BTreeMap::new();
        let mut total = 0;
        for (role, approvers) in json.roles {
            let approvers = read_list("modelPolicy.approvals.roles", approvers)?;
            total += approvers.len();
            roles.insert(role, approvers);
        }
        if total > TRUST_LIST_MAX {
            return Err(TrustError::TooMany("modelPolicy.approvals.roles"));
        }
        let rule = Self { action: json.action, count: json.count, roles };
        let names = rule.roles.values().flatten().map(|approver| approver.name.as_str());
        let approvers = names.collect::<std::collections::BTreeSet<_>>().len();
        match (1..=approvers).contains(&rule.count) {
            true => Ok(rule),
            false => Err(Error::Count { approvers }.into()),
        }
    }

    fn to_json(&self) -> ApprovalsJson {
        let role = |(role, rules): (&String, &Vec<SignerRule>)| (role.clone(), list_json(rules));
        let roles = self.roles.iter().map(role).collect();
        ApprovalsJson { action: self.action, count: self.count, roles }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ModelPolicyJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_seen: Option<DaysRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights_first_seen: Option<DaysRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_newest: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version_not_rising: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_signer: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other_signer: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_statement: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint_age: Option<HoursRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approvals: Option<ApprovalsJson>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recovery: Vec<SignerJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalsJson {
    action: Action,
    count: usize,
    roles: BTreeMap<String, Vec<SignerJson>>,
}

#[cfg(test)]
mod tests;
