//! The C2SP face, the log's own face, and submissions of Rekor v2.

use std::collections::BTreeMap;

use serde_json::Value;
use treering_proto::api::v1::EntryId;
use treering_proto::api::v2::{InclusionProof, TransparencyLogEntry};
use treering_proto::encoding::{from_hex_lower, to_base64};
use treering_proto::entry::{EntryKind, VerifiedEntry};
use treering_proto::facts::{Tag, search_key};
use treering_proto::hash::Hash;
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, encode_entry, encode_hashes};
use treering_proto::tree::LeafIndex;

use super::branch::{Branch, Kept};
use super::wire::{Answer, Request};
use super::{Lie, Scene};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// `GET /checkpoint`.
pub(super) fn checkpoint(scene: &Scene) -> Answer {
    Answer::ok(TEXT, scene.shown_note())
}

/// `POST /add`: the body is the leaf, the answer its index.
pub(super) fn add(scene: &mut Scene, request: &Request) -> Answer {
    match scene.branch.append_raw(&request.body) {
        Ok(index) => Answer::ok(TEXT, index.to_string()),
        Err(error) => Answer::error(400, "malformed-entry", &error.to_string()),
    }
}

/// `GET /api/treering/v1/identity`.
pub(super) fn identity(scene: &Scene) -> Answer {
    Answer::ok(TEXT, scene.branch.keys().document())
}

/// `GET /tile/...`.
pub(super) fn tile(scene: &Scene, path: &str) -> Answer {
    let Ok(tile) = Tile::parse_path(path) else {
        let message = "not a tile path of C2SP tlog-tiles";
        return Answer::error(400, "malformed-tile-path", message);
    };
    let bytes = match tile.kind {
        TileKind::Hashes(level) => hash_tile(scene, level, tile),
        TileKind::Entries => entry_tile(scene, tile),
    };
    match bytes {
        Some(bytes) => Answer::ok(BYTES, bytes),
        None => Answer::error(404, "no-tile", "the published tree does not have this tile"),
    }
}

fn hash_tile(scene: &Scene, level: u8, tile: Tile) -> Option<Vec<u8>> {
    let mut hashes = scene.branch.hash_tile(tile)?;
    let is_lied_about = scene.lies.iter().any(|lie| match lie {
        Lie::HashTile { level: at, index } => (*at, *index) == (level, tile.index),
        Lie::PartialTiles => tile.width < TILE_WIDTH,
        _ => false,
    });
    if is_lied_about {
        hashes[0].0[0] ^= 1;
    }
    Some(encode_hashes(&hashes))
}

fn entry_tile(scene: &Scene, tile: Tile) -> Option<Vec<u8>> {
    let first = tile.index * TILE_WIDTH;
    let mut bytes = Vec::new();
    for index in first..first + tile.width {
        encode_entry(scene.shown_body(index, true)?, &mut bytes);
    }
    Some(bytes)
}

/// `GET /api/treering/v1/entries/{index}`.
pub(super) fn entry(scene: &Scene, index: &str) -> Answer {
    let number = index.parse().ok().filter(|number: &u64| number.to_string() == index);
    let Some(number) = number else {
        return Answer::error(400, "malformed-index", "an index is a decimal number");
    };
    let size = scene.branch.size();
    if number >= size {
        let message = format!("the log has {size} entries, none at {number}");
        return Answer::error(404, "no-entry-at-index", &message);
    }
    Answer::json(log_entry(scene, &scene.branch, number).to_json())
}

/// The entry at `index` of `branch` with its proof, as the log shows it.
fn log_entry(scene: &Scene, branch: &Branch, index: u64) -> TransparencyLogEntry {
    let head = branch.newest().head;
    let logged = branch.logged(index).expect("the caller looked");
    let body = scene.shown_body(index, false).unwrap_or(&logged.body);
    let kind = EntryKind::of_body(body).unwrap_or(logged.kind);
    let note = match scene.lies.iter().any(|lie| matches!(lie, Lie::Checkpoint(_))) {
        true => scene.shown_note(),
        false => &branch.newest().note,
    };
    let at = LeafIndex::new(index).expect("a small index");
    TransparencyLogEntry {
        log_index: at,
        log_id: branch.keys().identity().note_key().key_id_full(),
        kind: kind.kind().to_owned(),
        kind_version: kind.version().to_owned(),
        integrated_time: 0,
        inclusion_promise: None,
        inclusion_proof: InclusionProof {
            log_index: at,
            tree_size: head.size,
            root_hash: head.root,
            hashes: branch.inclusion(index, head.size.get()),
            checkpoint: note.to_owned(),
        },
        canonicalized_body: body.to_vec(),
    }
}

/// `POST /api/v2/log/entries`.
pub(super) fn submit(scene: &mut Scene, request: &Request) -> Answer {
    let entry = match VerifiedEntry::from_v2_request(&request.body) {
        Ok(entry) => entry,
        Err(error) => return Answer::error(400, "invalid-entry", &error.to_string()),
    };
    if let Some(index) = scene.branch.index_of(entry.leaf()) {
        let message = format!(
            "an equivalent entry already exists in the transparency log with index {index}"
        );
        let answer = Answer::error(409, "duplicate", &message);
        return answer.header("x-log-index", index.to_string());
    }
    let mut branch = scene.branch.clone();
    let index = branch.append(&entry);
    let answer = Answer::json(log_entry(scene, &branch, index).to_json()).status(201);
    scene.settle(branch);
    answer
}

/// `GET /api/treering/v1/search`. The members stand in the order in which the server writes them.
pub(super) fn search(scene: &Scene, request: &Request) -> Answer {
    let mut keys = Vec::new();
    let (mut limit, mut cursor, mut is_newest) = (LIMIT_DEFAULT, None, true);
    for (name, value) in &request.query {
        match (name.as_str(), value.parse::<u64>()) {
            ("limit", Ok(number)) => limit = (number as usize).clamp(1, LIMIT_MAX),
            ("cursor", Ok(number)) => cursor = Some(number),
            ("order", _) if value == "newest" || value == "oldest" => is_newest = value == "newest",
            (name, _) => match Tag::from_name(name) {
                Some(tag) => keys.push(search_key(tag, value.as_bytes())),
                None => return Answer::error(400, "malformed-parameter", name),
            },
        }
    }
    keys.sort();
    keys.dedup();
    let Some((first, others)) = keys.split_first() else {
        return Answer::error(400, "search-terms", "give at least one fact");
    };
    let mut candidates: Vec<u64> = (0..scene.branch.size())
        .filter(|index| has(scene, *index, std::slice::from_ref(first)))
        .filter(|index| !scene.lies.iter().any(|lie| matches!(lie, Lie::Hide(at) if at == index)))
        .collect();
    if is_newest {
        candidates.reverse();
    }
    candidates.retain(|index| match (cursor, is_newest) {
        (None, _) => true,
        (Some(cursor), true) => *index <= cursor,
        (Some(cursor), false) => *index >= cursor,
    });
    let (mut found, mut next) = (Vec::new(), None);
    for index in candidates {
        if found.len() == limit {
            next = Some(index.to_string());
            break;
        }
        if has(scene, index, others) {
            found.push(hit(scene, index));
        }
    }
    let next = serde_json::to_string(&next).expect("text or nothing");
    let size = scene.branch.size();
    let hits = found.join(",");
    Answer::json(format!("{{\"treeSize\":\"{size}\",\"entries\":[{hits}],\"next\":{next}}}"))
}

fn has(scene: &Scene, index: u64, keys: &[Hash]) -> bool {
    let logged = scene.branch.logged(index);
    logged.is_some_and(|logged| keys.iter().all(|key| logged.search_keys.contains(key)))
}

fn hit(scene: &Scene, index: u64) -> String {
    let logged = scene.branch.logged(index).expect("a candidate is an entry");
    let tree_id = scene.branch.keys().identity().tree_id();
    let id = EntryId { tree_id, leaf: logged.leaf };
    let (kind, version, time) = (logged.kind.kind(), logged.kind.version(), logged.time);
    format!(
        "{{\"index\":\"{index}\",\"entryId\":\"{id}\",\"kind\":\"{kind}\",\
         \"version\":\"{version}\",\"time\":{time}}}"
    )
}

/// `GET /api/treering/v1/statements/{payload hash}`.
pub(super) fn statement(scene: &Scene, hash: &str) -> Answer {
    let Some(parsed) = parse_hash(hash) else {
        let message = "a payload hash is 64 lower-case hexadecimal digits";
        return Answer::error(400, "malformed-hash", message);
    };
    match find_statement(scene, parsed) {
        Some(payload) => Answer::ok(IN_TOTO, payload),
        None => Answer::error(404, "no-statement", "no published entry came with this statement"),
    }
}

/// `POST /api/treering/v1/statements`.
pub(super) fn statements(scene: &Scene, request: &Request) -> Answer {
    let request: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let hashes: Vec<&str> =
        request["hashes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
    for text in hashes {
        let Some(hash) = parse_hash(text) else {
            let message = "a payload hash is 64 lower-case hexadecimal digits";
            return Answer::error(400, "malformed-hash", message);
        };
        match find_statement(scene, hash) {
            Some(payload) => {
                found.insert(text, to_base64(payload));
            }
            None => missing.push(text),
        }
    }
    let found = serde_json::to_string(&found).expect("text");
    let missing = serde_json::to_string(&missing).expect("text");
    Answer::json(format!("{{\"statements\":{found},\"missing\":{missing},\"left_out\":[]}}"))
}

fn find_statement(scene: &Scene, hash: Hash) -> Option<&[u8]> {
    if scene.lies.iter().any(|lie| matches!(lie, Lie::Withhold(withheld) if *withheld == hash)) {
        return None;
    }
    let statements = scene.branch.entries().iter().filter_map(|logged| logged.statement.as_ref());
    let mut named = statements.filter(|statement| statement.payload_hash == hash);
    named.next().map(|statement| statement.payload.as_slice())
}

fn parse_hash(text: &str) -> Option<Hash> {
    from_hex_lower(text).and_then(|bytes| Hash::from_slice(&bytes))
}

/// `GET /api/treering/v1/checkpoints?around=` and `?from=&limit=`.
pub(super) fn checkpoints(scene: &Scene, request: &Request) -> Answer {
    let number = |name| request.parameter(name).map(|text| text.parse::<u64>().ok());
    let size = scene.branch.size();
    let kept = scene.branch.all_kept();
    let json = |kept: Option<&Kept>| kept.map_or("null".to_owned(), |kept| shown(scene, kept));
    let limit = number("limit").unwrap_or(Some(LIMIT_DEFAULT as u64));
    match (number("around"), number("from"), limit) {
        (Some(Some(index)), None, _) if index < size => {
            let before = json(kept.range(..=index).next_back().map(|(_, kept)| kept));
            let after = json(kept.range(index + 1..).next().map(|(_, kept)| kept));
            Answer::json(format!(
                "{{\"treeSize\":\"{size}\",\"before\":{before},\"after\":{after}}}"
            ))
        }
        (Some(Some(index)), None, _) => {
            let message = format!("the log has {size} entries, none at {index}");
            Answer::error(404, "no-entry-at-index", &message)
        }
        (None, Some(Some(from)), Some(limit)) => {
            let limit = (limit as usize).clamp(1, LIMIT_MAX);
            let mut rest = kept.range(from..).map(|(_, kept)| kept);
            let page: Vec<String> =
                rest.by_ref().take(limit).map(|kept| json(Some(kept))).collect();
            let next = rest.next().map(|kept| format!("\"{}\"", kept.head.size));
            let (page, next) = (page.join(","), next.unwrap_or("null".to_owned()));
            Answer::json(format!(
                "{{\"treeSize\":\"{size}\",\"checkpoints\":[{page}],\"next\":{next}}}"
            ))
        }
        _ => Answer::error(400, "malformed-parameter", "say around=INDEX, or from=SIZE"),
    }
}

/// A kept pair of notes; the newest as the log shows it now.
fn shown(scene: &Scene, kept: &Kept) -> String {
    let is_newest = kept.head.size.get() == scene.branch.size();
    let note = if is_newest { scene.shown_note() } else { &kept.note };
    let v1 = scene.v1_branch().kept(kept.head.size.get()).unwrap_or(kept);
    let (note, v1_note) = (Value::from(note), Value::from(v1.v1_note.as_str()));
    let (size, time) = (kept.head.size, kept.time);
    format!("{{\"size\":\"{size}\",\"time\":{time},\"note\":{note},\"v1Note\":{v1_note}}}")
}
