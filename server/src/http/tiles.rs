//! The C2SP face: checkpoint, tiles, entry tiles (c2sp.org/tlog-tiles), at `/` and `/api/v2/`.
//!
//! Invariants: nothing beyond the published size is served; a partial tile is a prefix of what the
//! full one will be, so it is cut, not stored; a path that is not the one spelling of a tile is
//! 400, one that the tree does not have 404.

use treering_proto::tile::{
    ENTRY_LEN_MAX, TILE_WIDTH, Tile, TileKind, encode_entry, encode_hashes,
};

use super::App;
use super::reply::{BYTES, Fault, Reply, TEXT, immutable, plain};

/// `GET /checkpoint`.
pub fn serve_checkpoint(app: &App) -> Reply {
    plain(TEXT, app.published.snapshot().note.clone())
}

/// `GET /tile/...`.
pub fn serve_tile(app: &App, path: &str) -> Result<Reply, Fault> {
    let tile = Tile::parse_path(path)
        .map_err(|error| Fault::bad_request("malformed-tile-path", error.to_string()))?;
    let snapshot = app.published.snapshot();
    if !tile.is_within(snapshot.head.size) {
        return Err(Fault::not_found("no-tile", "the published tree does not have this tile"));
    }
    let bytes = match tile.kind {
        TileKind::Hashes(level) => {
            let hashes = app.store.tile(level, tile, &snapshot.edge).map_err(Fault::internal)?;
            encode_hashes(&hashes)
        }
        TileKind::Entries => {
            let first = tile.index * TILE_WIDTH;
            let entries = app.store.entries(first, tile.width).map_err(Fault::internal)?;
            let mut bytes = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.len()).sum());
            entries.iter().for_each(|entry| encode_entry(entry, &mut bytes));
            bytes
        }
    };
    Ok(immutable(BYTES, bytes))
}

const _: () =
    assert!(ENTRY_LEN_MAX * (TILE_WIDTH as usize) < 32 << 20, "an entry tile is built in memory");
