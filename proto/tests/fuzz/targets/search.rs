//! Searches of the Rekor v1 face, which both come as JSON objects and ignore what they do not know.

use treering_proto::api::v1::index::{CRITERIA_MAX, KEYS_OF_ONE_MAX, SearchIndex};
use treering_proto::api::v1::is_entry_id;
use treering_proto::api::v1::query::{ITEMS_MAX, QueryError, SearchLogQuery};
use treering_proto::entry::leaf_of_v1_query;

use super::{REFUSAL_LEN_MAX, check_refusal};

/// As a query for entries, and as one for the index.
pub(super) fn v1_search(data: &[u8]) -> bool {
    let entries = SearchLogQuery::parse(data);
    if let Ok(query) = &entries {
        let asked = query.entries.len() + query.entry_uuids.len() + query.log_indexes.len();
        assert!(asked <= ITEMS_MAX);
        assert!(query.entry_uuids.iter().all(|id| is_entry_id(id)));
        assert!(query.log_indexes.iter().all(|index| i64::try_from(*index).is_ok()));
        let leaves = query.entries.iter().map(|entry| leaf_of_v1_query(entry.as_bytes()));
        leaves.filter_map(Result::err).for_each(|error| check_refusal(&error));
    }
    let index = SearchIndex::parse(data);
    if let Ok(query) = &index {
        match query.criteria() {
            Ok(criteria) => {
                assert!(criteria.len() <= CRITERIA_MAX);
                assert!(criteria.iter().all(|keys| (1..=KEYS_OF_ONE_MAX).contains(&keys.len())));
            }
            Err(error) => check_words(&error),
        }
    }
    let is_taken = entries.is_ok() || index.is_ok();
    [entries.err(), index.err()].iter().flatten().for_each(check_words);
    is_taken
}

fn check_words(error: &QueryError) {
    let len = error.to_string().len();
    assert!((1..=REFUSAL_LEN_MAX).contains(&len), "a refusal of {len} bytes");
}
