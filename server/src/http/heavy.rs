//! Work that would hold up a connection thread: large submissions, searches, entry tiles.
//!
//! Invariant: a bounded number runs at once, and what waits too long for its turn is sent away.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::reply::Fault;
use crate::limits::{HEAVY_AT_ONCE_MAX, HEAVY_WAIT_MAX};

/// Runs such work on threads of its own.
#[derive(Clone)]
pub struct Heavy(Arc<Semaphore>);

impl Default for Heavy {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(HEAVY_AT_ONCE_MAX)))
    }
}

impl Heavy {
    /// Runs `work` when it is its turn.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let turn = tokio::time::timeout(HEAVY_WAIT_MAX, self.0.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Fault::unavailable("busy", "too much is asked at once; retry"));
        };
        let worked = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        worked.await.map_err(Fault::internal)
    }
}
