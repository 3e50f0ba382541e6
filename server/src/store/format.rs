//! Keys and values, byte for byte. Nothing here may change without a new format version; a test
//! holds the golden bytes.

use treering_proto::hash::Hash;
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};

/// The row of `meta` that says how far the log is committed.
pub const HEAD_KEY: &[u8] = b"head";

/// The row of `meta` that says which table the rows follow.
pub const FORMAT_KEY: &[u8] = b"format";

/// The row of `meta` that holds the identity document.
pub const IDENTITY_KEY: &[u8] = b"identity";

/// The row of `meta` that holds the latest time that the log put into a note which is not stored,
/// Unix milliseconds as u64: see [`crate::publisher`].
pub const DATED_KEY: &[u8] = b"dated";

/// The row of `meta` that says whether the log waits for witnesses: one byte, 1 or 0.
pub const WITNESSED_KEY: &[u8] = b"witnessed";

/// The row of `meta` that says whether an access policy says who may write: one byte, 1 or 0.
pub const ACCESS_POLICY_KEY: &[u8] = b"access-policy";

/// The row of `meta` that says whether the log is frozen: one byte, 1 or 0.
pub const FROZEN_KEY: &[u8] = b"frozen";

/// Settings that the log remembers: one that is lost must not undo what it was there for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Remembered {
    /// Whether it waits for witnesses: the value of [`WITNESSED_KEY`].
    pub witnesses: bool,
    /// Whether an access policy says who may write: the value of [`ACCESS_POLICY_KEY`].
    pub access_policy: bool,
    /// Whether it takes no entries any more: the value of [`FROZEN_KEY`].
    pub frozen: bool,
}

/// How far the log is committed: the value of [`HEAD_KEY`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommittedHead {
    /// Size and root.
    pub head: TreeHead,
    /// When its last batch was sequenced, Unix milliseconds.
    pub time_ms: u64,
}

/// Both notes published for one size: the value of `note_by_size`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotePair {
    /// When they were published, Unix milliseconds.
    pub time_ms: u64,
    /// The C2SP checkpoint, with cosignatures.
    pub note: String,
    /// The Rekor v1 checkpoint.
    pub v1_note: String,
}

/// The key of an index or size.
pub fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number in an 8-byte key or value.
pub fn read_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// The index in an 8-byte key or value.
pub fn read_index(bytes: &[u8]) -> Option<LeafIndex> {
    read_number(bytes).and_then(LeafIndex::new)
}

/// The key of a full tile: level, then index.
pub fn tile_key(level: u8, index: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The key of a posting: search key, then index.
pub fn posting_key(search_key: &Hash, index: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(search_key.as_bytes());
    key[32..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The index in a posting under `search_key`; `None` for a posting under another.
pub fn read_posting(key: &[u8], search_key: &Hash) -> Option<LeafIndex> {
    key.strip_prefix(search_key.as_bytes().as_slice()).and_then(read_index)
}

impl CommittedHead {
    /// size u64, root 32 bytes, time u64.
    pub fn to_bytes(self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&self.head.size.get().to_be_bytes());
        bytes[8..40].copy_from_slice(self.head.root.as_bytes());
        bytes[40..].copy_from_slice(&self.time_ms.to_be_bytes());
        bytes
    }

    /// `None` unless the bytes are whole.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 48] = bytes.try_into().ok()?;
        let size = TreeSize::new(read_number(&bytes[..8])?)?;
        let root = Hash::from_slice(&bytes[8..40])?;
        Some(Self { head: TreeHead { size, root }, time_ms: read_number(&bytes[40..])? })
    }
}

impl NotePair {
    /// time u64, length of the note u32, note, v1 note.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.note.len()).expect("a note is shorter than 1 MiB");
        let mut bytes = self.time_ms.to_be_bytes().to_vec();
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(self.note.as_bytes());
        bytes.extend_from_slice(self.v1_note.as_bytes());
        bytes
    }

    /// `None` unless the bytes are whole and text.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (time, rest) = bytes.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (note, v1_note) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        Some(Self {
            time_ms: u64::from_be_bytes(*time),
            note: String::from_utf8(note.to_vec()).ok()?,
            v1_note: String::from_utf8(v1_note.to_vec()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_these_golden_bytes() {
        assert_eq!(number_key(0x0102), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(tile_key(3, 0x0102), [3, 0, 0, 0, 0, 0, 0, 1, 2]);
        let posting = posting_key(&Hash([7; 32]), 0x0102);
        assert_eq!(posting, [&[7; 32][..], &[0, 0, 0, 0, 0, 0, 1, 2]].concat()[..]);
        assert_eq!(read_posting(&posting, &Hash([7; 32])), LeafIndex::new(0x0102));
        assert_eq!(read_posting(&posting, &Hash([8; 32])), None);
    }

    #[test]
    fn values_have_these_golden_bytes() {
        let size = TreeSize::new(0x0102).unwrap();
        let head = CommittedHead { head: TreeHead { size, root: Hash([7; 32]) }, time_ms: 0x0304 };
        let golden = [&[0, 0, 0, 0, 0, 0, 1, 2][..], &[7; 32], &[0, 0, 0, 0, 0, 0, 3, 4]].concat();
        assert_eq!(head.to_bytes()[..], golden);
        assert_eq!(CommittedHead::from_bytes(&golden), Some(head));
        assert_eq!(CommittedHead::from_bytes(&golden[1..]), None);

        let pair = NotePair { time_ms: 5, note: "ab".into(), v1_note: "c".into() };
        let golden = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, b'a', b'b', b'c'];
        assert_eq!(pair.to_bytes(), golden);
        assert_eq!(NotePair::from_bytes(&golden), Some(pair));
        assert_eq!(NotePair::from_bytes(&golden[..13]), None);
    }
}
