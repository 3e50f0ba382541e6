//! Health and metrics.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::App;
use super::offer::ReadOnly;
use super::reply::{JSON, Reply, TEXT, json, plain};
use crate::clock;
use crate::health::Refusal;
use crate::publisher::Witnessed;

/// `GET /livez`: the process answers; nothing else is looked at.
pub fn serve_live() -> Reply {
    plain(TEXT, "ok\n")
}

/// `GET /readyz`: 200 when the log takes entries, else 503 and why. Closed writes are a choice, not
/// a fault, and a log that takes none is ready when it can be read.
pub fn serve_ready(app: &App) -> Reply {
    let stopping = app.stopping.load(Ordering::Relaxed).then_some(Refusal::Stopping);
    let matters = |refusal: &Refusal| app.offer.read_only.is_none() || !refusal.is_about_writes();
    let refusal = app.health.refusal().filter(matters).or(stopping);
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
        "timestamps": timestamps(app),
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
    if let Some(read_only) = app.offer.read_only {
        return ReadOnly::label(read_only);
    }
    match (access.is_open(), access.was_configured()) {
        (true, _) => "open",
        (false, true) => "restricted",
        (false, false) => "closed",
    }
}

/// Whether timestamps are given, as far as the authority goes: the clock is part of the label.
fn timestamps(app: &App) -> &'static str {
    let now = clock::read().wall_ms / 1000;
    match &app.timestamps {
        None => "off",
        Some(timestamps) if timestamps.authority.check_validity(now).is_ok() => "own",
        Some(_) => "expired",
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
