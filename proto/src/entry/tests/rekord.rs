//! `rekord` 0.0.1. What is expected is written by hand or hashed by `sha2` here.

use serde_json::{Value, json};

use super::*;

fn verify(request: &Value) -> Result<VerifiedEntry, EntryError> {
    VerifiedEntry::from_v1_request(request.to_string().as_bytes())
}

/// A submission, with fields that Rekor had once.
pub(in crate::entry) fn rekord(content: &[u8], signature: &[u8], key: &str) -> Value {
    json!({
        "kind": "rekord", "apiVersion": "0.0.1", "spec": {
            "data": { "content": to_base64(content), "hash": null, "url": null },
            "signature": {
                "content": to_base64(signature), "format": "x509", "url": "https://x.example",
                "publicKey": { "content": key, "url": null },
            },
        },
    })
}

fn expected(content: &[u8], signature: &[u8], key: &str) -> String {
    format!(
        r#"{{"apiVersion":"0.0.1","kind":"rekord","spec":{{"data":{{"hash":{{"algorithm":"sha256","value":"{}"}}}},"signature":{{"content":"{}","format":"x509","publicKey":{{"content":"{key}"}}}}}}}}"#,
        hex::encode(sha2::Sha256::digest(content)),
        to_base64(signature),
    )
}

#[test]
fn the_digest_is_kept_in_place_of_the_content() {
    let pair = Pair::new();
    let signature = pair.sign(b"content");
    let odd = to_base64(format!("\n{}\n\n", pair.key.to_pem()).as_bytes());
    let entry = verify(&rekord(b"content", &signature, &odd)).unwrap();
    let body = expected(b"content", &signature, &pair.pem_base64());
    assert_eq!(String::from_utf8_lossy(entry.body()), body);
    assert_eq!((entry.kind(), entry.statement()), (EntryKind::RekordV001, None));
    let digest = format!("sha256:{}", hex::encode(sha2::Sha256::digest(b"content")));
    let has = |tag, value: &str| {
        entry.facts().iter().any(|fact| fact.tag == tag && fact.value == value.as_bytes())
    };
    assert!(has(Tag::ArtifactDigest, &digest));
    assert!(has(Tag::PublicKey, &hex::encode(sha2::Sha256::digest(pair.key.spki_der()))));
    assert_eq!(entry.facts().len(), 2);

    let parsed = Entry::parse(entry.body()).unwrap();
    assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
    assert_eq!((parsed.to_body(), parsed.payload_hash()), (entry.body().to_vec(), None));
    assert_eq!(parsed.facts(None), entry.facts());
    assert_eq!(parsed.recheck(None), Recheck::Valid);
    let forged = expected(b"another", &signature, &pair.pem_base64());
    assert_eq!(Entry::parse(forged.as_bytes()).unwrap().recheck(None), Recheck::Invalid);
}

#[test]
fn ed25519_signs_the_content_itself() {
    let pair = SigningKey::from_bytes(&[7; 32]);
    let spki = pair.verifying_key().to_public_key_der().unwrap();
    let key = PublicKey::from_spki_der(spki.as_bytes()).unwrap();
    let pem = to_base64(key.to_pem().as_bytes());
    let sign = |message: &[u8]| ed25519_dalek::Signer::sign(&pair, message).to_bytes();
    let entry = verify(&rekord(b"content", &sign(b"content"), &pem)).unwrap();
    let body = expected(b"content", &sign(b"content"), &pem);
    assert_eq!(String::from_utf8_lossy(entry.body()), body);
    let parsed = Entry::parse(entry.body()).unwrap();
    assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
    assert_eq!((parsed.recheck(None), parsed.keeps_signatures()), (Recheck::NotKept, false));
    let prehashed = pair.sign_prehashed(sha2::Sha512::new().chain_update(b"content"), None);
    for wrong in [sign(b"another"), prehashed.unwrap().to_bytes()] {
        let refused = verify(&rekord(b"content", &wrong, &pem));
        assert!(matches!(refused, Err(EntryError::SignatureInvalid)), "{refused:?}");
    }
}

#[test]
fn a_hash_beside_the_content_must_be_its() {
    let pair = Pair::new();
    let with = |hash: Value| {
        let mut request = rekord(b"content", &pair.sign(b"content"), &pair.pem_base64());
        request["spec"]["data"]["hash"] = hash;
        verify(&request)
    };
    let right = hex::encode(sha2::Sha256::digest(b"content"));
    assert!(with(json!({ "algorithm": "sha256", "value": right })).is_ok());
    for (algorithm, value) in [
        ("sha256", hex::encode(sha2::Sha256::digest(b"another"))),
        ("sha256", right.to_uppercase()),
        ("sha512", right.clone()),
        ("sha256", String::new()),
    ] {
        let refused = with(json!({ "algorithm": algorithm, "value": value }));
        assert!(matches!(refused, Err(EntryError::HashMismatch)), "{refused:?}");
    }
}

#[test]
fn other_formats_are_refused_by_name() {
    let pair = Pair::new();
    let with = |format: &str| {
        let mut request = rekord(b"content", &pair.sign(b"content"), &pair.pem_base64());
        request["spec"]["signature"]["format"] = json!(format);
        verify(&request).map(|_| ()).unwrap_err()
    };
    for format in ["pgp", "minisign", "ssh"] {
        let error = with(format);
        assert!(matches!(error, EntryError::RefusedFormat(_)), "{error:?}");
        assert!(error.to_string().contains(&format!("'{format}'")), "{error}");
    }
    assert!(matches!(with("x510"), EntryError::Malformed(_)));
}

#[test]
fn content_signature_and_key_are_needed() {
    let pair = Pair::new();
    let good = rekord(b"content", &pair.sign(b"content"), &pair.pem_base64());
    assert!(verify(&good).is_ok());
    for at in ["/data", "/data/content", "/signature", "/signature/content", "/signature/format"] {
        let mut request = good.clone();
        *request.pointer_mut(&format!("/spec{at}")).unwrap() = json!(null);
        assert!(verify(&request).is_err(), "{at}");
    }
    let mut digest_only = good.clone();
    let digest = hex::encode(sha2::Sha256::digest(b""));
    digest_only["spec"]["data"] = json!({ "hash": { "algorithm": "sha256", "value": digest } });
    assert!(verify(&digest_only).is_err());
    let refused = verify(&rekord(b"another", &pair.sign(b"content"), &pair.pem_base64()));
    assert!(matches!(refused, Err(EntryError::SignatureInvalid)), "{refused:?}");
}
