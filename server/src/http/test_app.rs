//! For unit tests: a server without listeners, in front of an empty log that nobody sequences: what
//! is submitted stays on its way until a test resolves it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hyper::header::HeaderMap;
use tempfile::TempDir;

use super::App;
use super::accept::Peer;
use super::body::Budget;
use super::gate::{Gate, Visit};
use super::guests::Guests;
use super::heavy::Heavy;
use super::offer::{Listener, Offer, WriteFaces};
use super::rates::{RateSettings, Rates};
use super::request_id::RequestId;
use super::route::Face;
use crate::access::{Access, AccessSettings, jwks};
use crate::data_directory::{JOURNAL_DIRECTORY, TOKENS_FILE};
use crate::health::Health;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::ops::init::{NewLog, init};
use crate::pool::{Listening, Pool};
use crate::restored::Heard;
use crate::startup::{self, Asked, Opened};

/// The server, and its log.
pub struct TestApp {
    _directory: TempDir,
    /// What every request may use.
    pub app: Arc<App>,
}

impl TestApp {
    /// A new log, open to everybody.
    pub fn new(is_witnessed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (data, anchor) = (directory.path().join("log"), directory.path().join("log.anchor"));
        let new = NewLog {
            data: data.clone(),
            anchor,
            url: "https://log.corp".to_owned(),
            note_key: None,
            v1_key: None,
            ml_dsa: false,
            timestamps: false,
        };
        init(&new).unwrap();
        let opened = startup::open(&data, None, Asked::default(), &Heard::default()).unwrap();
        let Opened::Log(log) = opened else { unreachable!("a new log is not behind") };
        let settings =
            AccessSettings { policy: None, tokens: data.join(TOKENS_FILE), open_writes: true };
        let access = Access::load(settings, jwks::http_client().build().unwrap()).unwrap();
        let journal = Journal::open(&data.join(JOURNAL_DIRECTORY)).unwrap();
        let (write_faces, serve_reads) = (WriteFaces::ALL, true);
        let health = Health::default();
        let app = App {
            pool: Arc::new(Pool::new(log.store.clone(), health.clone())),
            store: log.store.clone(),
            published: log.publisher.published(),
            signer: log.signer.clone(),
            identity_document: log.signer.identity_document(),
            health,
            metrics: Arc::new(Metrics::default()),
            gate: Gate::new(access, journal),
            stopping: AtomicBool::new(false),
            offer: Offer { write_faces, refuse_dsse: false, serve_reads, read_only: None },
            is_witnessed,
            needs_quorum: is_witnessed,
            heavy: Heavy::default(),
            heavy_writes: Heavy::default(),
            budget: Budget::default(),
            rates: Rates::new(RateSettings::default()),
            timestamps: None,
        };
        Self { _directory: directory, app: Arc::new(app) }
    }

    /// A visit that the gate has let in.
    pub async fn visit(&self, face: Face, listening: &Listening) -> Visit {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let guest = Guests::new(false).enter(address).unwrap().guest;
        let peer = Peer { address, listener: Listener::Main, guest, certificate: None };
        let (submitter, request) = (listening.submitter(), RequestId::next());
        let mut visit = Visit::new(self.app.clone(), Arc::new(peer), submitter, request);
        visit.enter(face, &HeaderMap::new()).await.unwrap();
        visit
    }
}
