//! Whether what came back is right: a fast wrong answer is no figure.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::identity::LogIdentity;
use treering_proto::proof::check_inclusion;
use treering_proto::tile::{TILE_WIDTH, decode_hashes, perfect_root};
use treering_proto::tree::TreeHead;

/// Checks that `answer` proves that the log has what `request` asked to log.
pub(crate) fn check_answer(
    identity: &LogIdentity,
    request: &[u8],
    answer: &[u8],
) -> anyhow::Result<()> {
    let wanted = VerifiedEntry::from_v2_request(request)?;
    let entry = TransparencyLogEntry::parse(answer)?;
    ensure!(entry.canonicalized_body == wanted.body(), "the answer is about another entry");
    let proof = &entry.inclusion_proof;
    let head = check_checkpoint(identity, proof.checkpoint.as_bytes())?;
    ensure!(head.size == proof.tree_size, "the proof is for another size than the checkpoint");
    check_inclusion(proof.log_index, head, hash_leaf(&entry.canonicalized_body), &proof.hashes)?;
    Ok(())
}

/// The head that `note` states under the log's signature.
pub(crate) fn check_checkpoint(identity: &LogIdentity, note: &[u8]) -> anyhow::Result<TreeHead> {
    let keys = [identity.note_key().clone()];
    Ok(open_checkpoint(note, identity.origin(), &keys)?.head())
}

/// Checks full tiles of level 0, each with its index, against `above`, the first tile of level 1.
pub(crate) fn check_tiles(tiles: &[(usize, Bytes)], above: &[Hash]) -> anyhow::Result<()> {
    for (index, bytes) in tiles {
        let hashes = decode_hashes(bytes).context("a tile is not a row of hashes")?;
        ensure!(hashes.len() as u64 == TILE_WIDTH, "tile {index} is not full");
        let parent = above.get(*index).context("the tile above does not reach so far")?;
        ensure!(perfect_root(&hashes) == *parent, "tile {index} is not the one in the tree");
    }
    Ok(())
}
