//! One connection, bounded: in time to its first byte, in silence, and in how long it may take to
//! read an answer. And the two budgets of memory that all connections share.
//!
//! Invariant: a client that does nothing costs a connection for `SILENCE_MAX` at most, and bytes
//! that wait for a slow client are counted until they are gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use super::reply::Fault;
use crate::limits::{
    ANSWER_BYTES_MAX, BUDGETED_BYTES_MIN, CONNECTIONS_MAX, HEADER_TIME_MAX, REQUEST_BYTES_MAX,
    SILENCE_MAX, WRITE_TIME_MAX,
};
use crate::store::OPEN_FILES_MAX;

/// Descriptors for listener, logs, anchor and what a library opens for itself.
const OTHER_FILES: u64 = 64;

/// Raises the limit of open files as far as allowed; returns how many connections that leaves room
/// for. A database that cannot open its next file latches the log, so connections must not eat
/// them.
pub fn room_for_connections() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused only by a sandbox; then the old limit stands, and is read below.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = files.saturating_sub(OPEN_FILES_MAX as u64 + OTHER_FILES).max(1);
    usize::try_from(room).unwrap_or(usize::MAX).min(CONNECTIONS_MAX)
}

/// The stream with its time limits, once the client has sent something; `None` if it does not.
pub async fn bounded(stream: TcpStream) -> Option<Pin<Box<TimeoutStream<TcpStream>>>> {
    // Without this, the second small answer on a connection waits for the client's delayed
    // acknowledgement.
    let _ = stream.set_nodelay(true);
    tokio::time::timeout(HEADER_TIME_MAX, stream.peek(&mut [0])).await.ok()?.ok()?;
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(SILENCE_MAX));
    stream.set_write_timeout(Some(WRITE_TIME_MAX));
    Some(Box::pin(stream))
}

/// Bytes of requests and answers that may be in memory at once.
#[derive(Clone)]
pub struct Budget {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        let kibibytes = |bytes: usize| Arc::new(Semaphore::new(bytes >> 10));
        Self { requests: kibibytes(REQUEST_BYTES_MAX), answers: kibibytes(ANSWER_BYTES_MAX) }
    }
}

impl Budget {
    /// Room for a request body of at most `bytes`, kept until the permit is dropped.
    pub fn request(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Fault> {
        take(&self.requests, bytes)
    }

    /// An answer's body; a large one holds its room until the client has read it.
    pub fn answer(&self, bytes: Bytes) -> Result<AnswerBody, Fault> {
        let room = match bytes.len() {
            0..BUDGETED_BYTES_MIN => None,
            large => Some(take(&self.answers, large)?),
        };
        Ok(AnswerBody { bytes: Full::new(bytes), _room: room })
    }
}

fn take(semaphore: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Fault> {
    let kibibytes = u32::try_from((bytes >> 10) + 1).unwrap_or(u32::MAX);
    let taken = semaphore.clone().try_acquire_many_owned(kibibytes);
    taken.map_err(|_| Fault::unavailable("memory-full", "too much is being sent at once; retry"))
}

/// The body of an answer, and the room that it takes.
pub struct AnswerBody {
    bytes: Full<Bytes>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AnswerBody {
    /// A body that is small by nature.
    pub fn small(bytes: Bytes) -> Self {
        Self { bytes: Full::new(bytes), _room: None }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.bytes).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

/// Pause after a connection could not be accepted: the reason, mostly too many open files, lasts.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
