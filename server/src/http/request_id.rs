//! The name of one request: in the answer, in the server's log and in the journal.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("treering-request");

/// The header in which a client, or the proxy in front, names its request.
const GIVEN: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of such a name.
const GIVEN_LEN_MAX: usize = 128;

/// The name that the request came with, for the server's log alone: nobody vouches for it.
pub fn given(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(GIVEN)?.to_str().ok()?;
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| text.chars().take(GIVEN_LEN_MAX).collect())
}

/// A number of this process, behind a random one that tells processes apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId {
    process: u32,
    number: u64,
}

impl RequestId {
    /// The next one.
    pub fn next() -> Self {
        static PROCESS: OnceLock<u32> = OnceLock::new();
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // Without randomness the process id tells restarts apart, mostly; nothing more hangs on it.
        let process = *PROCESS.get_or_init(|| getrandom::u32().unwrap_or(std::process::id()));
        Self { process, number: NUMBER.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// As the value of a header.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("hexadecimal digits make a header")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.process, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_words_are_taken_for_the_name_that_a_request_came_with() {
        let of = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            given(&HeaderMap::from_iter([(GIVEN, value)]))
        };
        assert_eq!(of(b"proxy-7/ab:12").as_deref(), Some("proxy-7/ab:12"));
        assert_eq!(of(&[b'a'; 4_000]), Some("a".repeat(GIVEN_LEN_MAX)));
        for bad in [&b""[..], b"two words", b"\xc3\xa9"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert_eq!(given(&HeaderMap::new()), None);
    }
}
