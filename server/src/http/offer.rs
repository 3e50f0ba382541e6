//! What the server offers, and at which of its addresses: which faces take entries, and where the
//! tiles are. What is not offered is refused as the face's own servers refuse it.
//!
//! | not offered | Rekor v1 | Rekor v2 |
//! |---|---|---|
//! | entries, by a log that is read-only or frozen | 501 | 405, in plain text |
//! | entries, through this face | 501 | 405, as JSON |
//! | entries, at the address for reads | 405 | 405, as JSON |
//! | checkpoint and tiles, at the first address | | 501; at the root 404 |
//!
//! 405 and not 501 for Rekor v2, because sigstore-js tries again after every 5xx; and the message
//! in JSON where rekor-tiles has no words of its own, because sigstore-js and sigstore-python show
//! nothing else.
//!
//! Invariant: what is offered is fixed when the server starts.

use std::str::FromStr;

use hyper::StatusCode;

use super::reply::Fault;
use super::route::{Face, Route};
use super::v1;

/// One of the addresses that the server listens on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// The first one.
    Main,
    /// The one for reads alone.
    Reads,
}

/// The Rekor faces that take entries; at least one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteFaces {
    v1: bool,
    v2: bool,
}

/// Why a log takes no entries through any face, for as long as this process lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOnly {
    /// It is served so.
    Served,
    /// It will never take any again.
    Frozen,
}

/// What is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The faces that take entries.
    pub write_faces: WriteFaces,
    /// Whether Rekor v2 refuses envelopes, as rekor-tiles does since 2.3.
    pub refuse_dsse: bool,
    /// Whether checkpoint and tiles are served at the first address, too.
    pub serve_reads: bool,
    /// Why no entries are taken at all, if none are.
    pub read_only: Option<ReadOnly>,
}

/// Not a list of faces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the faces that take entries are v1, v2 or v1,v2")]
pub struct NoFaces;

impl FromStr for WriteFaces {
    type Err = NoFaces;

    fn from_str(text: &str) -> Result<Self, NoFaces> {
        let mut faces = Self { v1: false, v2: false };
        for name in text.split(',') {
            let face = match name.trim() {
                "v1" => &mut faces.v1,
                "v2" => &mut faces.v2,
                _ => return Err(NoFaces),
            };
            if std::mem::replace(face, true) {
                return Err(NoFaces);
            }
        }
        Ok(faces)
    }
}

impl WriteFaces {
    /// Every face.
    pub const ALL: Self = Self { v1: true, v2: true };

    /// Whether entries are taken through the face that defines `kind`'s version.
    pub fn take(self, is_rekor_v1: bool) -> bool {
        if is_rekor_v1 { self.v1 } else { self.v2 }
    }

    /// The name of the face that takes no entries, if one does not.
    pub fn closed(self) -> Option<&'static str> {
        match (self.v1, self.v2) {
            (false, _) => Some("Rekor v1"),
            (_, false) => Some("Rekor v2"),
            (true, true) => None,
        }
    }
}

impl ReadOnly {
    /// The stable label, in answers and in `/readyz`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Served => "read-only",
            Self::Frozen => "frozen",
        }
    }
}

impl Offer {
    /// Why `face` takes no entries, if it does not.
    pub fn refusal(&self, face: Face) -> Option<Fault> {
        let is_v1 = face == Face::V1;
        let label = match self.read_only {
            Some(read_only) => read_only.label(),
            None if self.write_faces.take(is_v1) => return None,
            None => FACE_CLOSED,
        };
        Some(match (is_v1, self.read_only) {
            (true, _) => Fault { label, ..v1::not_enabled("Create Entry") },
            (false, Some(_)) => Fault { is_plain: true, ..not_allowed(label, FROZEN_MESSAGE) },
            (false, None) => {
                let message = "this log takes no entries through Rekor v2; it takes them through \
                               Rekor v1, at /api/v1/log/entries";
                not_allowed(label, message)
            }
        })
    }

    /// Why `route` of `face` is not served at this address, if it is not.
    pub fn elsewhere(&self, listener: Listener, face: Face, route: &Route) -> Option<Fault> {
        match (listener, route) {
            (Listener::Reads, Route::V1Submit | Route::V2Submit) => {
                let message = "this address is for reads; submit entries at the log's own address";
                Some(not_allowed("reads-only", message))
            }
            (Listener::Main, Route::Checkpoint | Route::Tile(_)) if !self.serve_reads => {
                Some(match face {
                    Face::V2 => {
                        let message = format!("method {} not implemented", method(route));
                        Fault::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", message)
                    }
                    _ => Fault::not_found("no-path", "checkpoint and tiles are not served here"),
                })
            }
            _ => None,
        }
    }
}

/// rekor-tiles' name for a read.
fn method(route: &Route) -> &'static str {
    match route {
        Route::Tile(path) if path.starts_with("tile/entries/") => "GetEntryBundle",
        Route::Tile(_) => "GetTile",
        _ => "GetCheckpoint",
    }
}

fn not_allowed(label: &'static str, message: &str) -> Fault {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, label, message)
}

/// The label of a submission through a face that takes none.
const FACE_CLOSED: &str = "face-closed";

/// What rekor-tiles answers when it is read-only.
const FROZEN_MESSAGE: &str = "This log has been frozen, please switch to the latest log.";

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Offer = Offer {
        write_faces: WriteFaces::ALL,
        refuse_dsse: false,
        serve_reads: true,
        read_only: None,
    };

    #[test]
    fn faces_are_named_once_each() {
        let parse = |text: &str| text.parse::<WriteFaces>();
        assert_eq!(parse("v1,v2"), Ok(WriteFaces::ALL));
        assert_eq!(parse("v2, v1"), Ok(WriteFaces::ALL));
        assert_eq!(parse("v1"), Ok(WriteFaces { v1: true, v2: false }));
        assert_eq!(parse("v2").unwrap().closed(), Some("Rekor v1"));
        assert_eq!(WriteFaces::ALL.closed(), None);
        for text in ["", "v3", "v1,", "v1,v1", "V1", "v1 v2", "none"] {
            assert_eq!(parse(text), Err(NoFaces), "{text:?}");
        }
    }

    #[test]
    fn a_closed_face_and_a_read_only_log_are_told_apart_by_their_label() {
        assert!(OPEN.refusal(Face::V1).is_none() && OPEN.refusal(Face::V2).is_none());
        let v2_only = Offer { write_faces: "v2".parse().unwrap(), ..OPEN };
        assert!(v2_only.refusal(Face::V2).is_none());
        let refused = |offer: Offer, face| {
            let fault = offer.refusal(face).unwrap();
            (fault.status.as_u16(), fault.label, fault.is_plain)
        };
        assert_eq!(refused(v2_only, Face::V1), (501, "face-closed", false));
        let v1_only = Offer { write_faces: "v1".parse().unwrap(), ..OPEN };
        assert_eq!(refused(v1_only, Face::V2), (405, "face-closed", false));
        let frozen = Offer { read_only: Some(ReadOnly::Frozen), ..v2_only };
        assert_eq!(refused(frozen, Face::V1), (501, "frozen", false));
        assert_eq!(refused(frozen, Face::V2), (405, "frozen", true));
    }

    #[test]
    fn each_address_has_what_it_is_for() {
        let tile = Route::Tile("tile/0/000".to_owned());
        let entries = Route::Tile("tile/entries/000".to_owned());
        let elsewhere = |offer: Offer, listener, face, route: &Route| {
            let fault = offer.elsewhere(listener, face, route)?;
            Some((fault.status.as_u16(), fault.message))
        };
        for route in [&tile, &entries, &Route::Checkpoint, &Route::V1LogInfo, &Route::Metrics] {
            for listener in [Listener::Main, Listener::Reads] {
                assert_eq!(elsewhere(OPEN, listener, Face::V2, route), None);
            }
        }
        assert_eq!(elsewhere(OPEN, Listener::Main, Face::V2, &Route::V2Submit), None);
        let refused = elsewhere(OPEN, Listener::Reads, Face::V2, &Route::V2Submit).unwrap();
        assert_eq!(refused.0, 405);
        let split = Offer { serve_reads: false, ..OPEN };
        for (route, method) in [
            (&tile, "GetTile"),
            (&entries, "GetEntryBundle"),
            (&Route::Checkpoint, "GetCheckpoint"),
        ] {
            let message = format!("method {method} not implemented");
            assert_eq!(elsewhere(split, Listener::Main, Face::V2, route), Some((501, message)));
            let at_the_root = elsewhere(split, Listener::Main, Face::Native, route).unwrap();
            assert_eq!(at_the_root.0, 404);
            assert_eq!(elsewhere(split, Listener::Reads, Face::V2, route), None);
        }
        assert_eq!(elsewhere(split, Listener::Main, Face::V1, &Route::V1LogInfo), None);
    }
}
