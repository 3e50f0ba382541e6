//! What a test log serves to those who read all of it: entry tiles, statements, the Rekor v1 face
//! with its own key, and checkpoints that it kept.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use treering_proto::api::v1::{LogInfo, TreeId, set_payload, v1_origin};
use treering_proto::encoding::from_hex_lower;
use treering_proto::identity::LogIdentity;
use treering_proto::key::PublicKey;
use treering_proto::note::SignatureLine;
use treering_proto::tile::encode_entry;
use treering_proto::trust::IdentityDocument;

use super::*;

/// The key of the Rekor v1 face.
#[derive(Clone)]
pub struct V1Key {
    pair: Arc<EcdsaKeyPair>,
    public: PublicKey,
}

/// Changes an answer: gets method and target, and the body; without a body the answer is 404.
pub type Tamper = Box<dyn Fn(&str, Vec<u8>) -> Option<Vec<u8>> + Send>;

impl V1Key {
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let public = PublicKey::from_spki_der(spki.as_ref()).unwrap();
        Self { pair: Arc::new(pair), public }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

fn tree_id() -> TreeId {
    TreeId::new(u64::from_str_radix(TREE, 16).unwrap()).unwrap()
}

impl TestLog {
    pub fn v1_identity(&self) -> LogIdentity {
        let v1 = self.v1_key.public.clone();
        LogIdentity::new(ORIGIN, tree_id(), self.note_key(), v1).unwrap()
    }

    /// The document that both keys signed.
    pub fn identity_document(&self) -> IdentityDocument {
        let text = self.v1_identity().text();
        let signatures = vec![sign_ed25519_line(ORIGIN, &self.key, &text), self.v1_line(&text)];
        IdentityDocument::parse(Note { text, signatures }.format()).unwrap()
    }

    pub fn v1_note(&self, head: TreeHead) -> String {
        let origin = v1_origin(ORIGIN, tree_id());
        let text = Checkpoint { origin, head, extensions: Vec::new() }.format();
        let signatures = vec![self.v1_line(&text)];
        Note { text, signatures }.format()
    }

    fn v1_line(&self, text: &str) -> SignatureLine {
        let key_id = self.v1_identity().v1_note_key().key_id();
        let signature = self.v1_key.sign(text.as_bytes());
        SignatureLine { name: ORIGIN.to_owned(), key_id, signature }
    }

    /// What a reader of the whole log asks for; `None` for other paths.
    pub(super) fn whole(&self, path: &str, query: &str) -> Option<Vec<u8>> {
        let number = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.clone().find(|(key, _)| *key == name)?.1.parse::<u64>().ok()
        };
        match path {
            "/api/v1/log" => Some(self.log_info()),
            "/api/v1/log/entries" => self.v1_signed(number("logIndex")?),
            _ if path.starts_with("/api/treering/v1/statements/") => {
                let hash = from_hex_lower(path.rsplit_once('/')?.1)?;
                self.statements.get(&Hash::from_slice(&hash)?).cloned()
            }
            "/api/treering/v1/checkpoints" => Some(self.checkpoints(number("from")?)),
            _ => {
                let tile = Tile::parse_path(&path[1..]).ok()?;
                (tile.kind == TileKind::Entries && tile.is_within(self.size()))
                    .then(|| self.entry_tile(tile))
            }
        }
    }

    fn entry_tile(&self, tile: Tile) -> Vec<u8> {
        let first = (tile.index * 256) as usize;
        let mut bytes = Vec::new();
        for body in &self.bodies[first..first + tile.width as usize] {
            encode_entry(body, &mut bytes);
        }
        bytes
    }

    fn log_info(&self) -> Vec<u8> {
        let head = self.head(self.size());
        to_json(&LogInfo {
            inactive_shards: None,
            root_hash: head.root.to_hex(),
            signed_tree_head: self.v1_note(head),
            tree_id: tree_id().to_string(),
            tree_size: head.size.get(),
        })
    }

    pub fn v1_signed(&self, index: u64) -> Option<Vec<u8>> {
        Some(self.promise(index, self.bodies.get(index as usize)?))
    }

    /// The answer about the entry at `index`, with a promise of that index for `body`.
    pub fn promise(&self, index: u64, body: &[u8]) -> Vec<u8> {
        let mut entries: LogEntries = serde_json::from_slice(&self.v1(index as usize)).unwrap();
        for entry in entries.values_mut() {
            entry.body = to_base64(body);
            entry.log_id = self.v1_identity().v1_log_id().to_hex();
            entry.integrated_time = self.dated.get(&index).copied().unwrap_or(TIME);
            let payload = set_payload(&entry.body, entry.integrated_time, &entry.log_id, index);
            entry.verification.signed_entry_timestamp = to_base64(&self.v1_key.sign(&payload));
        }
        to_json(&entries)
    }

    fn checkpoints(&self, from: u64) -> Vec<u8> {
        let mut sizes: Vec<u64> =
            self.listed.iter().copied().filter(|size| *size >= from).collect();
        sizes.sort_unstable();
        let next = sizes.get(KEPT_MAX).map(ToString::to_string);
        sizes.truncate(KEPT_MAX);
        let kept = sizes.into_iter().map(|size| {
            let tree_size = TreeSize::new(size).unwrap();
            json!({"size": size.to_string(), "time": TIME, "note": self.checkpoint(tree_size, &[]),
                "v1Note": self.v1_note(self.head(tree_size))})
        });
        let kept: Vec<_> = kept.collect();
        json!({"treeSize": self.size().to_string(), "checkpoints": kept, "next": next})
            .to_string()
            .into_bytes()
    }

    /// The answer to a request for statements; two at once, so that tests ask again.
    pub(super) fn statements_answer(&self, request: &[u8]) -> Vec<u8> {
        let request: serde_json::Value = serde_json::from_slice(request).unwrap();
        let (mut found, mut missing, mut left_out) = (serde_json::Map::new(), vec![], vec![]);
        for hash in request["hashes"].as_array().unwrap() {
            let name = hash.as_str().unwrap().to_owned();
            let key = Hash::from_slice(&from_hex_lower(&name).unwrap()).unwrap();
            match self.statements.get(&key) {
                _ if found.len() == 2 => left_out.push(name),
                Some(payload) => drop(found.insert(name, to_base64(payload).into())),
                None => missing.push(name),
            }
        }
        json!({"statements": found, "missing": missing, "left_out": left_out})
            .to_string()
            .into_bytes()
    }
}

/// Short pages, so that tests turn them.
const KEPT_MAX: usize = 2;
