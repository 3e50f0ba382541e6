//! The header `Authorization`: which kind of credential it carries.
//!
//! `Bearer` as RFC 6750 has it, and `Basic` (RFC 7617) with the credential as the password, for
//! clients that take no token and no header, but a URL with a user and a password. The user's name
//! is ignored.
//!
//! Invariant: the length is looked at first. Out of scope: whether the credential is good.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::jwt::JWT_LEN_MAX;
use super::token::TOKEN_PREFIX;

/// The longest header: the longest JWT as a password, in base64.
const HEADER_LEN_MAX: usize = 2 * JWT_LEN_MAX;

/// The longest user name beside a password, in bytes.
const USER_LEN_MAX: usize = 256;

/// A credential of a kind that is known.
pub enum Credential<'a> {
    /// It starts like a token of this log.
    Token(Secret<'a>),
    /// Anything else that may be a bearer token: a JWT, or nothing.
    Jwt(Secret<'a>),
}

/// Text of a credential.
pub struct Secret<'a>(Cow<'a, str>);

/// Why a header carries no credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Longer than any.
    #[error("the header Authorization is longer than {HEADER_LEN_MAX} bytes")]
    TooLong,
    /// Neither of the two schemes, or not as they are written.
    #[error(
        "the header Authorization is neither \"Bearer TOKEN\" nor Basic with a token as password"
    )]
    Malformed,
}

impl<'a> Credential<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(header: &'a [u8]) -> Result<Self, HeaderError> {
        if header.len() > HEADER_LEN_MAX {
            return Err(HeaderError::TooLong);
        }
        let text = std::str::from_utf8(header).map_err(|_| HeaderError::Malformed)?;
        let (scheme, rest) = text.split_once(' ').ok_or(HeaderError::Malformed)?;
        let rest = rest.trim_matches(' ');
        let secret = if scheme.eq_ignore_ascii_case("bearer") {
            Secret(Cow::Borrowed(rest))
        } else if scheme.eq_ignore_ascii_case("basic") {
            Secret(Cow::Owned(password(rest).ok_or(HeaderError::Malformed)?))
        } else {
            return Err(HeaderError::Malformed);
        };
        // RFC 6750, section 2.1.
        let is_token_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if secret.0.is_empty() || !secret.0.bytes().all(is_token_byte) {
            return Err(HeaderError::Malformed);
        }
        let is_ours = secret.0.starts_with(TOKEN_PREFIX);
        Ok(if is_ours { Self::Token(secret) } else { Self::Jwt(secret) })
    }
}

fn password(base64: &str) -> Option<String> {
    let decoded = Zeroizing::new(STANDARD.decode(base64).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (user.len() <= USER_LEN_MAX).then(|| password.to_owned())
}

impl Secret<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret<'_> {
    fn drop(&mut self) {
        // A copy of our own does not outlive its use.
        if let Cow::Owned(text) = &mut self.0 {
            zeroize::Zeroize::zeroize(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<String, HeaderError> {
        Credential::parse(header.as_bytes()).map(|credential| match credential {
            Credential::Token(secret) => format!("token {}", secret.as_str()),
            Credential::Jwt(secret) => format!("jwt {}", secret.as_str()),
        })
    }

    #[test]
    fn both_schemes_carry_both_kinds() {
        assert_eq!(read("Bearer trt_x"), Ok("token trt_x".to_owned()));
        assert_eq!(read("bearer   a.b.c "), Ok("jwt a.b.c".to_owned()));
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(read(&basic("ci:trt_x")), Ok("token trt_x".to_owned()));
        assert_eq!(read(&basic(":a.b.c")), Ok("jwt a.b.c".to_owned()));
        let long = basic(&format!("{}:trt_x", "u".repeat(USER_LEN_MAX + 1)));
        for bad in [&basic("ci"), &basic("ci:a b"), &basic("ci:"), &long, "Basic ???"] {
            assert_eq!(read(bad), Err(HeaderError::Malformed), "{bad:.80}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "Bearer", "Bearer ", "Digest x", "trt_x", "Bearer a\tb", "Bearer a,b"] {
            assert_eq!(read(bad), Err(HeaderError::Malformed), "{bad}");
        }
        assert!(Credential::parse(b"Bearer \xff\xfe").is_err());
        let long = format!("Bearer {}", "a".repeat(HEADER_LEN_MAX));
        assert_eq!(read(&long), Err(HeaderError::TooLong));
    }
}
