//! The workload of every scenario: signers who submit and go on after a refusal, and a reader who
//! looks at checkpoints, tiles and answers of the past. It does not know what is done to the log.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{SystemTime, UNIX_EPOCH};

use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::encoding::from_hex_lower;
use treering_proto::hash::Hash;
use treering_proto::note::Note;
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind};
use treering_tests::http::{Connection, Response};
use treering_tests::load::any_submission;
use treering_tests::submission::{Face, Signer, Submission};

use crate::record::{Ack, Asked, Record, Said};

/// How much is asked.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Signers at once.
    pub(crate) signers: u64,
    /// Submissions of each, at most.
    pub(crate) each: u64,
    /// Refusals after which a signer gives up.
    pub(crate) patience: u64,
}

/// What can be seen of a load while it runs.
pub(crate) struct Watch {
    /// Hears of each success.
    pub(crate) acknowledged: Sender<()>,
    /// Submissions that are sent and not answered.
    pub(crate) in_flight: AtomicU64,
}

impl Watch {
    /// A watch, and a receiver that hears of each success.
    pub(crate) fn new() -> (Self, std::sync::mpsc::Receiver<()>) {
        let (acknowledged, heard) = std::sync::mpsc::channel();
        (Self { acknowledged, in_flight: AtomicU64::new(0) }, heard)
    }
}

impl Load {
    /// Runs until every signer has enough, or the server is gone.
    pub(crate) fn run(self, address: SocketAddr, watch: &Watch) -> Record {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(address, &is_over));
            let sign = || scope.spawn(move || self.sign(address, watch));
            let signers: Vec<_> = (0..self.signers).map(|_| sign()).collect();
            let mut record = Record::default();
            for signer in signers {
                record.asked.extend(signer.join().expect("a signer ends"));
            }
            is_over.store(true, Ordering::SeqCst);
            record.add(reader.join().expect("the reader ends"));
            record
        })
    }

    fn sign(self, address: SocketAddr, watch: &Watch) -> Vec<Asked> {
        let signer = Signer::new();
        let mut asked = Vec::new();
        let Ok(mut connection) = Connection::open(address) else { return asked };
        let mut refused = 0;
        while (asked.len() as u64) < self.each && refused < self.patience {
            watch.in_flight.fetch_add(1, Ordering::SeqCst);
            let now = ask(&mut connection, any_submission(&signer));
            watch.in_flight.fetch_sub(1, Ordering::SeqCst);
            let is_unknown = matches!(now.said, Said::Unknown);
            match now.said {
                Said::Logged(_) => {
                    let _ = watch.acknowledged.send(());
                }
                _ => refused += 1,
            }
            asked.push(now);
            if is_unknown {
                match Connection::open(address) {
                    Ok(again) => connection = again,
                    Err(_) => break,
                }
            }
        }
        asked
    }
}

/// Submits, and remembers what was said.
pub(crate) fn ask(connection: &mut Connection, submission: Submission) -> Asked {
    let from_ms = now_ms();
    let answer = connection.post(submission.face.path(), &submission.request);
    let to_ms = now_ms();
    let said = match answer {
        Ok(response) => said(connection, submission.face, &response),
        Err(_) => Said::Unknown,
    };
    Asked { submission, from_ms, to_ms, said }
}

fn said(connection: &mut Connection, face: Face, response: &Response) -> Said {
    let ack = match (response.status, face) {
        (201, Face::V1) => ack_v1(response),
        (201, Face::V2) => ack_v2(response),
        (409, Face::V2) => {
            let index = response.header("x-log-index").and_then(|text| text.parse().ok());
            return index.map_or_else(|| garbled(response), Said::Duplicate);
        }
        (409, Face::V1) => {
            let location = response.header("location").unwrap_or_default();
            let found = connection.get(location).ok();
            let index = found.and_then(|found| ack_v1(&found)).map(|ack| ack.index);
            return index.map_or_else(|| garbled(response), Said::Duplicate);
        }
        _ => {
            let label = response.header("treering-error").unwrap_or_default().to_owned();
            return Said::Refused(response.status, label);
        }
    };
    ack.map_or_else(|| garbled(response), Said::Logged)
}

fn garbled(response: &Response) -> Said {
    Said::Refused(response.status, format!("not an answer: {:?}", response.text()))
}

fn ack_v1(response: &Response) -> Option<Ack> {
    let answer: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
    let entry = answer.as_object()?.values().next()?;
    let proof = entry.pointer("/verification/inclusionProof")?;
    let root = hash(&proof["rootHash"])?;
    let hashes = proof["hashes"].as_array()?.iter();
    let hashes: Option<Vec<Hash>> = hashes.map(hash).collect();
    Some(Ack {
        index: entry["logIndex"].as_u64()?,
        time: Some(entry["integratedTime"].as_u64()?),
        note: proof["checkpoint"].as_str()?.to_owned(),
        proof: (proof["treeSize"].as_u64()?, root, hashes?),
    })
}

fn hash(hex: &serde_json::Value) -> Option<Hash> {
    Hash::from_slice(&from_hex_lower(hex.as_str()?)?)
}

fn ack_v2(response: &Response) -> Option<Ack> {
    let entry = TransparencyLogEntry::parse(&response.body).ok()?;
    let proof = entry.inclusion_proof;
    Some(Ack {
        index: entry.log_index.get(),
        time: None,
        note: proof.checkpoint,
        proof: (proof.tree_size.get(), proof.root_hash, proof.hashes),
    })
}

/// Looks at the newest checkpoint and the growing tiles under it, again and again.
fn read(address: SocketAddr, is_over: &AtomicBool) -> Record {
    let mut record = Record::default();
    let Ok(mut connection) = Connection::open(address) else { return record };
    while !is_over.load(Ordering::SeqCst) {
        let Ok(response) = connection.get("/checkpoint") else { break };
        let note = response.text();
        let Some(size) = size_of(&note).filter(|_| response.status == 200) else { continue };
        if record.notes.last() != Some(&note) {
            record.notes.push(note);
        }
        if size == 0 {
            continue;
        }
        let index = (size - 1) / TILE_WIDTH;
        let width = size - index * TILE_WIDTH;
        let tile = Tile { kind: TileKind::Hashes(0), index, width };
        let path = tile.path();
        let Ok(response) = connection.get(&format!("/{path}")) else { break };
        if response.status == 200 {
            record.tile(path, response.body);
        }
    }
    record
}

/// The size in a checkpoint, whoever signed it.
fn size_of(note: &str) -> Option<u64> {
    Note::parse(note.as_bytes()).ok()?.text.lines().nth(1)?.parse().ok()
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
