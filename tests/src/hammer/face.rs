//! How a server is spoken to.
//!
//! | face | request | success |
//! |---|---|---|
//! | Rekor v2 | `CreateEntryRequest` in JSON | 201, `TransparencyLogEntry` with its proof |
//! | Rekor v1 | proposed entry in JSON | 201, entry with its proof and signed timestamp |
//! | `/add` | the leaf, raw | 200, the index in decimal; the proof is up to the client |
//!
//! The third is what test servers of the tile-log libraries have, which know no entries and verify
//! no signatures.

use std::fmt;

use hyper::StatusCode;

/// A way to submit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// `hashedrekord` and `dsse` 0.0.2.
    RekorV2,
    /// `hashedrekord` and `dsse` 0.0.1.
    RekorV1,
    /// The canonical bytes of the Rekor v2 entry, and nobody looks at them.
    Add,
}

impl Face {
    /// Where submissions go.
    pub fn path(self) -> &'static str {
        match self {
            Self::RekorV2 => "/api/v2/log/entries",
            Self::RekorV1 => "/api/v1/log/entries",
            Self::Add => "/add",
        }
    }

    /// What submissions say that they are.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::RekorV2 | Self::RekorV1 => "application/json",
            Self::Add => "application/octet-stream",
        }
    }

    /// The status of a success.
    pub fn success(self) -> StatusCode {
        match self {
            Self::RekorV2 | Self::RekorV1 => StatusCode::CREATED,
            Self::Add => StatusCode::OK,
        }
    }
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RekorV2 => "Rekor v2",
            Self::RekorV1 => "Rekor v1",
            Self::Add => "/add",
        })
    }
}
