//! HTTP: three faces of one tree. Decodes a request, calls the pool or the store, encodes the
//! answer.
//!
//! Invariants: reads go to the store and one snapshot, writes to the pool; nothing here knows
//! RocksDB; connections, silence, header and body time, and bytes in memory are bounded (`limits`).

pub mod accept;
pub mod body;
pub mod checkpoints;
pub mod connection;
pub mod gate;
pub mod guests;
pub mod heavy;
pub mod media_type;
pub mod native;
pub mod offer;
pub mod pages;
pub mod query;
pub mod rates;
pub mod reply;
pub mod request_id;
pub mod route;
pub mod status;
pub mod submit;
#[cfg(test)]
mod test_app;
pub mod tiles;
pub mod timestamp;
pub mod v1;
pub mod v2;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ALLOW, CONTENT_LENGTH, HeaderValue,
};
use hyper::{Method, Request, StatusCode};

use self::accept::Peer;
use self::body::{AnswerBody, Budget};
use self::gate::{Gate, Visit};
use self::heavy::Heavy;
use self::offer::Offer;
use self::query::Query;
use self::rates::Rates;
use self::reply::{Fault, Reply};
use self::request_id::RequestId;
use self::route::{Face, NoRoute, Route};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::pool::{Listening, Pool};
use crate::publisher::Published;
use crate::signer::Signer;
use crate::store::Store;
use crate::timestamp::Timestamps;

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
    /// Who may write.
    pub gate: Gate,
    /// Whether the server takes no new connections.
    pub stopping: AtomicBool,
    /// What is offered, and where.
    pub offer: Offer,
    /// Whether witnesses are asked before anything is acknowledged.
    pub is_witnessed: bool,
    /// Whether nothing is acknowledged that their quorum did not cosign.
    pub needs_quorum: bool,
    /// Where large reads are done.
    pub heavy: Heavy,
    /// Where large submissions are verified: readers cannot keep them from their turn.
    pub heavy_writes: Heavy,
    /// What requests and answers may take of memory.
    pub budget: Budget,
    /// How often anybody may ask.
    pub rates: Rates,
    /// Who signs timestamps, if anybody.
    pub timestamps: Option<Timestamps>,
}

/// Answers one request, whatever happens in it.
async fn answer(app: Arc<App>, peer: Arc<Peer>, request: Request<Incoming>) -> Reply {
    let id = RequestId::next();
    let face = Face::of(request.uri().path());
    let is_head = request.method() == Method::HEAD;
    let given = request_id::given(request.headers());
    let route = Route::parse(request.method(), request.uri().path());
    let asked = route.as_ref().ok();
    let operation = asked.and_then(Route::v1_operation);
    let is_v1_get = asked.is_some_and(Route::is_v1_get);
    let elsewhere = asked.and_then(|route| app.offer.elsewhere(peer.listener, face, route));
    let result = match (elsewhere, route) {
        (None, Ok(Route::V1Submit | Route::V2Submit)) => {
            submission(&app, &peer, id, face, request).await
        }
        (elsewhere, route) => match (admit(&app, &peer, &route), elsewhere, route) {
            (Err(fault), ..) | (Ok(()), Some(fault), _) => Err(fault),
            (Ok(()), None, Ok(route)) => dispatch(&app, &peer, route, request).await,
            (Ok(()), None, Err(NoRoute::Preflight)) => Ok(preflight()),
            (Ok(()), None, Err(no_route)) => Err(unrouted(face, no_route, &request)),
        },
    };
    let counted = result.and_then(|reply| app.budget.answer(reply, &peer.guest));
    let reply = counted.unwrap_or_else(|fault| fault.into_reply(face, id, given.as_deref()));
    if let Some(operation) = operation {
        app.metrics.v1_request(operation, reply.status().as_u16());
    }
    let reply = if is_v1_get { reply::without_caching(reply) } else { reply };
    if is_head { without_body(reply) } else { reply }
}

/// Takes a submission through the gate, and writes down how it ended.
///
/// In a task of its own: a client that hangs up ends its connection, and must not end what was
/// begun for it in the middle. It only listens no more: this future ends with its connection, or
/// with its stream.
async fn submission(
    app: &Arc<App>,
    peer: &Arc<Peer>,
    id: RequestId,
    face: Face,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    let listening = Listening::default();
    let mut visit = Visit::new(app.clone(), peer.clone(), listening.submitter(), id);
    let task = tokio::spawn(async move {
        let result = match visit.enter(face, request.headers()).await {
            Err(fault) => Err(fault),
            Ok(()) if face == Face::V1 => v1::serve_submit(&mut visit, request).await,
            Ok(()) => v2::serve_submit(&mut visit, request).await,
        };
        visit.close(result).await
    });
    let answer = task.await.unwrap_or_else(|error| Err(Fault::internal(error)));
    drop(listening);
    answer
}

/// Refuses a read of somebody who asks too often, before anything is read of it. Whoever asks how
/// the server is, is always answered.
fn admit(app: &App, peer: &Peer, route: &Result<Route, NoRoute>) -> Result<(), Fault> {
    match route {
        Ok(Route::Live | Route::Ready | Route::Healthz | Route::Ping | Route::Metrics) => Ok(()),
        _ => app.rates.read(peer.address).map_err(Fault::too_often),
    }
}

async fn dispatch(
    app: &Arc<App>,
    peer: &Peer,
    route: Route,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    let query = Query::parse(request.uri().query().unwrap_or(""));
    match route {
        Route::V1Submit | Route::V2Submit => unreachable!("submissions pass the gate"),
        Route::Checkpoint => Ok(tiles::serve_checkpoint(app)),
        Route::Tile(path) => tiles::serve_tile(app, &path).await,
        Route::V1EntryByIndex => v1::serve_entry_by_index(app, &query, request.headers()).await,
        Route::V1EntryById(id) => v1::serve_entry_by_id(app, &id, request.headers()).await,
        Route::V1LogInfo => v1::serve_log_info(app, request.headers()),
        Route::V1PublicKey => v1::serve_public_key(app, &query, request.headers()),
        Route::V1Proof => v1::serve_proof(app, &query, request.headers()),
        Route::V1Retrieve => v1::serve_retrieve(app, peer, request).await,
        Route::V1Index => v1::serve_index(app, peer, request).await,
        Route::Home => Ok(pages::serve_home()),
        Route::Docs => Ok(pages::serve_docs()),
        Route::Document => Ok(pages::serve_document()),
        Route::Timestamp => timestamp::serve_timestamp(app, peer, request).await,
        Route::TimestampChain => timestamp::serve_chain(app),
        Route::Entry(index) => native::serve_entry(app, &index),
        Route::Search => native::serve_search(app, &query).await,
        Route::Statement(hash) => native::serve_statement(app, &hash).await,
        Route::Statements => native::serve_statements(app, peer, request).await,
        Route::Checkpoints => checkpoints::serve_checkpoints(app, &query).await,
        Route::Identity => Ok(native::serve_identity(app)),
        Route::Live => Ok(status::serve_live()),
        Route::Ready => Ok(status::serve_ready(app)),
        Route::Healthz => Ok(status::serve_healthz()),
        Route::Ping => Ok(status::serve_ping()),
        Route::Metrics => Ok(status::serve_metrics(app)),
    }
}

fn unrouted(face: Face, no_route: NoRoute, request: &Request<Incoming>) -> Fault {
    match (no_route, face) {
        // grpc-gateway answers 501 here, and its texts are these.
        (NoRoute::MethodNotAllowed { .. }, Face::V2) => {
            let status = StatusCode::NOT_IMPLEMENTED;
            Fault::new(status, "method-not-allowed", "Method Not Allowed")
        }
        (NoRoute::MethodNotAllowed { allow }, _) => {
            let method: String = request.method().as_str().chars().take(20).collect();
            let message = format!("method {method} is not allowed, but [{allow}] are");
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Fault::new(status, "method-not-allowed", message).with(ALLOW, allow)
        }
        (_, Face::V2) => Fault::not_found("no-path", "Not Found"),
        (_, _) => {
            let path: String = request.uri().path().chars().take(200).collect();
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
    let allowed = HeaderValue::from_static("accept, content-type, x-requested-with");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    reply
}

/// The headers of the answer to GET, length included, and nothing after them.
fn without_body(reply: Reply) -> Reply {
    let (mut parts, body) = reply.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Reply::from_parts(parts, AnswerBody::default())
}
