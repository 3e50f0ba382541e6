//! HTTP: three faces of one tree. Decodes a request, calls the pool or the store, encodes the
//! answer.
//!
//! Invariants: reads go to the store and one snapshot, writes to the pool; nothing here knows
//! RocksDB; connections, silence, header and body time, and bytes in memory are bounded (`limits`).

pub mod checkpoints;
pub mod connection;
pub mod heavy;
pub mod native;
pub mod query;
pub mod reply;
pub mod route;
pub mod status;
pub mod submit;
pub mod tiles;
pub mod v1;
pub mod v2;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ALLOW, CONTENT_LENGTH, HeaderValue,
};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::connection::{ACCEPT_PAUSE, AnswerBody, Budget};
use self::heavy::Heavy;
use self::query::Query;
use self::reply::{Fault, Reply};
use self::route::{Face, NoRoute, Route};
use crate::health::Health;
use crate::limits::{DRAIN_TIME_MAX, HEADER_TIME_MAX, SILENCE_MAX, STREAMS_MAX};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::publisher::Published;
use crate::signer::Signer;
use crate::store::Store;

/// What every request may use.
pub struct App {
    /// Where submissions go.
    pub pool: Arc<Pool>,
    /// Where rows are read.
    pub store: Store,
    /// What is published.
    pub published: Published,
    /// Who the log is; signs SETs of entries that have none.
    pub signer: Arc<Signer>,
    /// The identity document.
    pub identity_document: String,
    /// Whether entries are taken.
    pub health: Health,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether anybody may write.
    pub open_writes: bool,
    /// Whether nothing is acknowledged that the quorum of witnesses did not cosign.
    pub needs_quorum: bool,
    /// Where large work is done.
    pub heavy: Heavy,
    /// What requests and answers may take of memory.
    pub budget: Budget,
}

/// Serves connections from `listener` until `stop` completes; then lets open requests end.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(SILENCE_MAX / 2)
        .keep_alive_timeout(HEADER_TIME_MAX);
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(connection::room_for_connections()));
    let mut stop = std::pin::pin!(stop);
    loop {
        // The permit comes before the connection, so that surplus clients wait in the listener's
        // queue.
        let accepted = async {
            let permit = connections.clone().acquire_owned().await;
            let permit = permit.expect("nobody closes the semaphore");
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            biased;
            () = &mut stop => break,
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => (permit, stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (app, builder, watcher) = (app.clone(), builder.clone(), graceful.watcher());
        tokio::spawn(async move {
            let Some(stream) = connection::bounded(stream).await else { return };
            let service = service_fn(move |request| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(answer(&app, request).await) }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open when the time to stop was over");
    }
}

/// Answers one request, whatever happens in it.
async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Reply {
    let face = Face::of(request.uri().path());
    let is_head = request.method() == Method::HEAD;
    let route = Route::parse(request.method(), request.uri().path());
    let is_write = matches!(route, Ok(Route::V1Submit | Route::V2Submit));
    let result = match route {
        Ok(route) => dispatch(app, route, request).await,
        Err(NoRoute::Preflight) => return preflight(),
        Err(no_route) => Err(unrouted(face, no_route, request.uri().path())),
    };
    if is_write {
        app.metrics.submission(result.as_ref().map_or_else(|fault| fault.label, |_| "logged"));
    }
    let reply = result.unwrap_or_else(|fault| fault.into_reply(face));
    if is_head { without_body(reply) } else { reply }
}

async fn dispatch(
    app: &Arc<App>,
    route: Route,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    let query = Query::parse(request.uri().query().unwrap_or(""));
    match route {
        Route::V2Submit => v2::serve_submit(app, request).await,
        Route::V1Submit => v1::serve_submit(app, request).await,
        Route::Checkpoint => Ok(tiles::serve_checkpoint(app)),
        Route::Tile(path) => tiles::serve_tile(app, &path).await,
        Route::V1EntryByIndex => v1::serve_entry_by_index(app, &query),
        Route::V1EntryById(id) => v1::serve_entry_by_id(app, &id),
        Route::V1LogInfo => Ok(v1::serve_log_info(app)),
        Route::V1PublicKey => v1::serve_public_key(app, &query, &request),
        Route::V1Proof => v1::serve_proof(app, &query),
        Route::V1NotEnabled(operation) => Err(v1::not_enabled(operation)),
        Route::Entry(index) => native::serve_entry(app, &index),
        Route::Search => native::serve_search(app, &query).await,
        Route::Statement(hash) => native::serve_statement(app, &hash).await,
        Route::Statements => native::serve_statements(app, request).await,
        Route::Checkpoints => checkpoints::serve_checkpoints(app, &query).await,
        Route::Identity => Ok(native::serve_identity(app)),
        Route::Live => Ok(status::serve_live()),
        Route::Ready => Ok(status::serve_ready(app)),
        Route::Healthz => Ok(status::serve_healthz()),
        Route::Ping => Ok(status::serve_ping()),
        Route::Metrics => Ok(status::serve_metrics(app)),
    }
}

fn unrouted(face: Face, no_route: NoRoute, path: &str) -> Fault {
    match (no_route, face) {
        // grpc-gateway answers 501 here, and its texts are these.
        (NoRoute::MethodNotAllowed { .. }, Face::V2) => {
            let status = StatusCode::NOT_IMPLEMENTED;
            Fault::new(status, "method-not-allowed", "Method Not Allowed")
        }
        (NoRoute::MethodNotAllowed { allow }, _) => {
            let message = format!("this path takes {allow}");
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Fault::new(status, "method-not-allowed", message).with(ALLOW, allow)
        }
        (_, Face::V2) => Fault::not_found("no-path", "Not Found"),
        (_, _) => {
            let path: String = path.chars().take(200).collect();
            Fault::not_found("no-path", format!("path {path} was not found"))
        }
    }
}

/// A browser asks what other sites may do: read, and submit.
fn preflight() -> Reply {
    let mut reply = reply::plain(reply::TEXT, "");
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    reply
}

/// The headers of the answer to GET, length included, and nothing after them.
fn without_body(reply: Reply) -> Reply {
    let (mut parts, body) = reply.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Reply::from_parts(parts, AnswerBody::small(Bytes::new()))
}
