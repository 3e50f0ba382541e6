//! One target for each parser of bytes that strangers send. A target parses and, if that worked,
//! asserts what must then be true: written again it is the same, limits hold, nothing panics.
//!
//! The same file serves the fixed number of cases of `main.rs` and the coverage-guided fuzzer in
//! `proto/fuzz`; so it knows `treering_proto` and `serde_json` and nothing else.
//!
//! A target returns whether it took the bytes. Out of scope: what is not in `proto` (tokens,
//! configuration, HTTP), which is fuzzed where it is read.

#[path = "targets/keys.rs"]
mod keys;
#[path = "targets/search.rs"]
mod search;
#[path = "targets/timestamps.rs"]
mod timestamps;

use treering_proto::api::v1::{EntryId, LogEntries, TreeId};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::bundle::{Bundle, CHAIN_MAX, LOG_ENTRIES_MAX, Material, TIMESTAMPS_MAX};
use treering_proto::canonical;
use treering_proto::checkpoint::{Checkpoint, open_checkpoint};
use treering_proto::dsse_envelope::{self, Envelope};
use treering_proto::encoding;
use treering_proto::entry::{
    Entry, EntryError, EntryKind, Recheck, VerifiedEntry, leaf_of_v1_query,
};
use treering_proto::evidence::{EvidenceFile, TrustedKeys};
use treering_proto::facts::{FACT_VALUE_LEN_MAX, FACTS_MAX, Fact};
use treering_proto::freshness::Freshness;
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::identity::LogIdentity;
use treering_proto::model_id::model_id;
use treering_proto::model_statement::{ModelStatement, RESOURCES_MAX};
use treering_proto::note::{self, Note, NoteKey, SIGNATURES_MAX, Verified};
use treering_proto::notice::Notice;
use treering_proto::policy::Policy;
use treering_proto::proof::{self, PROOF_HASHES_MAX};
use treering_proto::proof_file::{PROOF_FILE_HASHES_MAX, ProofFile};
use treering_proto::statement::{STATEMENT_LEN_MAX, SUBJECTS_MAX, Statement};
use treering_proto::tile::{self, ENTRY_LEN_MAX, TILE_WIDTH, Tile};
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};
use treering_proto::trust::{IdentityDocument, TrustFile};
use treering_proto::witness::{AddCheckpoint, LOG_KEYS_MAX, LastCosigned, LogList, Submission};

/// Parses, asserts, and says whether the bytes were taken.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name, in the order in which `proto` is read.
pub const TARGETS: [(&str, Target); 33] = [
    ("encodings", encodings),
    ("canonical_json", canonical_json),
    ("tile_path", tile_path),
    ("hash_tile", hash_tile),
    ("entry_tile", entry_tile),
    ("inclusion_proof", inclusion_proof),
    ("consistency_proof", consistency_proof),
    ("note", a_note),
    ("signature_lines", signature_lines),
    ("checkpoint", checkpoint),
    ("identity", identity),
    ("vkey", vkey),
    ("policy", policy),
    ("add_checkpoint", add_checkpoint),
    ("log_list", log_list),
    ("proof_file", proof_file),
    ("spki", keys::spki),
    ("pem", keys::pem),
    ("certificate", keys::certificate),
    ("envelope", envelope),
    ("statement", statement),
    ("notice", notice),
    ("logged_entry", logged_entry),
    ("v1_request", v1_request),
    ("v2_request", v2_request),
    ("v1_search", search::v1_search),
    ("entry_id", entry_id),
    ("v1_answer", v1_answer),
    ("v2_answer", v2_answer),
    ("bundle", bundle),
    ("trust_file", trust_file),
    ("evidence", evidence),
    ("timestamp_request", timestamps::timestamp_request),
];

/// The origin, and name, of the log whose notes the targets open.
pub const ORIGIN: &str = "log.example";

/// The log's Ed25519 key: the public half of the seed of 32 bytes 1.
pub const LOG_KEY: [u8; 32] = [
    0x8a, 0x88, 0xe3, 0xdd, 0x74, 0x09, 0xf1, 0x95, 0xfd, 0x52, 0xdb, 0x2d, 0x3c, 0xba, 0x5d, 0x72,
    0xca, 0x67, 0x09, 0xbf, 0x1d, 0x94, 0x12, 0x1b, 0xf3, 0x74, 0x88, 0x01, 0xb4, 0x0f, 0x6f, 0x5c,
];

/// A moment for whoever needs one.
const NOW: u64 = 1_800_000_000;

/// The longest refusal: the start of a name, of which each character may be escaped, and words.
const REFUSAL_LEN_MAX: usize = 4 * 1024;

fn encodings(data: &[u8]) -> bool {
    assert_eq!(encoding::from_base64(&encoding::to_base64(data)).as_deref(), Some(data));
    let Ok(text) = str::from_utf8(data) else { return false };
    let strict = encoding::from_base64(text);
    if let Some(bytes) = &strict {
        assert_eq!(encoding::to_base64(bytes), text);
        assert_eq!(encoding::from_base64_lenient(text).as_ref(), Some(bytes));
        assert_eq!(encoding::from_base64_lines(text).as_ref(), Some(bytes));
    }
    if let Some(bytes) = encoding::from_base64_lenient(text) {
        assert!(bytes.len() <= text.len());
    }
    let hexadecimal = encoding::from_hex_lower(text);
    assert!(hexadecimal.is_none_or(|bytes| 2 * bytes.len() == text.len()));
    strict.is_some()
}

/// RFC 8785 is a fixed point, and means what was read.
fn canonical_json(data: &[u8]) -> bool {
    let Ok(value) = canonical::parse(data) else { return false };
    let written = canonical::to_canonical(&value);
    let again = canonical::parse(&written).expect("what was written is read again");
    assert_eq!(canonical::to_canonical(&again), written);
    true
}

fn tile_path(data: &[u8]) -> bool {
    let Ok(path) = str::from_utf8(data) else { return false };
    let Ok(tile) = Tile::parse_path(path) else { return false };
    assert_eq!(tile.path(), path);
    assert!((1..=TILE_WIDTH).contains(&tile.width));
    assert!(!tile.is_within(TreeSize::ZERO));
    let largest = TreeSize::new(treering_proto::tree::TREE_SIZE_MAX).expect("the largest size");
    let _ = tile.is_within(largest);
    assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/' || b == b'.'));
    assert!(!path.contains("..") && !path.contains("//"));
    true
}

fn hash_tile(data: &[u8]) -> bool {
    let Some(hashes) = tile::decode_hashes(data) else { return false };
    assert!(hashes.len() as u64 <= TILE_WIDTH);
    assert_eq!(tile::encode_hashes(&hashes), data);
    true
}

/// The first byte says how many entries the path promised, less one.
fn entry_tile(data: &[u8]) -> bool {
    let Some((width, bytes)) = data.split_first() else { return false };
    let Ok(entries) = tile::decode_entries(bytes, u64::from(*width) + 1) else { return false };
    let mut written = Vec::new();
    for entry in &entries {
        assert!(entry.len() <= ENTRY_LEN_MAX);
        tile::encode_entry(entry, &mut written);
    }
    assert_eq!(written, bytes);
    true
}

/// Eight bytes, big-endian, and what follows.
fn number(data: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = data.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Index, size, leaf, and the hashes of the path.
fn inclusion_proof(data: &[u8]) -> bool {
    let read = || {
        let (index, rest) = number(data)?;
        let (size, rest) = number(rest)?;
        let (leaf, rest) = rest.split_first_chunk::<32>()?;
        let hashes = rest.chunks_exact(32).filter_map(Hash::from_slice).collect::<Vec<_>>();
        Some((LeafIndex::new(index)?, TreeSize::new(size)?, Hash(*leaf), hashes))
    };
    let Some((index, size, leaf, hashes)) = read() else { return false };
    let Ok(root) = proof::root_from_inclusion(index, size, leaf, &hashes) else { return false };
    assert!(size.contains(index) && hashes.len() <= PROOF_HASHES_MAX);
    let head = TreeHead { size, root };
    assert_eq!(proof::check_inclusion(index, head, leaf, &hashes), Ok(()));
    let other = hash_leaf(leaf.as_bytes());
    assert!(proof::check_inclusion(index, head, other, &hashes).is_err());
    let plan = proof::plan_inclusion(index, size).expect("the index is inside");
    assert_eq!(plan.build(&plan.nodes().map(|_| leaf).collect::<Vec<_>>()).len(), hashes.len());
    true
}

/// Old size, new size, both roots, and the hashes of the proof.
fn consistency_proof(data: &[u8]) -> bool {
    let read = || {
        let (old, rest) = number(data)?;
        let (new, rest) = number(rest)?;
        let (old_root, rest) = rest.split_first_chunk::<32>()?;
        let (new_root, rest) = rest.split_first_chunk::<32>()?;
        let hashes = rest.chunks_exact(32).filter_map(Hash::from_slice).collect::<Vec<_>>();
        let old = TreeHead { size: TreeSize::new(old)?, root: Hash(*old_root) };
        let new = TreeHead { size: TreeSize::new(new)?, root: Hash(*new_root) };
        Some((old, new, hashes))
    };
    let Some((old, new, hashes)) = read() else { return false };
    let shown = proof::old_root_from_consistency(old.size, new, &hashes);
    let holds = proof::check_consistency(old, new, &hashes).is_ok();
    if holds {
        assert!(old.size <= new.size && hashes.len() <= PROOF_HASHES_MAX);
        assert!(shown.is_none_or(|root| root == old.root));
        let other = TreeHead { root: hash_leaf(new.root.as_bytes()), ..new };
        let refused = proof::check_consistency(old, other, &hashes).is_err();
        assert!(refused || old.size == TreeSize::ZERO);
    }
    holds
}

fn log_key() -> NoteKey {
    NoteKey::ed25519(ORIGIN, &LOG_KEY).expect("the constant is a key")
}

fn a_note(data: &[u8]) -> bool {
    let Ok(parsed) = Note::parse(data) else { return false };
    assert_eq!(parsed.format().as_bytes(), data);
    assert!((1..=SIGNATURES_MAX).contains(&parsed.signatures.len()));
    if let Ok(verified) = note::open(&parsed, &[log_key()]) {
        assert_eq!(verified.len(), 1);
    }
    true
}

fn identity(data: &[u8]) -> bool {
    let Ok(identity) = LogIdentity::open(data) else { return false };
    let text = str::from_utf8(data).expect("a note is UTF-8");
    assert!(text.starts_with(&identity.text()));
    assert_eq!(identity.v1_note_key().name(), identity.origin());
    let document = IdentityDocument::parse(text.to_owned()).expect("the same document");
    assert_eq!((document.text.as_str(), &document.identity), (text, &identity));
    true
}

fn signature_lines(data: &[u8]) -> bool {
    let Ok(lines) = note::parse_signature_lines(data) else { return false };
    let text: String = lines.iter().map(note::SignatureLine::format).collect();
    assert_eq!(text.as_bytes(), data);
    true
}

/// A note, of which the text is a checkpoint; the text alone is tried, too.
fn checkpoint(data: &[u8]) -> bool {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(parsed) = Checkpoint::parse(text)
    {
        assert_eq!(parsed.format(), text);
    }
    let Ok(signed) = open_checkpoint(data, ORIGIN, &[log_key()]) else { return false };
    assert_eq!(signed.checkpoint().origin, ORIGIN);
    assert_eq!(signed.note_bytes(), data);
    assert!(signed.verified().iter().any(|signature| signature.key.is_log_key()));
    true
}

fn vkey(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let Ok(key) = NoteKey::parse_vkey(text) else { return false };
    assert_eq!(key.to_vkey(), text);
    assert!(note::is_key_name(key.name()));
    for garbage in [&b""[..], &[0; 64], &[0; 72], &[0xff; 2428]] {
        assert!(key.verify("text\n", garbage).is_err());
    }
    true
}

fn policy(data: &[u8]) -> bool {
    let Ok(policy) = Policy::parse(data) else { return false };
    assert_eq!(policy.is_met(&[]), policy.needs_no_witness());
    let all = policy.witness_keys().into_iter();
    let all: Vec<Verified> = all.map(|key| Verified { key, time: Some(NOW) }).collect();
    assert!(policy.is_met(&all), "a quorum that nobody can meet");
    if !policy.needs_no_witness() {
        assert_eq!(policy.quorum_time(&all), Some(NOW));
        assert_eq!(policy.quorum_not_after(&all), Some(NOW));
    }
    let report = policy.report(&all);
    assert!(report.met && report.components.iter().all(|part| part.need <= part.have));
    let _ = policy.counted_twice();
    true
}

fn add_checkpoint(data: &[u8]) -> bool {
    let Ok(request) = AddCheckpoint::parse(data) else { return false };
    assert_eq!(request.format().as_bytes(), data);
    let Ok(submission) = Submission::parse(data) else { return true };
    let Ok(verified) = submission.verify(&[log_key()]) else { return true };
    let head = verified.signed().head();
    for last in [None, Some(LastCosigned { head, time: NOW })] {
        if let Ok(decided) = verified.decide(last, NOW) {
            assert_eq!(decided, LastCosigned { head, time: NOW });
            assert!(last.is_none_or(|last| verified.contradiction(last).is_none()));
        }
    }
    let cosigned = verified.cosigned_note(&[]).format();
    assert!(open_checkpoint(cosigned.as_bytes(), ORIGIN, &[log_key()]).is_ok());
    true
}

fn log_list(data: &[u8]) -> bool {
    let Ok(list) = LogList::parse(data) else { return false };
    let by_origin = list.keys_by_origin();
    assert_eq!(by_origin.values().map(Vec::len).sum::<usize>(), list.logs().len());
    for keys in by_origin.values() {
        assert!((1..=LOG_KEYS_MAX).contains(&keys.len()));
        assert!(keys.iter().any(NoteKey::is_log_key));
    }
    assert!(list.skipped().is_sorted_by_key(|skipped| skipped.line));
    true
}

fn proof_file(data: &[u8]) -> bool {
    let Ok(file) = ProofFile::parse(data) else { return false };
    assert_eq!(file.format().as_bytes(), data);
    assert!(file.hashes.len() <= PROOF_FILE_HASHES_MAX);
    true
}

fn envelope(data: &[u8]) -> bool {
    let Ok(read) = Envelope::parse(data) else { return false };
    let again = Envelope::parse(&read.to_json()).expect("our own JSON is read");
    assert_eq!(again, read);
    assert!((1..=dsse_envelope::SIGNATURES_MAX).contains(&read.signatures.len()));
    assert!(read.pae().ends_with(&read.payload));
    true
}

fn statement(data: &[u8]) -> bool {
    let Ok(read) = Statement::parse(data) else { return false };
    assert!((1..=SUBJECTS_MAX).contains(&read.subjects.len()));
    let Ok(model) = ModelStatement::parse(&read) else { return true };
    assert!((1..=RESOURCES_MAX).contains(&model.resources().len()));
    assert!(!model.path(&model.resources()[0]).split('/').any(|part| part == ".."));
    let _ = model.is_single_file();
    let payload = model.to_payload();
    if payload.len() <= STATEMENT_LEN_MAX {
        let again = Statement::parse(&payload).expect("our own statement is read");
        let again = ModelStatement::parse(&again).expect("our own statement is admitted");
        assert_eq!(again, model);
        assert_eq!(model_id(&again), model_id(&model));
    }
    true
}

fn notice(data: &[u8]) -> bool {
    let Ok(statement) = Statement::parse(data) else { return false };
    let Ok(Some(read)) = Notice::parse(&statement) else { return false };
    let payload = read.to_payload().expect("what was read can be written");
    let again = Statement::parse(&payload).expect("our own statement is read");
    assert_eq!(Notice::parse(&again), Ok(Some(read)));
    true
}

fn check_facts(facts: &[Fact]) {
    assert!(facts.is_sorted() && facts.len() <= FACTS_MAX);
    assert!(facts.iter().all(|fact| (1..=FACT_VALUE_LEN_MAX).contains(&fact.value.len())));
}

fn logged_entry(data: &[u8]) -> bool {
    let kind = EntryKind::of_body(data);
    let Ok(entry) = Entry::parse(data) else { return false };
    assert_eq!(entry.to_body(), data);
    assert_eq!(kind.ok(), Some(entry.kind()));
    check_facts(&entry.facts(Some(data)));
    let value = canonical::parse(data).expect("canonical bytes are strict JSON");
    assert_eq!(canonical::to_canonical(&value), data);
    assert_ne!(entry.payload_hash().map(|_| entry.recheck(None)), Some(Recheck::Valid));
    true
}

/// What holds for every entry that may be logged.
fn check_verified(entry: &VerifiedEntry) {
    let body = entry.body();
    assert!(body.len() <= ENTRY_LEN_MAX);
    assert_eq!(entry.leaf(), hash_leaf(body));
    assert!(logged_entry(body), "a body that is no entry: {}", String::from_utf8_lossy(body));
    let parsed = Entry::parse(body).expect("as above");
    assert_eq!(parsed.kind(), entry.kind());
    let payload = entry.statement().map(|statement| statement.payload.as_slice());
    assert_eq!(parsed.facts(payload), entry.facts());
    if let Some(statement) = entry.statement() {
        assert_eq!(sha256(&statement.payload), statement.payload_hash);
        assert_eq!(parsed.payload_hash(), Some(statement.payload_hash));
    }
    assert_ne!(parsed.recheck(payload), Recheck::Invalid);
}

/// A refusal is for a line of a log: no submission may make one that repeats it at length.
fn check_refusal(error: &EntryError) {
    let len = error.to_string().len();
    assert!((1..=REFUSAL_LEN_MAX).contains(&len), "a refusal of {len} bytes");
}

fn v1_request(data: &[u8]) -> bool {
    let (entry, leaf) = (VerifiedEntry::from_v1_request(data), leaf_of_v1_query(data));
    entry.as_ref().err().into_iter().chain(leaf.as_ref().err()).for_each(check_refusal);
    if let Ok(entry) = &entry {
        check_verified(entry);
        assert_eq!(leaf.as_ref().ok(), Some(&entry.leaf()));
    }
    leaf.is_ok()
}

fn v2_request(data: &[u8]) -> bool {
    let entry = VerifiedEntry::from_v2_request(data);
    if let Err(error) = &entry {
        check_refusal(error);
    }
    entry.iter().for_each(check_verified);
    entry.is_ok()
}

fn entry_id(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let active = TreeId::new(4711).expect("a tree id");
    let Ok(id) = EntryId::parse(text, active) else { return false };
    assert!(id.to_string().ends_with(&text.to_ascii_lowercase()));
    assert_eq!(EntryId::parse(&id.to_string(), active), Ok(id));
    true
}

fn v1_answer(data: &[u8]) -> bool {
    let Ok(entries) = serde_json::from_slice::<LogEntries>(data) else { return false };
    let written = treering_proto::api::v1::to_json(&entries);
    let again: LogEntries = serde_json::from_slice(&written).expect("our own answer is read");
    assert_eq!(again, entries);
    true
}

fn v2_answer(data: &[u8]) -> bool {
    let Ok(entry) = TransparencyLogEntry::parse(data) else { return false };
    let again = TransparencyLogEntry::parse(&entry.to_json()).expect("our own answer is read");
    assert_eq!(again, entry);
    let proof = &entry.inclusion_proof;
    assert!(proof.hashes.len() <= treering_proto::api::v2::PROOF_HASHES_MAX);
    assert!(proof.tree_size.contains(proof.log_index));
    true
}

fn bundle(data: &[u8]) -> bool {
    let Ok(read) = Bundle::parse(data) else { return false };
    let again = Bundle::parse(&read.to_json()).expect("our own bundle is read");
    assert_eq!(again, read);
    assert!(read.log_entries.len() <= LOG_ENTRIES_MAX && read.timestamps.len() <= TIMESTAMPS_MAX);
    if let Material::CertificateChain(chain) = &read.material {
        assert!((1..=CHAIN_MAX).contains(&chain.len()));
    }
    assert!(read.envelope().is_none_or(|envelope| envelope.signatures.len() == 1));
    true
}

fn trust_file(data: &[u8]) -> bool {
    let Ok(file) = TrustFile::parse(data) else { return false };
    let text = file.format();
    let again = TrustFile::parse(text.as_bytes()).expect("our own file is read");
    assert_eq!(again.format(), text);
    assert!(!file.log.checkpoint_keys().is_empty());
    if let Some(floor) = &file.floor {
        let _ = Freshness::of(&file, floor, NOW);
    }
    true
}

/// A claim is judged by its own keys, and with keys that it was not made with.
fn evidence(data: &[u8]) -> bool {
    let Ok(file) = EvidenceFile::parse(data) else { return false };
    assert_eq!(file.format().as_bytes(), data);
    let own = file.judge(None);
    assert!(file.kind.is_proof() || !own.verdict.is_proven());
    let stranger = file.judge(Some(&TrustedKeys::default()));
    assert!(!stranger.verdict.is_proven(), "convicted by keys that nobody trusts");
    true
}
