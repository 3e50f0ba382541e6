//! The policy: which principal may log what, for which project (TOML, `docs/access.md`).
//!
//! ```toml
//! [issuers.github]
//! issuer = "https://token.actions.githubusercontent.com"
//! audience = "https://log.corp"
//! jwks_url = "https://token.actions.githubusercontent.com/.well-known/jwks"
//!
//! [[rule]]
//! name = "llm-ci"
//! project = "llm"
//! issuer = "github"
//! claims = { repository_id = "123", environment = ["prod", "staging"] }
//! kinds = ["dsse"]
//! names = ["llm-*"]
//! quota = { entries_per_minute = 60, bytes_per_day = "1 GiB" }
//!
//! [[recovery]]
//! name = "llm-security"
//! keys = ["sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"]
//! names = ["llm-*"]
//! ```
//!
//! A rule is for one kind of principal, and says what that principal may log. The first rule in the
//! file that is for the principal and allows the entry decides; none, and the entry is refused.
//!
//! Invariants: deciding is pure, and what decides a request is what `policy test` shows; unknown
//! keys are errors, so that no rule says less than its author thinks; a rule for an issuer asks for
//! a claim that tells workloads apart, because a public issuer vouches for the whole world.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::pattern::Pattern;
use super::principal::{Principal, printable};
use super::quota::QuotaLimits;
use super::summary::{EntrySummary, Signer};
use super::token::{KindName, Scope};

mod parse;

pub use parse::POLICY_FILE;

/// The project of a bearer of a token that is narrowed to none, in a log without a policy.
pub const DEFAULT_PROJECT: &str = "default";

/// All rules, issuers and recovery keys.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Policy {
    /// Who may vouch for workloads, by the policy's own names.
    pub issuers: BTreeMap<String, Issuer>,
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// Who may speak about models that others signed.
    pub recovery: Vec<Recovery>,
}

/// Keys that may revoke, supersede and approve what others signed ([`crate::admission`]). They let
/// nobody in: whoever submits needs a rule like everybody.
#[derive(Clone, PartialEq, Debug)]
pub struct Recovery {
    /// What people call it; unique.
    pub name: String,
    /// SHA-256 of the public keys (SubjectPublicKeyInfo, DER); hexadecimal. At least one.
    pub keys: Vec<String>,
    /// What a model must be called; empty: anything, or nothing.
    pub names: Vec<Pattern>,
}

/// An OIDC issuer.
#[derive(Clone, PartialEq, Debug)]
pub struct Issuer {
    /// What the claim `iss` must be, byte for byte.
    pub issuer: String,
    /// What the claim `aud` must be or contain.
    pub audience: String,
    /// Where its keys are: nothing in a token has a say.
    pub keys: KeySource,
    /// The algorithms of its signatures.
    pub algorithms: Vec<Algorithm>,
}

/// Where the keys of an issuer are read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeySource {
    /// Fetched from this URL.
    Url(String),
    /// Read from this file.
    File(String),
}

/// One rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Its name in decisions and journals.
    pub name: String,
    /// What its entries belong to.
    pub project: String,
    /// Whom it is for.
    pub who: Who,
    /// Kinds of entries; empty: all.
    pub kinds: Vec<KindName>,
    /// What every subject must be called; empty: anything.
    pub names: Vec<Pattern>,
    /// Whether an entry may be without a statement, or a subject without a name.
    pub unnamed: bool,
    /// Keys that every signer must have, or be one of `signer_identities`; hexadecimal.
    pub signer_keys: Vec<String>,
    /// Identities of signers.
    pub signer_identities: Vec<Pattern>,
    /// How much.
    pub quota: QuotaLimits,
}

/// Whom a rule is for.
#[derive(Clone, PartialEq, Debug)]
pub enum Who {
    /// The bearer of a token made for this name.
    Token(String),
    /// The holder of a client certificate with a name like this.
    Certificate(Pattern),
    /// A workload of this issuer with all of these claims.
    Workload {
        /// What the policy calls the issuer.
        issuer: String,
        /// Claims, or JSON pointers into them, and the values of which one is needed.
        claims: BTreeMap<String, Vec<Value>>,
    },
}

/// What the policy says about one principal and one entry.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision<'a> {
    /// The rule that allows it, and whose quota it takes.
    pub granted: Option<Granted<'a>>,
    /// Every rule that was tried, up to the one that allows it, and why it did not.
    pub tried: Vec<(&'a Rule, Missed)>,
}

/// The rule that allows an entry.
#[derive(Clone, PartialEq, Debug)]
pub struct Granted<'a> {
    /// Which.
    pub rule: &'a Rule,
    /// Whose quota counts, among all that the rule is for: what the rule asked for, and nothing
    /// that a principal can choose, such as a branch or one of several tokens.
    pub who: String,
}

/// Why a rule does not allow an entry, in the order in which rules are read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Missed {
    /// It is for others.
    Principal,
    /// The principal has another value in this claim, or none.
    Claim(String),
    /// The token is narrowed to other projects or kinds.
    Scope,
    /// It is for other kinds of entries.
    Kind,
    /// It asks for a statement in which every subject has a name.
    Unnamed,
    /// It does not allow this name.
    Name(String),
    /// It does not allow this signer.
    Signer(String),
}

impl Policy {
    /// Whether any rule asks for names: entries without such rules need not be read for them.
    pub fn asks_for_names(&self) -> bool {
        self.rules.iter().any(|rule| !rule.names.is_empty())
    }

    /// Whether `principal` may log `entry`, and what each rule said.
    pub fn decide(&self, principal: &Principal, entry: &EntrySummary) -> Decision<'_> {
        let mut tried = Vec::new();
        for rule in &self.rules {
            match rule.decide(principal, entry) {
                Ok(who) => return Decision { granted: Some(Granted { rule, who }), tried },
                Err(missed) => tried.push((rule, missed)),
            }
        }
        Decision { granted: None, tried }
    }
}

impl Recovery {
    /// Whether `key`, in hexadecimal, may speak about a model of this name.
    pub fn covers(&self, key: &str, model: Option<&str>) -> bool {
        let is_named = |name| self.names.iter().any(|pattern| pattern.matches(name));
        self.keys.iter().any(|known| known == key)
            && (self.names.is_empty() || model.is_some_and(is_named))
    }
}

impl Decision<'_> {
    /// What the principal hears when no rule allows the entry: the reason of the rule that came
    /// closest, and nothing of rules that are for others.
    pub fn refusal(&self) -> (&'static str, String) {
        // Of two equally close ones the first in the file.
        let closest = self.tried.iter().map(|(_, missed)| missed).rev();
        let closest = closest.max_by_key(|missed| missed.rank());
        closest.unwrap_or(&Missed::Principal).refusal()
    }
}

impl Rule {
    /// Whose quota counts, if the rule allows the entry.
    fn decide(&self, principal: &Principal, entry: &EntrySummary) -> Result<String, Missed> {
        let who = self.who.matches(principal)?;
        if let Principal::Token { scope, .. } = principal
            && !scope.covers(&self.project, entry)
        {
            return Err(Missed::Scope);
        }
        if !self.kinds.is_empty() && !self.kinds.iter().any(|kind| kind.covers(entry.kind)) {
            return Err(Missed::Kind);
        }
        self.check_names(entry)?;
        let is_free = self.signer_keys.is_empty() && self.signer_identities.is_empty();
        if !is_free && entry.signers.is_empty() {
            return Err(Missed::Signer(String::new()));
        }
        match entry.signers.iter().find(|signer| !is_free && !self.allows_signer(signer)) {
            Some(signer) => Err(Missed::Signer(signer.key.clone())),
            None => Ok(who),
        }
    }

    fn check_names(&self, entry: &EntrySummary) -> Result<(), Missed> {
        if self.names.is_empty() {
            return Ok(());
        }
        let is_unnamed = entry.names.is_none() || entry.has_unnamed;
        if is_unnamed && !self.unnamed {
            return Err(Missed::Unnamed);
        }
        let allows = |name: &String| self.names.iter().any(|pattern| pattern.matches(name));
        match entry.names.iter().flatten().find(|name| !allows(name)) {
            Some(name) => Err(Missed::Name(name.clone())),
            None => Ok(()),
        }
    }

    fn allows_signer(&self, signer: &Signer) -> bool {
        let is_identity = |name: &String| self.signer_identities.iter().any(|p| p.matches(name));
        self.signer_keys.contains(&signer.key) || signer.identities.iter().any(is_identity)
    }
}

impl Who {
    /// What of the principal counts for its quota, if the rule is for it.
    pub(super) fn matches(&self, principal: &Principal) -> Result<String, Missed> {
        match (self, principal) {
            (Self::Token(wanted), Principal::Token { name, .. }) if wanted == name => {
                Ok(name.clone())
            }
            (Self::Certificate(pattern), Principal::Certificate { names }) => {
                let name = names.iter().find(|name| pattern.matches(name));
                name.cloned().ok_or(Missed::Principal)
            }
            (Self::Workload { issuer, claims }, Principal::Workload { issuer: from, .. })
                if issuer == from =>
            {
                let Principal::Workload { claims: said, .. } = principal else {
                    return Err(Missed::Principal);
                };
                match_claims(claims, said)
            }
            _ => Err(Missed::Principal),
        }
    }
}

/// The values of the wanted claims, if all are as wanted.
fn match_claims(
    wanted: &BTreeMap<String, Vec<Value>>,
    said: &Map<String, Value>,
) -> Result<String, Missed> {
    let mut matched = String::new();
    for (claim, values) in wanted {
        let value = claim_value(said, claim).filter(|value| values.contains(value));
        let value = value.ok_or_else(|| Missed::Claim(claim.clone()))?;
        matched.push_str(&format!("{claim}={value};"));
    }
    Ok(matched)
}

/// A claim, or the place in the claims that a JSON pointer (RFC 6901) leads to.
fn claim_value<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = split_pointer(name)?;
    claims.get(&first)?.pointer(rest)
}

/// The first name of a JSON pointer, and the pointer from there on; `None` for a bare name.
fn split_pointer(name: &str) -> Option<(String, &str)> {
    let pointer = name.strip_prefix('/')?;
    let (first, rest) = pointer.split_at(pointer.find('/').unwrap_or(pointer.len()));
    Some((first.replace("~1", "/").replace("~0", "~"), rest))
}

/// The claim that `name`, of a claim or a JSON pointer, is about.
fn outer_claim(name: &str) -> String {
    split_pointer(name).map_or_else(|| name.to_owned(), |(first, _)| first)
}

impl Scope {
    /// Whether a token of this scope may log `entry` for `project`.
    pub fn covers(&self, project: &str, entry: &EntrySummary) -> bool {
        let is_project = self.projects.is_empty() || self.projects.iter().any(|p| p == project);
        is_project && self.covers_kind(entry)
    }

    /// Whether a token of this scope may log entries of this kind.
    pub fn covers_kind(&self, entry: &EntrySummary) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.covers(entry.kind))
    }
}

impl Missed {
    /// How far the rule was read.
    fn rank(&self) -> u8 {
        match self {
            Self::Principal => 0,
            Self::Claim(_) => 1,
            Self::Scope => 2,
            Self::Kind => 3,
            Self::Unnamed | Self::Name(_) => 4,
            Self::Signer(_) => 5,
        }
    }

    /// The label for machines, and a sentence for the principal.
    pub fn refusal(&self) -> (&'static str, String) {
        let shown = |text: &str| printable(text, SHOWN_LEN_MAX);
        match self {
            Self::Principal => {
                ("principal-not-allowed", "no rule of this log is for this principal".to_owned())
            }
            Self::Claim(claim) => (
                "claim-not-allowed",
                format!("the claim {:?} is not one that may write to this log", shown(claim)),
            ),
            Self::Scope => (
                "token-scope",
                "the token is narrowed to other projects or kinds of entries".to_owned(),
            ),
            Self::Kind => {
                ("kind-not-allowed", "this principal may not log this kind of entry".to_owned())
            }
            Self::Unnamed => (
                "name-missing",
                "this principal may log only statements in which every subject has a name"
                    .to_owned(),
            ),
            Self::Name(name) => (
                "name-not-allowed",
                format!("this principal may not log anything for the name {:?}", shown(name)),
            ),
            Self::Signer(key) => (
                "signer-not-allowed",
                format!("this principal may not log what the key sha256:{key} signed"),
            ),
        }
    }
}

/// The longest piece of an entry or credential that a refusal repeats, in bytes.
const SHOWN_LEN_MAX: usize = 120;

#[cfg(test)]
mod tests;
