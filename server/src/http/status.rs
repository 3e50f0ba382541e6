//! Health and metrics.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::App;
use super::reply::{JSON, Reply, TEXT, json, plain};
use crate::health::Refusal;
use crate::publisher::Witnessed;

/// `GET /livez`: the process answers; nothing else is looked at.
pub fn serve_live() -> Reply {
    plain(TEXT, "ok\n")
}

/// `GET /readyz`: 200 when the log takes entries, else 503 and why. Closed writes are a choice, not
/// a fault.
pub fn serve_ready(app: &App) -> Reply {
    let stopping = app.stopping.load(Ordering::Relaxed).then_some(Refusal::Stopping);
    let refusal = app.health.refusal().or(stopping);
    let snapshot = app.published.snapshot();
    let body = serde_json::json!({
        "ready": refusal.is_none(),
        "label": refusal.as_ref().map(|refusal| refusal.label()),
        "reason": refusal.as_ref().map(|refusal| refusal.public_message()),
        "treeSize": snapshot.head.size.to_string(),
        "witnessed": match snapshot.witnessed {
            Witnessed::NotAsked => "not-asked",
            Witnessed::Quorum => "quorum",
            Witnessed::Missing => "missing",
        },
        "writes": writes(app),
        "accessProblems": app.gate.access.problems().iter().map(|(label, _)| *label).collect::<Vec<_>>(),
    });
    let mut reply = json(format!("{body}\n"));
    if refusal.is_some() {
        *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    reply
}

/// To whom the log is open.
fn writes(app: &App) -> &'static str {
    let access = &app.gate.access;
    match (access.is_open(), access.was_configured()) {
        (true, _) => "open",
        (false, true) => "restricted",
        (false, false) => "closed",
    }
}

/// `GET /healthz`, as rekor-tiles answers it.
pub fn serve_healthz() -> Reply {
    plain(JSON, "{\"status\":\"SERVING\"}\n")
}

/// `GET /ping`, as Rekor v1 answers it.
pub fn serve_ping() -> Reply {
    plain(HeaderValue::from_static("text/plain"), ".")
}

/// `GET /metrics`.
pub fn serve_metrics(app: &App) -> Reply {
    let size = app.published.snapshot().head.size.get();
    plain(OPEN_METRICS, app.metrics.render(app.pool.depth(), size, &app.health))
}

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
