//! The private keys of one log and of witnesses, and everything that they can be made to sign.
//!
//! Nothing here asks whether a signature is honest: whoever has the keys can sign any tree at any
//! time.

use std::fs;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use serde_json::{Value, json};
use treering_proto::api::v1::{TreeId, set_payload};
use treering_proto::checkpoint::Checkpoint;
use treering_proto::cosignature::ml_dsa_44::{MlDsa44SigningKey, SEED_LEN};
use treering_proto::encoding::{from_base64, to_base64};
use treering_proto::identity::LogIdentity;
use treering_proto::key::PublicKey;
use treering_proto::note::{
    Note, NoteKey, SignatureLine, sign_cosignature_line, sign_ed25519_line, sign_ml_dsa_44_line,
};
use treering_proto::tree::TreeHead;

use crate::server::Log;

/// The origin of a log that is made here.
pub const ORIGIN: &str = "log.example";

/// Another log, whose checkpoints are none of this one.
const FOREIGN_ORIGIN: &str = "other.example";

/// The private keys of a log and of some witnesses.
pub struct Keys {
    note: SigningKey,
    v1: EcdsaKeyPair,
    /// Dates checkpoints, where the log has it.
    ml_dsa: Option<MlDsa44SigningKey>,
    identity: LogIdentity,
    document: String,
    witnesses: Vec<SigningKey>,
}

/// The times in a checkpoint, in Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dates {
    /// Of the log's own dated line, where it has one.
    pub log: u64,
    /// Of every cosignature.
    pub witnesses: u64,
}

/// Which cosignatures a checkpoint gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cosigning {
    /// One of each witness.
    All,
    /// Those of these witnesses.
    Only(Vec<usize>),
    /// Two of this witness, at two times, and no other.
    Twice(usize),
    /// A true one of the first witness; under the names and key ids of the others, bytes.
    Forged,
    /// A true one of the first witness; those of the others are over a checkpoint of another log.
    Foreign,
}

impl Keys {
    /// New keys of a log that dates its checkpoints itself, too.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn generate_dated(witnesses: usize) -> Self {
        let mut seed = [0; SEED_LEN];
        aws_lc_rs::rand::fill(&mut seed).expect("randomness");
        let ml_dsa = Some(MlDsa44SigningKey::from_seed(&seed));
        Self { ml_dsa, ..Self::generate(witnesses) }
    }

    /// New keys.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn generate(witnesses: usize) -> Self {
        let v1 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("randomness");
        let mut tree = [0; 8];
        aws_lc_rs::rand::fill(&mut tree).expect("randomness");
        // Below 2^63, and not 0.
        let tree_id = TreeId::new(u64::from_be_bytes(tree) >> 1 | 1).expect("a small number");
        Self::new(ORIGIN, tree_id, ed25519(), v1, witnesses)
    }

    /// New keys of the log, with the witnesses that `other` has.
    pub fn with_witnesses_of(other: &Self) -> Self {
        Self { witnesses: other.witnesses.clone(), ..Self::generate(0) }
    }

    /// The keys of a log on disk, as a thief takes them, and new ones for witnesses.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn stolen(log: &Log, witnesses: usize) -> Self {
        let read = |name: &str| {
            fs::read_to_string(log.data.join("keys").join(name)).expect("a log has its keys")
        };
        let note = SigningKey::from_pkcs8_pem(&read("note.pem")).expect("an Ed25519 key");
        let der: String = read("v1.pem").lines().filter(|line| !line.starts_with('-')).collect();
        let der = from_base64(&der).expect("PEM is base64");
        let v1 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der);
        let identity = &log.identity;
        let v1 = v1.expect("a P-256 key");
        Self::new(identity.origin(), identity.tree_id(), note, v1, witnesses)
    }

    fn new(
        origin: &str,
        tree_id: TreeId,
        note: SigningKey,
        v1: EcdsaKeyPair,
        witnesses: usize,
    ) -> Self {
        let spki: PublicKeyX509Der<'_> = v1.public_key().as_der().expect("a key has an encoding");
        let v1_public = PublicKey::from_spki_der(spki.as_ref()).expect("a P-256 key");
        let note_key = NoteKey::ed25519(origin, note.verifying_key().as_bytes());
        let note_key = note_key.expect("the origin names a key");
        let identity = LogIdentity::new(origin, tree_id, note_key, v1_public).expect("fitting");
        let witnesses = (0..witnesses).map(|_| ed25519()).collect();
        let (ml_dsa, document) = (None, String::new());
        let mut keys = Self { note, v1, ml_dsa, identity, document, witnesses };
        let text = keys.identity.text();
        let signatures = vec![sign_ed25519_line(origin, &keys.note, &text), keys.v1_line(&text)];
        keys.document = Note { text, signatures }.format();
        keys
    }

    /// Who the log is.
    pub fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// The identity document.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// The C2SP checkpoint of `head`, dated and cosigned.
    pub fn note(&self, head: TreeHead, dates: Dates, cosigning: &Cosigning) -> String {
        let origin = self.identity.origin();
        let text = checkpoint_text(origin, head);
        let mut signatures = vec![sign_ed25519_line(origin, &self.note, &text)];
        if let Some(key) = &self.ml_dsa {
            signatures.push(sign_ml_dsa_44_line(origin, key, origin, head, dates.log));
        }
        let time = dates.witnesses;
        let all = 0..self.witnesses.len();
        let true_one = |witness: usize| self.cosignature(witness, &text, time);
        match cosigning {
            Cosigning::All => signatures.extend(all.map(true_one)),
            Cosigning::Only(witnesses) => {
                signatures.extend(witnesses.iter().map(|witness| true_one(*witness)));
            }
            Cosigning::Twice(witness) => {
                signatures.push(true_one(*witness));
                signatures.push(self.cosignature(*witness, &text, time + 1));
            }
            Cosigning::Forged => signatures.extend(all.map(|witness| match witness {
                0 => true_one(0),
                other => SignatureLine { signature: vec![7; 72], ..true_one(other) },
            })),
            Cosigning::Foreign => {
                let foreign = checkpoint_text(FOREIGN_ORIGIN, head);
                signatures.extend(all.map(|witness| match witness {
                    0 => true_one(0),
                    other => self.cosignature(other, &foreign, time),
                }));
            }
        }
        Note { text, signatures }.format()
    }

    /// The line of a witness under the checkpoint `text`.
    pub fn cosignature(&self, witness: usize, text: &str, time: u64) -> SignatureLine {
        sign_cosignature_line(&witness_name(witness), &self.witnesses[witness], text, time)
    }

    /// The Rekor v1 checkpoint of `head`.
    pub fn v1_note(&self, head: TreeHead) -> String {
        let text = checkpoint_text(&self.identity.v1_origin(), head);
        let signatures = vec![self.v1_line(&text)];
        Note { text, signatures }.format()
    }

    /// The promise that `body` is entry `index`, logged at `time`.
    pub fn set(&self, body: &[u8], time: u64, index: u64) -> Vec<u8> {
        let log_id = self.identity.v1_log_id().to_hex();
        self.ecdsa(&set_payload(&to_base64(body), time, &log_id, index))
    }

    /// The key of a witness.
    ///
    /// # Panics
    /// If there is no such witness.
    pub fn witness_key(&self, witness: usize) -> NoteKey {
        let public = self.witnesses[witness].verifying_key();
        let key = NoteKey::cosignature(&witness_name(witness), public.as_bytes());
        key.expect("a witness has a name and a strong key")
    }

    /// The key of the log's own dated line, if it has one.
    ///
    /// # Panics
    /// If the origin cannot name a key.
    pub fn time_key(&self) -> Option<NoteKey> {
        let key = self.ml_dsa.as_ref()?;
        let key = NoteKey::ml_dsa_44(self.identity.origin(), key.public_key());
        Some(key.expect("the origin names a key"))
    }

    /// A trust file for the log at `url` that asks for `quorum` of the witnesses and accepts nobody
    /// yet.
    pub fn trust(&self, url: &str, quorum: usize) -> Value {
        let identity = &self.identity;
        let mut trust = json!({
            "schema": "treering.trust/v1",
            "log": {
                "url": url,
                "origin": identity.origin(),
                "keys": [identity.note_key().to_vkey(), identity.v1_note_key().to_vkey()],
                "identity": self.document,
            },
            "signers": [],
        });
        if let Some(key) = self.time_key() {
            trust["log"]["keys"].as_array_mut().expect("a list").push(key.to_vkey().into());
        }
        if !self.witnesses.is_empty() {
            trust["witnessPolicy"] = self.policy(quorum).into();
        }
        trust
    }

    /// The witness policy that asks for `quorum` of all witnesses.
    pub fn policy(&self, quorum: usize) -> String {
        let mut text = String::new();
        let mut names = Vec::new();
        for witness in 0..self.witnesses.len() {
            text.push_str(&format!("witness w{witness} {}\n", self.witness_key(witness).to_vkey()));
            names.push(format!("w{witness}"));
        }
        text + &format!("group g {quorum} {}\nquorum g\n", names.join(" "))
    }

    fn v1_line(&self, text: &str) -> SignatureLine {
        SignatureLine {
            name: self.identity.origin().to_owned(),
            key_id: self.identity.v1_note_key().key_id(),
            signature: self.ecdsa(text.as_bytes()),
        }
    }

    fn ecdsa(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.v1.sign(&SystemRandom::new(), message);
        signature.expect("randomness").as_ref().to_vec()
    }
}

fn checkpoint_text(origin: &str, head: TreeHead) -> String {
    Checkpoint { origin: origin.to_owned(), head, extensions: Vec::new() }.format()
}

fn witness_name(witness: usize) -> String {
    format!("w{witness}.example")
}

fn ed25519() -> SigningKey {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).expect("randomness");
    SigningKey::from_bytes(&seed)
}
