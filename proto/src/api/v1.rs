//! The Rekor v1 wire shapes: entries, log information, proofs, errors.
//!
//! Clients compare bytes here: some cut the answer at fixed offsets, others refuse unknown fields.
//! So each shape is written compactly, keys in alphabetical order, with one LF at the end.
//!
//! A read answer about an entry of a kind that keeps its statement begins with it, as
//! `"attestation":{"data":"<base64>"}`.
//!
//! ```text
//! {"<entry id>":{"body":"<base64>","integratedTime":1700000000,"logID":"<hex>","logIndex":0,
//!  "verification":{"inclusionProof":{"checkpoint":"<note>","hashes":[],"logIndex":0,
//!  "rootHash":"<hex>","treeSize":1},"signedEntryTimestamp":"<base64>"}}}
//! ```

pub mod index;
pub mod query;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// The number of a tree (Trillian's word, kept by Rekor v1): fixed for ever when a log is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TreeId(u64);

/// Names one entry across shards: the tree, and the leaf in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct EntryId {
    /// Which tree.
    pub tree_id: TreeId,
    /// Which leaf; in hexadecimal this is what Rekor calls the UUID.
    pub leaf: Hash,
}

/// Neither 64 nor 80 hexadecimal digits, or a tree id that cannot exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an entry id: 64 or 80 hexadecimal digits")]
pub struct EntryIdError;

/// An answer about entries: exactly one member, named by the entry id.
pub type LogEntries = BTreeMap<String, LogEntry>;

/// One logged entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogEntry {
    /// The statement that came with the entry: read answers only, kinds that keep it only, and no
    /// part of what the log promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
    /// Base64 of the canonical bytes.
    pub body: String,
    /// When the entry was sequenced: Unix seconds.
    pub integrated_time: u64,
    /// SHA-256 of the log's ECDSA key (SPKI DER), in hexadecimal.
    #[serde(rename = "logID")]
    pub log_id: String,
    /// Index over all shards.
    pub log_index: u64,
    /// Proof and promise.
    pub verification: Verification,
}

/// A statement beside an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Base64 of the payload of the envelope.
    pub data: String,
}

/// Why to believe that the entry is logged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verification {
    /// The path from the leaf to a signed root.
    pub inclusion_proof: InclusionProof,
    /// Base64 of the log's signature over [`set_payload`].
    pub signed_entry_timestamp: String,
}

/// The path from a leaf to a signed root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InclusionProof {
    /// The signed note for size and root below.
    pub checkpoint: String,
    /// Sibling hashes from leaf to root, in hexadecimal.
    pub hashes: Vec<String>,
    /// Index in this tree.
    pub log_index: u64,
    /// Root, in hexadecimal.
    pub root_hash: String,
    /// Size of the tree that the proof is for.
    pub tree_size: u64,
}

/// The answer to `GET /api/v1/log`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogInfo {
    /// Older shards; `null` when there are none.
    pub inactive_shards: Option<Vec<serde_json::Value>>,
    /// Root, in hexadecimal.
    pub root_hash: String,
    /// The signed note for size and root.
    pub signed_tree_head: String,
    /// The tree id in decimal, as a string.
    #[serde(rename = "treeID")]
    pub tree_id: String,
    /// Number of entries.
    pub tree_size: u64,
}

/// The answer to `GET /api/v1/log/proof`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsistencyProof {
    /// Hashes in the order of RFC 6962, in hexadecimal.
    pub hashes: Vec<String>,
    /// The current root, whatever `lastSize` was.
    pub root_hash: String,
}

/// Every error except the empty 404 of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApiError {
    /// HTTP status, or a number above 600 for malformed requests.
    pub code: u32,
    /// For people.
    pub message: String,
}

impl TreeId {
    /// `None` unless between 1 and 2^63 - 1.
    pub fn new(id: u64) -> Option<Self> {
        (1..=i64::MAX as u64).contains(&id).then_some(Self(id))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Sixteen lower-case hexadecimal digits: the spelling in entry ids.
    pub fn to_hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

impl fmt::Display for TreeId {
    /// Decimal: the spelling in checkpoints and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl EntryId {
    /// Reads 80 hexadecimal digits, or 64 for a leaf in the tree `active`; either case.
    pub fn parse(text: &str, active: TreeId) -> Result<Self, EntryIdError> {
        if !text.is_ascii() {
            return Err(EntryIdError);
        }
        let (tree_id, leaf) = match text.len() {
            64 => (active, text),
            80 => {
                let (tree, leaf) = text.split_at(16);
                let id = u64::from_str_radix(tree, 16).ok().and_then(TreeId::new);
                (id.ok_or(EntryIdError)?, leaf)
            }
            _ => return Err(EntryIdError),
        };
        let bytes = hex::decode(leaf).map_err(|_| EntryIdError)?;
        let leaf = Hash::from_slice(&bytes).ok_or(EntryIdError)?;
        Ok(Self { tree_id, leaf })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.tree_id.to_hex(), self.leaf)
    }
}

/// The origin of the Rekor v1 note; clients take ` - ` and digits for the mark of a v1 log.
pub fn v1_origin(host: &str, tree_id: TreeId) -> String {
    format!("{host} - {tree_id}")
}

/// What a SignedEntryTimestamp is over: RFC 8785 of exactly these four members.
pub fn set_payload(body_base64: &str, time: u64, log_id: &str, log_index: u64) -> Vec<u8> {
    format!(
        r#"{{"body":"{body_base64}","integratedTime":{time},"logID":"{log_id}","logIndex":{log_index}}}"#
    )
    .into_bytes()
}

/// What Rekor's framework says that an entry id looks like.
pub const ENTRY_ID_PATTERN: &str = "^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$";

/// Whether `text` fits [`ENTRY_ID_PATTERN`]. Its tree may still be one that cannot exist.
pub fn is_entry_id(text: &str) -> bool {
    matches!(text.len(), 64 | 80) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The numbers that Rekor's framework has for what is wrong with a request, in the body of an
/// HTTP 422.
pub mod code {
    /// A value of another type.
    pub const TYPE: u32 = 601;
    /// A value that every request has.
    pub const REQUIRED: u32 = 602;
    /// Too many characters.
    pub const TOO_LONG: u32 = 603;
    /// Text of another form.
    pub const PATTERN: u32 = 605;
    /// None of the words that there are.
    pub const ENUM: u32 = 606;
    /// Below the smallest number.
    pub const MINIMUM: u32 = 609;
    /// Too many items in a list.
    pub const ITEMS_MAX: u32 = 611;
}

/// Compact JSON and one LF, as every v1 answer is written.
pub fn to_json(answer: &impl Serialize) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec(answer).expect("wire shapes have text keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    const ID: &str =
        "108e9186e8c5677a2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn entry() -> LogEntry {
        LogEntry {
            attestation: None,
            body: "Ym9keQ==".into(),
            integrated_time: 1_700_000_000,
            log_id: "ab".into(),
            log_index: 7,
            verification: Verification {
                inclusion_proof: InclusionProof {
                    checkpoint: "log - 1\n8\nroot\n\n\u{2014} log sig\n".into(),
                    hashes: vec![],
                    log_index: 7,
                    root_hash: "cd".into(),
                    tree_size: 8,
                },
                signed_entry_timestamp: "c2V0".into(),
            },
        }
    }

    #[test]
    fn an_entry_has_exactly_these_bytes() {
        let leaf = sha256(b"x");
        let id = EntryId { tree_id: TreeId::new(0x108e_9186_e8c5_677a).unwrap(), leaf };
        let json = to_json(&LogEntries::from([(id.to_string(), entry())]));
        let expected = "{\"108e9186e8c5677a2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\":\
             {\"body\":\"Ym9keQ==\",\"integratedTime\":1700000000,\"logID\":\"ab\",\"logIndex\":7,\
             \"verification\":{\"inclusionProof\":{\"checkpoint\":\"log - 1\\n8\\nroot\\n\\n\u{2014} log sig\\n\",\
             \"hashes\":[],\"logIndex\":7,\"rootHash\":\"cd\",\"treeSize\":8},\
             \"signedEntryTimestamp\":\"c2V0\"}}}\n";
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }

    #[test]
    fn an_attestation_stands_first_and_is_read_back() {
        let attestation = Some(Attestation { data: "e30=".into() });
        let entries = LogEntries::from([(ID.to_owned(), LogEntry { attestation, ..entry() })]);
        let json = String::from_utf8(to_json(&entries)).unwrap();
        let start =
            format!("{{\"{ID}\":{{\"attestation\":{{\"data\":\"e30=\"}},\"body\":\"Ym9keQ==\",");
        assert!(json.starts_with(&start), "{json}");
        assert_eq!(serde_json::from_str::<LogEntries>(&json).unwrap(), entries);
        let null = json.replacen("{\"data\":\"e30=\"}", "null", 1);
        let without = LogEntries::from([(ID.to_owned(), entry())]);
        assert_eq!(serde_json::from_str::<LogEntries>(&null).unwrap(), without);
    }

    #[test]
    fn entry_ids_read_in_both_lengths_and_cases_and_no_other() {
        let active = TreeId::new(1).unwrap();
        let leaf = sha256(b"x");
        let id = EntryId { tree_id: active, leaf };
        assert_eq!(EntryId::parse(&id.to_string(), TreeId::new(9).unwrap()), Ok(id));
        assert_eq!(EntryId::parse(&leaf.to_hex().to_uppercase(), active), Ok(id));
        for bad in [
            "",
            "retrieve",
            &leaf.to_hex()[1..],
            &format!("{:016x}{leaf}", 0),
            &format!("ffffffffffffffff{leaf}"),
        ] {
            assert_eq!(EntryId::parse(bad, active), Err(EntryIdError), "{bad}");
        }
    }

    #[test]
    fn what_fits_the_pattern_of_an_entry_id_is_what_is_read_as_one() {
        let leaf = sha256(b"x").to_hex();
        for good in [leaf.clone(), leaf.to_uppercase(), format!("{:016x}{leaf}", 0)] {
            assert!(is_entry_id(&good), "{good}");
        }
        for bad in ["", "retrieve", &leaf[1..], &format!("{leaf}0"), &"\u{e9}".repeat(32)] {
            assert!(!is_entry_id(bad), "{bad}");
        }
    }

    #[test]
    fn the_payload_of_a_set_is_canonical() {
        let payload = set_payload("Ym9keQ==", 5, "ab", 7);
        let value = crate::canonical::parse(&payload).unwrap();
        assert_eq!(crate::canonical::to_canonical(&value), payload);
    }
}
