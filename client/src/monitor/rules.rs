//! Rules: which entries somebody wants to hear of (TOML, `docs/monitor.md`).
//!
//! ```toml
//! [[rule]]
//! name = "llama-by-a-stranger"          # the finding is called rule:llama-by-a-stranger
//! names = ["llama-*"]                   # a subject's name
//! except-keys = ["2c70e12b7a06..."]     # signed by none of these
//!
//! [[rule]]
//! name = "new-signer"
//! known-name-new-signer = true
//! ```
//!
//! An entry hits a rule when it meets every condition of the rule; a list is met by any of its
//! items. Patterns are matched whole and know one wild card, `*`, for any text.
//!
//! Invariants: unknown keys and rules without a condition are errors, so that no rule says less
//! than its author thinks; names are unique. Out of scope: what is known already (see
//! `relations`).

use serde::Deserialize;
use treering_proto::encoding::from_hex_lower;
use treering_proto::entry::EntryKind;
use treering_proto::facts::{Fact, Tag, digest_value};

/// The longest file of rules in bytes.
pub const RULES_LEN_MAX: usize = 1 << 20;

/// Rules in one file: each is compared with each entry.
const RULES_MAX: usize = 1000;

/// Items of one list.
const LIST_MAX: usize = 1000;

/// The longest item in bytes: no fact is longer.
const ITEM_LEN_MAX: usize = 1024;

/// The longest name of a rule in bytes.
const NAME_LEN_MAX: usize = 64;

/// Facts that one hit names.
const MATCHED_MAX: usize = 20;

/// Tags of digests that `digests` is about: what an entry speaks of, not what it was built from.
const DIGEST_TAGS: [Tag; 5] =
    [Tag::ArtifactDigest, Tag::OmsRoot, Tag::FileDigest, Tag::PayloadDigest, Tag::EnvelopeDigest];

/// All rules of one monitor.
#[derive(Clone, Default, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// What is known of the signers of an entry by more than the word of the log.
#[derive(Clone, Copy, Debug)]
pub struct Proven<'a> {
    /// The entry keeps signatures that verify under its keys.
    pub keys: bool,
    /// The identities in its certificates that a trusted authority vouches for.
    pub identities: &'a [&'a str],
}

/// One rule.
#[derive(Clone, Default, Debug)]
pub struct Rule {
    name: String,
    identities: Vec<Pattern>,
    issuers: Vec<Pattern>,
    keys: Vec<String>,
    except_identities: Vec<Pattern>,
    except_keys: Vec<String>,
    digests: Vec<String>,
    names: Vec<Pattern>,
    kinds: Vec<String>,
    news: News,
    unparseable: bool,
}

/// Conditions about what the log had before.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct News {
    /// A name that was signed before, and by none of these signers.
    pub name_new_signer: bool,
    /// Bytes that were signed before, under none of these names.
    pub bytes_new_name: bool,
    /// Bytes that were signed before, by none of these signers.
    pub bytes_new_signer: bool,
}

/// A rule that an entry hits as far as the entry itself tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Which rule.
    pub rule: usize,
    /// The facts that met its conditions, each as `tag=value`.
    pub facts: Vec<String>,
}

/// Text with `*` for any text.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern(String);

/// Why a text is no file of rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Not UTF-8.
    #[error("the rules are not UTF-8 text")]
    NotText,
    /// Not TOML, or a key that no rule has.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// More than `RULES_MAX` rules.
    #[error("there are more than {RULES_MAX} rules")]
    TooMany,
    /// A name that no finding can have.
    #[error("{0:?} cannot name a rule: 1 to {NAME_LEN_MAX} of a-z, 0-9 and - are needed")]
    Name(String),
    /// Two rules of one name.
    #[error("two rules are named {0:?}")]
    Duplicate(String),
    /// A rule that would be hit by every entry.
    #[error("rule {0:?} has no condition; to hear of every entry, say names = [\"*\"] or kinds")]
    Empty(String),
    /// A list or an item of it cannot be used.
    #[error("rule {rule:?}: {why}")]
    Item {
        /// Which rule.
        rule: String,
        /// What is wrong.
        why: String,
    },
}

impl Rules {
    /// Reads a file of rules.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RulesError> {
        let text = std::str::from_utf8(bytes).map_err(|_| RulesError::NotText)?;
        let file: RulesToml = toml::from_str(text)?;
        if file.rule.len() > RULES_MAX {
            return Err(RulesError::TooMany);
        }
        let mut rules: Vec<Rule> = Vec::new();
        for rule in file.rule {
            let rule = Rule::from_toml(rule)?;
            if rules.iter().any(|other| other.name == rule.name) {
                return Err(RulesError::Duplicate(rule.name));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    /// Whether any rule asks what the log had before.
    pub fn need_relations(&self) -> bool {
        self.rules.iter().any(|rule| rule.news != News::default())
    }

    /// Whether any rule excepts identities: only certificates that a trusted authority vouches for
    /// can say them.
    pub fn except_identities(&self) -> bool {
        self.rules.iter().any(|rule| !rule.except_identities.is_empty())
    }

    /// The rules that an entry of `kind` with `facts` hits, as far as it tells itself.
    pub fn hits(&self, kind: EntryKind, facts: &[Fact], proven: Proven<'_>) -> Vec<Hit> {
        let hits = self.rules.iter().enumerate().filter_map(|(at, rule)| {
            Some(Hit { rule: at, facts: rule.matches(kind, facts, proven)? })
        });
        hits.collect()
    }

    /// The rules that an entry which cannot be read hits.
    pub fn hits_unparseable(&self) -> Vec<Hit> {
        let hit = |(rule, _)| Hit { rule, facts: Vec::new() };
        self.rules.iter().enumerate().filter(|(_, rule)| rule.unparseable).map(hit).collect()
    }

    /// The name of a rule, and what it asks of the past.
    pub fn named(&self, rule: usize) -> (&str, News) {
        let rule = &self.rules[rule];
        (&rule.name, rule.news)
    }
}

impl Rule {
    /// The facts by which the entry meets every condition; `None` if it does not.
    fn matches(&self, kind: EntryKind, facts: &[Fact], proven: Proven<'_>) -> Option<Vec<String>> {
        if self.unparseable {
            return None;
        }
        let mut matched = Vec::new();
        let kind_names = [kind.kind().to_owned(), format!("{} {}", kind.kind(), kind.version())];
        if !self.kinds.is_empty() && !self.kinds.iter().any(|kind| kind_names.contains(kind)) {
            return None;
        }
        let has = |tags: &[Tag], patterns: &[Pattern], matched: &mut Vec<String>| {
            let fits = |fact: &&Fact| {
                tags.contains(&fact.tag) && patterns.iter().any(|p| p.matches(&fact.value))
            };
            let before = matched.len();
            matched.extend(facts.iter().filter(fits).take(MATCHED_MAX).map(fact_text));
            patterns.is_empty() || matched.len() > before
        };
        let is = |tags: &[Tag], values: &[String], matched: &mut Vec<String>| {
            let fits = |fact: &&Fact| {
                tags.contains(&fact.tag) && values.iter().any(|v| v.as_bytes() == fact.value)
            };
            let before = matched.len();
            matched.extend(facts.iter().filter(fits).take(MATCHED_MAX).map(fact_text));
            values.is_empty() || matched.len() > before
        };
        let met = has(&[Tag::Identity], &self.identities, &mut matched)
            && has(&[Tag::Issuer], &self.issuers, &mut matched)
            && has(&[Tag::SubjectName], &self.names, &mut matched)
            && is(&[Tag::PublicKey], &self.keys, &mut matched)
            && (is(&DIGEST_TAGS, &self.digests, &mut matched)
                || is(&[Tag::ModelId], &self.digests, &mut matched))
            && !self.is_excepted(facts, proven);
        matched.truncate(MATCHED_MAX);
        met.then_some(matched)
    }

    fn is_excepted(&self, facts: &[Fact], proven: Proven<'_>) -> bool {
        let is_key = |fact: &Fact| {
            proven.keys
                && fact.tag == Tag::PublicKey
                && self.except_keys.iter().any(|key| key.as_bytes() == fact.value)
        };
        let fits = |identity: &&str| {
            self.except_identities.iter().any(|pattern| pattern.matches(identity.as_bytes()))
        };
        facts.iter().any(is_key) || proven.identities.iter().any(fits)
    }

    fn from_toml(toml: RuleToml) -> Result<Self, RulesError> {
        let name = toml.name.clone();
        let is_name_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=NAME_LEN_MAX).contains(&name.len()) || !name.bytes().all(is_name_byte) {
            return Err(RulesError::Name(name.chars().take(100).collect()));
        }
        let wrong = |why: String| RulesError::Item { rule: name.clone(), why };
        let texts = |what: &str, list: Vec<String>| match list.len() <= LIST_MAX
            && list.iter().all(|item| (1..=ITEM_LEN_MAX).contains(&item.len()))
        {
            true => Ok(list),
            false => Err(wrong(format!(
                "{what} has more than {LIST_MAX} items, or one that is empty or longer than \
                 {ITEM_LEN_MAX} bytes"
            ))),
        };
        let patterns = |what: &str, list: Vec<String>| {
            Ok::<_, RulesError>(texts(what, list)?.into_iter().map(Pattern).collect::<Vec<_>>())
        };
        let rule = Self {
            identities: patterns("identities", toml.identities)?,
            issuers: patterns("issuers", toml.issuers)?,
            except_identities: patterns("except-identities", toml.except_identities)?,
            names: patterns("names", toml.names)?,
            keys: keys(texts("keys", toml.keys)?).map_err(wrong)?,
            except_keys: keys(texts("except-keys", toml.except_keys)?).map_err(wrong)?,
            digests: digests(texts("digests", toml.digests)?).map_err(wrong)?,
            kinds: kinds(texts("kinds", toml.kinds)?).map_err(wrong)?,
            news: News {
                name_new_signer: toml.known_name_new_signer,
                bytes_new_name: toml.known_bytes_new_name,
                bytes_new_signer: toml.known_bytes_new_signer,
            },
            unparseable: toml.unparseable,
            name: name.clone(),
        };
        match (rule.has_conditions(), rule.unparseable) {
            (false, false) => Err(RulesError::Empty(rule.name)),
            (true, true) => Err(wrong(
                "unparseable stands alone: nothing else is known of such an entry".to_owned(),
            )),
            _ => Ok(rule),
        }
    }

    /// Whether there is a condition beside `unparseable`. An exception alone is one: entries that
    /// none of these signed.
    fn has_conditions(&self) -> bool {
        let lists = [
            self.identities.len(),
            self.issuers.len(),
            self.keys.len(),
            self.except_identities.len(),
            self.except_keys.len(),
            self.digests.len(),
            self.names.len(),
            self.kinds.len(),
        ];
        lists.iter().any(|len| *len > 0) || self.news != News::default()
    }
}

impl Pattern {
    /// Matches from both ends at once: what stands before the first `*` and after the last must
    /// be there, and the parts between follow each other anywhere. Each part is searched for once.
    fn matches(&self, value: &[u8]) -> bool {
        let mut parts: Vec<&[u8]> = self.0.split('*').map(str::as_bytes).collect();
        let last = parts.pop().unwrap_or_default();
        let Some((first, middle)) = parts.split_first() else { return value == last };
        let Some(rest) = value.strip_prefix(*first) else { return false };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        for part in middle.iter().filter(|part| !part.is_empty()) {
            match rest.windows(part.len()).position(|window| window == *part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

/// A fact for people: `tag=value`.
pub fn fact_text(fact: &Fact) -> String {
    format!("{}={}", fact.tag, String::from_utf8_lossy(&fact.value))
}

fn keys(list: Vec<String>) -> Result<Vec<String>, String> {
    let is_fingerprint = |key: &String| from_hex_lower(key).is_some_and(|bytes| bytes.len() == 32);
    match list.iter().find(|key| !is_fingerprint(key)) {
        None => Ok(list),
        Some(key) => Err(format!(
            "{key:?} is no key: the SHA-256 of the public key (SubjectPublicKeyInfo, DER) in 64 \
             lower-case hexadecimal digits is needed"
        )),
    }
}

/// Digests as facts spell them; 64 hexadecimal digits alone are a model id.
fn digests(list: Vec<String>) -> Result<Vec<String>, String> {
    let read = |text: &String| match text.split_once(':') {
        None => from_hex_lower(text).filter(|bytes| bytes.len() == 32).map(|_| text.clone()),
        Some((algorithm, digest)) => {
            digest_value(algorithm, digest).and_then(|value| String::from_utf8(value).ok())
        }
    };
    let wrong = |text: &String| {
        format!("{text:?} is no digest: ALGORITHM:HEX is needed, or the 64 digits of a model id")
    };
    list.iter().map(|text| read(text).ok_or_else(|| wrong(text))).collect()
}

fn kinds(list: Vec<String>) -> Result<Vec<String>, String> {
    let is_kind = |text: &String| match text.split_once(' ') {
        None => EntryKind::ALL.iter().any(|kind| kind.kind() == text),
        Some((kind, version)) => EntryKind::from_name(kind, version).is_ok(),
    };
    match list.iter().find(|kind| !is_kind(kind)) {
        None => Ok(list),
        Some(kind) => Err(format!(
            "{kind:?} is no kind: dsse, hashedrekord, intoto or rekord is needed, with or without \
             its version, such as \"dsse 0.0.1\""
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesToml {
    #[serde(default)]
    rule: Vec<RuleToml>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RuleToml {
    name: String,
    #[serde(default)]
    identities: Vec<String>,
    #[serde(default)]
    issuers: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    except_identities: Vec<String>,
    #[serde(default)]
    except_keys: Vec<String>,
    #[serde(default)]
    digests: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    known_name_new_signer: bool,
    #[serde(default)]
    known_bytes_new_name: bool,
    #[serde(default)]
    known_bytes_new_signer: bool,
    #[serde(default)]
    unparseable: bool,
}

#[cfg(test)]
mod tests;
