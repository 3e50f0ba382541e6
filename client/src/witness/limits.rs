//! Every bound of the witness in one place, each with its reason.

use std::time::Duration;

/// A checkpoint that was cosigned less than so many seconds ago is not cosigned anew: the answer
/// has the lines and the time from before. Nobody asks for cosignatures that are fresher.
pub const REFRESH_SECONDS_MIN: u64 = 10;

/// Open connections: a log needs one. With the streams of each, 128 MiB of bodies at most.
pub const CONNECTIONS_MAX: usize = 256;

/// Streams of one HTTP/2 connection: a log sends one request at a time.
pub const STREAMS_MAX: u32 = 4;

/// Add-checkpoint requests in work at once, with one thread each. They come after their bodies, so
/// that clients who send slowly do not keep others out.
pub const REQUESTS_MAX: usize = 64;

/// Time that a request waits for room, and then for its turn with the log. Logs give a witness a
/// few seconds.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// Time that a request waits for the disk. The step goes on after that, and keeps its place among
/// [`REQUESTS_MAX`].
pub const STEP_TIME_MAX: Duration = Duration::from_secs(30);

/// Time to the first byte of a connection, from there to the end of the first request's headers,
/// and for the headers of each request after the last answer.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// Time to send the body of a request: 128 KiB at 13 KB/s.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a body beyond its limit that are read and dropped, so that the client hears why.
pub const DROPPED_BYTES_MAX: usize = 1 << 20;

/// Silence on a connection: logs publish every few seconds, or minutes, and connect anew after
/// that.
pub const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Age of a connection at which it takes no more requests: whoever asks every few seconds, or
/// pings, would have it for ever.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(300);

/// Time that the open requests of such a connection get.
pub const CLOSING_TIME_MAX: Duration = Duration::from_secs(30);

/// Time in which a client must take some of an answer.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// Time that open requests get when the witness stops; service managers kill after 10 s.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(8);

/// Pause after a connection could not be accepted: the reason, mostly too many open files, lasts.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a client is asked to wait before it tries again, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// Origins in one state directory: the logs of the largest list, several times over.
pub const ORIGINS_MAX: usize = 1_000_000;

/// Evidence files of one log and one kind that convict. Only the log's key can make more; four tell
/// the story.
pub const PROOFS_PER_LOG_MAX: usize = 4;

/// Evidence files of one log that convict nobody. Strangers can make them out of a log's own
/// checkpoints.
pub const SUSPICIONS_PER_LOG_MAX: usize = 4;

/// Evidence files that convict, of all logs: 256 MiB at most. Above what 80 lying logs can make.
pub const PROOFS_MAX: usize = 1024;

/// Evidence files that convict nobody, of all logs. They have their own, smaller, room.
pub const SUSPICIONS_MAX: usize = 256;
