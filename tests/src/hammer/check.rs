//! Whether what came back is right: a fast wrong answer is no figure.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use treering_proto::api::v1::{LogEntries, LogEntry, set_payload};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::checkpoint::parse_decimal;
use treering_proto::encoding::{from_base64, from_hex_lower};
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::proof::check_inclusion;
use treering_proto::tile::{TILE_WIDTH, decode_entries, decode_hashes, perfect_root};
use treering_proto::tree::{LeafIndex, TreeHead};

use super::face::Face;
use super::log_key::LogKey;
use super::measured::Kept;

/// An entry that a log proved to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved {
    /// Where it stands, as the answer says it.
    pub index: LeafIndex,
    /// Its canonical bytes.
    pub body: Vec<u8>,
    /// The tree that the proof is for.
    pub head: TreeHead,
}

/// How many answers are right.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verdict {
    /// Right ones.
    pub verified: usize,
    /// Wrong ones.
    pub wrong: usize,
    /// What is wrong with the first of them.
    pub first_wrong: Option<String>,
}

impl Verdict {
    /// Counts the answer to request `number`.
    pub fn add(&mut self, number: usize, checked: anyhow::Result<()>) {
        match checked {
            Ok(()) => self.verified += 1,
            Err(error) => {
                self.wrong += 1;
                let first = || format!("the answer to request {number}: {error:#}");
                self.first_wrong.get_or_insert_with(first);
            }
        }
    }
}

/// Checks that every answer in `kept` proves that the log has what its request among `requests`
/// asked to log.
pub fn check_kept(face: Face, key: &LogKey, requests: &[Bytes], kept: &[Kept]) -> Verdict {
    let mut verdict = Verdict::default();
    for kept in kept {
        let checked = match (requests.get(kept.number), face) {
            (Some(request), Face::RekorV2) => check_v2(key, request, &kept.body).map(|_| ()),
            (Some(request), Face::RekorV1) => check_v1(key, request, &kept.body).map(|_| ()),
            (Some(_), Face::Add) => Err(anyhow::anyhow!("an index alone proves nothing")),
            (None, _) => Err(anyhow::anyhow!("nothing like it was sent")),
        };
        verdict.add(kept.number, checked);
    }
    verdict
}

/// Checks that `answer` proves that the log has what `request` asked to log, through Rekor v2.
///
/// # Errors
/// What is wrong with it.
pub fn check_v2(key: &LogKey, request: &[u8], answer: &[u8]) -> anyhow::Result<Proved> {
    let wanted = VerifiedEntry::from_v2_request(request)?;
    let proved = open_v2(key, answer)?;
    ensure!(proved.body == wanted.body(), "the answer is about another entry");
    Ok(proved)
}

/// The same through Rekor v1, the signed entry timestamp included where its key is known.
///
/// # Errors
/// What is wrong with it.
pub fn check_v1(key: &LogKey, request: &[u8], answer: &[u8]) -> anyhow::Result<Proved> {
    let wanted = VerifiedEntry::from_v1_request(request)?;
    let proved = open_v1(key, answer)?;
    ensure!(proved.body == wanted.body(), "the answer is about another entry");
    Ok(proved)
}

/// The entry that an answer of Rekor v2 proves, or one of Treering's own face.
///
/// # Errors
/// If the proof does not lead to the root of its checkpoint, or the checkpoint is not the log's.
pub fn open_v2(key: &LogKey, answer: &[u8]) -> anyhow::Result<Proved> {
    let entry = TransparencyLogEntry::parse(answer)?;
    let proof = &entry.inclusion_proof;
    let head = key.open(proof.checkpoint.as_bytes())?;
    let stated = TreeHead { size: proof.tree_size, root: proof.root_hash };
    ensure!(head == stated, "the proof is for another tree than the checkpoint");
    ensure!(entry.log_index == proof.log_index, "entry and proof have different indexes");
    let leaf = hash_leaf(&entry.canonicalized_body);
    check_inclusion(proof.log_index, head, leaf, &proof.hashes)?;
    Ok(Proved { index: proof.log_index, body: entry.canonicalized_body, head })
}

/// The entry that an answer of Rekor v1 proves. Where a log has shards, the index is over all of
/// them, and the proof is of one.
///
/// # Errors
/// As [`open_v2`], and if the signed entry timestamp does not verify.
pub fn open_v1(key: &LogKey, answer: &[u8]) -> anyhow::Result<Proved> {
    let entries: LogEntries = serde_json::from_slice(answer)?;
    let entries: Vec<(String, LogEntry)> = entries.into_iter().collect();
    let [(id, entry)]: [_; 1] =
        entries.try_into().ok().context("an answer is about exactly one entry")?;
    let body = from_base64(&entry.body).context("the body is not base64")?;
    let leaf = hash_leaf(&body);
    ensure!(id.ends_with(&leaf.to_hex()), "the id of the entry is not that of its body");
    let proof = &entry.verification.inclusion_proof;
    let head = key.open(proof.checkpoint.as_bytes())?;
    let root = hash(&proof.root_hash)?;
    let is_same = proof.tree_size == head.size.get() && root == head.root;
    ensure!(is_same, "the proof is for another tree than the checkpoint");
    let index = |index| LeafIndex::new(index).context("the index is none that a tree has");
    let hashes: Vec<Hash> =
        proof.hashes.iter().map(|text| hash(text)).collect::<anyhow::Result<_>>()?;
    check_inclusion(index(proof.log_index)?, head, leaf, &hashes)?;
    check_timestamp(key, &entry)?;
    Ok(Proved { index: index(entry.log_index)?, body, head })
}

/// The index in the answer of `/add`.
///
/// # Errors
/// If it is none.
pub fn read_index(answer: &[u8]) -> anyhow::Result<LeafIndex> {
    let text = str::from_utf8(answer).context("the index is not ASCII")?.trim_ascii();
    let index = parse_decimal(text).and_then(LeafIndex::new);
    index.with_context(|| format!("{text:?} is not an index"))
}

/// Checks full hash tiles of level 0, each with its place among `parents`: the hash of level 1 that
/// joins the hashes of each.
///
/// # Errors
/// The first that is not the one in the tree.
pub fn check_tiles(tiles: &[(usize, Bytes)], parents: &[Hash]) -> anyhow::Result<()> {
    for (place, bytes) in tiles {
        let hashes = decode_hashes(bytes).context("a tile is not a row of hashes")?;
        check_tile(*place, &hashes, parents)?;
    }
    Ok(())
}

/// The same for full entry tiles.
///
/// # Errors
/// The first whose entries are not those in the tree.
pub fn check_entry_tiles(tiles: &[(usize, Bytes)], parents: &[Hash]) -> anyhow::Result<()> {
    for (place, bytes) in tiles {
        let entries = decode_entries(bytes, TILE_WIDTH)?;
        let hashes: Vec<Hash> = entries.into_iter().map(hash_leaf).collect();
        check_tile(*place, &hashes, parents)?;
    }
    Ok(())
}

fn check_tile(place: usize, hashes: &[Hash], parents: &[Hash]) -> anyhow::Result<()> {
    ensure!(hashes.len() as u64 == TILE_WIDTH, "tile {place} is not full");
    let parent = parents.get(place).context("nothing is known above the tile")?;
    ensure!(perfect_root(hashes) == *parent, "tile {place} is not the one in the tree");
    Ok(())
}

fn check_timestamp(key: &LogKey, entry: &LogEntry) -> anyhow::Result<()> {
    let Some(key) = key.timestamp_key() else { return Ok(()) };
    ensure!(entry.log_id == sha256(key.spki_der()).to_hex(), "the entry names another log");
    let payload = set_payload(&entry.body, entry.integrated_time, &entry.log_id, entry.log_index);
    let signature = from_base64(&entry.verification.signed_entry_timestamp);
    let signature = signature.context("the signed entry timestamp is not base64")?;
    let verified = key.verify_sha256(&payload, &signature);
    verified.context("the signed entry timestamp does not verify")
}

fn hash(hex: &str) -> anyhow::Result<Hash> {
    let hash = from_hex_lower(hex).and_then(|bytes| Hash::from_slice(&bytes));
    hash.context("a hash of the proof is not 32 bytes in hexadecimal")
}

#[cfg(test)]
mod tests;
