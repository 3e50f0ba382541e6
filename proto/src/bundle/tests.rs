use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::api::v2::tests::sample_entry;
use crate::key::PublicKey;

fn keyed() -> Bundle {
    Bundle {
        material: Material::PublicKey { hint: Some("ab".repeat(32)) },
        log_entries: vec![],
        timestamps: vec![],
        content: Content::Envelope(Envelope::new("t", b"payload".to_vec(), vec![1, 2, 3])),
    }
}

fn value(bundle: &Bundle) -> Value {
    serde_json::from_slice(&bundle.to_json()).unwrap()
}

fn parse(value: &Value) -> Result<Bundle, BundleError> {
    Bundle::parse(value.to_string().as_bytes())
}

#[test]
fn writes_what_sigstores_python_tools_write() {
    let hint = "ab".repeat(32);
    let mut bundle = keyed();
    let Content::Envelope(envelope) = &mut bundle.content else { unreachable!() };
    envelope.signatures[0].keyid = Some(String::new());
    let expected = format!(
        "{{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\",\
         \"verificationMaterial\":{{\"publicKey\":{{\"hint\":\"{hint}\"}},\"tlogEntries\":[]}},\
         \"dsseEnvelope\":{{\"payload\":\"cGF5bG9hZA==\",\"payloadType\":\"t\",\
         \"signatures\":[{{\"sig\":\"AQID\",\"keyid\":\"\"}}]}}}}"
    );
    assert_eq!(String::from_utf8(bundle.to_json()).unwrap(), expected);
    assert_eq!(Bundle::parse(expected.as_bytes()).unwrap(), bundle);
}

#[test]
fn every_shape_survives_writing_and_reading() {
    let message = Content::MessageSignature {
        digest: Some((HashAlgorithm::Sha384, vec![9; 48])),
        signature: vec![4; 70],
    };
    let bare = Content::MessageSignature { digest: None, signature: vec![4; 70] };
    for material in [
        Material::PublicKey { hint: None },
        Material::Certificate(vec![0x30, 0]),
        Material::CertificateChain(vec![vec![0x30, 0], vec![0x30, 1]]),
    ] {
        for content in [keyed().content, message.clone(), bare.clone()] {
            let bundle = Bundle {
                material: material.clone(),
                log_entries: vec![sample_entry(), sample_entry()],
                timestamps: vec![vec![1], vec![2, 3]],
                content,
            };
            assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), bundle);
        }
    }
}

#[test]
fn a_log_entry_replaces_all_others_and_an_absent_promise_is_not_written() {
    let bundle = Bundle { log_entries: vec![sample_entry(); 3], ..keyed() };
    let mut entry = sample_entry();
    entry.kind = "hashedrekord".into();
    let bundle = bundle.with_log_entry(entry.clone());
    assert_eq!(bundle.log_entries, [entry]);
    let written = &value(&bundle)["verificationMaterial"]["tlogEntries"][0];
    assert_eq!(written.get("inclusionPromise"), None);
    assert_eq!(written["inclusionProof"]["hashes"], json!([]));
}

#[test]
fn reads_what_go_leaves_out_and_null_as_unset() {
    let mut absent = value(&keyed());
    absent["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries");
    absent["verificationMaterial"]["certificate"] = Value::Null;
    absent["messageSignature"] = Value::Null;
    absent["dsseEnvelope"]["signatures"][0]["keyid"] = Value::Null;
    assert_eq!(parse(&absent).unwrap(), keyed());
}

#[test]
fn refuses_other_media_types() {
    for other in [
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        "application/vnd.dev.sigstore.bundle.v0.2+json",
        "",
    ] {
        let mut bundle = value(&keyed());
        bundle["mediaType"] = json!(other);
        assert!(matches!(parse(&bundle), Err(BundleError::MediaType(text)) if text == other));
    }
}

#[test]
fn refuses_unknown_fields_at_every_level() {
    let bundle = Bundle { log_entries: vec![sample_entry()], timestamps: vec![vec![1]], ..keyed() };
    for pointer in [
        "",
        "/verificationMaterial",
        "/verificationMaterial/publicKey",
        "/verificationMaterial/tlogEntries/0",
        "/verificationMaterial/tlogEntries/0/logId",
        "/verificationMaterial/tlogEntries/0/kindVersion",
        "/verificationMaterial/tlogEntries/0/inclusionProof",
        "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint",
        "/verificationMaterial/timestampVerificationData",
        "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0",
        "/dsseEnvelope",
        "/dsseEnvelope/signatures/0",
    ] {
        let mut changed = value(&bundle);
        changed.pointer_mut(pointer).unwrap()["extra"] = json!(1);
        let refused = parse(&changed);
        assert!(
            matches!(&refused, Err(BundleError::Field(FieldError::Unknown(f))) if f == "extra"),
            "{pointer}: {refused:?}"
        );
    }
}

#[test]
fn refuses_duplicate_keys() {
    let text = String::from_utf8(keyed().to_json()).unwrap();
    let doubled =
        text.replacen(r#""payloadType":"t""#, r#""payloadType":"u","payloadType":"t""#, 1);
    assert!(matches!(
        Bundle::parse(doubled.as_bytes()),
        Err(BundleError::Field(FieldError::Json(_)))
    ));
}

#[test]
fn refuses_two_materials_or_none_and_two_contents_or_none() {
    let mut two = value(&keyed());
    two["verificationMaterial"]["certificate"] = json!({"rawBytes": "AA=="});
    assert!(matches!(parse(&two), Err(BundleError::Material)));
    let mut none = value(&keyed());
    none["verificationMaterial"] = json!({"tlogEntries": []});
    assert!(matches!(parse(&none), Err(BundleError::Material)));
    none["verificationMaterial"] = json!({"x509CertificateChain": {"certificates": []}});
    assert!(matches!(parse(&none), Err(BundleError::Material)));

    let mut two = value(&keyed());
    two["messageSignature"] = json!({"signature": "AA=="});
    assert!(matches!(parse(&two), Err(BundleError::Content)));
    let mut none = value(&keyed());
    none.as_object_mut().unwrap().remove("dsseEnvelope");
    assert!(matches!(parse(&none), Err(BundleError::Content)));
}

#[test]
fn refuses_no_signature_and_two() {
    for signatures in [json!([]), json!([{"sig": "AA=="}, {"sig": "AA=="}])] {
        let mut bundle = value(&keyed());
        bundle["dsseEnvelope"]["signatures"] = signatures;
        assert!(matches!(parse(&bundle), Err(BundleError::SignatureCount)));
    }
}

#[test]
fn refuses_base64_that_python_would_read_as_other_bytes() {
    for payload in ["-_8=", "+/8", "+/9="] {
        let mut bundle = value(&keyed());
        bundle["dsseEnvelope"]["payload"] = json!(payload);
        assert!(matches!(
            parse(&bundle),
            Err(BundleError::Field(FieldError::Malformed("payload")))
        ));
    }
}

#[test]
fn refuses_more_entries_timestamps_certificates_and_bytes_than_allowed() {
    let many = Bundle { log_entries: vec![sample_entry(); LOG_ENTRIES_MAX + 1], ..keyed() };
    assert!(Bundle::parse(&many.to_json()).is_err());
    let many = Bundle { timestamps: vec![vec![1]; TIMESTAMPS_MAX + 1], ..keyed() };
    assert!(Bundle::parse(&many.to_json()).is_err());
    let chain = Material::CertificateChain(vec![vec![1]; CHAIN_MAX + 1]);
    assert!(Bundle::parse(&Bundle { material: chain, ..keyed() }.to_json()).is_err());
    assert!(matches!(Bundle::parse(&vec![b' '; BUNDLE_LEN_MAX + 1]), Err(BundleError::TooLong)));
}

#[test]
fn refuses_a_digest_of_the_wrong_length_or_an_unknown_algorithm() {
    for digest in [
        json!({"algorithm": "SHA2_256", "digest": "AA=="}),
        json!({"algorithm": "SHA1", "digest": "AA=="}),
        json!({"algorithm": 1, "digest": "AA=="}),
    ] {
        let mut bundle = value(&keyed());
        bundle.as_object_mut().unwrap().remove("dsseEnvelope");
        bundle["messageSignature"] = json!({"messageDigest": digest, "signature": "AA=="});
        assert!(parse(&bundle).is_err(), "{digest}");
    }
}

#[test]
fn a_signature_verifies_after_the_bundle_was_written_and_read() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    let key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
    let pae = crate::dsse_envelope::pae("t", b"payload");
    let signature = pair.sign(&SystemRandom::new(), &pae).unwrap();
    let bundle = Bundle {
        material: Material::PublicKey { hint: Some(key.pem_fingerprint().to_hex()) },
        content: Content::Envelope(Envelope::new(
            "t",
            b"payload".to_vec(),
            signature.as_ref().to_vec(),
        )),
        ..keyed()
    };
    let read = Bundle::parse(&bundle.with_log_entry(sample_entry()).to_json()).unwrap();
    let envelope = read.envelope().unwrap();
    let signature = &envelope.signatures[0].signature;
    assert_eq!(key.verify_dsse(&envelope.pae(), signature), Ok(()));
}
