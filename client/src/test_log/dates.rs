//! What a test log says about times: kept checkpoints, its own cosignatures, and promises of Rekor
//! v1, each as the test wishes.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use treering_proto::api::v1::{TreeId, set_payload};
use treering_proto::cosignature::ml_dsa_44::MlDsa44SigningKey;
use treering_proto::encoding::to_base64;
use treering_proto::identity::LogIdentity;
use treering_proto::key::PublicKey;
use treering_proto::note::{Note, NoteKey, SignatureLine, sign_ed25519_line};
use treering_proto::tree::LeafIndex;
use treering_proto::trust::IdentityDocument;

use super::{ORIGIN, TestLog};

/// A checkpoint that the log shows as one that it kept.
#[derive(Clone, Debug)]
pub struct Kept {
    pub size: u64,
    pub note: String,
}

/// The log's keys beside that of its checkpoints, and what it says with them.
#[derive(Clone)]
pub struct Clocks {
    v1: Arc<EcdsaKeyPair>,
    own: Arc<MlDsa44SigningKey>,
    /// The time in its promise for every entry.
    pub promised: u64,
    /// The time in its own cosignature of every checkpoint.
    pub cosigned: u64,
}

impl Clocks {
    pub fn new(time: u64) -> Self {
        Self {
            v1: Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
            own: Arc::new(MlDsa44SigningKey::from_seed(&[7; 32])),
            promised: time,
            cosigned: time,
        }
    }

    pub fn own(&self) -> &MlDsa44SigningKey {
        &self.own
    }

    /// The log's further keys, as its trust file lists them.
    pub fn keys(&self) -> [NoteKey; 2] {
        [self.v1_key(), NoteKey::ml_dsa_44(ORIGIN, self.own.public_key()).unwrap()]
    }

    /// The signed entry timestamp of `body` at `index`.
    pub fn set(&self, body: &[u8], index: u64) -> Vec<u8> {
        let id = self.v1_key().key_id_full().to_hex();
        let payload = set_payload(&to_base64(body), self.promised, &id, index);
        self.v1.sign(&SystemRandom::new(), &payload).unwrap().as_ref().to_vec()
    }

    fn v1_key(&self) -> NoteKey {
        NoteKey::ecdsa_p256(ORIGIN, self.v1.public_key().as_der().unwrap().as_ref()).unwrap()
    }
}

impl TestLog {
    /// The document in which the keys of both faces vouch for each other, if the log has both.
    pub(super) fn identity(&self) -> Option<IdentityDocument> {
        let v1 = &self.clocks.as_ref()?.v1;
        let v1_key = PublicKey::from_spki_der(v1.public_key().as_der().unwrap().as_ref()).unwrap();
        let tree = TreeId::new(4711).unwrap();
        let identity = LogIdentity::new(ORIGIN, tree, self.note_key(), v1_key).unwrap();
        let text = identity.text();
        let signature = v1.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec();
        let key_id = identity.v1_note_key().key_id();
        let v1_line = SignatureLine { name: ORIGIN.to_owned(), key_id, signature };
        let signatures = vec![sign_ed25519_line(ORIGIN, &self.key, &text), v1_line];
        Some(IdentityDocument::parse(Note { text, signatures }.format()).unwrap())
    }

    /// The answer about the kept checkpoints around `index`; `None` above the tree.
    pub(super) fn around(&self, index: u64) -> Option<Vec<u8>> {
        if !self.size().contains(LeafIndex::new(index)?) {
            return None;
        }
        let json = |kept: Option<&Kept>| {
            kept.map(|kept| {
                serde_json::json!({"size": kept.size.to_string(), "time": 0, "note": kept.note,
                    "v1Note": "not read"})
            })
        };
        let before = self.kept.iter().filter(|kept| kept.size <= index);
        let after = self.kept.iter().filter(|kept| kept.size > index);
        let answer = serde_json::json!({
            "treeSize": self.size().to_string(),
            "before": json(before.max_by_key(|kept| kept.size)),
            "after": json(after.min_by_key(|kept| kept.size)),
        });
        Some(answer.to_string().into_bytes())
    }
}
