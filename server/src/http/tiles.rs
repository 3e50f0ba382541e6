//! The C2SP face: checkpoint, tiles, entry tiles (c2sp.org/tlog-tiles), at `/` and `/api/v2/`.
//!
//! Invariants: nothing beyond the published size is served; a partial tile is a prefix of what the
//! full one will be, so it is cut, not stored; a path that is not the one spelling of a tile is
//! 400, one that the tree does not have 404.

use std::sync::Arc;

use treering_proto::tile::{ENTRY_LEN_MAX, TILE_WIDTH, Tile, TileKind, encode_entry};

use super::App;
use super::reply::{BYTES, Fault, Reply, TEXT, immutable, plain};
use crate::limits::ANSWER_BYTES_MAX;
use crate::seeded_bug;

/// `GET /checkpoint`.
pub fn serve_checkpoint(app: &App) -> Reply {
    plain(TEXT, app.published.snapshot().note.clone())
}

/// `GET /tile/...`.
pub async fn serve_tile(app: &Arc<App>, path: &str) -> Result<Reply, Fault> {
    let tile = Tile::parse_path(path)
        .map_err(|error| Fault::bad_request("malformed-tile-path", error.to_string()))?;
    let snapshot = app.published.snapshot();
    if !tile.is_within(snapshot.head.size) {
        let message = "the published tree does not have this tile";
        return Err(Fault::not_found("no-tile", message));
    }
    let bytes = match tile.kind {
        TileKind::Hashes(level) => {
            let bytes = app.store.tile_bytes(level, tile, &snapshot.edge);
            seeded_bug::served((level, tile.index), bytes.map_err(Fault::internal)?)
        }
        TileKind::Entries => {
            let store = app.store.clone();
            let read = move || store.entries(tile.index * TILE_WIDTH, tile.width);
            entry_tile(&app.heavy.run(read).await?.map_err(Fault::internal)?)
        }
    };
    Ok(immutable(BYTES, bytes.into()))
}

fn entry_tile(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.len()).sum());
    entries.iter().for_each(|entry| encode_entry(entry, &mut bytes));
    bytes
}

const _: () = assert!(
    ENTRY_LEN_MAX * (TILE_WIDTH as usize) < ANSWER_BYTES_MAX,
    "the largest entry tile can be answered"
);
