//! Reading the policy file.
//!
//! Invariants: nothing is ignored, and each error says where it is and, for a misspelt name, which
//! name is nearest; everything has a limit.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;
use treering_proto::encoding::from_hex_lower;

use super::{Issuer, KeySource, Policy, Recovery, Rule, Who, outer_claim};
use crate::access::nearest::{explain, unknown};
use crate::access::pattern::{PATTERN_LEN_MAX, Pattern};
use crate::access::quota::QuotaLimits;
use crate::access::token::{KindName, is_name};
use crate::access::watched::Kind;

/// What is asked of the file.
pub const POLICY_FILE: Kind = Kind { what: "policy", len_max: 1 << 20, may_be_absent: false };

/// Rules in one policy: each may be compared with each entry.
const RULES_MAX: usize = 1000;

/// Issuers in one policy: each has keys in memory.
const ISSUERS_MAX: usize = 32;

/// Items of one list, and claims of one rule.
const LIST_MAX: usize = 256;

/// The longest URL, audience or claim, in bytes.
const TEXT_LEN_MAX: usize = 1024;

/// The largest quotas: far above what one log takes in.
const ENTRIES_PER_MINUTE_MAX: u64 = 10_000_000;
const BYTES_PER_DAY_MAX: u64 = 1 << 50;

/// Claims that all tokens of an issuer for this log have in common, or that say nothing of who.
const COMMON_CLAIMS: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// A sentence for the operator, with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
        let file: PolicyToml = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        if file.rule.len() > RULES_MAX || file.issuers.len() > ISSUERS_MAX {
            return Err(format!("has more than {RULES_MAX} rules or {ISSUERS_MAX} issuers"));
        }
        let mut policy = Self::default();
        for (name, issuer) in file.issuers {
            let issuer = issuer.read().map_err(|why| format!("issuer {name:?}: {why}"))?;
            if !is_name(&name) {
                return Err(format!("{name:?} cannot name an issuer: {NAME_RULE}"));
            }
            if policy.issuers.values().any(|other| other.issuer == issuer.issuer) {
                return Err(format!("two issuers are {:?}", issuer.issuer));
            }
            policy.issuers.insert(name, issuer);
        }
        for rule in file.rule {
            let name = rule.name.clone();
            if !is_name(&name) {
                return Err(format!("{name:?} cannot name a rule: {NAME_RULE}"));
            }
            let rule = rule.read(&policy).map_err(|why| format!("rule {name:?}: {why}"))?;
            if policy.rules.iter().any(|other| other.name == name) {
                return Err(format!("two rules are named {name:?}"));
            }
            policy.rules.push(rule);
        }
        for recovery in limited("recovery", file.recovery)? {
            let recovery = recovery.read()?;
            if policy.recovery.iter().any(|other| other.name == recovery.name) {
                return Err(format!("two recoveries are named {:?}", recovery.name));
            }
            policy.recovery.push(recovery);
        }
        Ok(policy)
    }
}

/// The error of the reader in one line, with its place and the nearest name.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let message = explain(error.message());
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

impl IssuerToml {
    fn read(self) -> Result<Issuer, String> {
        let keys = match (self.jwks_url, self.jwks_file) {
            (Some(url), None) => KeySource::Url(check_url(url)?),
            (None, Some(file)) if file.starts_with('/') => KeySource::File(file),
            (None, Some(_)) => return Err("jwks_file must be an absolute path".to_owned()),
            _ => return Err("one of jwks_url and jwks_file is needed".to_owned()),
        };
        for (what, text) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if !(1..=TEXT_LEN_MAX).contains(&text.len()) {
                return Err(format!("{what} is empty or longer than {TEXT_LEN_MAX} bytes"));
            }
        }
        let algorithms = match self.algorithms {
            None => vec![Algorithm::RS256, Algorithm::ES256],
            Some(names) if names.is_empty() => return Err("algorithms is empty".to_owned()),
            Some(names) => names.iter().map(|name| algorithm(name)).collect::<Result<_, _>>()?,
        };
        Ok(Issuer { issuer: self.issuer, audience: self.audience, keys, algorithms })
    }
}

/// Keys decide who may write: they come over TLS, or from this machine.
fn check_url(text: String) -> Result<String, String> {
    let wrong = || "jwks_url is not an https URL, nor one of this machine".to_owned();
    if text.len() > TEXT_LEN_MAX {
        return Err(wrong());
    }
    let url = reqwest::Url::parse(&text).map_err(|_| wrong())?;
    let is_loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    let has_secret = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        _ if has_secret => Err("jwks_url must not carry a password".to_owned()),
        "https" => Ok(text),
        "http" if is_loopback => Ok(text),
        _ => Err(wrong()),
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    if name.eq_ignore_ascii_case("none") || name.to_ascii_uppercase().starts_with("HS") {
        return Err(format!("algorithm {name:?} is never accepted: anybody could sign"));
    }
    let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
    let names = ALGORITHMS.iter().map(|(name, _)| *name);
    known.map(|(_, algorithm)| *algorithm).ok_or_else(|| unknown("algorithm", name, names))
}

impl RecoveryToml {
    fn read(self) -> Result<Recovery, String> {
        let Self { name, keys, names } = self;
        if !is_name(&name) {
            return Err(format!("{name:?} cannot name a recovery: {NAME_RULE}"));
        }
        let read = || {
            let keys = limited("keys", keys)?;
            if keys.is_empty() {
                return Err("keys is empty".to_owned());
            }
            let keys = keys.iter().map(|key| signer_key(key)).collect::<Result<_, _>>()?;
            Ok((keys, patterns("names", names)?))
        };
        let (keys, names) = read().map_err(|why| format!("recovery {name:?}: {why}"))?;
        Ok(Recovery { name, keys, names })
    }
}

impl RuleToml {
    fn read(self, policy: &Policy) -> Result<Rule, String> {
        if !is_name(&self.project) {
            return Err(format!("{:?} cannot name a project: {NAME_RULE}", self.project));
        }
        let names = patterns("names", self.names)?;
        if self.unnamed.is_some() && names.is_empty() {
            return Err("unnamed is about names, and there are none".to_owned());
        }
        let kinds = limited("kinds", self.kinds)?;
        let keys = limited("signer_keys", self.signer_keys)?;
        Ok(Rule {
            who: who(self.token, self.certificate, self.issuer, self.claims, policy)?,
            kinds: kinds.iter().map(|kind| KindName::parse(kind)).collect::<Result<_, _>>()?,
            names,
            unnamed: self.unnamed.unwrap_or(false),
            signer_keys: keys.iter().map(|key| signer_key(key)).collect::<Result<_, _>>()?,
            signer_identities: patterns("signer_identities", self.signer_identities)?,
            quota: self.quota.map_or(Ok(QuotaLimits::default()), QuotaToml::read)?,
            name: self.name,
            project: self.project,
        })
    }
}

fn who(
    token: Option<String>,
    certificate: Option<String>,
    issuer: Option<String>,
    claims: BTreeMap<String, toml::Value>,
    policy: &Policy,
) -> Result<Who, String> {
    if issuer.is_none() && !claims.is_empty() {
        return Err("claims are those of an issuer: name it".to_owned());
    }
    match (token, certificate, issuer) {
        (Some(name), None, None) if is_name(&name) => Ok(Who::Token(name)),
        (Some(name), None, None) => Err(format!("{name:?} cannot name a principal: {NAME_RULE}")),
        (None, Some(text), None) => Ok(Who::Certificate(pattern("certificate", &text)?)),
        (None, None, Some(issuer)) => {
            if !policy.issuers.contains_key(&issuer) {
                let known = policy.issuers.keys().map(String::as_str);
                return Err(unknown("issuer", &issuer, known));
            }
            let claims = limited("claims", claims.into_iter().collect())?;
            let claims = claims.into_iter().map(|(name, value)| Ok((name, values(value)?)));
            let claims = claims.collect::<Result<BTreeMap<_, _>, String>>()?;
            if claims.keys().all(|name| COMMON_CLAIMS.contains(&&*outer_claim(name))) {
                return Err("claims must ask for something that tells workloads apart, such as \
                     repository_id or sub: the issuer vouches for everybody"
                    .to_owned());
            }
            Ok(Who::Workload { issuer, claims })
        }
        _ => Err("exactly one of token, certificate and issuer is needed".to_owned()),
    }
}

/// The values that a claim may have: one, or a list of them.
fn values(value: toml::Value) -> Result<Vec<Value>, String> {
    let list = match value {
        toml::Value::Array(list) => limited("the values of a claim", list)?,
        single => vec![single],
    };
    if list.is_empty() {
        return Err("a claim with no values is never met".to_owned());
    }
    let single = |value: toml::Value| match value {
        toml::Value::String(text) if text.len() <= TEXT_LEN_MAX => Ok(Value::from(text)),
        toml::Value::Integer(number) => Ok(Value::from(number)),
        toml::Value::Boolean(truth) => Ok(Value::from(truth)),
        _ => Err("a claim is compared with a text, an integer or true or false".to_owned()),
    };
    list.into_iter().map(single).collect()
}

fn signer_key(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    match from_hex_lower(hex).is_some_and(|bytes| bytes.len() == 32) {
        true => Ok(hex.to_owned()),
        false => Err(format!(
            "{text:?} is no key: sha256: and the SHA-256 of the public key \
             (SubjectPublicKeyInfo, DER) in 64 lower-case hexadecimal digits is needed"
        )),
    }
}

fn patterns(what: &str, list: Vec<String>) -> Result<Vec<Pattern>, String> {
    limited(what, list)?.iter().map(|text| pattern(what, text)).collect()
}

fn pattern(what: &str, text: &str) -> Result<Pattern, String> {
    Pattern::new(text)
        .ok_or_else(|| format!("{what}: a pattern has 1 to {PATTERN_LEN_MAX} bytes, not these"))
}

fn limited<T>(what: &str, list: Vec<T>) -> Result<Vec<T>, String> {
    match list.len() <= LIST_MAX {
        true => Ok(list),
        false => Err(format!("{what} has more than {LIST_MAX} items")),
    }
}

impl QuotaToml {
    fn read(self) -> Result<QuotaLimits, String> {
        let bytes_per_day = match self.bytes_per_day {
            None => None,
            Some(BytesToml::Number(bytes)) => Some(bytes),
            Some(BytesToml::Text(text)) => Some(parse_bytes(&text)?),
        };
        let within = |value: Option<u64>, max| value.is_none_or(|v| (1..=max).contains(&v));
        if !within(self.entries_per_minute, ENTRIES_PER_MINUTE_MAX)
            || !within(bytes_per_day, BYTES_PER_DAY_MAX)
        {
            return Err(format!(
                "quota: 1 to {ENTRIES_PER_MINUTE_MAX} entries_per_minute and 1 byte to 1 PiB of \
                 bytes_per_day are needed"
            ));
        }
        Ok(QuotaLimits { entries_per_minute: self.entries_per_minute, bytes_per_day })
    }
}

/// A number of bytes, alone or with one of B, KiB, MiB, GiB, TiB.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        other => return Err(unknown("unit", other, ["B", "KiB", "MiB", "GiB", "TiB"])),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("{text:?} is no number of bytes, such as \"1 GiB\""))
}

const NAME_RULE: &str = "1 to 64 of a-z, 0-9, ., _ and - are needed, first a letter or digit";

const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyToml {
    #[serde(default)]
    issuers: BTreeMap<String, IssuerToml>,
    #[serde(default)]
    rule: Vec<RuleToml>,
    #[serde(default)]
    recovery: Vec<RecoveryToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoveryToml {
    name: String,
    keys: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerToml {
    issuer: String,
    audience: String,
    jwks_url: Option<String>,
    jwks_file: Option<String>,
    algorithms: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleToml {
    name: String,
    project: String,
    token: Option<String>,
    certificate: Option<String>,
    issuer: Option<String>,
    #[serde(default)]
    claims: BTreeMap<String, toml::Value>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    unnamed: Option<bool>,
    #[serde(default)]
    signer_keys: Vec<String>,
    #[serde(default)]
    signer_identities: Vec<String>,
    quota: Option<QuotaToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaToml {
    entries_per_minute: Option<u64>,
    bytes_per_day: Option<BytesToml>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BytesToml {
    Number(u64),
    Text(String),
}
