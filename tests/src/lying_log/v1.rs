//! The Rekor v1 face.

use treering_proto::api::v1::{
    ConsistencyProof, EntryId, InclusionProof, LogEntries, LogEntry, LogInfo, Verification, to_json,
};
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;

use super::Scene;
use super::branch::Branch;
use super::wire::{Answer, Request};

/// Where entries are submitted and found.
pub(super) const ENTRIES: &str = "/api/v1/log/entries";

/// `POST /api/v1/log/entries`.
pub(super) fn submit(scene: &mut Scene, request: &Request) -> Answer {
    let entry = match VerifiedEntry::from_v1_request(&request.body) {
        Ok(entry) => entry,
        Err(error) => return Answer::v1_error(400, "invalid-entry", &error.to_string()),
    };
    let tree_id = scene.branch.keys().identity().tree_id();
    let id = EntryId { tree_id, leaf: entry.leaf() }.to_string();
    let location = format!("{ENTRIES}/{id}");
    if scene.branch.index_of(entry.leaf()).is_some() {
        let message =
            format!("an equivalent entry already exists in the transparency log with UUID {id}");
        return Answer::v1_error(409, "duplicate", &message).header("location", location);
    }
    let mut branch = scene.branch.clone();
    let index = branch.append(&entry);
    let entries = LogEntries::from([(id.clone(), log_entry(scene, &branch, index))]);
    let answer = Answer::json(to_json(&entries)).status(201);
    scene.settle(branch);
    answer.header("etag", id).header("location", location)
}

/// `GET /api/v1/log/entries?logIndex=`.
pub(super) fn entry_by_index(scene: &Scene, request: &Request) -> Answer {
    let index = request.parameter("logIndex").and_then(|text| text.parse().ok());
    entry(scene, index)
}

/// `GET /api/v1/log/entries/{id}`.
pub(super) fn entry_by_id(scene: &Scene, id: &str) -> Answer {
    let branch = scene.v1_branch();
    let tree_id = branch.keys().identity().tree_id();
    let id = EntryId::parse(id, tree_id).ok().filter(|id| id.tree_id == tree_id);
    entry(scene, id.and_then(|id| branch.index_of(id.leaf)))
}

fn entry(scene: &Scene, index: Option<u64>) -> Answer {
    let branch = scene.v1_branch();
    let Some((index, logged)) = index.and_then(|index| Some((index, branch.logged(index)?))) else {
        // An absent entry has no body.
        let answer = Answer::v1_error(404, "no-entry", "");
        return Answer { body: Vec::new(), ..answer };
    };
    let tree_id = branch.keys().identity().tree_id();
    let id = EntryId { tree_id, leaf: logged.leaf }.to_string();
    let entries = LogEntries::from([(id, log_entry(scene, branch, index))]);
    Answer::json(to_json(&entries))
}

/// `GET /api/v1/log`.
pub(super) fn log_info(scene: &Scene) -> Answer {
    let branch = scene.v1_branch();
    let kept = branch.newest();
    Answer::json(to_json(&LogInfo {
        inactive_shards: None,
        root_hash: kept.head.root.to_hex(),
        signed_tree_head: kept.v1_note.clone(),
        tree_id: branch.keys().identity().tree_id().to_string(),
        tree_size: kept.head.size.get(),
    }))
}

/// `GET /api/v1/log/publicKey`.
pub(super) fn public_key(scene: &Scene) -> Answer {
    let pem = scene.branch.keys().identity().v1_key().to_pem();
    Answer::ok("application/x-pem-file", pem)
}

/// `GET /api/v1/log/proof?firstSize=&lastSize=`.
pub(super) fn proof(scene: &Scene, request: &Request) -> Answer {
    let branch = scene.v1_branch();
    let number = |name| request.parameter(name).and_then(|text| text.parse::<u64>().ok());
    let (first, last) = (number("firstSize").unwrap_or(1), number("lastSize").unwrap_or(0));
    if first == 0 || first > last || last > branch.size() {
        return Answer::v1_error(400, "size-beyond-log", "no such sizes");
    }
    let hashes = branch.consistency(first, last);
    Answer::json(to_json(&ConsistencyProof {
        hashes: hashes.iter().map(|hash| hash.to_hex()).collect(),
        root_hash: branch.newest().head.root.to_hex(),
    }))
}

fn log_entry(scene: &Scene, branch: &Branch, index: u64) -> LogEntry {
    let kept = branch.newest();
    let logged = branch.logged(index).expect("the caller looked");
    let (keys, size) = (branch.keys(), kept.head.size.get());
    let time = logged.time.saturating_add_signed(scene.promised_shift());
    LogEntry {
        attestation: None,
        body: to_base64(&logged.body),
        integrated_time: time,
        log_id: keys.identity().v1_log_id().to_hex(),
        log_index: index,
        verification: Verification {
            inclusion_proof: InclusionProof {
                checkpoint: kept.v1_note.clone(),
                hashes: branch.inclusion(index, size).iter().map(|hash| hash.to_hex()).collect(),
                log_index: index,
                root_hash: kept.head.root.to_hex(),
                tree_size: size,
            },
            signed_entry_timestamp: to_base64(&keys.set(&logged.body, time, index)),
        },
    }
}
