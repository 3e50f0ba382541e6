//! The name of one request: in the answer, in the server's log and in the journal.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderName, HeaderValue};

/// The header that carries it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("treering-request");

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
