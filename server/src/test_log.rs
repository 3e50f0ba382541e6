//! For unit tests: real signed entries, and a store in a temporary directory.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use tempfile::TempDir;
use treering_proto::append::{Extension, RightEdge};
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::{Hash, sha256};
use treering_proto::key::PublicKey;
use treering_proto::tree::TreeHead;

use crate::publisher::{Snapshot, Witnessed};
use crate::store::{Batch, Durable, Store};

/// A store, and the tree that is committed to it.
pub struct TestLog {
    _directory: TempDir,
    /// The rows.
    pub store: Store,
    /// The tree.
    pub edge: RightEdge,
}

/// `count` entries, each signed with a key of its own making.
pub fn entries(count: usize) -> Vec<VerifiedEntry> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    let key = to_base64(spki.as_ref());
    let random = SystemRandom::new();
    let entry = |number: usize| {
        let message = number.to_be_bytes();
        let digest = to_base64(sha256(&message).as_bytes());
        let signature = to_base64(pair.sign(&random, &message).unwrap().as_ref());
        let request = format!(
            r#"{{"hashedRekordRequestV002":{{"digest":"{digest}","signature":{{"content":"{signature}","verifier":{{"publicKey":{{"rawBytes":"{key}"}},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}}}}}"#
        );
        VerifiedEntry::from_v2_request(request.as_bytes()).unwrap()
    };
    (0..count).map(entry).collect()
}

/// An entry of Rekor v1.
pub fn v1_entry() -> VerifiedEntry {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    let key = PublicKey::from_spki_der(spki.as_ref()).unwrap().to_pem();
    let signature = pair.sign(&SystemRandom::new(), b"v1").unwrap();
    let request = serde_json::json!({
        "kind": "hashedrekord", "apiVersion": "0.0.1",
        "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": sha256(b"v1").to_hex() } },
            "signature": {
                "content": to_base64(signature.as_ref()),
                "publicKey": { "content": to_base64(key.as_bytes()) },
            },
        },
    });
    VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap()
}

/// The leaves of `entries`.
pub fn leaves(entries: &[VerifiedEntry]) -> Vec<Hash> {
    entries.iter().map(VerifiedEntry::leaf).collect()
}

impl TestLog {
    /// An empty log.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&directory.path().join("db"), b"identity").unwrap();
        Self { _directory: directory, store, edge: RightEdge::EMPTY }
    }

    /// Commits `entries` together with `extension`, which need not be theirs.
    pub fn commit(&mut self, entries: &[VerifiedEntry], extension: Extension) -> Durable {
        let entries: Vec<&VerifiedEntry> = entries.iter().collect();
        let before: TreeHead = self.edge.head();
        let first = self.edge.size().next_index().unwrap();
        self.edge = extension.edge.clone();
        let batch = Batch { first, time_ms: 1, entries: &entries, extension };
        self.store.commit(before, batch).unwrap()
    }

    /// Commits `entries`.
    pub fn append(&mut self, entries: &[VerifiedEntry]) -> Durable {
        let extension = self.edge.extend(&leaves(entries)).unwrap();
        self.commit(entries, extension)
    }

    /// What would be published now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            head: self.edge.head(),
            edge: self.edge.clone(),
            note: String::new(),
            v1_note: String::new(),
            time_ms: 1,
            witnessed: Witnessed::NotAsked,
        }
    }
}
