//! Tiles (C2SP tlog-tiles): the tree cut into strips of 256 hashes, and the entries cut into runs
//! of 256.
//!
//! ```text
//! tile level 1   [ root of tile (0,0) | root of tile (0,1) | ... ]    one hash per full tile below
//! tile level 0   [ leaf 0 .. leaf 255 ] [ leaf 256 .. leaf 511 ] ...
//!
//! tile/0/000        full    256 hashes, 8,192 bytes, never changes
//! tile/0/001.p/7    partial the first 7 hashes of what will be tile/0/001
//! tile/entries/000  entries 0..256, each as u16 big-endian length and bytes
//! ```
//!
//! Invariants: hash `i` of tile (L, N) is the root of leaves `[(256 N + i) * 256^L, (256 N + i + 1)
//! * 256^L)`, so a partial tile is a prefix of the full one; one resource has one path.

use crate::hash::{Hash, hash_node};
use crate::tree::{Node, TREE_SIZE_MAX, TreeSize};

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;

/// Levels of a tree that one tile level spans.
pub const TILE_HEIGHT: u8 = 8;

/// The highest tile level that the largest tree has a tile at: 2^53 leaves need 7 levels, 0 to 6.
pub const TILE_LEVEL_MAX: u8 = 6;

/// The longest entry: its length must fit the u16 before it.
pub const ENTRY_LEN_MAX: usize = 65_535;

/// A strip of hashes, or of entries: which one, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tile {
    /// Hashes at a tile level, or entries.
    pub kind: TileKind,
    /// Position among the tiles of its kind.
    pub index: u64,
    /// How many hashes or entries, 1 to 256.
    pub width: u64,
}

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TileKind {
    /// Hashes at this tile level, 0 to 63 in paths.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// The path is not the one spelling of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a tile path of C2SP tlog-tiles")]
pub struct TilePathError;

/// An entry tile cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryTileError {
    /// An entry ends after the tile does.
    #[error("the entry tile ends inside an entry")]
    Truncated,
    /// More or fewer entries than the path says.
    #[error("the entry tile has {have} entries, not {need}")]
    WrongWidth {
        /// How many it has.
        have: u64,
        /// How many it must have.
        need: u64,
    },
}

impl Tile {
    /// Reads a path such as `tile/0/x001/067`, `tile/1/000.p/7` or `tile/entries/000`.
    pub fn parse_path(path: &str) -> Result<Self, TilePathError> {
        let rest = path.strip_prefix("tile/").ok_or(TilePathError)?;
        let (kind, rest) = rest.split_once('/').ok_or(TilePathError)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().map_err(|_| TilePathError)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| TilePathError)?),
            None => (rest, TILE_WIDTH),
        };
        let digits: String = index.chars().filter(|c| !matches!(c, 'x' | '/')).collect();
        let tile = Self { kind, index: digits.parse().map_err(|_| TilePathError)?, width };
        let in_range = matches!(kind, TileKind::Entries | TileKind::Hashes(0..=63))
            && (1..=TILE_WIDTH).contains(&width)
            && tile.index <= TREE_SIZE_MAX;
        // Whatever was read too kindly above does not survive being written again.
        if in_range && tile.path() == path { Ok(tile) } else { Err(TilePathError) }
    }

    /// The path below the log's prefix.
    pub fn path(&self) -> String {
        let mut groups = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups = format!("x{:03}/{groups}", rest % 1000);
            rest /= 1000;
        }
        let kind = match self.kind {
            TileKind::Hashes(level) => level.to_string(),
            TileKind::Entries => "entries".to_owned(),
        };
        match self.width {
            TILE_WIDTH => format!("tile/{kind}/{groups}"),
            width => format!("tile/{kind}/{groups}.p/{width}"),
        }
    }

    /// Whether a tree of `size` has all of this tile.
    pub fn is_within(&self, size: TreeSize) -> bool {
        let count = match self.kind {
            TileKind::Hashes(level) => hashes_at(level, size),
            TileKind::Entries => size.get(),
        };
        self.index * TILE_WIDTH + self.width <= count
    }

    /// The tile of hashes that holds `node` or the leaves of the tile below it, as wide as a tree
    /// of `size` has it.
    ///
    /// `None` when the tree has no such node.
    pub fn holding(node: Node, size: TreeSize) -> Option<Self> {
        let (level, first, count) = span(node);
        let index = first / TILE_WIDTH;
        let width = hashes_at(level, size).saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH);
        let held = first % TILE_WIDTH + count <= width;
        held.then_some(Self { kind: TileKind::Hashes(level), index, width })
    }
}

/// The tiles of hashes that a tree of `size` has and one of `old` had not, each as wide as `size`
/// has it; low levels first. These are what must be readable before a checkpoint for `size` is
/// published.
pub fn tiles_between(old: TreeSize, size: TreeSize) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for level in 0..=TILE_LEVEL_MAX {
        let (before, after) = (hashes_at(level, old), hashes_at(level, size));
        if after == 0 {
            break;
        }
        if before == after {
            continue;
        }
        for index in before / TILE_WIDTH..after.div_ceil(TILE_WIDTH) {
            let width = (after - index * TILE_WIDTH).min(TILE_WIDTH);
            tiles.push(Tile { kind: TileKind::Hashes(level), index, width });
        }
    }
    tiles
}

/// The hash of `node`, from the hashes of the tile that [`Tile::holding`] names; `None` if there
/// are too few.
pub fn node_in_tile(node: Node, hashes: &[Hash]) -> Option<Hash> {
    let (_, first, count) = span(node);
    let from = (first % TILE_WIDTH) as usize;
    hashes.get(from..from + count as usize).map(perfect_root)
}

/// How many hashes a tree of `size` has at a tile level: roots of its complete subtrees of
/// 256^level leaves.
pub fn hashes_at(level: u8, size: TreeSize) -> u64 {
    size.get().checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

/// The root over `hashes`, whose count is a power of two.
pub fn perfect_root(hashes: &[Hash]) -> Hash {
    assert!(hashes.len().is_power_of_two(), "only a perfect subtree has a root of its own");
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| hash_node(&pair[0], &pair[1])).collect();
    }
    row[0]
}

/// The hashes of a tile as bytes.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * Hash::LEN);
    hashes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
    bytes
}

/// The hashes in the bytes of a tile; `None` unless they are whole, and between 1 and 256.
pub fn decode_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let whole = bytes.len().is_multiple_of(Hash::LEN);
    let count = (bytes.len() / Hash::LEN) as u64;
    (whole && (1..=TILE_WIDTH).contains(&count))
        .then(|| bytes.chunks_exact(Hash::LEN).filter_map(Hash::from_slice).collect())
}

/// Appends `entry` to the bytes of an entry tile.
pub fn encode_entry(entry: &[u8], tile: &mut Vec<u8>) {
    let len = u16::try_from(entry.len()).expect("entries longer than 65,535 bytes are refused");
    tile.extend_from_slice(&len.to_be_bytes());
    tile.extend_from_slice(entry);
}

/// The entries in the bytes of an entry tile of `width`.
pub fn decode_entries(bytes: &[u8], width: u64) -> Result<Vec<&[u8]>, EntryTileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, after) = after.split_at_checked(len).ok_or(EntryTileError::Truncated)?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(EntryTileError::Truncated);
    }
    let have = entries.len() as u64;
    if have == width { Ok(entries) } else { Err(EntryTileError::WrongWidth { have, need: width }) }
}

/// Where `node` lies: tile level, first hash at that level, and how many hashes it joins.
fn span(node: Node) -> (u8, u64, u64) {
    let level = node.level / TILE_HEIGHT;
    let within = node.level % TILE_HEIGHT;
    (level, node.index << within, 1 << within)
}

const _: () = assert!(
    hashes_at_const(TILE_LEVEL_MAX, TREE_SIZE_MAX) > 0
        && hashes_at_const(TILE_LEVEL_MAX + 1, TREE_SIZE_MAX) == 0,
    "TILE_LEVEL_MAX is the top of the largest tree"
);

const fn hashes_at_const(level: u8, size: u64) -> u64 {
    size >> (level as u32 * TILE_HEIGHT as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(n: u64) -> TreeSize {
        TreeSize::new(n).unwrap()
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        for (path, kind, index, width) in [
            ("tile/0/000", TileKind::Hashes(0), 0, 256),
            ("tile/0/999.p/1", TileKind::Hashes(0), 999, 1),
            ("tile/3/x001/000", TileKind::Hashes(3), 1000, 256),
            ("tile/63/x001/x234/067.p/255", TileKind::Hashes(63), 1_234_067, 255),
            ("tile/entries/005", TileKind::Entries, 5, 256),
        ] {
            let tile = Tile { kind, index, width };
            assert_eq!(Tile::parse_path(path), Ok(tile));
            assert_eq!(tile.path(), path);
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for path in [
            "tile/0/0",
            "tile/0/00",
            "tile/0/x00/1",
            "tile/0/x000/001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/07",
            "tile/64/000",
            "tile/08/000",
            "tile/8/0/000",
            "tile/0/000/",
            "tile/0/%30",
            "tile/0/+00",
            "tile/+0/000",
            "tile/0/001/000",
            "tile/data/000",
            "tile//000",
            "tile/0/",
            "tile/0",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "/tile/0/000",
            "tile/0/000.p/",
            "tile/0/000.p/1.p/1",
        ] {
            assert_eq!(Tile::parse_path(path), Err(TilePathError), "{path}");
        }
    }

    #[test]
    fn a_tree_has_exactly_the_tiles_of_the_specification() {
        let widths = |n: u64| -> Vec<String> {
            tiles_between(TreeSize::ZERO, size(n)).iter().rev().take(3).map(Tile::path).collect()
        };
        assert_eq!(widths(0), Vec::<String>::new());
        assert_eq!(widths(1), ["tile/0/000.p/1"]);
        assert_eq!(widths(256), ["tile/1/000.p/1", "tile/0/000"]);
        assert_eq!(widths(70_000), ["tile/2/000.p/1", "tile/1/001.p/17", "tile/1/000"]);
        assert_eq!(tiles_between(TreeSize::ZERO, size(70_000)).len(), 274 + 2 + 1);
        assert_eq!(
            tiles_between(size(255), size(257)).iter().map(Tile::path).collect::<Vec<_>>(),
            ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]
        );
        assert_eq!(tiles_between(size(300), size(300)), []);
    }

    #[test]
    fn nothing_beyond_the_size_is_within_it() {
        let tile = |kind, index, width| Tile { kind, index, width };
        assert!(tile(TileKind::Entries, 0, 5).is_within(size(5)));
        assert!(!tile(TileKind::Entries, 0, 6).is_within(size(5)));
        assert!(!tile(TileKind::Hashes(1), 0, 1).is_within(size(255)));
        assert!(tile(TileKind::Hashes(1), 0, 1).is_within(size(256)));
        assert!(!tile(TileKind::Hashes(63), 0, 1).is_within(size(TREE_SIZE_MAX)));
    }

    #[test]
    fn entry_tiles_read_back_and_refuse_loose_ends() {
        let mut bytes = Vec::new();
        encode_entry(b"", &mut bytes);
        encode_entry(&[7; ENTRY_LEN_MAX], &mut bytes);
        assert_eq!(&bytes[..4], [0, 0, 0xff, 0xff]);
        assert_eq!(decode_entries(&bytes, 2).unwrap(), [&[][..], &[7; ENTRY_LEN_MAX]]);
        assert!(matches!(decode_entries(&bytes, 3), Err(EntryTileError::WrongWidth { .. })));
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(decode_entries(cut, 2), Err(EntryTileError::Truncated));
        bytes.push(0);
        assert_eq!(decode_entries(&bytes, 2), Err(EntryTileError::Truncated));
    }
}
