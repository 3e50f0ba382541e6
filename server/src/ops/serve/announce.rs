//! What a server says when it is ready: to its log, to whoever started it, to the service manager.
//!
//! Invariant: everything that an operator may have set without meaning to, and that lasts, is said
//! at each start.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Service, is_here, timestamps};
use crate::crash_point;
use crate::http::App;
use crate::http::offer::{Offer, ReadOnly};
use crate::ops::other_face;

/// Says what is served, and prints the line that a caller waits for.
pub(super) fn ready(
    app: &App,
    service: &Service,
    address: SocketAddr,
    read_address: Option<SocketAddr>,
    took: Duration,
) {
    let identity = app.signer.identity();
    let snapshot = app.published.snapshot();
    let size = snapshot.head.size;
    app.metrics.checkpoint(snapshot.time_ms);
    writes(app, address);
    for address in [Some(address), read_address].into_iter().flatten() {
        if service.tls.is_none() && !is_here(address) {
            tracing::warn!(
                "plain HTTP on {address}: whoever is on the way reads and changes everything"
            );
        }
    }
    if let Some(address) = read_address {
        tracing::info!(%address, "serving reads");
    }
    timestamps::announce(app);
    if let Some((point, count)) = crash_point::armed() {
        tracing::warn!(
            point = point.name(),
            count,
            "a crash point is armed: this process will die"
        );
    }
    tracing::info!(%address, origin = identity.origin(), %size, "serving");
    let ready = serde_json::json!({
        "event": "ready",
        "listen": address.to_string(),
        "readListen": read_address.map(|address| address.to_string()),
        "tls": service.tls.is_some(),
        "origin": identity.origin(),
        "treeId": identity.tree_id().to_string(),
        "treeSize": size.to_string(),
        "timestamps": app.timestamps.is_some(),
        "startMilliseconds": took.as_millis() as u64,
    });
    println!("{ready}");
}

/// To whom the log is open, if to anybody.
fn writes(app: &App, address: SocketAddr) {
    match app.offer.read_only {
        Some(ReadOnly::Frozen) => {
            tracing::warn!("the log is frozen: it takes no entries, whatever the settings say");
            return;
        }
        Some(ReadOnly::Served) => {
            tracing::info!("the log is read-only: it takes no entries while it is served so");
            return;
        }
        None => {}
    }
    match (app.gate.access.is_open(), app.gate.access.is_configured()) {
        (true, _) => {
            tracing::warn!("writes are open: whoever reaches {address} can add entries for ever");
        }
        (false, true) => tracing::info!("writes are open to the principals of the log"),
        (false, false) => tracing::info!(
            "writes are closed: nobody may write yet. `treering-server token create` lets somebody in; `serve --open-writes` lets in everybody"
        ),
    }
}

/// Says it when a face was closed and the log has entries that came through it.
pub(super) fn narrowed(app: &App) {
    let Offer { write_faces, .. } = app.offer;
    let Some(closed) = write_faces.closed() else { return };
    let size = app.published.snapshot().head.size;
    match other_face::find(&app.store, size, write_faces) {
        Ok(Some(index)) => tracing::warn!(
            "entries are taken through one face, and entry {index} came through {closed}: clients that read the other \
             face's entries only, such as rekor-monitor, stop there. Entries cannot be removed"
        ),
        Ok(None) => tracing::info!("no entries are taken through {closed}"),
        Err(error) => {
            tracing::warn!(%error, "nobody could tell whether entries came through {closed}")
        }
    }
}

/// One line for people who ask the service manager.
pub(super) fn status(app: &App) -> &'static str {
    match app.offer.read_only {
        None => "serving",
        Some(ReadOnly::Served) => "serving reads: read-only",
        Some(ReadOnly::Frozen) => "serving reads: frozen",
    }
}
