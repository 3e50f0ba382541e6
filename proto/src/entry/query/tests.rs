use serde_json::{Value, json};
use sha2::Digest as _;

use super::*;
use crate::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use crate::encoding::to_base64;
use crate::entry::VerifiedEntry;
use crate::entry::tests::intoto::{sha256_hex, signature, v001, v002};
use crate::entry::tests::rekord::rekord;
use crate::entry::tests::{Pair, envelope, statement, v1_dsse, v1_hashedrekord};

fn leaf(proposed: &Value) -> Result<Hash, EntryError> {
    leaf_of_v1_query(proposed.to_string().as_bytes())
}

/// RFC 6962, with another library than the code under test.
fn leaf_hash(body: &[u8]) -> Hash {
    let hash = sha2::Sha256::new().chain_update([0]).chain_update(body).finalize();
    Hash(hash.into())
}

/// One submission of each kind, by two signers where there may be two.
fn submissions() -> Vec<Value> {
    let (one, two, payload) = (Pair::new(), Pair::new(), statement());
    let message = pae(IN_TOTO_PAYLOAD_TYPE, &payload);
    let (first, second) = (one.sign(&message), two.sign(&message));
    let text = envelope(&payload, &[to_base64(&first), to_base64(&second)]);
    let keys = [one.pem_base64(), two.pem_base64()];
    let signatures = [signature(&first, &keys[0]), signature(&second, &keys[1])];
    let digest = sha256_hex(b"model");
    let hashedrekord = v1_hashedrekord("sha256", &digest, &one.sign(b"model"), &keys[0]);
    vec![
        serde_json::from_str(&hashedrekord).unwrap(),
        serde_json::from_str(&v1_dsse(&text, &keys)).unwrap(),
        v001(&text, &keys[0]),
        v002(IN_TOTO_PAYLOAD_TYPE, &payload, &signatures),
        rekord(b"content", &one.sign(b"content"), &keys[0]),
    ]
}

#[test]
fn a_submission_has_the_leaf_that_it_is_logged_under() {
    for request in submissions() {
        let logged = VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap();
        assert_eq!(leaf(&request).unwrap(), leaf_hash(logged.body()), "{request}");
    }
}

#[test]
fn envelopes_may_be_shown_as_they_are_logged_and_others_may_not() {
    for request in submissions() {
        let logged = VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap();
        let mut shown: Value = serde_json::from_slice(logged.body()).unwrap();
        let is_rekord = request["kind"] == "rekord";
        if request["kind"] == "dsse" {
            // Go clients send what they leave out, and need not sort.
            shown["spec"]["proposedContent"] = json!(null);
            shown["spec"]["signatures"].as_array_mut().unwrap().reverse();
        }
        let answer = leaf(&shown).ok();
        assert_eq!(answer, (!is_rekord).then(|| leaf_hash(logged.body())), "{shown}");
        if matches!(request["kind"].as_str(), Some("dsse" | "intoto")) {
            let refused = VerifiedEntry::from_v1_request(shown.to_string().as_bytes());
            assert!(refused.is_err(), "{shown}");
        }
    }
}

#[test]
fn an_intoto_entry_of_0_0_1_may_lack_the_hash_of_its_payload_and_of_0_0_2_none() {
    let requests = submissions();
    let shown = |request: &Value| {
        let logged = VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap();
        serde_json::from_slice::<Value>(logged.body()).unwrap()
    };
    let mut old = shown(&requests[2]);
    let hash = old["spec"]["content"]["hash"]["value"].as_str().unwrap().to_owned();
    let key = old["spec"]["publicKey"].as_str().unwrap().to_owned();
    old["spec"]["content"]["payloadHash"] = json!(null);
    let body = format!(
        r#"{{"apiVersion":"0.0.1","kind":"intoto","spec":{{"content":{{"hash":{{"algorithm":"sha256","value":"{hash}"}}}},"publicKey":"{key}"}}}}"#
    );
    assert_eq!(leaf(&old).unwrap(), leaf_hash(body.as_bytes()));
    old["spec"]["content"]["hash"] = json!(null);
    assert!(leaf(&old).is_err());
    for at in ["hash", "payloadHash", "envelope"] {
        let mut without = shown(&requests[3]);
        without["spec"]["content"][at] = json!(null);
        assert!(leaf(&without).is_err(), "{at}");
    }
}

#[test]
fn what_does_not_verify_has_no_leaf() {
    for request in submissions() {
        let text = request.to_string();
        let forged = match request["kind"].as_str() {
            Some("hashedrekord") => text.replace(&sha256_hex(b"model"), &sha256_hex(b"another")),
            Some("rekord") => text.replace(&to_base64(b"content"), &to_base64(b"another")),
            _ => {
                let other = to_base64(Pair::new().key.to_pem().as_bytes());
                let keys = ["/spec/publicKey", "/spec/proposedContent/verifiers/0"];
                let nested = "/spec/content/envelope/signatures/0/publicKey";
                let mut forged = request.clone();
                let at = keys.into_iter().chain([nested]).find(|at| forged.pointer(at).is_some());
                *forged.pointer_mut(at.unwrap()).unwrap() = json!(other);
                forged.to_string()
            }
        };
        assert_ne!(forged, text);
        assert!(leaf_of_v1_query(forged.as_bytes()).is_err(), "{forged}");
    }
}

#[test]
fn refused_algorithms_and_statements_have_a_leaf_and_refused_kinds_have_none() {
    // A P-384 key that signed SHA-256("pae"), as no log takes it in a hashedrekord.
    let spki = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEqEVPCeCME7MzOtcZ5sNn9HqGFJKfocRbFz6+jgkvg6bB/5q/cv4HzMfljoHUuEANcB25nP2HqAcj93GdHhWtwHg4iG5jhR9voK3MjYmMO9JXcy3/KUEteB1LBOY6JKZd";
    let signature = "MGUCMQChEi+4HWvA2Bwxjyv/OaUQbxt42m6Yy/qLi6bT+0toCpS2dVhdQTK5+uY1Y/LoqMsCMEwUWbfrSW/N54VoQjj3woauNxsBEX7ZXx2Kbhl+Ivt1wfpoHILF08Rhx7HrfMAGwQ==";
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n{}\n{}\n-----END PUBLIC KEY-----\n",
        &spki[..64],
        &spki[64..128],
        &spki[128..]
    );
    let signature = crate::encoding::from_base64(signature).unwrap();
    let key = to_base64(pem.as_bytes());
    let request = v1_hashedrekord("sha256", &sha256_hex(b"pae"), &signature, &key);
    let refused = VerifiedEntry::from_v1_request(request.as_bytes());
    assert!(matches!(refused, Err(EntryError::AlgorithmNotAllowed)), "{refused:?}");
    let body = format!(
        r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{{"data":{{"hash":{{"algorithm":"sha256","value":"{}"}}}},"signature":{{"content":"{}","publicKey":{{"content":"{key}"}}}}}}}}"#,
        sha256_hex(b"pae"),
        to_base64(&signature),
    );
    assert_eq!(leaf_of_v1_query(request.as_bytes()).unwrap(), leaf_hash(body.as_bytes()));

    for (kind, version) in [("jar", "0.0.1"), ("dsse", "0.0.2"), ("x", "0.0.1")] {
        let request = json!({ "kind": kind, "apiVersion": version, "spec": {} });
        assert!(leaf(&request).is_err(), "{request}");
    }
    assert!(matches!(leaf(&json!({})), Err(EntryError::Missing("kind"))));
    assert!(matches!(leaf_of_v1_query(b""), Err(EntryError::Missing("proposedEntry"))));
}
