//! The ceiling of every log that verifies: how fast this machine verifies signatures and does
//! nothing else.
//!
//! The calls are those of `treering_proto::key`: the key is read from its bytes for each signature,
//! because the log sees each key for the first time. Invariants: each thread has its own keys and
//! messages; making them is not measured; neither server nor generator runs meanwhile.

use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, VerificationAlgorithm,
};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha512};
use treering_tests::hammer::kind::Kind;

use crate::ceilings::{on_all_threads, repeat, thread_cpu_seconds};

/// Signatures that each thread has ready.
const SIGNATURES_PER_THREAD: usize = 4096;

/// Keys of each thread, where a key takes a tenth of a second to make.
const RSA_KEYS_PER_THREAD: usize = 4;

/// How a signature is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// RSA PKCS#1 v1.5 with 2,048 bits and SHA-256.
    Rsa2048,
    /// Ed25519ph.
    Ed25519ph,
}

/// What was measured of one scheme.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Verifies {
    /// A second, on all threads together.
    pub(crate) rate: f64,
    /// CPU time of one, in seconds.
    pub(crate) cpu_seconds: f64,
}

/// What was measured of all of them.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct VerifyCeilings {
    /// ECDSA on P-256.
    pub(crate) p256: Verifies,
    /// RSA.
    pub(crate) rsa2048: Verifies,
    /// Ed25519ph.
    pub(crate) ed25519ph: Verifies,
}

/// A key, a message and its signature, as bytes.
struct Signed {
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Scheme {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 3] = [Self::P256, Self::Rsa2048, Self::Ed25519ph];

    /// The scheme that signs entries of `kind`.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::P256 | Kind::Dsse { .. } => Self::P256,
            Kind::Rsa2048 => Self::Rsa2048,
            Kind::Ed25519ph => Self::Ed25519ph,
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::Rsa2048 => "RSA-2048",
            Self::Ed25519ph => "Ed25519ph",
        }
    }

    /// How fresh the keys are.
    pub(crate) fn keys(self) -> &'static str {
        match self {
            Self::P256 | Self::Ed25519ph => "a key and a message for each signature",
            Self::Rsa2048 => "4 keys for each thread, a message for each signature",
        }
    }

    /// Verifies for `time` on `threads` threads.
    ///
    /// # Errors
    /// If a thread panics: then a signature did not verify.
    pub(crate) fn measure(self, threads: usize, time: Duration) -> anyhow::Result<Verifies> {
        let parts = on_all_threads(threads, |barrier| {
            let signed = self.sign_all();
            let mut cycle = signed.iter().cycle();
            barrier.wait();
            let before = thread_cpu_seconds();
            let (done, rate) = repeat(time, || {
                for signed in cycle.by_ref().take(64) {
                    assert!(self.verifies(signed), "it was signed with this key");
                }
                64
            });
            let cpu_seconds = (thread_cpu_seconds() - before) / done as f64 / threads as f64;
            Verifies { rate, cpu_seconds }
        })?;
        let sum = |sum: Verifies, part: Verifies| Verifies {
            rate: sum.rate + part.rate,
            cpu_seconds: sum.cpu_seconds + part.cpu_seconds,
        };
        Ok(parts.into_iter().fold(Verifies::default(), sum))
    }

    fn sign_all(self) -> Vec<Signed> {
        let messages = (0..SIGNATURES_PER_THREAD).map(|n| format!("message {n:024}").into_bytes());
        match self {
            Self::P256 => messages.map(sign_p256).collect(),
            Self::Ed25519ph => messages.map(sign_ed25519ph).collect(),
            Self::Rsa2048 => {
                let make = || RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key is made");
                let keys: Vec<_> = (0..RSA_KEYS_PER_THREAD).map(|_| make()).collect();
                let pairs = keys.iter().cycle().zip(messages);
                pairs.map(|(key, message)| sign_rsa(key, message)).collect()
            }
        }
    }

    fn verifies(self, signed: &Signed) -> bool {
        match self {
            Self::P256 => signed.verifies_by(&ECDSA_P256_SHA256_ASN1),
            Self::Rsa2048 => signed.verifies_by(&RSA_PKCS1_2048_8192_SHA256),
            Self::Ed25519ph => signed.verifies_ed25519ph(),
        }
    }
}

impl VerifyCeilings {
    /// What was measured of `scheme`.
    pub(crate) fn of(&self, scheme: Scheme) -> Verifies {
        match scheme {
            Scheme::P256 => self.p256,
            Scheme::Rsa2048 => self.rsa2048,
            Scheme::Ed25519ph => self.ed25519ph,
        }
    }

    /// Remembers what was measured of `scheme`.
    pub(crate) fn set(&mut self, scheme: Scheme, verifies: Verifies) {
        match scheme {
            Scheme::P256 => self.p256 = verifies,
            Scheme::Rsa2048 => self.rsa2048 = verifies,
            Scheme::Ed25519ph => self.ed25519ph = verifies,
        }
    }
}

impl Signed {
    fn verifies_by(&self, algorithm: &'static dyn VerificationAlgorithm) -> bool {
        let digest = digest::digest(&digest::SHA256, &self.message);
        ParsedPublicKey::new(algorithm, &self.key)
            .is_ok_and(|key| key.verify_digest_sig(&digest, &self.signature).is_ok())
    }

    fn verifies_ed25519ph(&self) -> bool {
        let key: Option<&[u8; 32]> = self.key.as_slice().try_into().ok();
        let key = key.and_then(|key| VerifyingKey::from_bytes(key).ok());
        let signature = Signature::from_slice(&self.signature).ok();
        let prehashed = Sha512::new().chain_update(&self.message);
        key.zip(signature).is_some_and(|(key, signature)| {
            key.verify_prehashed_strict(prehashed, None, &signature).is_ok()
        })
    }
}

fn sign_p256(message: Vec<u8>) -> Signed {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let pair = pair.expect("the system has randomness");
    let signature = pair.sign(&SystemRandom::new(), &message).expect("P-256 signs any message");
    Signed { key: spki(pair.public_key()), message, signature: signature.as_ref().to_vec() }
}

fn sign_rsa(pair: &RsaKeyPair, message: Vec<u8>) -> Signed {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature)
        .expect("RSA signs any message");
    Signed { key: spki(pair.public_key()), message, signature }
}

fn sign_ed25519ph(message: Vec<u8>) -> Signed {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).expect("the system has randomness");
    let key = SigningKey::from_bytes(&seed);
    let prehashed = Sha512::new().chain_update(&message);
    let signature = key.sign_prehashed(prehashed, None).expect("no context is short enough");
    let signature = signature.to_bytes().to_vec();
    Signed { key: key.verifying_key().to_bytes().to_vec(), message, signature }
}

fn spki(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().expect("a public key has a DER form").as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_verifies_what_it_signed_and_nothing_else() {
        let message = || b"a message".to_vec();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let signed = [sign_p256(message()), sign_rsa(&rsa, message()), sign_ed25519ph(message())];
        for (scheme, mut signed) in Scheme::ALL.into_iter().zip(signed) {
            assert!(scheme.verifies(&signed), "{scheme:?}");
            signed.message[0] ^= 1;
            assert!(!scheme.verifies(&signed), "{scheme:?}");
        }
    }

    #[test]
    fn ceilings_are_kept_by_scheme() {
        let mut ceilings = VerifyCeilings::default();
        for (rate, scheme) in [1.0, 2.0, 3.0].into_iter().zip(Scheme::ALL) {
            ceilings.set(scheme, Verifies { rate, cpu_seconds: 0.0 });
        }
        let rates = Scheme::ALL.map(|scheme| ceilings.of(scheme).rate);
        assert_eq!(rates, [1.0, 2.0, 3.0]);
        assert_eq!(Scheme::of(Kind::Dsse { files: 10 }), Scheme::P256);
    }
}
