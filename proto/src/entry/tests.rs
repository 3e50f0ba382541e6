use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey;
use sha2::Digest as _;

use super::*;
use crate::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use crate::encoding::to_base64;
use crate::facts::Tag;
use crate::key::PublicKey;

mod chains;
pub(super) mod intoto;
mod rekor_v1;
pub(super) mod rekord;

pub(super) struct Pair {
    pair: EcdsaKeyPair,
    pub(super) key: PublicKey,
}

impl Pair {
    pub(super) fn new() -> Self {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
        Self { pair, key }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    pub(super) fn pem_base64(&self) -> String {
        to_base64(self.key.to_pem().as_bytes())
    }
}

/// What a certificate of the key is made of.
impl rcgen::PublicKeyData for Pair {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

pub(super) fn v1_hashedrekord(algorithm: &str, value: &str, signature: &[u8], pem: &str) -> String {
    serde_json::json!({
        "kind": "hashedrekord", "apiVersion": "0.0.1", "unknown": 1,
        "spec": {
            "signature": { "content": to_base64(signature), "publicKey": { "content": pem } },
            "data": { "hash": { "value": value, "algorithm": algorithm }, "content": null },
        },
    })
    .to_string()
}

pub(super) fn statement() -> Vec<u8> {
    br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}}],"predicateType":"https://example.com/p","predicate":{}}"#.to_vec()
}

pub(super) fn v1_dsse(envelope: &str, verifiers: &[String]) -> String {
    serde_json::json!({
        "kind": "dsse", "apiVersion": "0.0.1",
        "spec": { "proposedContent": { "envelope": envelope, "verifiers": verifiers }, "signatures": null },
    })
    .to_string()
}

pub(super) fn envelope(payload: &[u8], signatures: &[String]) -> String {
    let signatures: Vec<_> =
        signatures.iter().map(|sig| serde_json::json!({ "sig": sig })).collect();
    serde_json::json!({
        "payload": to_base64(payload), "payloadType": IN_TOTO_PAYLOAD_TYPE, "signatures": signatures,
    })
    .to_string()
}

#[test]
fn an_ed25519ph_hashedrekord_has_these_golden_bytes_in_both_versions() {
    let pair = SigningKey::from_bytes(&[7; 32]);
    let spki = pair.verifying_key().to_public_key_der().unwrap();
    let key = PublicKey::from_spki_der(spki.as_bytes()).unwrap();
    let prehashed = sha2::Sha512::new().chain_update(b"model");
    let signature = pair.sign_prehashed(prehashed, None).unwrap().to_bytes();
    let digest = sha2::Sha512::digest(b"model");

    let pem = to_base64(key.to_pem().as_bytes());
    let request = v1_hashedrekord("sha512", &hex::encode(digest), &signature, &pem);
    let v1 = VerifiedEntry::from_v1_request(request.as_bytes()).unwrap();
    let expected = format!(
        r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{{"data":{{"hash":{{"algorithm":"sha512","value":"{}"}}}},"signature":{{"content":"{}","publicKey":{{"content":"{pem}"}}}}}}}}"#,
        hex::encode(digest),
        to_base64(&signature),
    );
    assert_eq!(String::from_utf8_lossy(v1.body()), expected);
    assert_eq!(
        v1.leaf().to_hex(),
        "aebb01e121bd9736bf6812ce905fdb9c267777f8c7e4a7b308ceeb7bd19ebc4b"
    );

    let request = serde_json::json!({ "hashed_rekord_request_v002": {
        "digest": to_base64(&digest).trim_end_matches('='),
        "signature": {
            "content": to_base64(&signature).replace('+', "-").replace('/', "_"),
            "verifier": { "public_key": { "raw_bytes": to_base64(spki.as_bytes()) }, "keyDetails": 8 },
        },
    }});
    let v2 = VerifiedEntry::from_v2_request(request.to_string().as_bytes()).unwrap();
    let expected = format!(
        r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"data":{{"algorithm":"SHA2_512","digest":"{}"}},"signature":{{"content":"{}","verifier":{{"keyDetails":"PKIX_ED25519_PH","publicKey":{{"rawBytes":"{}"}}}}}}}}}}}}"#,
        to_base64(&digest),
        to_base64(&signature),
        to_base64(spki.as_bytes()),
    );
    assert_eq!(String::from_utf8_lossy(v2.body()), expected);
    assert_eq!(
        v2.leaf().to_hex(),
        "9444ea69c5d44255d53483ab3f52ff7a612e6e44616d9880537849c23ff87fee"
    );
    for entry in [v1, v2] {
        let parsed = Entry::parse(entry.body()).unwrap();
        assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
        assert_eq!(parsed.kind(), entry.kind());
        assert_eq!(parsed.to_body(), entry.body());
    }
}

#[test]
fn canonical_bytes_are_what_rfc_8785_makes_of_them() {
    let pair = Pair::new();
    let payload = statement();
    let signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    let request = v1_dsse(&envelope(&payload, &[signature]), &[pair.pem_base64()]);
    let dsse = VerifiedEntry::from_v1_request(request.as_bytes()).unwrap();
    let digest = hex::encode(sha2::Sha256::digest(b"model"));
    let request = v1_hashedrekord("sha256", &digest, &pair.sign(b"model"), &pair.pem_base64());
    let hashedrekord = VerifiedEntry::from_v1_request(request.as_bytes()).unwrap();
    for entry in [dsse, hashedrekord] {
        let value = crate::canonical::parse(entry.body()).unwrap();
        assert_eq!(crate::canonical::to_canonical(&value), entry.body());
        let parsed = Entry::parse(entry.body()).unwrap();
        assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
        assert_eq!(parsed.to_body(), entry.body());
    }
}

#[test]
fn a_hashedrekord_with_a_wrong_digest_key_signature_or_hash_is_refused() {
    let (pair, other) = (Pair::new(), Pair::new());
    let signature = pair.sign(b"model");
    let digest = hex::encode(sha2::Sha256::digest(b"model"));
    let verify = |request: String| VerifiedEntry::from_v1_request(request.as_bytes()).map(|_| ());
    assert!(verify(v1_hashedrekord("sha256", &digest, &signature, &pair.pem_base64())).is_ok());
    let wrong_digest = hex::encode(sha2::Sha256::digest(b"other"));
    for (request, fault) in [
        (
            v1_hashedrekord("sha256", &wrong_digest, &signature, &pair.pem_base64()),
            "SignatureInvalid",
        ),
        (v1_hashedrekord("sha256", &digest, &signature, &other.pem_base64()), "SignatureInvalid"),
        (
            v1_hashedrekord("sha256", &digest, &signature[1..], &pair.pem_base64()),
            "SignatureInvalid",
        ),
        (v1_hashedrekord("sha256", &digest[2..], &signature, &pair.pem_base64()), "BadDigest"),
        (v1_hashedrekord("sha256", &digest[1..], &signature, &pair.pem_base64()), "BadDigest"),
        (
            v1_hashedrekord("sha512", &digest.repeat(2), &signature, &pair.pem_base64()),
            "AlgorithmNotAllowed",
        ),
        (v1_hashedrekord("sha1", &digest, &signature, &pair.pem_base64()), "AlgorithmNotAllowed"),
        (v1_hashedrekord("sha256", &digest, b"", &pair.pem_base64()), "BadBase64"),
        (v1_hashedrekord("sha256", &digest, &signature, "!"), "BadBase64"),
        (v1_hashedrekord("sha256", &digest, &signature, &to_base64(b"not pem")), "Verifier"),
    ] {
        let error = verify(request).unwrap_err();
        assert!(format!("{error:?}").starts_with(fault), "{error:?} is not {fault}");
    }
}

#[test]
fn a_dsse_entry_carries_its_statement_and_can_be_found_by_it() {
    let pair = Pair::new();
    let payload = statement();
    let signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    let text = envelope(&payload, &[signature]);
    let entry =
        VerifiedEntry::from_v1_request(v1_dsse(&text, &[pair.pem_base64()]).as_bytes()).unwrap();
    assert_eq!(entry.statement().unwrap().payload, payload);
    let parsed = Entry::parse(entry.body()).unwrap();
    assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
    let Entry::Dsse(logged) = parsed else { panic!("not dsse") };
    assert_eq!(logged.envelope_hash(), Some(crate::hash::sha256(text.as_bytes())));
    assert_eq!(logged.payload_hash(), crate::hash::sha256(&payload));
    for tag in [
        Tag::PayloadDigest,
        Tag::EnvelopeDigest,
        Tag::PublicKey,
        Tag::PredicateType,
        Tag::ArtifactDigest,
    ] {
        assert!(entry.facts().iter().any(|fact| fact.tag == tag), "{tag:?}");
    }
}

#[test]
fn every_signature_of_an_envelope_needs_a_verifier_and_every_verifier_a_signature() {
    let (a, b) = (Pair::new(), Pair::new());
    let payload = statement();
    let message = pae(IN_TOTO_PAYLOAD_TYPE, &payload);
    let (by_a, by_b) = (to_base64(&a.sign(&message)), to_base64(&b.sign(&message)));
    let both = envelope(&payload, &[by_a.clone(), by_b.clone()]);
    let verify = |text: &str, verifiers: &[String]| {
        VerifiedEntry::from_v1_request(v1_dsse(text, verifiers).as_bytes())
    };
    let entry = verify(&both, &[b.pem_base64(), a.pem_base64()]).unwrap();
    let Entry::Dsse(logged) = Entry::parse(entry.body()).unwrap() else { panic!("not dsse") };
    let texts: Vec<_> = logged.signatures().iter().map(|signature| &signature.text).collect();
    assert!(texts.is_sorted() && texts.len() == 2);

    assert!(matches!(verify(&both, &[a.pem_base64()]), Err(EntryError::VerifierUnused)));
    let one = envelope(&payload, &[by_a]);
    assert!(matches!(verify(&one, &[b.pem_base64()]), Err(EntryError::SignatureInvalid)));
    assert!(matches!(verify(&one, &[]), Err(EntryError::Count { .. })));
    let eleven = vec![a.pem_base64(); SIGNATURES_AND_ONE];
    assert!(matches!(verify(&one, &eleven), Err(EntryError::Count { .. })));
    let other = envelope(b"{}", &[by_b]);
    assert!(matches!(verify(&other, &[b.pem_base64()]), Err(EntryError::SignatureInvalid)));
}

#[test]
fn a_line_break_in_a_signature_never_reaches_a_leaf() {
    let pair = Pair::new();
    let payload = statement();
    let mut signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    for broken in ["\n", "\r\n"] {
        signature.insert_str(20, broken);
        let text = envelope(&payload, std::slice::from_ref(&signature));
        let request = v1_dsse(&text, &[pair.pem_base64()]);
        let refused = VerifiedEntry::from_v1_request(request.as_bytes());
        assert!(matches!(refused, Err(EntryError::Envelope(_))), "{refused:?}");
    }
}

#[test]
fn a_v2_envelope_is_read_as_protojson() {
    let pair = Pair::new();
    let payload = statement();
    let signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    let request = |envelope: serde_json::Value| {
        let verifiers = serde_json::json!([{
            "publicKey": { "rawBytes": to_base64(pair.key.spki_der()) }, "keyDetails": 5,
        }]);
        let dsse = serde_json::json!({ "envelope": envelope, "verifiers": verifiers });
        let request = serde_json::json!({ "dsse_request_v002": dsse }).to_string();
        VerifiedEntry::from_v2_request(request.as_bytes())
    };
    let unpadded = to_base64(&payload).trim_end_matches('=').to_owned();
    let sig = signature.replace('+', "-").replace('/', "_");
    let envelope = serde_json::json!({
        "payload": unpadded, "payload_type": IN_TOTO_PAYLOAD_TYPE, "signatures": [{ "sig": sig }],
    });
    assert!(request(envelope.clone()).is_ok());
    let mut unknown = envelope.clone();
    unknown["extra"] = 1.into();
    assert!(matches!(request(unknown), Err(EntryError::Malformed(_))));
    let mut none = envelope;
    none["signatures"] = serde_json::json!([]);
    assert!(matches!(request(none), Err(EntryError::Count { .. })));
}

#[test]
fn a_statement_that_calls_itself_a_model_signature_and_is_none_is_refused() {
    let pair = Pair::new();
    let payload = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],"predicateType":"https://model_signing/signature/v1.0","predicate":{"serialization":{"hash_type":"sha256","method":"files","ignore_paths":["."],"allow_symlinks":false},"resources":[]}}"#;
    let signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, payload)));
    let request = v1_dsse(&envelope(payload, &[signature]), &[pair.pem_base64()]);
    let error = VerifiedEntry::from_v1_request(request.as_bytes()).unwrap_err();
    assert!(matches!(error, EntryError::ModelStatement(_)), "{error:?}");
}

#[test]
fn a_v2_envelope_is_logged_without_its_hash_and_refuses_a_label_that_does_not_fit() {
    let pair = Pair::new();
    let payload = statement();
    let signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    let request = |details: &str| {
        serde_json::json!({ "dsseRequestV002": {
            "envelope": { "payload": to_base64(&payload), "payloadType": IN_TOTO_PAYLOAD_TYPE,
                          "signatures": [{ "sig": signature, "keyid": "" }] },
            "verifiers": [{ "publicKey": { "rawBytes": to_base64(pair.key.spki_der()) }, "keyDetails": details }],
        }})
        .to_string()
    };
    let verify = |request: String| VerifiedEntry::from_v2_request(request.as_bytes());
    let entry = verify(request("PKIX_ECDSA_P256_SHA_256")).unwrap();
    assert_eq!((entry.kind().kind(), entry.kind().version()), ("dsse", "0.0.2"));
    let parsed = Entry::parse(entry.body()).unwrap();
    assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
    assert_eq!(parsed.to_body(), entry.body());
    for details in ["PKIX_ECDSA_P384_SHA_384", "PKIX_ED25519", "PKIX_ECDSA_P384_SHA_256"] {
        let refused = verify(request(details));
        assert!(matches!(refused, Err(EntryError::AlgorithmNotAllowed)), "{details:?}");
    }
}

#[test]
fn requests_that_are_not_entries_say_why() {
    let v1 = |text: &str| VerifiedEntry::from_v1_request(text.as_bytes()).unwrap_err();
    let kind = |kind: &str, version: &str| {
        v1(&serde_json::json!({ "kind": kind, "apiVersion": version, "spec": {} }).to_string())
    };
    assert!(matches!(kind("jar", "0.0.1"), EntryError::RefusedKind { kind: "jar", .. }));
    assert!(matches!(kind("nonsense", "0.0.1"), EntryError::UnknownKind(_)));
    assert!(matches!(kind("dsse", "0.0.2"), EntryError::UnknownVersion { .. }));
    assert!(matches!(kind("hashedrekord", "9"), EntryError::UnknownVersion { .. }));
    assert!(matches!(kind("hashedrekord", "0.0.1"), EntryError::Malformed(_)));
    for text in ["", "{}", r#"{"kind":null}"#, r#"{"kind":"dsse","apiVersion":"0.0.1"}"#] {
        assert!(matches!(v1(text), EntryError::Missing(_)), "{text}");
    }
    for text in [
        "{",
        "[]",
        r#"["dsse","0.0.1",{}]"#,
        r#"{"kind":"dsse","kind":"dsse","apiVersion":"0.0.1","spec":{}}"#,
    ] {
        assert!(matches!(v1(text), EntryError::Malformed(_)), "{text}");
    }
    let v2 = |text: &str| VerifiedEntry::from_v2_request(text.as_bytes()).unwrap_err();
    assert!(matches!(v2(""), EntryError::UnknownKind(_)));
    assert!(matches!(v2(r#"{"hashedRekordRequestV002":null}"#), EntryError::UnknownKind(_)));
    for text in [
        r#"{"foo":1}"#,
        r#"{"hashedRekordRequestV002":{},"hashed_rekord_request_v002":{}}"#,
        r#"{"hashedRekordRequestV002":{},"dsseRequestV002":{}}"#,
        r#"{} x"#,
    ] {
        assert!(matches!(v2(text), EntryError::Malformed(_)), "{text}");
    }
    let text = r#"{"hashedRekordRequestV002":{"digest":"AA==","signature":{"content":"AA==","verifier":{"keyDetails":"PKIX_ED25519_PH"}}}}"#;
    assert!(matches!(v2(text), EntryError::Incomplete(_)));
}

#[test]
fn a_refusal_does_not_repeat_a_long_submission() {
    let long = "x\u{7f}".repeat(1 << 20);
    let hashedrekord = |spec: serde_json::Value| {
        let request = serde_json::json!({
            "kind": "hashedrekord", "apiVersion": "0.0.1", "spec": spec,
        });
        VerifiedEntry::from_v1_request(request.to_string().as_bytes())
    };
    let v2 =
        |request: serde_json::Value| VerifiedEntry::from_v2_request(request.to_string().as_bytes());
    for refused in [
        hashedrekord(serde_json::json!({ "signature": long })),
        hashedrekord(serde_json::json!({ "data": { "hash": { "algorithm": [long] } } })),
        v2(serde_json::json!({ long.as_str(): 1 })),
        v2(serde_json::json!({ "dsseRequestV002": long })),
    ] {
        let text = refused.unwrap_err().to_string();
        assert!(text.len() <= 1_024 && text.contains("at line 1"), "{}", text.len());
    }
}

#[test]
fn bytes_that_are_not_canonical_are_not_an_entry() {
    let pair = Pair::new();
    let digest = hex::encode(sha2::Sha256::digest(b"model"));
    let request = v1_hashedrekord("sha256", &digest, &pair.sign(b"model"), &pair.pem_base64());
    let entry = VerifiedEntry::from_v1_request(request.as_bytes()).unwrap();
    let text = String::from_utf8(entry.body().to_vec()).unwrap();
    for other in [format!("{text}\n"), text.replacen(':', ": ", 1), request] {
        let error = Entry::parse(other.as_bytes()).unwrap_err();
        assert!(matches!(error, EntryError::NotCanonical), "{error:?} for {other}");
    }
}

#[test]
fn an_entry_above_65535_bytes_is_refused() {
    let of_len = |len| {
        let (body, facts, verifiers) = (vec![0; len], Vec::new(), Vec::new());
        VerifiedEntry::new(EntryKind::DsseV001, body, facts, verifiers, None)
    };
    assert!(of_len(ENTRY_LEN_MAX).is_ok());
    let above = of_len(ENTRY_LEN_MAX + 1);
    assert!(matches!(above, Err(EntryError::TooLong { len: 65_536 })));
}

const SIGNATURES_AND_ONE: usize = dsse::SIGNATURES_MAX + 1;

/// The entry of an envelope whose payload has this type.
fn logged_as(payload_type: &str, pairs: &[&Pair], payload: &[u8]) -> Entry {
    let message = pae(payload_type, payload);
    let signatures: Vec<String> =
        pairs.iter().map(|pair| to_base64(&pair.sign(&message))).collect();
    let envelope = envelope(payload, &signatures).replace(IN_TOTO_PAYLOAD_TYPE, payload_type);
    let verifiers: Vec<String> = pairs.iter().map(|pair| pair.pem_base64()).collect();
    let request = v1_dsse(&envelope, &verifiers);
    Entry::parse(VerifiedEntry::from_v1_request(request.as_bytes()).unwrap().body()).unwrap()
}

#[test]
fn an_envelope_is_verified_again_with_its_statement_only() {
    let (one, two) = (Pair::new(), Pair::new());
    let payload = statement();
    let entry = logged_as(IN_TOTO_PAYLOAD_TYPE, &[&one, &two], &payload);
    assert_eq!(entry.recheck(Some(&payload)), Recheck::Valid);
    assert_eq!(entry.recheck(None), Recheck::NoStatement);
    assert_eq!(entry.recheck(Some(b"another")), Recheck::NoStatement);
    let other = logged_as("text/json", &[&one, &two], &payload);
    assert_eq!(other.recheck(Some(&payload)), Recheck::NotAsStatement);

    let (Entry::Dsse(forged), Entry::Dsse(other)) = (entry, other) else { panic!("two envelopes") };
    let body = String::from_utf8(forged.to_body()).unwrap();
    let swap = body.replace(&forged.signatures()[0].text, &other.signatures()[1].text);
    let half = Entry::parse(swap.as_bytes()).unwrap();
    assert_eq!(half.recheck(Some(&payload)), Recheck::Invalid);
    let whole = swap.replace(&forged.signatures()[1].text, &other.signatures()[0].text);
    let whole = Entry::parse(whole.as_bytes()).unwrap();
    assert_eq!(whole.recheck(Some(&payload)), Recheck::NotAsStatement);
    let at = body.find(r#""signatures":["#).unwrap();
    let unsigned = Entry::parse(format!(r#"{}"signatures":[]}}}}"#, &body[..at]).as_bytes());
    assert_eq!(unsigned.unwrap().recheck(Some(&payload)), Recheck::Invalid);
}

#[test]
fn a_hashedrekord_is_verified_again_from_its_leaf_alone() {
    let pair = Pair::new();
    let digest = sha2::Sha256::digest(b"model");
    let request = |signature: &[u8]| {
        v1_hashedrekord("sha256", &hex::encode(digest), signature, &pair.pem_base64())
    };
    let signature = pair.sign(b"model");
    let entry = VerifiedEntry::from_v1_request(request(&signature).as_bytes()).unwrap();
    let body = String::from_utf8(entry.body().to_vec()).unwrap();
    assert_eq!(Entry::parse(body.as_bytes()).unwrap().recheck(None), Recheck::Valid);
    let forged = body.replace(&to_base64(&signature), &to_base64(&pair.sign(b"another")));
    assert_eq!(Entry::parse(forged.as_bytes()).unwrap().recheck(None), Recheck::Invalid);
}
