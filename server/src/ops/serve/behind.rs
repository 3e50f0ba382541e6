//! Serving a restored log that is behind what it signed: reads only.
//!
//! Invariant: nothing here can sign a head. There is no sequencer, nobody holds a fenced head, and
//! the anchor is only held, so that nobody else goes on with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::{Running, ServeError, Service, app};
use crate::anchor::Anchor;
use crate::clock::{self, BatchClock};
use crate::data_directory::DataDirectory;
use crate::http::App;
use crate::http::gate::Gate;
use crate::startup::{BehindLog, StartError};
use crate::systemd::Heartbeat;
use crate::timestamp::{Authority, Timestamps};

/// How often the heart beats that the sequencer's would.
const BEAT: Duration = Duration::from_secs(1);

/// What the log holds while it is served.
pub(super) struct Held {
    _directory: DataDirectory,
    _anchor: Anchor,
    beating: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// Makes the log readable; its writes are refused until it was refilled and started again.
pub(super) fn run(
    behind: BehindLog,
    service: &Service,
    gate: Gate,
    authority: Option<Authority>,
    heartbeat: &Heartbeat,
) -> Result<Running, ServeError> {
    let BehindLog { directory, store, anchor, signer, published, missing, why } = behind;
    let identity_document = directory.identity().map_err(StartError::from)?;
    // A token says nothing of the tree, so timestamps go on, and not before what the log has dated.
    let clock = BatchClock::new(published.snapshot().time_ms, clock::read());
    let timestamps = authority.map(|authority| Timestamps::new(authority, clock));
    let app = app(store, published, signer, service, gate, None)?;
    let app = Arc::new(App { identity_document, timestamps, ..app });
    app.health.set_behind(missing, why);
    let heartbeat = heartbeat.clone();
    let beating = tokio::spawn(async move {
        loop {
            heartbeat.beat();
            tokio::time::sleep(BEAT).await;
        }
    });
    let beating = beating.abort_handle();
    let held = Held { _directory: directory, _anchor: anchor, beating };
    Ok(Running { app, sequencing: None, held: Some(held) })
}
