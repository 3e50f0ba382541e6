//! `intoto` 0.0.1 and 0.0.2. What is expected is written by hand or hashed by `sha2` here.

use serde_json::{Value, json};

use super::*;
use crate::dsse_envelope::SIGNATURES_MAX;
use crate::entry::leaf_of_v1_query;

pub(in crate::entry) const HASH_OF_THE_SUBMITTER: &str =
    "2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE";

pub(in crate::entry) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

fn verify(request: &Value) -> Result<VerifiedEntry, EntryError> {
    VerifiedEntry::from_v1_request(request.to_string().as_bytes())
}

/// A submission of 0.0.1, with the hashes that Go clients send along, wrong ones.
pub(in crate::entry) fn v001(envelope: &str, key: &str) -> Value {
    let wrong = json!({ "algorithm": "sha256", "value": "00" });
    json!({
        "kind": "intoto", "apiVersion": "0.0.1", "spec": {
            "content": { "envelope": envelope, "hash": wrong, "payloadHash": null, "x": 1 },
            "publicKey": key,
        },
    })
}

/// A submission of 0.0.2; signatures are pairs of base64 of a signature, and base64 of PEM.
pub(in crate::entry) fn v002(payload_type: &str, payload: &[u8], signatures: &[Value]) -> Value {
    json!({
        "kind": "intoto", "apiVersion": "0.0.2", "spec": { "content": {
            "envelope": {
                "payload": to_base64(to_base64(payload).as_bytes()),
                "payloadType": payload_type, "signatures": signatures, "x": null,
            },
            "hash": { "algorithm": "sha256", "value": HASH_OF_THE_SUBMITTER },
            "payloadHash": { "algorithm": "sha256", "value": "ignored" },
        }},
    })
}

pub(in crate::entry) fn signature(signature: &[u8], key: &str) -> Value {
    json!({ "sig": to_base64(to_base64(signature).as_bytes()), "publicKey": key, "keyid": "" })
}

fn signed(pair: &Pair, payload: &[u8]) -> String {
    envelope(payload, &[to_base64(&pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, payload)))])
}

/// The values of the facts with a tag.
fn values(entry: &VerifiedEntry, tag: Tag) -> Vec<String> {
    let facts = entry.facts().iter().filter(|fact| fact.tag == tag);
    facts.map(|fact| String::from_utf8(fact.value.clone()).unwrap()).collect()
}

#[test]
fn version_0_0_1_keeps_two_hashes_and_the_key() {
    let (pair, payload) = (Pair::new(), statement());
    let text = signed(&pair, &payload);
    let crlf = format!(" \r\n{}\r\n", pair.key.to_pem().replace('\n', "\r\n"));
    let entry = verify(&v001(&text, &to_base64(crlf.as_bytes()))).unwrap();
    let expected = format!(
        r#"{{"apiVersion":"0.0.1","kind":"intoto","spec":{{"content":{{"hash":{{"algorithm":"sha256","value":"{}"}},"payloadHash":{{"algorithm":"sha256","value":"{}"}}}},"publicKey":"{}"}}}}"#,
        sha256_hex(text.as_bytes()),
        sha256_hex(&payload),
        pair.pem_base64(),
    );
    assert_eq!(String::from_utf8_lossy(entry.body()), expected);
    assert_eq!(entry.kind(), EntryKind::IntotoV001);
    let kept = entry.statement().unwrap();
    assert_eq!((&kept.payload, kept.is_in_toto, kept.claim), (&payload, true, None));
    let digest = |bytes: &[u8]| vec![format!("sha256:{}", sha256_hex(bytes))];
    assert_eq!(values(&entry, Tag::PayloadDigest), digest(&payload));
    assert_eq!(values(&entry, Tag::EnvelopeDigest), digest(text.as_bytes()));
    assert_eq!(values(&entry, Tag::PublicKey), [sha256_hex(pair.key.spki_der())]);
    assert_eq!(values(&entry, Tag::SubjectName), ["a"]);

    let parsed = Entry::parse(entry.body()).unwrap();
    assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
    assert_eq!(parsed.to_body(), entry.body());
    assert_eq!(parsed.facts(Some(&payload)), entry.facts());
    assert!(!parsed.keeps_signatures());
    for payload in [None, Some(&payload[..])] {
        assert_eq!(parsed.recheck(payload), Recheck::NotKept);
    }
}

#[test]
fn version_0_0_2_keeps_what_was_submitted_but_the_payload() {
    let (one, two, payload) = (Pair::new(), Pair::new(), statement());
    let message = pae(IN_TOTO_PAYLOAD_TYPE, &payload);
    let (first, second) = (one.sign(&message), two.sign(&message));
    // Neither the line breaks in this key nor those around the signature are spelled anew.
    let odd_key = to_base64(two.key.to_pem().replace('\n', "\r\n").trim_end().as_bytes());
    let odd_sig = to_base64(format!("{}\n", to_base64(&second)).as_bytes());
    let signatures = [
        json!({ "keyid": "\u{e9}\"\u{7}", "sig": odd_sig, "publicKey": odd_key }),
        signature(&first, &one.pem_base64()),
    ];
    let entry = verify(&v002(IN_TOTO_PAYLOAD_TYPE, &payload, &signatures)).unwrap();
    let expected = format!(
        r#"{{"apiVersion":"0.0.2","kind":"intoto","spec":{{"content":{{"envelope":{{"payloadType":"application/vnd.in-toto+json","signatures":[{{"keyid":"{}\"\u0007","publicKey":"{odd_key}","sig":"{odd_sig}"}},{{"publicKey":"{}","sig":"{}"}}]}},"hash":{{"algorithm":"sha256","value":"{HASH_OF_THE_SUBMITTER}"}},"payloadHash":{{"algorithm":"sha256","value":"{}"}}}}}}}}"#,
        '\u{e9}',
        one.pem_base64(),
        to_base64(to_base64(&first).as_bytes()),
        sha256_hex(&payload),
    );
    assert_eq!(String::from_utf8_lossy(entry.body()), expected);
    let value = crate::canonical::parse(entry.body()).unwrap();
    assert_eq!(crate::canonical::to_canonical(&value), entry.body());
    assert_eq!(values(&entry, Tag::EnvelopeDigest), [""; 0]);
    let mut keys = [&one, &two].map(|pair| sha256_hex(pair.key.spki_der()));
    keys.sort();
    assert_eq!(values(&entry, Tag::PublicKey), keys);
    assert_eq!(entry.statement().unwrap().payload, payload);

    let parsed = Entry::parse(entry.body()).unwrap();
    assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
    assert_eq!((parsed.kind(), parsed.to_body()), (EntryKind::IntotoV002, entry.body().to_vec()));
    assert_eq!(parsed.facts(Some(&payload)), entry.facts());
    assert_eq!(parsed.payload_type(), Some(IN_TOTO_PAYLOAD_TYPE));
    assert_eq!(parsed.recheck(Some(&payload)), Recheck::Valid);
    assert_eq!(parsed.recheck(None), Recheck::NoStatement);
    assert_eq!(parsed.recheck(Some(b"another")), Recheck::NoStatement);
    let forged = expected.replace(&odd_sig, &to_base64(to_base64(&first).as_bytes()));
    let forged = Entry::parse(forged.as_bytes()).unwrap();
    assert_eq!(forged.recheck(Some(&payload)), Recheck::Invalid);
}

#[test]
fn the_one_key_of_0_0_1_must_verify_one_signature_and_need_not_verify_all() {
    let (one, two, payload) = (Pair::new(), Pair::new(), statement());
    let message = pae(IN_TOTO_PAYLOAD_TYPE, &payload);
    let both = [to_base64(&one.sign(&message)), to_base64(&two.sign(&message))];
    let text = envelope(&payload, &both);
    assert!(verify(&v001(&text, &two.pem_base64())).is_ok());
    let refused = verify(&v001(&text, &Pair::new().pem_base64()));
    assert!(matches!(refused, Err(EntryError::SignatureInvalid)), "{refused:?}");
    let many = vec![both[0].clone(); SIGNATURES_MAX + 1];
    let refused = verify(&v001(&envelope(&payload, &many), &one.pem_base64()));
    assert!(matches!(refused, Err(EntryError::Envelope(_))), "{refused:?}");
    let other = text.replace("in-toto+json", "in-toto+jsom");
    assert!(verify(&v001(&other, &two.pem_base64())).is_err(), "the type is signed");
}

#[test]
fn each_key_of_0_0_2_must_verify_a_signature_and_each_signature_must_verify() {
    let (one, two, payload) = (Pair::new(), Pair::new(), statement());
    let message = pae(IN_TOTO_PAYLOAD_TYPE, &payload);
    let (first, second) = (one.sign(&message), two.sign(&message));
    let (key, other) = (one.pem_base64(), two.pem_base64());
    let submit = |signatures: &[Value]| verify(&v002(IN_TOTO_PAYLOAD_TYPE, &payload, signatures));
    // As in Rekor, keys may stand beside each other's signatures.
    assert!(submit(&[signature(&first, &other), signature(&second, &key)]).is_ok());
    let refused = submit(&[signature(&first, &key), signature(&second, &key)]);
    assert!(matches!(refused, Err(EntryError::VerifierUnused)), "{refused:?}");
    let refused = submit(&[signature(&first, &key), signature(&first, &other)]);
    assert!(matches!(refused, Err(EntryError::SignatureInvalid)), "{refused:?}");
    let refused = submit(&[]);
    assert!(matches!(refused, Err(EntryError::Count { .. })), "{refused:?}");
    let many = vec![signature(&first, &key); SIGNATURES_MAX + 1];
    let refused = submit(&many);
    assert!(matches!(refused, Err(EntryError::Count { .. })), "{refused:?}");
    assert!(submit(&many[1..]).is_ok());
}

#[test]
fn what_0_0_2_needs_is_asked_for() {
    let (pair, payload) = (Pair::new(), statement());
    let sign = |payload_type| pair.sign(&pae(payload_type, &payload));
    let whole = |payload_type| {
        let signatures = [signature(&sign(payload_type), &pair.pem_base64())];
        v002(payload_type, &payload, &signatures)
    };
    let good = whole(IN_TOTO_PAYLOAD_TYPE);
    assert!(verify(&good).is_ok());
    let envelope = "/spec/content/envelope";
    for (at, value) in [
        ("/spec/content/hash", json!(null)),
        ("/spec/content/hash/algorithm", json!("sha512")),
        ("/spec/content/hash/value", json!("00")),
        ("/spec/content/hash/value", json!("x".repeat(64))),
        (envelope, json!(null)),
        (&format!("{envelope}/payload"), json!(null)),
        (&format!("{envelope}/payload"), json!("")),
        (&format!("{envelope}/payload"), json!(to_base64(&payload))),
        (&format!("{envelope}/payloadType"), json!(null)),
        (&format!("{envelope}/signatures"), json!(null)),
        (&format!("{envelope}/signatures/0"), json!(null)),
        (&format!("{envelope}/signatures/0/sig"), json!(null)),
        (&format!("{envelope}/signatures/0/sig"), json!(to_base64(&sign(IN_TOTO_PAYLOAD_TYPE)))),
        (&format!("{envelope}/signatures/0/publicKey"), json!(null)),
        (&format!("{envelope}/signatures/0/publicKey"), json!(pair.key.to_pem())),
    ] {
        let mut request = good.clone();
        *request.pointer_mut(at).unwrap() = value.clone();
        assert!(verify(&request).is_err(), "{at} {value}");
    }
    assert!(verify(&whole("")).is_err());
}

#[test]
fn other_payloads_are_taken_and_only_statements_are_kept() {
    let pair = Pair::new();
    let submit = |payload_type: &str, payload: &[u8]| {
        let sign = pair.sign(&pae(payload_type, payload));
        verify(&v002(payload_type, payload, &[signature(&sign, &pair.pem_base64())]))
    };
    let entry = submit("text/plain", b"words").unwrap();
    assert_eq!(entry.statement(), None);
    let parsed = Entry::parse(entry.body()).unwrap();
    assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
    assert_eq!(parsed.recheck(Some(b"words")), Recheck::Valid);
    let kept = submit("text/plain", &statement()).unwrap().statement().unwrap().clone();
    assert_eq!((kept.payload, kept.is_in_toto), (statement(), false));
    let refused = submit(IN_TOTO_PAYLOAD_TYPE, b"words");
    assert!(matches!(refused, Err(EntryError::Statement(_))), "{refused:?}");
}

#[test]
fn model_signatures_and_notices_are_sent_to_dsse() {
    let pair = Pair::new();
    for predicate_type in [
        "https://model_signing/signature/v1.0",
        "https://model_signing/signature/v2.0",
        "urn:treering:predicate:revoke:v1",
        "urn:treering:predicate:later:v9",
    ] {
        let mut value: Value = serde_json::from_slice(&statement()).unwrap();
        value["predicateType"] = json!(predicate_type);
        let payload = value.to_string().into_bytes();
        let message = pae(IN_TOTO_PAYLOAD_TYPE, &payload);
        let signatures = [signature(&pair.sign(&message), &pair.pem_base64())];
        for request in [
            v001(&signed(&pair, &payload), &pair.pem_base64()),
            v002(IN_TOTO_PAYLOAD_TYPE, &payload, &signatures),
        ] {
            let error = verify(&request).unwrap_err();
            assert!(matches!(error, EntryError::OnlyAsDsse(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(predicate_type) && text.contains("as dsse"), "{text}");
            // A search for all forms of a model signature must not fail for this one.
            assert!(leaf_of_v1_query(request.to_string().as_bytes()).is_ok());
        }
    }
}

#[test]
fn what_does_not_fit_an_entry_is_refused() {
    let (pair, payload) = (Pair::new(), statement());
    let sign = pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload));
    let submit = |keyid: String| {
        let mut one = signature(&sign, &pair.pem_base64());
        one["keyid"] = json!(keyid);
        verify(&v002(IN_TOTO_PAYLOAD_TYPE, &payload, &[one]))
    };
    let without = submit("x".to_owned()).unwrap().body().len() - 1;
    let longest = submit("x".repeat(ENTRY_LEN_MAX - without)).unwrap();
    assert_eq!(longest.body().len(), ENTRY_LEN_MAX);
    let refused = submit("x".repeat(ENTRY_LEN_MAX - without + 1));
    assert!(matches!(refused, Err(EntryError::TooLong { .. })), "{refused:?}");
}

#[test]
fn a_logged_entry_is_parsed_only_as_it_is_logged() {
    let (pair, payload) = (Pair::new(), statement());
    let entry = verify(&v001(&signed(&pair, &payload), &pair.pem_base64())).unwrap();
    let text = String::from_utf8(entry.body().to_vec()).unwrap();
    let without = text.find(r#","payloadHash""#).unwrap()..text.find(r#","publicKey""#).unwrap();
    let mut old = text.clone();
    old.replace_range(without, "}");
    let envelope = text.replace(r#"{"content":{"#, r#"{"content":{"envelope":"","#);
    for other in [old, envelope, text.replace("sha256", "SHA256")] {
        assert!(Entry::parse(other.as_bytes()).is_err(), "{other}");
    }
}
