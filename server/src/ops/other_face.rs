//! Whether a log has entries of a face that takes none any more: clients that know only the other
//! face's entries cannot follow such a log.
//!
//! Looked at are the first entries and the newest ones. Faces are closed when a log is made, or
//! from some day on; both show there. Out of scope: finding every one of them (the log can be
//! read).

use treering_proto::entry::EntryKind;
use treering_proto::tree::TreeSize;

use crate::http::offer::WriteFaces;
use crate::store::{Store, StoreError};

/// Entries that are looked at, at either end: one entry tile, which is at most 16 MiB.
const LOOKED_AT: u64 = 256;

/// The index of an entry, of a log with `size` entries, that came through a face which is not among
/// `faces`; `None` if there is none where it was looked for.
///
/// # Errors
/// [`StoreError`].
pub fn find(store: &Store, size: TreeSize, faces: WriteFaces) -> Result<Option<u64>, StoreError> {
    let size = size.get();
    let count = size.min(LOOKED_AT);
    for first in [0, size - count] {
        for (index, entry) in (first..).zip(store.entries(first, count)?) {
            // A body that is no entry is what `fsck` is for.
            let kind = EntryKind::of_body(&entry);
            if kind.is_ok_and(|kind| !faces.take(kind.is_rekor_v1())) {
                return Ok(Some(index));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_log::{TestLog, entries, v1_entry};

    #[test]
    fn entries_of_the_closed_face_are_found_at_either_end() {
        let mut log = TestLog::new();
        let find = |log: &TestLog, faces: &str| {
            find(&log.store, log.edge.size(), faces.parse().unwrap()).unwrap()
        };
        assert_eq!(find(&log, "v1"), None, "nothing is there");
        log.append(&entries(300));
        assert_eq!(find(&log, "v1"), Some(0), "all came through Rekor v2");
        assert_eq!(find(&log, "v2"), None);
        log.append(&[v1_entry()]);
        assert_eq!(find(&log, "v2"), Some(300));
        assert_eq!(find(&log, "v1,v2"), None);
    }
}
