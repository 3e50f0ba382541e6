//! Who asks: the four kinds of principals, and the text by which journals and logs name them.
//!
//! Invariant: the text of a principal is short, printable ASCII and holds no secret, whatever the
//! credential said. Out of scope: what a principal may do (`policy`).

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use super::token::Scope;

/// The longest text of a principal, in bytes.
pub const PRINCIPAL_TEXT_LEN_MAX: usize = 200;

/// Somebody whose credential was verified, or nobody.
#[derive(Clone, PartialEq, Debug)]
pub enum Principal {
    /// No credential; may write only where everybody may.
    Anonymous,
    /// The bearer of a token of this log.
    Token {
        /// Which token.
        id: String,
        /// Whose: what rules ask for.
        name: String,
        /// What the token is narrowed to.
        scope: Scope,
    },
    /// The holder of a client certificate, whose chain TLS verified.
    Certificate {
        /// Its subject alternative names.
        names: Vec<String>,
    },
    /// A workload that an OIDC issuer vouches for.
    Workload {
        /// What the policy calls the issuer.
        issuer: String,
        /// The claim `sub`.
        subject: String,
        /// All claims.
        claims: Map<String, Value>,
    },
}

impl Principal {
    /// What its rate is counted by; `None` for those whom nobody knows. A second token of one name
    /// is no second rate.
    pub fn rate_name(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::Token { name, .. } => Some(format!("token:{name}")),
            Self::Certificate { .. } | Self::Workload { .. } => Some(self.to_string()),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Token { id, name, .. } => format!("token:{name}#{id}"),
            Self::Certificate { names } => {
                let more = match names.len() {
                    0 | 1 => String::new(),
                    several => format!(" (+{})", several - 1),
                };
                let first = names.first().map_or("(no name)", String::as_str);
                format!("certificate:{first}{more}")
            }
            Self::Workload { issuer, subject, .. } => format!("workload:{issuer}:{subject}"),
        };
        f.write_str(&printable(&text, PRINCIPAL_TEXT_LEN_MAX))
    }
}

/// `text` in printable ASCII: everything else is escaped as Rust does, and what is longer than
/// `max` bytes ends in `...`.
pub fn printable(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let before = shown.len();
        match c {
            ' '..='~' if c != '\\' => shown.push(c),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "{}", c.escape_default());
            }
        }
        if shown.len() > max {
            let room = max.saturating_sub(3);
            // Cut at a whole character: escapes are longer than one byte.
            shown.truncate(before.min(room));
            shown.push_str("...");
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_short_and_printable_whatever_the_credential_says() {
        let hostile = "a\n\u{1b}[31m\u{202e}\u{0}\\é".repeat(100);
        let principals = [
            Principal::Anonymous,
            Principal::Certificate { names: vec![] },
            Principal::Certificate { names: vec![hostile.clone(), hostile.clone()] },
            Principal::Workload {
                issuer: "github".to_owned(),
                subject: hostile,
                claims: Map::new(),
            },
        ];
        for principal in principals {
            let text = principal.to_string();
            assert!(text.len() <= PRINCIPAL_TEXT_LEN_MAX, "{text}");
            assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text}");
        }
    }

    #[test]
    fn each_kind_has_its_text() {
        let token = Principal::Token {
            id: "00112233445566ff".to_owned(),
            name: "ci-llm".to_owned(),
            scope: Scope::default(),
        };
        assert_eq!(token.to_string(), "token:ci-llm#00112233445566ff");
        let names = vec!["spiffe://corp/ci".to_owned(), "ci.corp".to_owned()];
        let certificate = Principal::Certificate { names };
        assert_eq!(certificate.to_string(), "certificate:spiffe://corp/ci (+1)");
        assert_eq!(printable("a\nb\\", 20), "a\\nb\\\\");
        assert_eq!(printable("abcdef", 6), "abcdef");
        assert_eq!(printable("abcdefg", 6), "abc...");
        assert_eq!(printable("ab\u{1f600}", 8), "ab...");
    }
}
