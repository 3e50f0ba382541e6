//! What is done once a second beside the log: lines of the journal reach the disk, and the age of
//! the certificate is measured. On a thread of its own, because a disk may hold it up: the service
//! manager hears that the loop goes round.
//!
//! Invariant: a journal that cannot be synced is said once and refuses writes by itself; nothing
//! here stops the log.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::http::App;
use crate::metrics::Synced;
use crate::systemd::Watchdog;
use crate::tls::Tls;

/// Power loss may take the lines of this time.
const ROUND: Duration = Duration::from_secs(1);

/// What is looked after.
pub struct Keeper {
    /// The server.
    pub app: Arc<App>,
    /// Its TLS, if it speaks any.
    pub tls: Option<Arc<Tls>>,
}

/// Feeds the watchdog until told to end.
pub fn feed(mut watchdog: Watchdog, end: &End) {
    while !end.pause(watchdog.every()) {
        watchdog.feed();
    }
}

/// Tells the keeper to end.
#[derive(Clone, Default)]
pub struct End(Arc<(Mutex<bool>, Condvar)>);

impl End {
    /// Ends it after one last round.
    pub fn end(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for `pause`; true when it is time to end.
    fn pause(&self, pause: Duration) -> bool {
        let ended = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(ended, pause, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Keeper {
    /// Goes round until told to end; the last round is after that.
    pub fn run(self, end: &End) {
        let mut is_synced = true;
        loop {
            let is_over = end.pause(ROUND);
            is_synced = self.sync_journal(is_synced);
            if let Some(tls) = &self.tls {
                self.app.metrics.tls(tls.not_after(), tls.reload_failures());
            }
            if is_over {
                return;
            }
        }
    }

    /// Syncs the journal; says so when that begins to fail.
    fn sync_journal(&self, was_synced: bool) -> bool {
        let began = Instant::now();
        match self.app.gate.journal.sync() {
            Ok(()) => {
                self.app.metrics.synced(Synced::Journal, began.elapsed());
                true
            }
            Err(error) => {
                if was_synced {
                    tracing::error!(%error, "the journal cannot be synced; writes are refused");
                }
                self.app.metrics.journal_failed(&error);
                false
            }
        }
    }
}
