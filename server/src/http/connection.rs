//! One connection, bounded: in time to its first request, in silence, in age, and in how long it
//! may take to read an answer.
//!
//! Invariant: a connection on which no request begins or ends for `SILENCE_MAX` ends, whatever else
//! its client sends, and every connection after `CONNECTION_AGE_MAX`. A request that is open then
//! has `LEAVE_TIME_MAX`: whoever reads an answer slower than that does not get the rest.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

use crate::limits::{
    CONNECTION_AGE_MAX, CONNECTIONS_MAX, HEADER_TIME_MAX, SILENCE_MAX, WRITE_TIME_MAX,
    raise_open_files,
};
use crate::store::OPEN_FILES_MAX;

/// Descriptors for listener, logs, anchor and what a library opens for itself.
const OTHER_FILES: u64 = 64;

/// Raises the limit of open files as far as allowed; returns how many connections that leaves room
/// for. A database that cannot open its next file latches the log, so connections must not eat
/// them.
pub fn room_for_connections() -> usize {
    let files = raise_open_files();
    let room = files.saturating_sub(OPEN_FILES_MAX as u64 + OTHER_FILES).max(1);
    usize::try_from(room).unwrap_or(usize::MAX).min(CONNECTIONS_MAX)
}

/// The stream with its time limits, once the client has sent something; `None` if it does not.
pub async fn bounded(stream: TcpStream) -> Option<Pin<Box<TimeoutStream<TcpStream>>>> {
    // Without this, the second small answer on a connection waits for the client's delayed
    // acknowledgement.
    let _ = stream.set_nodelay(true);
    tokio::time::timeout(HEADER_TIME_MAX, stream.peek(&mut [0])).await.ok()?.ok()?;
    // Silence has no timer here, which each read would set anew: `Activity` sees it.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME_MAX));
    Some(Box::pin(stream))
}

/// What a connection does, as seen from its requests. Frames that ask for nothing, pings among
/// them, are no activity.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// Whether there ever was a request.
    asked: AtomicBool,
    /// When a request last began or ended, in milliseconds after `began`.
    last_ms: AtomicU64,
}

/// An open request.
#[derive(Debug)]
pub struct OpenRequest(Arc<Activity>);

impl Activity {
    /// A connection that begins now.
    pub fn begin() -> Arc<Self> {
        let (asked, last_ms) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { began: Instant::now(), asked, last_ms })
    }

    /// A request begins; it ends when what is returned is dropped.
    pub fn request(self: &Arc<Self>) -> OpenRequest {
        self.asked.store(true, Ordering::Relaxed);
        self.touch();
        OpenRequest(self.clone())
    }

    /// Whether the connection should end: it asked for nothing, has been silent, or is old. No
    /// request takes as long as silence may last, except one whose answer is not read.
    pub fn is_over(&self) -> bool {
        let age = self.began.elapsed();
        self.is_over_at(age)
    }

    fn is_over_at(&self, age: Duration) -> bool {
        if age >= CONNECTION_AGE_MAX {
            return true;
        }
        let limit = match self.asked.load(Ordering::Relaxed) {
            false => HEADER_TIME_MAX,
            true => SILENCE_MAX,
        };
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        age.saturating_sub(last) >= limit
    }

    fn touch(&self) {
        let elapsed = self.began.elapsed().as_millis();
        self.last_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.touch();
    }
}

/// Pause after a connection could not be accepted: the reason, mostly too many open files, lasts.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_ends_when_it_asks_nothing_is_silent_or_old() {
        let activity = Activity::begin();
        assert!(!activity.is_over_at(Duration::ZERO));
        assert!(activity.is_over_at(HEADER_TIME_MAX), "no request came");
        let request = activity.request();
        assert!(!activity.is_over_at(SILENCE_MAX - Duration::from_secs(5)), "a request is open");
        assert!(activity.is_over_at(SILENCE_MAX + Duration::from_secs(5)), "nobody reads");
        assert!(activity.is_over_at(CONNECTION_AGE_MAX));
        drop(request);
        assert!(!activity.is_over_at(HEADER_TIME_MAX));
        assert!(activity.is_over_at(SILENCE_MAX + Duration::from_secs(5)));
    }
}
