//! A log in memory for tests: grows, proves, signs, misbehaves on request, and speaks just enough
//! HTTP for the client.

// Named, because the tests of the command line take this file from elsewhere.
#[path = "test_log/dates.rs"]
mod dates;
#[path = "test_log/whole.rs"]
mod whole;
#[path = "test_log/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;
use treering_proto::api::v1::{
    InclusionProof as ProofV1, LogEntries, LogEntry, Verification, to_json,
};
use treering_proto::api::v2::{InclusionProof, TransparencyLogEntry};
use treering_proto::append::RightEdge;
use treering_proto::checkpoint::Checkpoint;
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;
use treering_proto::facts::Fact;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::note::{
    Note, NoteKey, sign_cosignature_line, sign_ed25519_line, sign_ml_dsa_44_line,
};
use treering_proto::proof::{ProofPlan, plan_inclusion};
use treering_proto::tile::{Tile, TileKind, encode_hashes, hashes_at};
use treering_proto::tree::{LeafIndex, Node, TreeHead, TreeSize, join_subtrees, perfect_subtrees};
use treering_proto::trust::{ModelPolicy, SignerRule, TrustFile, TrustedLog, WitnessPolicy};

use crate::hash_model::{HashOptions, HashedModel, list};
use crate::transport::{Transport, TransportOptions};
use whole::{Tamper, V1Key};
use wire::{read_request, respond};

pub use dates::{Clocks, Kept};

pub const ORIGIN: &str = "log.example";

/// The time at which every entry is logged.
pub const TIME: u64 = 1_700_000_000;

/// Short pages, so that tests turn them.
const SEARCH_LIMIT_MAX: usize = 10;

const TREE: &str = "0000000000001267";

/// A log whose whole tree is in memory.
#[derive(Clone)]
pub struct TestLog {
    key: SigningKey,
    pub bodies: Vec<Vec<u8>>,
    facts: Vec<Vec<Fact>>,
    pub statements: HashMap<Hash, Vec<u8>>,
    v1_key: V1Key,
    /// Sizes of checkpoints that it lists to those who ask for all of them.
    pub listed: Vec<u64>,
    /// Times of entries that are not logged at [`TIME`].
    pub dated: HashMap<u64, u64>,
    /// When set, the size of the tree that searches claim to cover.
    pub searched: Option<u64>,
    /// Witnesses that cosign all that is served, with their times.
    pub witnesses: Vec<(u8, u64)>,
    /// Checkpoints that it shows to those who ask for older ones.
    pub kept: Vec<Kept>,
    /// When set, it dates its trees and entries.
    pub clocks: Option<Clocks>,
}

/// What a served log does wrong, each once, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Answers 503 and takes nothing.
    Busy,
    /// Takes the entry and breaks the connection.
    LoseAnswer,
    /// Breaks the connection and takes nothing.
    LoseRequest,
    /// None: a write that succeeds.
    Take,
    /// Answers with this status and takes nothing.
    Refuse(u16),
    /// Answers look-ups of entries with 403, from when all before it happened, for ever.
    HideEntries,
}

/// A log that answers over HTTP until the process ends.
pub struct Served {
    pub url: String,
    pub log: Arc<Mutex<TestLog>>,
    pub faults: Arc<Mutex<Vec<Fault>>>,
    /// Method and path of every request, and whether it refused caches.
    pub requests: Arc<Mutex<Vec<(String, bool)>>>,
    /// When set, shown instead of the newest checkpoint: to those whom caches may answer, or to
    /// all.
    pub shown: Arc<Mutex<Option<(String, bool)>>>,
    /// When set, changes answers.
    pub tamper: Arc<Mutex<Option<Tamper>>>,
}

impl TestLog {
    pub fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Self {
            key,
            bodies: Vec::new(),
            facts: Vec::new(),
            statements: HashMap::new(),
            v1_key: V1Key::new(),
            listed: Vec::new(),
            dated: HashMap::new(),
            searched: None,
            witnesses: Vec::new(),
            kept: Vec::new(),
            clocks: None,
        }
    }

    /// A log with `count` entries that nobody reads.
    pub fn filled(seed: u8, count: usize) -> Self {
        let mut log = Self::new(seed);
        for at in 0..count {
            log.append(format!("filler {at}").into_bytes());
        }
        log
    }

    pub fn append(&mut self, body: Vec<u8>) -> LeafIndex {
        self.bodies.push(body);
        self.facts.push(Vec::new());
        LeafIndex::new(self.bodies.len() as u64 - 1).unwrap()
    }

    /// Takes an entry that passed the admission of a log, with what searches find it by.
    pub fn admit(&mut self, verified: &VerifiedEntry) -> LeafIndex {
        self.bodies.push(verified.body().to_vec());
        self.facts.push(verified.facts().to_vec());
        if let Some(statement) = verified.statement() {
            self.statements.insert(statement.payload_hash, statement.payload.clone());
        }
        LeafIndex::new(self.bodies.len() as u64 - 1).unwrap()
    }

    pub fn note_key(&self) -> NoteKey {
        NoteKey::ed25519(ORIGIN, self.key.verifying_key().as_bytes()).unwrap()
    }

    pub fn size(&self) -> TreeSize {
        TreeSize::new(self.bodies.len() as u64).unwrap()
    }

    pub fn head(&self, size: TreeSize) -> TreeHead {
        let roots: Vec<Hash> =
            perfect_subtrees(0, size.get()).map(|node| self.node(node)).collect();
        TreeHead { size, root: join_subtrees(&roots) }
    }

    /// The checkpoint of `size`, cosigned by witnesses with these seeds at these times, and by the
    /// log if it has a clock.
    pub fn checkpoint(&self, size: TreeSize, witnesses: &[(u8, u64)]) -> String {
        let head = self.head(size);
        let text = Checkpoint { origin: ORIGIN.to_owned(), head, extensions: Vec::new() }.format();
        let mut signatures = vec![sign_ed25519_line(ORIGIN, &self.key, &text)];
        if let Some(clocks) = &self.clocks {
            let time = clocks.cosigned;
            signatures.push(sign_ml_dsa_44_line(ORIGIN, clocks.own(), ORIGIN, head, time));
        }
        for (seed, time) in witnesses {
            let key = SigningKey::from_bytes(&[*seed; 32]);
            signatures.push(sign_cosignature_line("w.example", &key, &text, *time));
        }
        Note { text, signatures }.format()
    }

    pub fn entry(&self, index: LeafIndex, witnesses: &[(u8, u64)]) -> TransparencyLogEntry {
        let size = self.size();
        let plan = plan_inclusion(index, size).unwrap();
        TransparencyLogEntry {
            log_index: index,
            log_id: self.note_key().key_id_full(),
            kind: "dsse".to_owned(),
            kind_version: "0.0.1".to_owned(),
            integrated_time: 0,
            inclusion_promise: None,
            inclusion_proof: InclusionProof {
                log_index: index,
                tree_size: size,
                root_hash: self.head(size).root,
                hashes: self.build(&plan),
                checkpoint: self.checkpoint(size, witnesses),
            },
            canonicalized_body: self.bodies[index.get() as usize].clone(),
        }
    }

    /// A trust file for this log that accepts `signers`; witnesses are given by seed, and all
    /// needed.
    pub fn trust(&self, url: &str, signers: Vec<SignerRule>, witnesses: &[u8]) -> TrustFile {
        let log = TrustedLog {
            url: url.to_owned(),
            origin: ORIGIN.to_owned(),
            keys: [self.note_key()]
                .into_iter()
                .chain(self.clocks.iter().flat_map(Clocks::keys))
                .collect(),
            identity: self.identity(),
        };
        let witness_policy = (!witnesses.is_empty()).then(|| {
            let mut text = String::new();
            let mut names = Vec::new();
            for seed in witnesses {
                let key = SigningKey::from_bytes(&[*seed; 32]);
                let key = NoteKey::cosignature("w.example", key.verifying_key().as_bytes());
                text.push_str(&format!("witness w{seed} {}\n", key.unwrap().to_vkey()));
                names.push(format!("w{seed}"));
            }
            text.push_str(&format!("group g all {}\nquorum g\n", names.join(" ")));
            WitnessPolicy::parse(text, &log).unwrap()
        });
        TrustFile {
            log,
            floor: None,
            witness_policy,
            max_checkpoint_age: None,
            certificate_authorities: Vec::new(),
            timestamp_authorities: Vec::new(),
            signers,
            model_policy: ModelPolicy::default(),
        }
    }

    pub fn serve(self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let served = Served {
            url: format!("http://{}", listener.local_addr().unwrap()),
            log: Arc::new(Mutex::new(self)),
            faults: Arc::default(),
            requests: Arc::default(),
            shown: Arc::default(),
            tamper: Arc::default(),
        };
        let shared = served.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                if let Some(answer) = shared.answer(&mut socket) {
                    socket.write_all(&answer).unwrap();
                }
            }
        });
        served
    }

    fn node(&self, node: Node) -> Hash {
        let from = (node.index << node.level) as usize;
        let leaves: Vec<Hash> = self.bodies[from..from + (1 << node.level)]
            .iter()
            .map(|body| hash_leaf(body))
            .collect();
        treering_proto::tile::perfect_root(&leaves)
    }

    fn build(&self, plan: &ProofPlan) -> Vec<Hash> {
        let hashes: Vec<Hash> = plan.nodes().map(|node| self.node(node)).collect();
        plan.build(&hashes)
    }

    fn tile(&self, tile: Tile) -> Option<Vec<u8>> {
        let TileKind::Hashes(level) = tile.kind else { return None };
        if !tile.is_within(self.size()) {
            return None;
        }
        let first = tile.index * 256;
        assert!(first + tile.width <= hashes_at(level, self.size()));
        let hash = |at| self.node(Node { level: level * 8, index: at });
        Some(encode_hashes(&(first..first + tile.width).map(hash).collect::<Vec<_>>()))
    }

    fn v1(&self, index: usize) -> Vec<u8> {
        let body = &self.bodies[index];
        let entry = LogEntry {
            attestation: None,
            body: to_base64(body),
            integrated_time: self.clocks.as_ref().map_or(TIME, |clocks| clocks.promised),
            log_id: "not read".to_owned(),
            log_index: index as u64,
            verification: Verification {
                inclusion_proof: ProofV1 {
                    checkpoint: "not read".to_owned(),
                    hashes: Vec::new(),
                    log_index: index as u64,
                    root_hash: String::new(),
                    tree_size: self.size().get(),
                },
                signed_entry_timestamp: self
                    .clocks
                    .as_ref()
                    .map(|clocks| to_base64(&clocks.set(body, index as u64)))
                    .unwrap_or_default(),
            },
        };
        to_json(&LogEntries::from([(format!("{TREE}{}", hash_leaf(body)), entry)]))
    }

    fn search(&self, query: &str) -> Vec<u8> {
        let mut found: Vec<usize> = (0..self.bodies.len()).collect();
        let (mut limit, mut newest, mut cursor) = (100, true, None);
        for pair in query.split('&') {
            let (tag, value) = pair.split_once('=').unwrap();
            // The only characters that these tests escape.
            let value = value.replace("%3A", ":").replace("%2F", "/");
            match tag {
                "limit" => limit = value.parse().unwrap(),
                "cursor" => cursor = value.parse().ok(),
                "order" => newest = value == "newest",
                _ => found.retain(|at| {
                    let has = |f: &Fact| f.tag.name() == tag && f.value == value.as_bytes();
                    self.facts[*at].iter().any(has)
                }),
            }
        }
        if newest {
            found.reverse();
        }
        found.retain(|at| cursor.is_none_or(|from| if newest { *at <= from } else { *at >= from }));
        let next = found.get(limit.min(SEARCH_LIMIT_MAX)).map(ToString::to_string);
        found.truncate(limit.min(SEARCH_LIMIT_MAX));
        let hits: Vec<_> = found
            .into_iter()
            .map(|at| {
                let id = format!("{TREE}{}", hash_leaf(&self.bodies[at]));
                serde_json::json!({"index": at.to_string(), "entryId": id, "kind": "dsse",
                    "version": "0.0.1", "time": TIME})
            })
            .collect();
        let size = self.searched.unwrap_or(self.size().get()).to_string();
        serde_json::json!({"treeSize": size, "entries": hits, "next": next})
            .to_string()
            .into_bytes()
    }
}

impl Clone for Served {
    fn clone(&self) -> Self {
        Self {
            url: self.url.clone(),
            log: self.log.clone(),
            faults: self.faults.clone(),
            requests: self.requests.clone(),
            shown: self.shown.clone(),
            tamper: self.tamper.clone(),
        }
    }
}

impl Served {
    pub fn transport(&self) -> Transport {
        Transport::new(&self.url, &TransportOptions::default()).unwrap()
    }

    pub fn trust(&self, signers: Vec<SignerRule>) -> TrustFile {
        self.log.lock().unwrap().trust(&self.url, signers, &[])
    }

    /// Paths that were asked for, with the method.
    pub fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }

    fn answer(&self, socket: &mut TcpStream) -> Option<Vec<u8>> {
        let (head, body) = read_request(socket)?;
        let mut line = head.split(' ');
        let (method, target) = (line.next()?.to_owned(), line.next()?.to_owned());
        let fresh = head.to_ascii_lowercase().contains("cache-control: no-cache");
        self.requests.lock().unwrap().push((format!("{method} {target}"), fresh));
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if path == "/api/treering/v1/statements" {
            let answer = self.log.lock().unwrap().statements_answer(&body);
            return Some(self.respond(&format!("{method} {target}"), Some(answer)));
        }
        if method == "POST" {
            return self.post(path, &body);
        }
        let hidden = self.faults.lock().unwrap().first() == Some(&Fault::HideEntries);
        if hidden && path.contains("/entries/") {
            return Some(respond(403, "", b""));
        }
        let log = self.log.lock().unwrap();
        if path == "/checkpoint" {
            let shown = self.shown.lock().unwrap();
            let text = match &*shown {
                Some((text, always)) if *always || !fresh => text.clone(),
                _ => log.checkpoint(log.size(), &log.witnesses),
            };
            return Some(self.respond(&format!("{method} {target}"), Some(text.into_bytes())));
        }
        let body = if let Some(index) = path.strip_prefix("/api/treering/v1/entries/") {
            let index = LeafIndex::new(index.parse().ok()?)?;
            log.size().contains(index).then(|| log.entry(index, &log.witnesses).to_json())
        } else if let Some(id) = path.strip_prefix("/api/v1/log/entries/") {
            let leaf = |body: &Vec<u8>| hash_leaf(body).to_hex();
            let at = log.bodies.iter().position(|body| id.ends_with(&leaf(body)));
            at.map(|at| log.v1(at))
        } else if path == "/api/treering/v1/search" {
            Some(log.search(query))
        } else if let Some(index) = query.strip_prefix("around=") {
            log.around(index.parse().ok()?)
        } else if let Some(answer) = log.whole(path, query) {
            Some(answer)
        } else {
            Tile::parse_path(&path[1..]).ok().and_then(|tile| log.tile(tile))
        };
        Some(self.respond(&format!("{method} {target}"), body))
    }

    /// The answer, changed if somebody asked for that.
    fn respond(&self, line: &str, body: Option<Vec<u8>>) -> Vec<u8> {
        let tamper = self.tamper.lock().unwrap();
        let body = match &*tamper {
            Some(tamper) => body.and_then(|body| tamper(line, body)),
            None => body,
        };
        match body {
            Some(body) => respond(200, "", &body),
            None => respond(404, "", b""),
        }
    }

    fn post(&self, path: &str, body: &[u8]) -> Option<Vec<u8>> {
        let mut faults = self.faults.lock().unwrap();
        let fault = (!faults.is_empty()).then(|| faults.remove(0));
        match fault {
            Some(Fault::Busy) => return Some(respond(503, "Retry-After: 0\r\n", b"")),
            Some(Fault::LoseRequest) => return None,
            Some(Fault::Refuse(status)) => return Some(respond(status, "", b"")),
            Some(_) | None => {}
        }
        let verified = match path {
            "/api/v2/log/entries" => VerifiedEntry::from_v2_request(body),
            _ => VerifiedEntry::from_v1_request(body),
        };
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => {
                let json = serde_json::json!({"code": 400, "message": error.to_string()});
                return Some(respond(400, "", json.to_string().as_bytes()));
            }
        };
        let mut log = self.log.lock().unwrap();
        if log.bodies.iter().any(|body| body == verified.body()) {
            let location = format!("Location: /api/v1/log/entries/{TREE}{}\r\n", verified.leaf());
            return Some(respond(409, &location, b"{}"));
        }
        let at = log.admit(&verified).get() as usize;
        (fault != Some(Fault::LoseAnswer)).then(|| respond(201, "", &log.v1(at)))
    }
}

/// The files of a directory, hashed.
pub fn hashed(path: &std::path::Path, ignore: &[&str]) -> HashedModel {
    let ignore = ignore.iter().map(|path| (*path).to_owned()).collect();
    let options = HashOptions { ignore, allow_symlinks: false };
    list(path, &options).unwrap().hash(&options, &|_| ()).unwrap()
}

/// The tree must not depend on how this file computes it.
#[test]
fn the_test_log_has_the_tree_of_the_real_one() {
    for count in [0, 1, 2, 255, 256, 257, 600] {
        let log = TestLog::filled(1, count);
        let leaves: Vec<Hash> = log.bodies.iter().map(|body| hash_leaf(body)).collect();
        assert_eq!(log.head(log.size()), RightEdge::EMPTY.extend(&leaves).unwrap().head);
    }
}
