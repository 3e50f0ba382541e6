use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA256,
};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey;

use super::*;
use crate::encoding::from_base64;

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> (EcdsaKeyPair, PublicKey) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let spki = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(
        pair.public_key(),
    )
    .unwrap();
    let key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
    (pair, key)
}

#[test]
fn ecdsa_signatures_verify_over_message_and_digest_and_not_over_another() {
    let random = SystemRandom::new();
    for algorithm in [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ] {
        let (pair, key) = ecdsa(algorithm);
        let signature = pair.sign(&random, b"message").unwrap();
        let hash = key.kind().hash();
        assert_eq!(key.verify(b"message", signature.as_ref()), Ok(()));
        assert_eq!(key.verify(b"massage", signature.as_ref()), Err(BadSignature));
        assert_eq!(key.verify_digest(hash, &hash.digest(b"message"), signature.as_ref()), Ok(()));
        assert_eq!(key.verify_digest(hash, &[0; 20], signature.as_ref()), Err(BadSignature));
        assert_eq!(key.verify(b"message", b""), Err(BadSignature));
        assert_eq!(ecdsa(algorithm).1.verify(b"message", signature.as_ref()), Err(BadSignature));
    }
}

#[test]
fn a_signature_as_r_and_s_is_accepted_too() {
    let (pair, key) = ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let signature = pair.sign(&SystemRandom::new(), b"message").unwrap();
    assert_eq!(signature.as_ref().len(), 64);
    assert_eq!(key.verify(b"message", signature.as_ref()), Ok(()));
}

#[test]
fn dsse_over_the_large_curves_takes_their_own_hash_and_rekors() {
    let random = SystemRandom::new();
    let (pair, key) = ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING);
    let own = pair.sign(&random, b"pae").unwrap();
    assert_eq!(key.verify_dsse(b"pae", own.as_ref()), Ok(()));
    assert_eq!(key.verify_dsse(b"map", own.as_ref()), Err(BadSignature));

    // A P-384 key that signed SHA-256("pae"), made with OpenSSL: no library here signs that pair.
    let spki = from_base64(
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEqEVPCeCME7MzOtcZ5sNn9HqGFJKfocRbFz6+jgkvg6bB\
         /5q/cv4HzMfljoHUuEANcB25nP2HqAcj93GdHhWtwHg4iG5jhR9voK3MjYmMO9JXcy3/KUEteB1L\
         BOY6JKZd",
    );
    let signature = from_base64(
        "MGUCMQChEi+4HWvA2Bwxjyv/OaUQbxt42m6Yy/qLi6bT+0toCpS2dVhdQTK5+uY1Y/LoqMsCMEwU\
         WbfrSW/N54VoQjj3woauNxsBEX7ZXx2Kbhl+Ivt1wfpoHILF08Rhx7HrfMAGwQ==",
    )
    .unwrap();
    let key = PublicKey::from_spki_der(&spki.unwrap()).unwrap();
    assert_eq!(key.verify(b"pae", &signature), Err(BadSignature));
    assert_eq!(key.verify_dsse(b"pae", &signature), Ok(()));
}

#[test]
fn rsa_of_2048_bits_verifies_and_1024_is_not_supported() {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let spki = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(
        pair.public_key(),
    )
    .unwrap();
    let key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
    assert_eq!(key.kind(), KeyKind::Rsa2048);
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"message", &mut signature).unwrap();
    assert_eq!(key.verify(b"message", &signature), Ok(()));
    signature[0] ^= 1;
    assert_eq!(key.verify(b"message", &signature), Err(BadSignature));
}

#[test]
fn ed25519_signs_messages_and_ed25519ph_signs_digests() {
    let pair = SigningKey::from_bytes(&[7; 32]);
    let spki = pair.verifying_key().to_public_key_der().unwrap();
    let key = PublicKey::from_spki_der(spki.as_bytes()).unwrap();
    let pure = ed25519_dalek::Signer::sign(&pair, b"message").to_bytes();
    assert_eq!(key.verify(b"message", &pure), Ok(()));
    let prehashed = sha2::Sha512::new().chain_update(b"message");
    let ph = pair.sign_prehashed(prehashed, None).unwrap().to_bytes();
    let digest = HashAlgorithm::Sha512.digest(b"message");
    assert_eq!(key.verify_digest(HashAlgorithm::Sha512, &digest, &ph), Ok(()));
    assert_eq!(key.verify_digest(HashAlgorithm::Sha512, &digest, &pure), Err(BadSignature));
    assert_eq!(key.verify(b"message", &ph), Err(BadSignature));
}

#[test]
fn refuses_weak_malformed_and_unsupported_keys() {
    let good = SigningKey::from_bytes(&[7; 32]).verifying_key().to_public_key_der().unwrap();
    let good = good.as_bytes();
    let mut identity = good.to_vec();
    identity[12..].fill(0);
    identity[12] = 1;
    assert_eq!(PublicKey::from_spki_der(&identity).unwrap_err(), KeyError::Weak);
    let trailing = [good, &[0]].concat();
    assert_eq!(PublicKey::from_spki_der(&trailing).unwrap_err(), KeyError::Malformed);
    let mut x25519 = good.to_vec();
    x25519[8] = 110;
    assert_eq!(PublicKey::from_spki_der(&x25519).unwrap_err(), KeyError::Unsupported);

    let (_, key) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let mut off_curve = key.spki_der().to_vec();
    *off_curve.last_mut().unwrap() ^= 1;
    assert_eq!(PublicKey::from_spki_der(&off_curve).unwrap_err(), KeyError::Malformed);
}

#[test]
fn pem_has_one_spelling_and_its_hash_is_the_hint() {
    let key = PublicKey::from_spki_der(
        SigningKey::from_bytes(&[7; 32]).verifying_key().to_public_key_der().unwrap().as_bytes(),
    )
    .unwrap();
    let pem = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\n\
               -----END PUBLIC KEY-----\n";
    assert_eq!(key.to_pem(), pem);
    assert_eq!(key.pem_fingerprint(), sha256(pem.as_bytes()));
    assert_eq!(PublicKey::from_pem(&format!("\n {pem}\n")).unwrap(), key);
    for bad in
        [format!("{pem}{pem}"), format!("x{pem}"), pem.replace("PUBLIC", "PRIVATE"), String::new()]
    {
        assert_eq!(PublicKey::from_pem(&bad).unwrap_err(), KeyError::NotPem, "{bad:?}");
    }
}
