//! How Rekor v1 reads what its clients send in `hashedrekord` and `dsse`: spellings that it keeps,
//! those that it makes anew, and what it passes over.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaSigningAlgorithm,
};
use serde_json::{Value, json};

use super::*;

fn verify(request: &str) -> Result<VerifiedEntry, EntryError> {
    VerifiedEntry::from_v1_request(request.as_bytes())
}

fn body(request: &str) -> String {
    String::from_utf8(verify(request).unwrap().body().to_vec()).unwrap()
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

#[test]
fn a_digest_keeps_its_case_and_keys_and_signatures_are_spelled_anew() {
    let pair = Pair::new();
    let (signature, key) = (pair.sign(b"model"), pair.pem_base64());
    let digest = sha256_hex(b"model").to_uppercase();
    let expected = |digest: &str| {
        format!(
            r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{{"data":{{"hash":{{"algorithm":"sha256","value":"{digest}"}}}},"signature":{{"content":"{}","publicKey":{{"content":"{key}"}}}}}}}}"#,
            to_base64(&signature)
        )
    };
    let plain = v1_hashedrekord("sha256", &digest, &signature, &key);
    assert_eq!(body(&plain), expected(&digest));
    assert_eq!(Entry::parse(expected(&digest).as_bytes()).unwrap().recheck(None), Recheck::Valid);
    let facts = verify(&plain).unwrap().facts().to_vec();
    let fact = format!("sha256:{}", sha256_hex(b"model"));
    assert!(facts.iter().any(|f| f.tag == Tag::ArtifactDigest && f.value == fact.as_bytes()));

    // White space around PEM, words in front of it, its headers, and line breaks in base64.
    let pem = pair.key.to_pem();
    let line = pem.lines().nth(1).unwrap();
    for pem in [
        format!("\n \t{pem}\n\n"),
        pem.replace('\n', "\r\n"),
        format!("Public-Key: (256 bit)\n{pem}"),
        pem.replace(line, &format!("Proc-Type: 1\n\n{line}")),
        pem.replace(line, &format!("{}\n{}", &line[..30], &line[30..])),
    ] {
        let mut encoded = to_base64(pem.as_bytes());
        encoded.insert_str(40, "\r\n");
        let request = v1_hashedrekord("sha256", &digest, &signature, &encoded);
        assert_eq!(body(&request), expected(&digest), "{pem}");
    }
    for pem in [format!("{pem}words"), format!("{pem}{pem}"), pem.replace("PUBLIC", "RSA PUBLIC")] {
        let request = v1_hashedrekord("sha256", &digest, &signature, &to_base64(pem.as_bytes()));
        let refused = verify(&request);
        assert!(matches!(refused, Err(EntryError::Verifier(_))), "{pem} {refused:?}");
    }
}

#[test]
fn ecdsa_signatures_may_be_r_and_s_on_every_curve_and_are_kept_so() {
    fn pair(algorithm: &'static EcdsaSigningAlgorithm) -> (EcdsaKeyPair, PublicKey) {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
        (pair, key)
    }
    for (algorithm, name, len) in [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, "sha256", 64),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, "sha384", 96),
        (&ECDSA_P521_SHA512_FIXED_SIGNING, "sha512", 132),
    ] {
        let (pair, key) = pair(algorithm);
        let signature = pair.sign(&SystemRandom::new(), b"model").unwrap();
        assert_eq!(signature.as_ref().len(), len);
        let digest = hex::encode(key.kind().hash().digest(b"model"));
        let pem = to_base64(key.to_pem().as_bytes());
        let request = v1_hashedrekord(name, &digest, signature.as_ref(), &pem);
        let expected = format!(r#""content":"{}""#, to_base64(signature.as_ref()));
        assert!(body(&request).contains(&expected));
        let other = hex::encode(key.kind().hash().digest(b"another"));
        let refused = verify(&v1_hashedrekord(name, &other, signature.as_ref(), &pem));
        assert!(matches!(refused, Err(EntryError::SignatureInvalid)), "{refused:?}");
    }
}

#[test]
fn nulls_and_fields_that_are_not_known_are_passed_over() {
    let pair = Pair::new();
    let request = |null: &str| {
        let digest = sha256_hex(b"model");
        let (signature, key) = (to_base64(&pair.sign(b"model")), pair.pem_base64());
        format!(
            r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","x":{null},"spec":{{"x":{null},"data":{{"content":{null},"url":{null},"hash":{{"x":{null},"algorithm":"sha256","value":"{digest}"}}}},"signature":{{"format":{null},"content":"{signature}","publicKey":{{"url":{null},"content":"{key}"}}}}}}}}"#
        )
    };
    for value in ["null", r#"[{"a":1}]"#] {
        assert!(verify(&request(value)).is_ok(), "{value}");
    }
    let payload = statement();
    let signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    let text = envelope(&payload, &[signature]);
    let mut dsse: Value = serde_json::from_str(&v1_dsse(&text, &[pair.pem_base64()])).unwrap();
    for name in ["envelopeHash", "payloadHash", "signatures"] {
        dsse["spec"][name] = json!(null);
    }
    dsse["spec"]["x"] = json!(1);
    assert!(verify(&dsse.to_string()).is_ok());
}

#[test]
fn a_dsse_submission_holds_an_envelope_or_what_is_made_of_it_and_not_both() {
    let (pair, payload) = (Pair::new(), statement());
    let signature = to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    let text = envelope(&payload, &[signature]);
    let proposed: Value = serde_json::from_str(&v1_dsse(&text, &[pair.pem_base64()])).unwrap();
    let logged: Value =
        serde_json::from_slice(verify(&proposed.to_string()).unwrap().body()).unwrap();
    for name in ["envelopeHash", "payloadHash", "signatures"] {
        let mut both = proposed.clone();
        both["spec"][name] = logged["spec"][name].clone();
        let refused = verify(&both.to_string());
        assert!(matches!(refused, Err(EntryError::Malformed(_))), "{name} {refused:?}");
    }
    let mut empty = proposed.clone();
    empty["spec"]["signatures"] = json!([]);
    assert!(verify(&empty.to_string()).is_ok());
    let refused = verify(&logged.to_string());
    assert!(matches!(refused, Err(EntryError::Malformed(_))), "{refused:?}");
}

#[test]
fn verifiers_are_tried_in_order_until_each_signature_has_one() {
    let (one, two, payload) = (Pair::new(), Pair::new(), statement());
    let message = pae(IN_TOTO_PAYLOAD_TYPE, &payload);
    let (by_one, by_two) = (to_base64(&one.sign(&message)), to_base64(&two.sign(&message)));
    let certified = to_base64(certificate(&one).as_bytes());
    let one_signature = envelope(&payload, std::slice::from_ref(&by_one));
    // What is left over is not even read.
    for left_over in [two.pem_base64(), "!".to_owned()] {
        assert!(verify(&v1_dsse(&one_signature, &[one.pem_base64(), left_over])).is_ok());
    }
    // Two verifiers with one key: the last that was tried is named.
    let both = envelope(&payload, &[by_one.clone(), by_two.clone()]);
    let verifiers = [one.pem_base64(), certified.clone(), two.pem_base64()];
    let mut signatures = [(&by_one, &certified), (&by_two, &verifiers[2])];
    signatures.sort();
    let signatures = signatures.map(|(signature, verifier)| {
        format!(r#"{{"signature":"{signature}","verifier":"{verifier}"}}"#)
    });
    let expected = format!(
        r#"{{"apiVersion":"0.0.1","kind":"dsse","spec":{{"envelopeHash":{{"algorithm":"sha256","value":"{}"}},"payloadHash":{{"algorithm":"sha256","value":"{}"}},"signatures":[{}]}}}}"#,
        sha256_hex(both.as_bytes()),
        sha256_hex(&payload),
        signatures.join(",")
    );
    assert_eq!(body(&v1_dsse(&both, &verifiers)), expected);
    let stranger = [Pair::new().pem_base64(), one.pem_base64(), two.pem_base64()];
    let refused = verify(&v1_dsse(&both, &stranger));
    assert!(matches!(refused, Err(EntryError::SignatureInvalid)), "{refused:?}");
    // The same signature twice is one.
    let twice = envelope(&payload, &[by_one.clone(), by_one.clone()]);
    let entry = body(&v1_dsse(&twice, &[one.pem_base64()]));
    assert_eq!(entry.matches(&by_one).count(), 1);
}

/// A certificate of the key, in PEM; its signature is nobody's.
fn certificate(pair: &Pair) -> String {
    let issuer = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), issuer);
    let pem = rcgen::CertificateParams::default().signed_by(pair, &issuer).unwrap().pem();
    pem.replace("\r\n", "\n")
}
