//! Whether the log that is served gives timestamps.

use super::{ServeError, Service};
use crate::clock;
use crate::http::App;
use crate::timestamp::Authority;

/// Who gives timestamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampSource {
    /// The log's own authority.
    Own,
    /// Nobody.
    Off,
}

impl Service {
    /// Who signs timestamps, if anybody.
    pub(super) fn authority(&self) -> Result<Option<Authority>, ServeError> {
        if self.timestamps == Some(TimestampSource::Off) {
            return Ok(None);
        }
        match (Authority::load(&self.data)?, self.timestamps) {
            (None, Some(_)) => Err(ServeError::NoAuthority { data: self.data.clone() }),
            (authority, _) => Ok(authority),
        }
    }
}

/// Says who gives timestamps, and until when.
pub(super) fn announce(app: &App) {
    let Some(timestamps) = &app.timestamps else { return };
    let authority = &timestamps.authority;
    app.metrics.timestamp_expiry(authority.not_after());
    let subject = authority.subject();
    match authority.check_validity(clock::read().wall_ms / 1000) {
        Ok(()) => tracing::info!(subject, "timestamps are given to everybody"),
        Err(why) => tracing::error!(subject, %why, "no timestamps are given"),
    }
}
