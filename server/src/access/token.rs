//! Bearer tokens of this log: `trt_ID_SECRET`.
//!
//! ```text
//! trt_ 16 hexadecimal digits _ 43 characters of base64url (32 random bytes)
//! ```
//!
//! The log keeps SHA-256 of the secret; with 256 random bits that needs no salt and no slow hash.
//!
//! Invariants: a token always expires; the secret is compared in constant time; whoever does not
//! hold the secret learns nothing of a token, not even that it exists. The secret has no `Debug`
//! and stands in no error. Out of scope: the file (`token_file`), what a bearer may log (`policy`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use treering_proto::entry::EntryKind;
use treering_proto::hash::{Hash, sha256};
use zeroize::Zeroizing;

use super::nearest::unknown;

/// What each token starts with, so that scanners for leaked secrets find it.
pub const TOKEN_PREFIX: &str = "trt_";

/// The length of each token in bytes.
pub const TOKEN_LEN: usize = TOKEN_PREFIX.len() + ID_LEN + 1 + SECRET_LEN;

/// How long a token is good for unless its maker says otherwise, in seconds: a quarter.
pub const LIFETIME_DEFAULT_S: u64 = 90 * DAY_S;

/// The longest life of a token, in seconds: what nobody renews within a year nobody needs.
pub const LIFETIME_MAX_S: u64 = 366 * DAY_S;

/// The longest name of a principal, project or rule, in bytes.
pub const NAME_LEN_MAX: usize = 64;

/// The longest note on a token, in bytes.
pub const NOTE_LEN_MAX: usize = 256;

/// Projects, or kinds, that one token may be narrowed to.
pub const SCOPE_MAX: usize = 32;

const ID_LEN: usize = 16;
const SECRET_LEN: usize = 43;
const SECRET_BYTES: usize = 32;
const DAY_S: u64 = 24 * 3600;

/// What a token is narrowed to. Empty lists narrow nothing.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Projects that rules must be of.
    pub projects: Vec<String>,
    /// Kinds of entries.
    pub kinds: Vec<KindName>,
}

/// A kind of entries, all versions of it or one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindName(String);

/// What the log keeps of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Its name in lists and journals.
    pub id: String,
    /// Whose it is: what rules of the policy ask for.
    pub name: String,
    /// A reminder for people.
    pub note: String,
    /// SHA-256 of the secret.
    pub secret_sha256: Hash,
    /// When it was made, Unix seconds.
    pub created: u64,
    /// The second from which on it is refused.
    pub expires: u64,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// What it is narrowed to.
    pub scope: Scope,
}

/// A token as its bearer presents it.
pub struct Presented<'a> {
    id: &'a str,
    secret_sha256: Hash,
}

/// A token's text: shown once.
pub struct TokenText(Zeroizing<String>);

/// Why a presented token opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenRefusal {
    /// Not the shape of a token.
    #[error("this is not a token of this log: trt_, 16 hexadecimal digits, _, 43 characters")]
    Malformed,
    /// No such token, or another secret: which of the two, only the holder may know.
    #[error("no such token")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired; ask the operator for a new one")]
    Expired,
    /// It was taken back.
    #[error("the token was revoked")]
    Revoked,
}

impl TokenRefusal {
    /// The label for machines.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "token-malformed",
            Self::Unknown => "token-unknown",
            Self::Expired => "token-expired",
            Self::Revoked => "token-revoked",
        }
    }
}

impl TokenText {
    /// A token of these bytes: 8 for the id, 32 for the secret.
    pub fn from_bytes(id: [u8; ID_LEN / 2], secret: &[u8; SECRET_BYTES]) -> Self {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret));
        let id = hex::encode(id);
        Self(Zeroizing::new(format!("{TOKEN_PREFIX}{id}_{}", secret.as_str())))
    }

    /// A new token.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let (mut id, mut secret) = ([0; ID_LEN / 2], Zeroizing::new([0; SECRET_BYTES]));
        getrandom::fill(&mut id)?;
        getrandom::fill(secret.as_mut())?;
        Ok(Self::from_bytes(id, &secret))
    }

    /// The text, to be shown to its bearer and nobody else.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.0[TOKEN_PREFIX.len()..TOKEN_PREFIX.len() + ID_LEN]
    }

    /// What the log keeps of the secret.
    pub fn secret_sha256(&self) -> Hash {
        sha256(&self.0.as_bytes()[TOKEN_LEN - SECRET_LEN..])
    }
}

impl<'a> Presented<'a> {
    /// Reads a token; its length is looked at first.
    ///
    /// # Errors
    /// [`TokenRefusal::Malformed`].
    pub fn parse(text: &'a str) -> Result<Self, TokenRefusal> {
        if text.len() != TOKEN_LEN || !text.is_ascii() {
            return Err(TokenRefusal::Malformed);
        }
        let rest = text.strip_prefix(TOKEN_PREFIX).ok_or(TokenRefusal::Malformed)?;
        let (id, rest) = rest.split_at(ID_LEN);
        let secret = rest.strip_prefix('_').ok_or(TokenRefusal::Malformed)?;
        let is_secret_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !is_id(id) || !secret.bytes().all(is_secret_byte) {
            return Err(TokenRefusal::Malformed);
        }
        Ok(Self { id, secret_sha256: sha256(secret.as_bytes()) })
    }

    /// Which token it claims to be.
    pub fn id(&self) -> &str {
        self.id
    }

    /// Checks it against what the log keeps of the token of its id, at `now`, Unix seconds.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub fn check(&self, kept: Option<&Token>, now: u64) -> Result<(), TokenRefusal> {
        // The same work for a token that does not exist.
        let expected = kept.map_or(Hash([0; 32]), |token| token.secret_sha256);
        let (left, right) = (expected.as_bytes(), self.secret_sha256.as_bytes());
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(left, right).is_ok();
        match kept.filter(|_| same) {
            None => Err(TokenRefusal::Unknown),
            Some(token) if token.revoked.is_some() => Err(TokenRefusal::Revoked),
            Some(token) if now >= token.expires => Err(TokenRefusal::Expired),
            Some(_) => Ok(()),
        }
    }
}

impl Token {
    /// Whether it opens anything at `now`, Unix seconds.
    pub fn is_live(&self, now: u64) -> bool {
        self.revoked.is_none() && now < self.expires
    }
}

impl KindName {
    /// `dsse`, `hashedrekord`, `intoto` or `rekord`, alone or with a version as in `dsse 0.0.1`.
    ///
    /// # Errors
    /// A sentence with the nearest kind.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_known = match text.split_once(' ') {
            None => KINDS.contains(&text),
            Some((kind, version)) => EntryKind::from_name(kind, version).is_ok(),
        };
        match is_known {
            true => Ok(Self(text.to_owned())),
            false => Err(unknown("kind", text, KINDS)),
        }
    }

    /// How it is spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an entry of `kind` is of this kind.
    pub fn covers(&self, kind: EntryKind) -> bool {
        match self.0.split_once(' ') {
            None => self.0 == kind.kind(),
            Some((name, version)) => name == kind.kind() && version == kind.version(),
        }
    }
}

/// Whether `text` can name a principal, project, rule or issuer: `a-z`, `0-9`, `.`, `_`, `-`, and
/// first a letter or digit.
pub fn is_name(text: &str) -> bool {
    let is_name_byte =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(is_name_byte)
}

/// Whether `text` can be the id of a token.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

const KINDS: [&str; 4] = ["dsse", "hashedrekord", "intoto", "rekord"];

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &TokenText) -> Token {
        Token {
            id: text.id().to_owned(),
            name: "ci-llm".to_owned(),
            note: String::new(),
            secret_sha256: text.secret_sha256(),
            created: 1_000,
            expires: 2_000,
            revoked: None,
            scope: Scope::default(),
        }
    }

    #[test]
    fn a_token_has_this_golden_text() {
        let text = TokenText::from_bytes([0xab; 8], &[0xff; 32]);
        let golden = format!("trt_{}_{}8", "ab".repeat(8), "_".repeat(42));
        assert_eq!(text.as_str(), golden);
        assert_eq!(text.as_str().len(), TOKEN_LEN);
        let presented = Presented::parse(text.as_str()).unwrap();
        assert_eq!(presented.check(Some(&token(&text)), 1_999), Ok(()));
    }

    #[test]
    fn each_refusal_of_a_token() {
        let text = TokenText::random().unwrap();
        let kept = token(&text);
        let presented = Presented::parse(text.as_str()).unwrap();
        assert_eq!(presented.check(Some(&kept), 2_000), Err(TokenRefusal::Expired));
        let revoked = Token { revoked: Some(1_500), ..kept.clone() };
        assert_eq!(presented.check(Some(&revoked), 1_600), Err(TokenRefusal::Revoked));
        assert_eq!(presented.check(None, 1_600), Err(TokenRefusal::Unknown));
        let other = TokenText::random().unwrap();
        let forged = format!("{}{}", &text.as_str()[..21], &other.as_str()[21..]);
        let forged = Presented::parse(&forged).unwrap();
        // Whoever does not hold the secret does not hear that the token was revoked.
        assert_eq!(forged.check(Some(&revoked), 1_600), Err(TokenRefusal::Unknown));
    }

    #[test]
    fn what_is_no_token_is_refused_before_it_is_looked_up() {
        let text = TokenText::from_bytes([0xab; 8], &[7; 32]);
        let good = text.as_str();
        let bad = [
            String::new(),
            "trt_".to_owned(),
            good[1..].to_owned(),
            format!("{good}x"),
            good.replace("trt_", "trx_"),
            good.replace("abab", "ABAB"),
            good.replacen("ab_", "abx", 1),
            format!("{}=", &good[..63]),
            format!("{}é", &good[..62]),
            "trt_".repeat(1 << 16),
        ];
        for text in bad {
            assert_eq!(Presented::parse(&text).err(), Some(TokenRefusal::Malformed), "{text:.80}");
        }
    }

    #[test]
    fn names_and_kinds() {
        assert!(is_name("ci-llm") && is_name("7b.x_y"));
        for bad in ["", "-a", ".a", "A", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
        let dsse = KindName::parse("dsse").unwrap();
        let one = KindName::parse("dsse 0.0.1").unwrap();
        assert!(dsse.covers(EntryKind::DsseV002) && !dsse.covers(EntryKind::HashedrekordV001));
        assert!(one.covers(EntryKind::DsseV001) && !one.covers(EntryKind::DsseV002));
        assert!(KindName::parse("dse").unwrap_err().contains("\"dsse\""));
        assert!(KindName::parse("dsse 9").is_err() && KindName::parse("jar 0.0.1").is_err());
    }
}
