//! Postings: which entries have a fact, in blocks that are written once.
//!
//! ```text
//! row (first byte of the search key, first index of the chunk) ->
//!     group, group, ...        in ascending order of their keys
//! group = search key (32) || count (u32) || count x index (u64), ascending     big-endian
//! ```
//!
//! A chunk of entries writes at most 256 rows, at the end of 256 places, however many facts it has.
//! Rows of single postings in random order would rewrite the whole tree of the database for each
//! chunk. A look-up reads the rows of one first byte.
//!
//! Invariant: within one bucket, rows follow each other by index, so that concatenated groups of
//! one key are ascending. Out of scope: what the keys mean.

use treering_proto::hash::Hash;

/// A block below this is joined with the one before it, so that a monitor which hears of a few
/// entries at a time does not leave a row for each of them.
pub const BLOCK_LEN_MIN: usize = 16 << 10;

const GROUP_HEAD_LEN: usize = Hash::LEN + 4;

/// Which rows a key is in.
pub fn bucket(key: &Hash) -> u8 {
    key.as_bytes()[0]
}

/// The block of `postings`, which are sorted and of one bucket.
pub fn encode(postings: &[(Hash, u64)]) -> Vec<u8> {
    let mut block = Vec::with_capacity(postings.len() * (GROUP_HEAD_LEN + 8));
    for group in postings.chunk_by(|a, b| a.0 == b.0) {
        block.extend_from_slice(group[0].0.as_bytes());
        let count = u32::try_from(group.len()).expect("a chunk has fewer entries than 2^32");
        block.extend_from_slice(&count.to_be_bytes());
        group.iter().for_each(|(_, index)| block.extend_from_slice(&index.to_be_bytes()));
    }
    block
}

/// All postings of a block; `None` if it is damaged.
pub fn decode(block: &[u8]) -> Option<Vec<(Hash, u64)>> {
    let mut postings = Vec::new();
    for group in Groups(block) {
        let (key, indexes) = group?;
        postings.extend(indexes.map(|index| (key, index)));
    }
    Some(postings)
}

/// The entries that `block` has under `key`, ascending; `None` if it is damaged.
pub fn find(block: &[u8], key: &Hash) -> Option<Vec<u64>> {
    for group in Groups(block) {
        let (at, indexes) = group?;
        if at == *key {
            return Some(indexes.collect());
        }
        if at > *key {
            break;
        }
    }
    Some(Vec::new())
}

/// The groups of a block; ends with `None` where it is damaged.
struct Groups<'a>(&'a [u8]);

impl<'a> Iterator for Groups<'a> {
    type Item = Option<(Hash, Indexes<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let group = self.split();
        if group.is_none() {
            self.0 = &[];
        }
        Some(group)
    }
}

impl<'a> Groups<'a> {
    fn split(&mut self) -> Option<(Hash, Indexes<'a>)> {
        let (key, rest) = self.0.split_at_checked(Hash::LEN)?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*count)).ok()?.checked_mul(8)?;
        let (indexes, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((Hash::from_slice(key)?, Indexes(indexes)))
    }
}

/// The indexes of a group.
struct Indexes<'a>(&'a [u8]);

impl Iterator for Indexes<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (index, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_these_bytes_and_reads_back() {
        let (one, two) = (Hash([1; 32]), Hash([2; 32]));
        let postings = [(one, 3), (one, 0x0102), (two, 7)];
        let block = encode(&postings);
        let expected = [
            &[1; 32][..],
            &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2],
            &[2; 32],
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(block, expected);
        assert_eq!(decode(&block).unwrap(), postings);
        assert_eq!(find(&block, &one), Some(vec![3, 0x0102]));
        assert_eq!(find(&block, &two), Some(vec![7]));
        assert_eq!(find(&block, &Hash([3; 32])), Some(Vec::new()));
        for end in 1..block.len() {
            let whole_group = end == 52;
            assert_eq!(decode(&block[..end]).is_some(), whole_group, "{end}");
        }
    }
}
