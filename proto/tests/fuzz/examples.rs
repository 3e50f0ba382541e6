//! Valid bytes for each target, made here. They are the same in every run: Ed25519 signatures
//! depend on key and message alone; the ECDSA signatures, which do not, are written down; and
//! ML-DSA-44 signatures, which do not and are long, are garbage of the right length, on lines that
//! no target verifies.
//!
//! Invariant: every target takes all of its examples (a test holds them to it).

mod entries;
mod tree;

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use serde_json::json;
use treering_proto::api::v1::TreeId;
use treering_proto::checkpoint::{Checkpoint, SignedCheckpoint, open_checkpoint};
use treering_proto::cosignature::ml_dsa_44::{self, MlDsa44SigningKey};
use treering_proto::encoding::{from_base64, to_base64};
use treering_proto::evidence::{Evidence, EvidenceFile, EvidenceKind, Promise};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::identity::LogIdentity;
use treering_proto::key::{HashAlgorithm, PublicKey};
use treering_proto::note::{
    Note, NoteKey, SignatureLine, sign_cosignature_line, sign_ed25519_line,
};
use treering_proto::proof_file::ProofFile;
use treering_proto::tile;
use treering_proto::timestamp::TimestampRequest;
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};
use treering_proto::trust::TRUST_SCHEMA;
use treering_proto::witness::AddCheckpoint;

use crate::targets::ORIGIN;
use tree::Tree;

/// Examples by target.
pub type Examples = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// All examples.
pub fn all() -> Examples {
    let mut examples = Examples::new();
    tree_examples(&mut examples);
    note_examples(&mut examples);
    witness_examples(&mut examples);
    evidence_examples(&mut examples);
    examples.insert("trust_file", vec![trust_file(false), trust_file(true)]);
    entries::add(&mut examples);
    timestamp_examples(&mut examples);
    examples
}

/// The SPKI of an ECDSA P-256 key that signed what is written down here.
pub const ECDSA_SPKI: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHhhTL9R1TALzBB2cdc6zO4P/2BrHzk/ogsyxyYvFiW6kbDEcTi/0DdlqNlPm5FRF0y3+SG7O11x6kMahiIHAow==";

/// Its signature over the text of [`identity`].
const IDENTITY_SIGNATURE: &str = "MEUCIQCZ3bfEwBhytp7rzspZV90jnHvFvuSmPNgS1kqxsr6JWAIgLgbwobQOkXZjFnZ6m0qQK0a8CPcxm4WKKwSMBxfoC+E=";

const TIME: u64 = 1_700_000_000;

/// What is written down here.
pub fn decoded(text: &str) -> Vec<u8> {
    from_base64(text).expect("written down correctly")
}

/// The key of [`ECDSA_SPKI`].
pub fn ecdsa_key() -> PublicKey {
    PublicKey::from_spki_der(&decoded(ECDSA_SPKI)).expect("a key")
}

/// The Ed25519 key with this seed; the log has 1, the witness 9.
pub fn seed(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn text(head: TreeHead) -> String {
    Checkpoint { origin: ORIGIN.to_owned(), head, extensions: Vec::new() }.format()
}

/// Who dates a checkpoint beside the log's plain signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    Nobody,
    Witness,
    /// The witness, and a line that calls itself the log's.
    All,
}

/// The note of a checkpoint, signed by the log.
fn note(head: TreeHead, dated: Dated) -> Vec<u8> {
    let text = text(head);
    let mut signatures = vec![sign_ed25519_line(ORIGIN, &seed(1), &text)];
    if dated != Dated::Nobody {
        signatures.push(sign_cosignature_line("w.example", &seed(9), &text, TIME));
    }
    if dated == Dated::All {
        let (name, key_id) = (ORIGIN.to_owned(), ml_dsa_key().key_id());
        let signature = vec![7; ml_dsa_44::PAYLOAD_LEN];
        signatures.push(SignatureLine { name, key_id, signature });
    }
    Note { text, signatures }.format().into_bytes()
}

fn log_key() -> NoteKey {
    NoteKey::ed25519(ORIGIN, seed(1).verifying_key().as_bytes()).expect("a key")
}

fn witness_key(byte: u8) -> NoteKey {
    NoteKey::cosignature("w.example", seed(byte).verifying_key().as_bytes()).expect("a key")
}

fn ml_dsa_key() -> NoteKey {
    let key = MlDsa44SigningKey::from_seed(&[3; 32]);
    NoteKey::ml_dsa_44(ORIGIN, key.public_key()).expect("a key")
}

/// The identity document of the log: its Ed25519 key, and the ECDSA key above.
fn identity() -> Vec<u8> {
    let tree = TreeId::new(4711).expect("a tree id");
    let identity = LogIdentity::new(ORIGIN, tree, log_key(), ecdsa_key()).expect("keys that fit");
    let text = identity.text();
    let ecdsa = SignatureLine {
        name: ORIGIN.to_owned(),
        key_id: identity.v1_note_key().key_id(),
        signature: decoded(IDENTITY_SIGNATURE),
    };
    let signatures = vec![sign_ed25519_line(ORIGIN, &seed(1), &text), ecdsa];
    Note { text, signatures }.format().into_bytes()
}

fn timestamp_examples(examples: &mut Examples) {
    let hashes = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    let request = |hash: HashAlgorithm, nonce: Option<&[u8]>| {
        let bare = TimestampRequest::new(hash, hash.digest(b"signature")).expect("its length");
        let asked = bare.with_nonce(nonce).expect("a short number");
        asked.with_certificate(nonce.is_some()).to_der()
    };
    let bare = hashes.map(|hash| request(hash, None));
    let with_nonce = hashes.map(|hash| request(hash, Some(&[0x5a; 8])));
    let digest = to_base64(&HashAlgorithm::Sha256.digest(b"signature"));
    let plain = json!({ "artifactHash": digest, "hashAlgorithm": "sha256" });
    let whole = json!({
        "artifactHash": digest, "hashAlgorithm": "sha256", "certificates": true,
        "nonce": 6_510_615_555_426_900_570_u64, "tsaPolicyOID": "1.3.6.1.4.1.57264.2",
    });
    let texts = [plain, whole].map(|value| value.to_string().into_bytes());
    examples.insert("timestamp_request", [&bare[..], &with_nonce, &texts].concat());
}

fn number(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn tree_examples(examples: &mut Examples) {
    let tree = Tree::grown(300);
    let proof = |index, size| {
        let leaf = tree.leaf(index).0.to_vec();
        let hashes = tile::encode_hashes(&tree.inclusion(index, size));
        [number(index), number(size), leaf, hashes].concat()
    };
    let inclusion = [(0, 1), (0, 2), (4, 7), (255, 300), (299, 300)];
    examples.insert("inclusion_proof", inclusion.map(|(i, s)| proof(i, s)).to_vec());
    let proof = |old, new| {
        let roots = tile::encode_hashes(&[tree.head(old).root, tree.head(new).root]);
        let hashes = tile::encode_hashes(&tree.consistency(old, new));
        [number(old), number(new), roots, hashes].concat()
    };
    let consistency = [(0, 3), (1, 2), (4, 7), (6, 300), (256, 300), (7, 7)];
    examples.insert("consistency_proof", consistency.map(|(o, n)| proof(o, n)).to_vec());
    let leaves: Vec<Hash> = (0..256).map(|index| tree.leaf(index)).collect();
    let tiles = [1, 3, 256].map(|width| tile::encode_hashes(&leaves[..width]));
    examples.insert("hash_tile", tiles.to_vec());
    let entries = [1, 3, 256].map(|width| {
        let mut tile = vec![(width - 1) as u8];
        tree.entries()[..width].iter().for_each(|entry| tile::encode_entry(entry, &mut tile));
        tile
    });
    examples.insert("entry_tile", entries.to_vec());
    let paths = [
        "tile/0/000",
        "tile/0/x001/067",
        "tile/1/000.p/7",
        "tile/entries/x123/x456/789.p/255",
        "tile/6/x009/x007/x199/x254/x740/991",
    ];
    examples.insert("tile_path", paths.map(|path| path.as_bytes().to_vec()).to_vec());
    let file = ProofFile {
        extra: Some(b"for the application".to_vec()),
        index: LeafIndex::new(255).expect("an index"),
        hashes: tree.inclusion(255, 300),
        checkpoint: String::from_utf8(note(tree.head(300), Dated::All)).expect("a note is text"),
    };
    let bare = ProofFile { extra: None, hashes: Vec::new(), ..file.clone() };
    examples.insert("proof_file", [file, bare].map(|file| file.format().into_bytes()).to_vec());
}

fn note_examples(examples: &mut Examples) {
    let tree = Tree::grown(7);
    let notes = [(0, Dated::Nobody), (4, Dated::Witness), (7, Dated::All)]
        .map(|(size, dated)| note(tree.head(size), dated));
    examples.insert("checkpoint", notes.to_vec());
    let mut every = notes.to_vec();
    every.push(identity());
    examples.insert("note", every);
    examples.insert("identity", vec![identity()]);
    let text = text(tree.head(7));
    let one = sign_cosignature_line("w.example", &seed(9), &text, TIME).format();
    let two = sign_cosignature_line("x.example", &seed(8), &text, TIME).format();
    examples.insert("signature_lines", vec![one.clone().into_bytes(), (one + &two).into_bytes()]);
    let ecdsa = NoteKey::ecdsa_p256(ORIGIN, &decoded(ECDSA_SPKI)).expect("a key");
    let keys = [log_key(), witness_key(9), ml_dsa_key(), ecdsa];
    examples.insert("vkey", keys.map(|key| key.to_vkey().into_bytes()).to_vec());
    let standard = b"AAECAwQFBgcICQ==".to_vec();
    examples.insert("encodings", vec![standard, to_base64(&[0xfb; 33]).into_bytes()]);
}

fn witness_policy() -> String {
    let (a, b, c) = (witness_key(9), witness_key(8), witness_key(7));
    let (a, b, c) = (a.to_vkey(), b.to_vkey(), c.to_vkey());
    format!(
        "# who must have seen a checkpoint\nwitness a {a} https://w.example/\nwitness b {b}\n\
         witness c {c}\ngroup two 2 a b c\ngroup all any two\nquorum all\n"
    )
}

fn witness_examples(examples: &mut Examples) {
    let log = log_key().to_vkey();
    let policies = [
        witness_policy(),
        format!("log {log} https://log.example\nquorum none\n"),
        format!("witness a {}\n\n\tquorum  a\n", witness_key(9).to_vkey()),
    ];
    examples.insert("policy", policies.map(String::into_bytes).to_vec());
    let tree = Tree::grown(7);
    let request = |old: u64, new: u64| {
        let proof = if old == 0 { Vec::new() } else { tree.consistency(old, new) };
        let note = String::from_utf8(note(tree.head(new), Dated::Nobody)).expect("a note is text");
        let old_size = TreeSize::new(old).expect("a size");
        AddCheckpoint { old_size, proof, note }.format().into_bytes()
    };
    examples.insert("add_checkpoint", vec![request(0, 4), request(4, 7), request(3, 7)]);
    let list = format!(
        "logs/v0\n\n# ours\nvkey {log}\norigin {ORIGIN}/other\nqpd 86400\ncontact a@b.example\n\
         vkey {log}\nvkey {}\nvkey {}\nvkey x.example+00000000+AAAA\n",
        ml_dsa_key().to_vkey(),
        witness_key(9).to_vkey()
    );
    let list = list.replace("vkey x.example+00000000+AAAA\n", "");
    examples.insert("log_list", vec![list.into_bytes(), b"logs/v0\n".to_vec()]);
}

fn trust_file(whole: bool) -> Vec<u8> {
    let mut file = json!({
        "schema": TRUST_SCHEMA,
        "log": { "url": "https://log.example", "origin": ORIGIN, "keys": [log_key().to_vkey()] },
    });
    if whole {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        file["log"]["identity"] = json!(text(identity()));
        file["log"]["keys"] = json!([log_key().to_vkey(), ml_dsa_key().to_vkey()]);
        file["floor"] = json!(text(note(Tree::grown(4).head(4), Dated::Witness)));
        file["witnessPolicy"] = json!(witness_policy());
        file["maxCheckpointAgeSeconds"] = json!(86_400);
        file["signers"] = json!([
            { "name": "ci", "identity": "https://ci.example/job", "issuer": "https://i.example" },
            { "name": "release", "publicKey": ecdsa_key().to_pem() },
        ]);
        file["modelPolicy"] = json!({
            "firstSeen": { "action": "refuse", "days": 30 },
            "notNewest": "refuse",
            "superseded": "off",
            "checkpointAge": { "action": "warn", "hours": 24 },
            "approvals": { "action": "refuse", "count": 1, "roles": {
                "qa": [{ "name": "kim", "identity": "kim@corp.example" }] } },
            "recovery": [{ "name": "safe", "publicKey": ecdsa_key().to_pem() }],
        });
    }
    file.to_string().into_bytes()
}

fn open(note: &[u8]) -> SignedCheckpoint {
    let keys = [log_key(), witness_key(9)];
    open_checkpoint(note, ORIGIN, &keys).expect("our own note")
}

/// True evidence of two roots and of another beginning, and one file of each other shape.
fn evidence_examples(examples: &mut Examples) {
    const SEEN: &str = "2026-01-02T03:04:05Z https://log.example";
    let (tree, forked) = (Tree::grown(7), Tree::forked(7, 3));
    let signed = |tree: &Tree, size| open(&note(tree.head(size), Dated::All));
    let fork = Evidence::fork_size(&signed(&tree, 7), &signed(&forked, 7)).expect("a fork");
    let root = forked.head(5).root;
    let proof = forked.consistency(5, 7);
    let prefix = Evidence::fork_prefix(&signed(&tree, 5), &signed(&forked, 7), root, &proof);
    let mut files = vec![
        fork,
        prefix.expect("another beginning"),
        Evidence::rollback(&signed(&tree, 7), &signed(&tree, 4)),
        Evidence::unproven(&signed(&tree, 4), &signed(&forked, 7)),
        Evidence::foreign_key(&signed(&tree, 4), &note(forked.head(7), Dated::Nobody)),
    ]
    .into_iter()
    .map(|evidence| evidence.format(SEEN).into_bytes())
    .collect::<Vec<_>>();
    let index = LeafIndex::new(6).expect("an index");
    let broken = EvidenceFile {
        kind: EvidenceKind::BrokenPromise,
        origin: ORIGIN.to_owned(),
        keys: vec![log_key()],
        identity: Some(identity()),
        notes: vec![note(tree.head(7), Dated::All)],
        alt_root: None,
        promise: Some(Promise { set: vec![0x30; 70], entry: b"{}".to_vec(), time: TIME, index }),
        leaf: Some(hash_leaf(b"another")),
        proof: Some(tree.inclusion(6, 7)),
        seen: SEEN.to_owned(),
    };
    let wrong = EvidenceFile { kind: EvidenceKind::WrongTime, leaf: None, ..broken.clone() };
    files.extend([broken, wrong].map(|file| file.format().into_bytes()));
    examples.insert("evidence", files);
}
