//! HTTP/1.1 and HTTP/2 for a witness: reads a request, asks the witness, writes the answer.
//!
//! | request | answer |
//! |---|---|
//! | `POST /add-checkpoint` | cosignature lines, or the status of the refusal |
//! | `GET /<SHA-256 of the origin>/checkpoint` | the newest cosigned checkpoint, or 404 |
//! | `GET /healthz` | `ok`; 503 when the last state could not be written |
//! | `GET /metrics` | counters in the Prometheus text format |
//!
//! Invariants: connections and their age, silence, header and body time, bodies, and requests in
//! work are bounded (see [`super::limits`]). Out of scope: TLS and prefixes of
//! paths, which a reverse proxy has.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use treering_proto::encoding::from_hex_lower;
use treering_proto::hash::Hash;
use treering_proto::witness::ADD_CHECKPOINT_LEN_MAX;

use super::crash_point::CrashPoint;
use super::limits::{
    ACCEPT_PAUSE, BODY_TIME_MAX, CLOSING_TIME_MAX, CONNECTION_AGE_MAX, CONNECTIONS_MAX,
    DRAIN_TIME_MAX, DROPPED_BYTES_MAX, HEADER_TIME_MAX, REQUESTS_MAX, RETRY_AFTER_SECONDS,
    SILENCE_MAX, STREAMS_MAX, WAIT_MAX, WRITE_TIME_MAX,
};
use super::{NotCosigned, Witness};

type Reply = Response<Full<Bytes>>;

/// What every request may use.
struct App {
    witness: Arc<Witness>,
    /// Room for add-checkpoint requests in work.
    room: Arc<Semaphore>,
}

/// A request that was answered with anything but cosignatures.
struct Fault {
    status: StatusCode,
    label: &'static str,
    content_type: &'static str,
    body: String,
}

/// Serves connections from `listener` until `stop` completes; then lets open requests end. Says
/// whether they all did in time.
pub async fn serve(
    witness: Arc<Witness>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> bool {
    let app = Arc::new(App { witness, room: Arc::new(Semaphore::new(REQUESTS_MAX)) });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(SILENCE_MAX / 2)
        .keep_alive_timeout(HEADER_TIME_MAX);
    let stopping = Arc::new(watch::Sender::new(false));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        // The permit comes before the connection, so that surplus clients wait in the listener's
        // queue.
        let accepted = async {
            let permit = connections.clone().acquire_owned().await;
            (permit.expect("nobody closes the semaphore"), listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            biased;
            () = &mut stop => break,
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => (permit, stream),
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (app, builder, stopping) = (app.clone(), builder.clone(), stopping.clone());
        tokio::spawn(async move {
            if let Some(stream) = bounded(stream).await {
                // Not before: nobody waits for a connection that has asked nothing.
                converse(app, &builder, stream, stopping.subscribe()).await;
            }
            drop(permit);
        });
    }
    drop(listener);
    stopping.send_replace(true);
    within(DRAIN_TIME_MAX, stopping.closed()).await.is_some()
}

/// Answers the requests on one connection, until the client has had its time or the witness stops.
async fn converse(
    app: Arc<App>,
    builder: &auto::Builder<TokioExecutor>,
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    mut stopping: watch::Receiver<bool>,
) {
    let asked = Arc::new(Notify::new());
    let noted = asked.clone();
    let service = service_fn(move |request| {
        noted.notify_one();
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    // How a connection ends is the client's business.
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let age = async {
        // HTTP/2 has frames without end that ask nothing, and a preface that can be trickled.
        let has_asked = within(HEADER_TIME_MAX, asked.notified()).await.is_some();
        if has_asked {
            tokio::time::sleep(CONNECTION_AGE_MAX).await;
        }
        has_asked
    };
    let has_requests = tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = stop => true,
        has_asked = age => has_asked,
    };
    if has_requests {
        connection.as_mut().graceful_shutdown();
        let _ = within(CLOSING_TIME_MAX, connection).await;
    }
}

/// The stream with its time limits, once the client has sent something; `None` if it does not.
async fn bounded(stream: TcpStream) -> Option<Pin<Box<TimeoutStream<TcpStream>>>> {
    // Without this, the second small answer on a connection waits for the client's delayed
    // acknowledgement.
    let _ = stream.set_nodelay(true);
    tokio::time::timeout(HEADER_TIME_MAX, stream.peek(&mut [0])).await.ok()?.ok()?;
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(SILENCE_MAX));
    stream.set_write_timeout(Some(WRITE_TIME_MAX));
    Some(Box::pin(stream))
}

impl App {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if path == "/add-checkpoint" {
            return self.add_checkpoint(request).await;
        }
        let (is_get, is_head) = (request.method() == Method::GET, request.method() == Method::HEAD);
        let found = match path {
            "/healthz" => Some(self.health()),
            "/metrics" => {
                let text = self.witness.render_metrics();
                Some(reply(StatusCode::OK, METRICS_TYPE, text))
            }
            other => checkpoint_path(other).map(|origin| self.checkpoint(origin)),
        };
        match found {
            None => reply(StatusCode::NOT_FOUND, TEXT_TYPE, "no such path\n"),
            Some(reply) if is_get => reply,
            Some(reply) if is_head => without_body(reply),
            Some(_) => only("GET, HEAD"),
        }
    }

    async fn add_checkpoint(&self, request: Request<Incoming>) -> Reply {
        if request.method() != Method::POST {
            return only("POST");
        }
        match self.cosign(request).await {
            Ok(lines) => {
                self.witness.metrics().outcome("cosigned");
                CrashPoint::Answered.pass();
                reply(StatusCode::OK, TEXT_TYPE, lines)
            }
            Err(fault) => {
                self.witness.metrics().outcome(fault.label);
                let mut reply = reply(fault.status, fault.content_type, fault.body);
                if fault.status == StatusCode::SERVICE_UNAVAILABLE {
                    let seconds = HeaderValue::from(RETRY_AFTER_SECONDS);
                    reply.headers_mut().insert(RETRY_AFTER, seconds);
                }
                reply
            }
        }
    }

    async fn cosign(&self, request: Request<Incoming>) -> Result<String, Fault> {
        if request.headers().contains_key(CONTENT_ENCODING) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Fault::new(status, "content-encoding", "compressed bodies are not taken"));
        }
        let body =
            within(BODY_TIME_MAX, collect(request.into_body())).await.ok_or_else(|| {
                let status = StatusCode::REQUEST_TIMEOUT;
                Fault::new(status, "body-too-slow", "the request body took too long")
            })??;
        let room = self.room.clone().acquire_owned();
        let room = within(WAIT_MAX, room).await.ok_or_else(Fault::busy)?;
        let room = room.expect("nobody closes the semaphore");
        // The place is taken as long as there is work, not only as long as the client waits.
        Ok(self.witness.add_checkpoint_holding(&body, room).await?)
    }

    fn checkpoint(&self, origin: Hash) -> Reply {
        match self.witness.checkpoint(origin) {
            Some(note) => reply(StatusCode::OK, TEXT_TYPE, note),
            None => reply(StatusCode::NOT_FOUND, TEXT_TYPE, "nothing was cosigned for it\n"),
        }
    }

    fn health(&self) -> Reply {
        if self.witness.is_healthy() {
            return reply(StatusCode::OK, TEXT_TYPE, "ok\n");
        }
        let status = StatusCode::SERVICE_UNAVAILABLE;
        reply(status, TEXT_TYPE, "the last state could not be written\n")
    }
}

impl Fault {
    fn new(status: StatusCode, label: &'static str, message: &str) -> Self {
        Self { status, label, content_type: TEXT_TYPE, body: format!("{message}\n") }
    }

    fn busy() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "busy", "too many requests at once; try again")
    }
}

impl From<NotCosigned> for Fault {
    fn from(error: NotCosigned) -> Self {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            NotCosigned::Refused(refusal) => {
                let (content_type, body) = refusal.body();
                let status = StatusCode::from_u16(refusal.status());
                let status = status.expect("a refusal has a status of HTTP");
                Self { status, label: refusal.label(), content_type, body }
            }
            NotCosigned::NotPersisted => {
                let message = "the state of this witness cannot be written";
                Self::new(unavailable, "not-persisted", message)
            }
            NotCosigned::Busy => Self::busy(),
            NotCosigned::Broken => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(status, "broken", "internal error")
            }
        }
    }
}

/// Keeps at most [`ADD_CHECKPOINT_LEN_MAX`] bytes. What comes after them is read and dropped for a
/// while: a client whose connection is closed while it still sends does not hear why.
async fn collect(mut body: Incoming) -> Result<Bytes, Fault> {
    let (mut kept, mut read) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let status = StatusCode::BAD_REQUEST;
            return Err(Fault::new(status, "body-cut-off", "the request body was cut off"));
        };
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if read <= ADD_CHECKPOINT_LEN_MAX {
            kept.extend_from_slice(&data);
        } else if read > ADD_CHECKPOINT_LEN_MAX + DROPPED_BYTES_MAX {
            break;
        }
    }
    if read > ADD_CHECKPOINT_LEN_MAX {
        let message = format!("the request body is longer than {ADD_CHECKPOINT_LEN_MAX} bytes");
        return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", &message));
    }
    Ok(kept.freeze())
}

async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, future).await.ok()
}

/// The hash in `/<hash>/checkpoint`, in lower case.
fn checkpoint_path(path: &str) -> Option<Hash> {
    let hex = path.strip_prefix('/')?.strip_suffix("/checkpoint")?;
    from_hex_lower(hex).and_then(|bytes| Hash::from_slice(&bytes))
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The headers of the answer to GET, length included, and nothing after them.
fn without_body(reply: Reply) -> Reply {
    let (mut parts, body) = reply.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Full::default())
}

fn only(methods: &'static str) -> Reply {
    let body = format!("this path takes {methods}\n");
    let mut reply = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, body);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    reply
}

const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_has_one_address() {
        let hash = Hash([0xab; 32]);
        assert_eq!(checkpoint_path(&format!("/{hash}/checkpoint")), Some(hash));
        let upper = hash.to_hex().to_uppercase();
        for path in [
            format!("/{upper}/checkpoint"),
            format!("//{hash}/checkpoint"),
            format!("/{hash}/checkpoint/"),
            format!("/{hash}"),
            format!("/{}/checkpoint", &hash.to_hex()[2..]),
            "/checkpoint".to_owned(),
        ] {
            assert_eq!(checkpoint_path(&path), None, "{path}");
        }
    }
}
