//! Submissions that are ready before the clock starts: `hashedrekord` 0.0.2 requests of Rekor v2,
//! each truly signed with ECDSA P-256 over a digest of its own.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use treering_proto::encoding::to_base64;

/// Makes one request after the other.
pub(crate) struct Maker {
    key: EcdsaKeyPair,
    spki: String,
    random: SystemRandom,
    made: u64,
    per_key: u64,
}

impl Maker {
    /// A maker that takes a new key after `per_key` requests.
    pub(crate) fn new(per_key: u64) -> Self {
        let (key, spki) = generate();
        Self { key, spki, random: SystemRandom::new(), made: 0, per_key }
    }

    /// The next request. No two have the same digest and key.
    pub(crate) fn make(&mut self) -> String {
        if self.made > 0 && self.made.is_multiple_of(self.per_key) {
            (self.key, self.spki) = generate();
        }
        self.made += 1;
        let artifact = self.made.to_be_bytes();
        let digest = to_base64(&Sha256::digest(artifact));
        let signature = self.key.sign(&self.random, &artifact);
        let signature = to_base64(signature.expect("P-256 signs any message").as_ref());
        format!(
            r#"{{"hashedRekordRequestV002":{{"digest":"{digest}","signature":{{"content":"{signature}","verifier":{{"publicKey":{{"rawBytes":"{}"}},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}}}}}"#,
            self.spki
        )
    }
}

/// `count` requests, each under its own key, made on `threads` threads.
pub(crate) fn make_all(count: usize, threads: usize) -> Vec<Bytes> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut maker = Maker::new(1);
                    (0..count.div_ceil(threads)).map(|_| Bytes::from(maker.make())).collect()
                })
            })
            .collect();
        let parts = running.into_iter().map(|part| part.join().expect("making requests is pure"));
        parts.flat_map(|part: Vec<Bytes>| part).collect()
    })
}

fn generate() -> (EcdsaKeyPair, String) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let key = key.expect("the system has randomness");
    let spki: PublicKeyX509Der<'_> =
        key.public_key().as_der().expect("a public key has a DER form");
    let spki = to_base64(spki.as_ref());
    (key, spki)
}
