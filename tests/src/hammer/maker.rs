//! Submissions that are ready before the clock starts: each truly signed, each over a digest of its
//! own.
//!
//! Invariant: no two requests of any makers are about the same digest, because each maker has a
//! random number of 128 bits that goes into all of its digests.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use sha2::{Digest as _, Sha256, Sha512};
use treering_proto::dsse_envelope::{Envelope, IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;
use treering_proto::key::PublicKey;
use treering_proto::model_statement::{ModelStatement, Resource};

use super::face::Face;
use super::kind::Kind;
use crate::submission::{dsse_v1, hashedrekord_v1};

/// What requests are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipe {
    /// What is submitted.
    pub kind: Kind,
    /// How.
    pub face: Face,
    /// Requests that are signed with one key; at least 1.
    pub per_key: u64,
}

/// Makes one request after the other.
pub struct Maker {
    recipe: Recipe,
    key: Key,
    /// The public key as requests of the face carry it, base64.
    verifier: String,
    random: SystemRandom,
    own: [u8; 16],
    made: u64,
}

enum Key {
    P256(EcdsaKeyPair),
    Rsa2048(RsaKeyPair),
    Ed25519(Box<SigningKey>),
}

impl Maker {
    /// A maker with a first key.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn new(recipe: Recipe) -> Self {
        let key = Key::generate(recipe.kind);
        let verifier = key.verifier(recipe.face);
        let mut own = [0; 16];
        rand::fill(&mut own).expect("the system has randomness");
        Self { recipe, key, verifier, random: SystemRandom::new(), own, made: 0 }
    }

    /// The body of the next request.
    ///
    /// # Panics
    /// If the system has no randomness, or a model of so many files cannot be stated.
    pub fn make(&mut self) -> Bytes {
        if self.made > 0 && self.made.is_multiple_of(self.recipe.per_key.max(1)) {
            self.key = Key::generate(self.recipe.kind);
            self.verifier = self.key.verifier(self.recipe.face);
        }
        self.made += 1;
        let artifact = [&self.own[..], &self.made.to_be_bytes()].concat();
        let request = match self.recipe.kind {
            Kind::Dsse { files } => self.dsse(&model_payload(files, &artifact)),
            Kind::P256 | Kind::Rsa2048 | Kind::Ed25519ph => self.hashedrekord(&artifact),
        };
        if self.recipe.face != Face::Add {
            return request.into();
        }
        let entry = VerifiedEntry::from_v2_request(request.as_bytes());
        entry.expect("a request that is made here is accepted").body().to_vec().into()
    }

    fn hashedrekord(&self, artifact: &[u8]) -> String {
        let signature = self.key.sign(&self.random, artifact);
        let (algorithm, digest) = match self.recipe.kind {
            Kind::Ed25519ph => ("sha512", Sha512::digest(artifact).to_vec()),
            Kind::P256 | Kind::Rsa2048 | Kind::Dsse { .. } => {
                ("sha256", Sha256::digest(artifact).to_vec())
            }
        };
        let verifier = &self.verifier;
        if self.recipe.face == Face::RekorV1 {
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            return hashedrekord_v1(&digest, algorithm, &signature, verifier).to_string();
        }
        let (digest, signature) = (to_base64(&digest), to_base64(&signature));
        let details = self.recipe.kind.key_details().name();
        format!(
            r#"{{"hashedRekordRequestV002":{{"digest":"{digest}","signature":{{"content":"{signature}","verifier":{{"publicKey":{{"rawBytes":"{verifier}"}},"keyDetails":"{details}"}}}}}}}}"#
        )
    }

    fn dsse(&self, payload: &[u8]) -> String {
        let signature = self.key.sign(&self.random, &pae(IN_TOTO_PAYLOAD_TYPE, payload));
        let envelope = Envelope::new(IN_TOTO_PAYLOAD_TYPE, payload.to_vec(), signature).to_json();
        let envelope = String::from_utf8(envelope).expect("JSON is UTF-8");
        let verifier = &self.verifier;
        if self.recipe.face == Face::RekorV1 {
            return dsse_v1(&envelope, std::slice::from_ref(verifier)).to_string();
        }
        let details = self.recipe.kind.key_details().name();
        format!(
            r#"{{"dsseRequestV002":{{"envelope":{envelope},"verifiers":[{{"publicKey":{{"rawBytes":"{verifier}"}},"keyDetails":"{details}"}}]}}}}"#
        )
    }
}

/// `count` requests, made on `threads` threads.
///
/// # Panics
/// As [`Maker::make`].
pub fn make_all(recipe: Recipe, count: usize, threads: usize) -> Vec<Bytes> {
    let threads = threads.max(1);
    let share = |thread: usize| count / threads + usize::from(thread < count % threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(share)
            .filter(|share| *share > 0)
            .map(|share| {
                scope.spawn(move || {
                    let mut maker = Maker::new(recipe);
                    (0..share).map(|_| maker.make()).collect()
                })
            })
            .collect();
        let parts = running.into_iter().map(|part| part.join().expect("making requests is pure"));
        parts.flat_map(|part: Vec<Bytes>| part).collect()
    })
}

impl Key {
    fn generate(kind: Kind) -> Self {
        match kind {
            Kind::P256 | Kind::Dsse { .. } => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
                Self::P256(pair.expect("the system has randomness"))
            }
            Kind::Rsa2048 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048);
                Self::Rsa2048(pair.expect("the system has randomness"))
            }
            Kind::Ed25519ph => {
                let mut seed = [0; 32];
                rand::fill(&mut seed).expect("the system has randomness");
                Self::Ed25519(Box::new(SigningKey::from_bytes(&seed)))
            }
        }
    }

    /// Signs with the hash that goes with the key; Ed25519 as Ed25519ph.
    fn sign(&self, random: &SystemRandom, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(pair) => {
                pair.sign(random, message).expect("P-256 signs any message").as_ref().to_vec()
            }
            Self::Rsa2048(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, random, message, &mut signature);
                signed.expect("RSA signs any message");
                signature
            }
            Self::Ed25519(key) => {
                let signed = key.sign_prehashed(Sha512::new().chain_update(message), None);
                signed.expect("no context is not too long").to_vec()
            }
        }
    }

    /// DER in Rekor v2, PEM in Rekor v1.
    fn verifier(&self, face: Face) -> String {
        let spki = self.spki();
        match face {
            Face::RekorV2 | Face::Add => to_base64(&spki),
            Face::RekorV1 => {
                let key = PublicKey::from_spki_der(&spki).expect("a new key is a key");
                to_base64(key.to_pem().as_bytes())
            }
        }
    }

    fn spki(&self) -> Vec<u8> {
        let der = |der: Result<PublicKeyX509Der<'_>, _>| {
            let der = der.map_err(|aws_lc_rs::error::Unspecified| "no DER form");
            der.expect("a public key has a DER form").as_ref().to_vec()
        };
        match self {
            Self::P256(pair) => der(pair.public_key().as_der()),
            Self::Rsa2048(pair) => der(pair.public_key().as_der()),
            Self::Ed25519(key) => {
                let spki = key.verifying_key().to_public_key_der();
                spki.expect("a public key has a DER form").as_bytes().to_vec()
            }
        }
    }
}

/// A statement about a model of `files` files, each with a digest that no other model has.
fn model_payload(files: usize, artifact: &[u8]) -> Vec<u8> {
    let resource = |number: usize| {
        let digest = Sha256::new().chain_update(artifact).chain_update(number.to_be_bytes());
        let name = format!("model-{:05}-of-{files:05}.safetensors", number + 1);
        Resource { name, digest: digest.finalize().to_vec() }
    };
    let resources = (0..files).map(resource).collect();
    let statement = ModelStatement::new_files("hammered-model", resources, Vec::new(), None);
    statement.expect("the number of files is one that a statement can have").to_payload()
}

#[cfg(test)]
mod tests;
