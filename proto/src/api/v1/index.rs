//! What a Rekor v1 client searches the index by, `POST /api/v1/index/retrieve`, and the facts that
//! it means here.
//!
//! ```text
//! {"email":"a@b.c","subject":"...","hash":"sha256:<hex>","publicKey":{"format":"x509",
//!  "content":"<base64 of PEM>"},"operator":"and"}
//! ```
//!
//! Rekor keeps texts in lower case and looks them up so; what it calls the hash of a key is over
//! the PEM. Facts here keep their case, and name a key by its SPKI (`docs/facts.md`). So a
//! criterion becomes several search keys, of which an entry needs one:
//!
//! | criterion | facts |
//! |---|---|
//! | `hash` | artifact, payload, envelope and parent digest; SHA-256: public key, too |
//! | `publicKey` | public key, of a certificate that of its key |
//! | `email`, `subject` | identity, as it is spelled and in lower case |
//! | `subject` with algorithm and digits | the digests, too: Rekor keeps all keys in one place |
//!
//! Whatever Rekor would find is found, except an identity in upper case that is asked for in
//! another case, and a key by the hash of its PEM.

use serde::Deserialize;

use super::code;
use super::query::{QueryError, read};
use crate::encoding::from_base64_lines;
use crate::facts::{Tag, digest_value, search_key};
use crate::hash::Hash;
use crate::verifier::Verifier;

/// Characters of a subject.
pub const SUBJECT_CHARS_MAX: usize = 512;

/// Criteria that one query can have.
pub const CRITERIA_MAX: usize = 4;

/// Search keys that one criterion can become.
pub const KEYS_OF_ONE_MAX: usize = 6;

/// What to look for in the index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchIndex {
    email: Option<String>,
    subject: Option<String>,
    /// With its algorithm, in lower case.
    hash: Option<String>,
    public_key: Option<SearchedKey>,
    operator: Operator,
}

/// Whether an entry needs all that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Operator {
    /// Every criterion.
    And,
    /// One criterion.
    #[default]
    Or,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct SearchedKey {
    format: String,
    content: Vec<u8>,
}

impl SearchIndex {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`QueryError`], in Rekor's order: e-mail, hash, operator, public key, subject.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let query: SearchIndexJson = read(body, "query")?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let public_key = query.public_key.map(read_content).transpose()?;
        let email = given(query.email).map(check_email).transpose()?;
        let hash = given(query.hash).map(check_hash).transpose()?;
        let operator = match query.operator.as_deref() {
            None | Some("" | "or") => Operator::Or,
            Some("and") => Operator::And,
            Some(_) => {
                return Err(invalid(code::ENUM, "operator in body should be one of [and or]"));
            }
        };
        let public_key = public_key.map(check_format).transpose()?;
        let subject = given(query.subject);
        if subject.as_ref().is_some_and(|text| text.chars().count() > SUBJECT_CHARS_MAX) {
            let message =
                format!("subject in body should be at most {SUBJECT_CHARS_MAX} chars long");
            return Err(invalid(code::TOO_LONG, message));
        }
        Ok(Self { email, subject, hash, public_key, operator })
    }

    /// How the criteria go together.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The criteria, at most [`CRITERIA_MAX`]; of the search keys of one, at most
    /// [`KEYS_OF_ONE_MAX`], an entry needs one.
    ///
    /// # Errors
    /// [`QueryError::Key`] for a public key that cannot be searched by.
    pub fn criteria(&self) -> Result<Vec<Vec<Hash>>, QueryError> {
        let mut criteria = Vec::new();
        if let Some(hash) = &self.hash {
            let mut keys = digest_keys(hash.as_bytes()).to_vec();
            if let Some(digits) = hash.strip_prefix("sha256:") {
                keys.push(search_key(Tag::PublicKey, digits.as_bytes()));
            }
            criteria.push(keys);
        }
        if let Some(key) = &self.public_key {
            let fingerprint = key.read()?.key().fingerprint().to_hex();
            criteria.push(vec![search_key(Tag::PublicKey, fingerprint.as_bytes())]);
        }
        criteria.extend(self.email.as_ref().map(|email| identity_keys(email)));
        criteria.extend(self.subject.as_ref().map(|subject| {
            let mut keys = identity_keys(subject);
            let digest = subject.split_once(':').and_then(|(name, hex)| digest_value(name, hex));
            keys.extend(digest.iter().flat_map(|digest| digest_keys(digest)));
            keys
        }));
        Ok(criteria)
    }
}

impl SearchedKey {
    fn read(&self) -> Result<Verifier, QueryError> {
        if self.format != "x509" {
            let why = "the PKI format requested is not supported by this server";
            return Err(QueryError::Key(why));
        }
        let unreadable = QueryError::Key("public key provided could not be parsed");
        let text = str::from_utf8(&self.content).map_err(|_| unreadable.clone())?;
        Verifier::from_pem(text).map_err(|_| unreadable)
    }
}

fn digest_keys(digest: &[u8]) -> [Hash; 4] {
    [Tag::ArtifactDigest, Tag::PayloadDigest, Tag::EnvelopeDigest, Tag::ParentDigest]
        .map(|tag| search_key(tag, digest))
}

fn identity_keys(text: &str) -> Vec<Hash> {
    let lower = text.to_lowercase();
    let mut keys = vec![search_key(Tag::Identity, text.as_bytes())];
    if lower != text {
        keys.push(search_key(Tag::Identity, lower.as_bytes()));
    }
    keys
}

fn invalid(code: u32, message: impl Into<String>) -> QueryError {
    QueryError::Invalid { code, message: message.into() }
}

/// What has no name, or no place after the `@`, is no address; the rest finds nothing by itself.
fn check_email(email: String) -> Result<String, QueryError> {
    let parts = email.rsplit_once('@');
    let is_bad = |part: &str| part.is_empty() || part.contains(|c: char| c <= ' ' || c == '\x7f');
    if parts.is_some_and(|(name, place)| !is_bad(name) && !is_bad(place)) {
        return Ok(email);
    }
    let shown: String = email.chars().take(64).collect();
    Err(invalid(code::TYPE, format!("email in body must be of type email: {shown:?}")))
}

/// With its algorithm, which follows from its length, and in lower case.
fn check_hash(hash: String) -> Result<String, QueryError> {
    let (name, digits) = match hash.split_once(':') {
        Some((name, digits)) => (Some(name), digits),
        None => (None, hash.as_str()),
    };
    let algorithm = match digits.len() {
        40 => Some("sha1"),
        64 => Some("sha256"),
        128 => Some("sha512"),
        _ => None,
    };
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = |algorithm: &&str| is_hexadecimal && name.is_none_or(|name| name == *algorithm);
    let algorithm = algorithm.filter(fits).ok_or_else(|| {
        invalid(code::PATTERN, format!("hash in body should match '{HASH_PATTERN}'"))
    })?;
    Ok(format!("{algorithm}:{}", digits.to_ascii_lowercase()))
}

fn read_content(key: PublicKeyJson) -> Result<(Option<String>, Vec<u8>), QueryError> {
    let content = from_base64_lines(&key.content.unwrap_or_default());
    let why = || "publicKey.content is not base64".to_owned();
    let content = content.ok_or_else(|| QueryError::Malformed { name: "query", why: why() })?;
    Ok((key.format, content))
}

fn check_format((format, content): (Option<String>, Vec<u8>)) -> Result<SearchedKey, QueryError> {
    let required = || invalid(code::REQUIRED, "publicKey.format in body is required");
    let format = format.ok_or_else(required)?;
    if FORMATS.contains(&format.as_str()) {
        return Ok(SearchedKey { format, content });
    }
    let formats = FORMATS.join(" ");
    let message = format!("publicKey.format in body should be one of [{formats}]");
    Err(invalid(code::ENUM, message))
}

/// Formats of public keys that Rekor knows by name.
const FORMATS: [&str; 5] = ["pgp", "x509", "minisign", "ssh", "tuf"];

/// What Rekor says that a hash looks like.
const HASH_PATTERN: &str =
    "^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$";

#[derive(Deserialize)]
struct SearchIndexJson {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    hash: Option<String>,
    #[serde(rename = "publicKey", default)]
    public_key: Option<PublicKeyJson>,
    #[serde(default)]
    operator: Option<String>,
}

#[derive(Deserialize)]
struct PublicKeyJson {
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    content: Option<String>,
}

#[cfg(test)]
mod tests;
