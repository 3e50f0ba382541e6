//! What a Rekor v1 client asks the log for by `POST /api/v1/log/entries/retrieve`, and what both
//! searches of that interface have in common.
//!
//! ```text
//! {"entryUUIDs":["<64 or 80 hex>",...],"entries":[<proposed entry>,...],"logIndexes":[0,...]}
//! ```
//!
//! Go clients send null for what they leave out: null, `[]` and absence mean the same. Fields that
//! nobody knows are ignored. Queries are checked in the order of Rekor's framework and refused in
//! its words and numbers, which clients show to people and its own tests look at.
//!
//! Invariant: a query that was read asks for at most [`ITEMS_MAX`] things. Out of scope: what the
//! proposed entries are worth; see `entry::leaf_of_v1_query`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ENTRY_ID_PATTERN, code, is_entry_id};
use crate::entry::words_about;

/// How many things one query may ask for, in each list and in all of them.
pub const ITEMS_MAX: usize = 10;

/// What to look for in the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchLogQuery<'a> {
    /// Entry ids and leaves: 80 or 64 hexadecimal digits of either case.
    pub entry_uuids: Vec<String>,
    /// Proposed entries: the JSON of each, as it stands in the query.
    pub entries: Vec<&'a str>,
    /// Indexes over all shards.
    pub log_indexes: Vec<u64>,
}

/// Why a query is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// Not JSON, or a value of another type: HTTP 400.
    #[error("parsing {name} body from \"\" failed, because {why}")]
    Malformed {
        /// What Rekor calls the body.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A value that is not allowed: HTTP 422, with this code in the body.
    #[error("{message}")]
    Invalid {
        /// One of [`code`], or 422.
        code: u32,
        /// For people.
        message: String,
    },
    /// A key that cannot be searched by: HTTP 400.
    #[error("{0}")]
    Key(&'static str),
}

impl<'a> SearchLogQuery<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`QueryError`]: malformed, or [`QueryError::Invalid`] for more than [`ITEMS_MAX`] items,
    /// text that is no id, a negative index.
    pub fn parse(body: &'a [u8]) -> Result<Self, QueryError> {
        let query: LogQueryJson<'a> = read(body, "entry")?;
        let entries = query.entries.unwrap_or_default();
        at_most(ITEMS_MAX, "entries", entries.len())?;
        let ids = query.entry_uuids.unwrap_or_default();
        at_most(ITEMS_MAX, "entryUUIDs", ids.len())?;
        let ids: Vec<String> = ids.into_iter().map(Option::unwrap_or_default).collect();
        if let Some(at) = ids.iter().position(|id| !is_entry_id(id)) {
            let message = format!("entryUUIDs.{at} in body should match '{ENTRY_ID_PATTERN}'");
            return Err(QueryError::Invalid { code: code::PATTERN, message });
        }
        let indexes = query.log_indexes.unwrap_or_default();
        at_most(ITEMS_MAX, "logIndexes", indexes.len())?;
        let log_indexes = (0..).zip(indexes).map(|(at, index)| log_index(at, index));
        let log_indexes = log_indexes.collect::<Result<Vec<u64>, _>>()?;
        if entries.len() + ids.len() + log_indexes.len() > ITEMS_MAX {
            let message = format!("more than max allowed {ITEMS_MAX} entries in request");
            return Err(QueryError::Invalid { code: 422, message });
        }
        let entries = entries.into_iter().map(RawValue::get).collect();
        Ok(Self { entry_uuids: ids, entries, log_indexes })
    }
}

/// Go reads null as the number 0.
fn log_index(at: usize, index: Option<i64>) -> Result<u64, QueryError> {
    u64::try_from(index.unwrap_or(0)).map_err(|_| {
        let message = format!("logIndexes.{at} in body should be greater than or equal to 0");
        QueryError::Invalid { code: code::MINIMUM, message }
    })
}

fn at_most(max: usize, list: &str, len: usize) -> Result<(), QueryError> {
    if len <= max {
        return Ok(());
    }
    let message = format!("{list} in body should have at most {max} items");
    Err(QueryError::Invalid { code: code::ITEMS_MAX, message })
}

/// Reads a body that Rekor calls `name`.
pub(super) fn read<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    name: &'static str,
) -> Result<T, QueryError> {
    let text = body.trim_ascii_start();
    if text.is_empty() {
        let message = format!("{name} in body is required");
        return Err(QueryError::Invalid { code: code::REQUIRED, message });
    }
    // The JSON reader would take an array for an object, its items for the fields in order.
    if !text.starts_with(b"{") {
        let why = "a JSON object is expected".to_owned();
        return Err(QueryError::Malformed { name, why });
    }
    serde_json::from_slice(text)
        .map_err(|error| QueryError::Malformed { name, why: words_about(&error) })
}

#[derive(Deserialize)]
struct LogQueryJson<'a> {
    #[serde(borrow, default)]
    entries: Option<Vec<&'a RawValue>>,
    #[serde(rename = "entryUUIDs", default)]
    entry_uuids: Option<Vec<Option<String>>>,
    #[serde(rename = "logIndexes", default)]
    log_indexes: Option<Vec<Option<i64>>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SearchLogQuery<'_>, QueryError> {
        SearchLogQuery::parse(text.as_bytes())
    }

    #[test]
    fn null_absence_and_emptiness_ask_for_nothing() {
        for text in [
            "{}",
            " {} ",
            r#"{"entries":null,"entryUUIDs":null,"logIndexes":null}"#,
            r#"{"entries":[],"entryUUIDs":[],"logIndexes":[]}"#,
            r#"{"other":[{"entries":7}]}"#,
        ] {
            assert_eq!(parse(text), Ok(SearchLogQuery::default()), "{text}");
        }
    }

    #[test]
    fn a_query_is_read_in_order() {
        let (leaf, id) = ("aB".repeat(32), "0c".repeat(40));
        let text = format!(
            r#"{{"logIndexes":[7,null,9223372036854775807],"entryUUIDs":["{id}","{leaf}"],"entries":[{{"kind":"x"}}, 5]}}"#
        );
        let query = parse(&text).unwrap();
        assert_eq!(query.entry_uuids, [id, leaf]);
        assert_eq!(query.entries, [r#"{"kind":"x"}"#, "5"]);
        assert_eq!(query.log_indexes, [7, 0, i64::MAX as u64]);
    }

    #[track_caller]
    fn refused(text: &str, code: u32, message: &str) {
        let expected = QueryError::Invalid { code, message: message.to_owned() };
        assert_eq!(parse(text), Err(expected), "{text}");
    }

    #[test]
    fn too_many_items_and_impossible_ones_are_refused_with_rekors_numbers() {
        let list = |item: &str, count: usize| vec![item; count].join(",");
        let leaf = format!("\"{}\"", "ab".repeat(32));
        for (name, item) in [("entries", "{}"), ("entryUUIDs", &leaf), ("logIndexes", "0")] {
            let of = |count| format!(r#"{{"{name}":[{}]}}"#, list(item, count));
            assert!(parse(&of(10)).is_ok(), "{name}");
            refused(&of(11), 611, &format!("{name} in body should have at most 10 items"));
        }
        let eleven = format!(r#"{{"entryUUIDs":[{leaf}],"logIndexes":[{}]}}"#, list("1", 10));
        refused(&eleven, 422, "more than max allowed 10 entries in request");
        refused(
            r#"{"logIndexes":[0,-1]}"#,
            609,
            "logIndexes.1 in body should be greater than or equal to 0",
        );
        for bad in ["", "retrieve", &leaf[1..64], &format!("{}g", "a".repeat(63))] {
            refused(
                &format!(r#"{{"entryUUIDs":["{bad}"]}}"#),
                605,
                "entryUUIDs.0 in body should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'",
            );
        }
        refused("", 602, "entry in body is required");
        refused(" \n", 602, "entry in body is required");
    }

    #[test]
    fn what_is_no_query_is_malformed_and_is_not_repeated_at_length() {
        let long = format!(r#"{{"logIndexes":"{}"}}"#, "x".repeat(10_000));
        for text in [
            "[]",
            "null",
            "{",
            r#"{"entryUUIDs":[1]}"#,
            r#"{"logIndexes":["0"]}"#,
            r#"{"logIndexes":[9223372036854775808]}"#,
            r#"{"logIndexes":[0.5]}"#,
            r#"{"entries":{}}"#,
            &long,
        ] {
            let error = parse(text).unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, QueryError::Malformed { name: "entry", .. }), "{message}");
            let start = "parsing entry body from \"\" failed, because ";
            assert!(message.starts_with(start) && message.len() < 1_000, "{message}");
        }
    }
}
