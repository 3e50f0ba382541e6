use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::dsse_envelope::pae;
use crate::encoding::to_base64;
use crate::entry::Entry;
use crate::hash::sha256;

/// A signer, and its key as DER.
struct Pair(EcdsaKeyPair, Vec<u8>);

impl Pair {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self(pair, spki.as_ref().to_vec())
    }

    fn sign(&self, message: &[u8]) -> String {
        to_base64(self.0.sign(&SystemRandom::new(), message).unwrap().as_ref())
    }

    fn verifier(&self) -> Value {
        json!({ "publicKey": { "rawBytes": to_base64(&self.1) },
                "keyDetails": "PKIX_ECDSA_P256_SHA_256" })
    }
}

/// A good hashedrekord, with the spec alone.
fn hashedrekord() -> Value {
    let pair = Pair::new();
    json!({
        "digest": to_base64(sha256(b"model").as_bytes()),
        "signature": { "content": pair.sign(b"model"), "verifier": pair.verifier() },
    })
}

/// A good envelope with this payload and type, with the spec alone.
fn dsse(payload_type: &str, payload: &[u8]) -> Value {
    let pair = Pair::new();
    let signature = pair.sign(&pae(payload_type, payload));
    json!({
        "envelope": {
            "payload": to_base64(payload), "payloadType": payload_type,
            "signatures": [{ "sig": signature, "keyid": "" }],
        },
        "verifiers": [pair.verifier()],
    })
}

fn verify(request: &str) -> Result<VerifiedEntry, EntryError> {
    VerifiedEntry::from_v2_request(request.as_bytes())
}

fn verify_hashedrekord(spec: &Value) -> Result<VerifiedEntry, EntryError> {
    verify(&json!({ "hashedRekordRequestV002": spec }).to_string())
}

fn verify_dsse(spec: &Value) -> Result<VerifiedEntry, EntryError> {
    verify(&json!({ "dsseRequestV002": spec }).to_string())
}

/// `spec` with another value at `pointer`, which need not be there yet.
fn with(spec: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = spec.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap()[name] = value;
    changed
}

fn is_malformed(result: Result<VerifiedEntry, EntryError>) -> bool {
    matches!(result, Err(EntryError::Malformed(_)))
}

const NAMES: [(&str, &str); 8] = [
    ("hashedRekordRequestV002", "hashed_rekord_request_v002"),
    ("dsseRequestV002", "dsse_request_v002"),
    ("publicKey", "public_key"),
    ("x509Certificate", "x509_certificate"),
    ("rawBytes", "raw_bytes"),
    ("keyDetails", "key_details"),
    ("payloadType", "payload_type"),
    ("sig", "sig"),
];

#[test]
fn every_name_is_taken_in_both_spellings_and_the_entry_is_the_same() {
    let hashedrekord = json!({ "hashedRekordRequestV002": hashedrekord() }).to_string();
    let dsse = json!({ "dsseRequestV002": dsse("text/plain", b"text") }).to_string();
    let certificate = hashedrekord.replace("publicKey", "x509Certificate");
    for request in [&hashedrekord, &dsse] {
        let leaf = verify(request).unwrap().leaf();
        let mut all = request.clone();
        for (json, proto) in NAMES {
            let quoted = |name: &str| format!("\"{name}\"");
            assert_eq!(
                verify(&request.replace(&quoted(json), &quoted(proto))).unwrap().leaf(),
                leaf
            );
            all = all.replace(&quoted(json), &quoted(proto));
        }
        assert_eq!(verify(&all).unwrap().leaf(), leaf);
    }
    for request in [certificate.clone(), certificate.replace("x509Certificate", "x509_certificate")]
    {
        let refused = verify(&request);
        let is_read = matches!(refused, Err(EntryError::Verifier(VerifierError::Certificate(_))));
        assert!(is_read, "the key is no certificate, but it is read as one: {refused:?}");
    }
    for name in ["hashedrekordRequestV002", "HASHED_REKORD_REQUEST_V002", "spec"] {
        let request = hashedrekord.replace("hashedRekordRequestV002", name);
        assert!(is_malformed(verify(&request)), "{name}");
    }
}

#[test]
fn an_enum_is_a_known_name_or_any_number_of_32_bits() {
    let spec = hashedrekord();
    let details =
        |value: Value| verify_hashedrekord(&with(&spec, "/signature/verifier/keyDetails", value));
    let leaf = verify_hashedrekord(&spec).unwrap().leaf();
    for good in [json!("PKIX_ECDSA_P256_SHA_256"), json!(5), json!(5.0)] {
        assert_eq!(details(good.clone()).unwrap().leaf(), leaf, "{good}");
    }
    let other = [json!(0), json!(8), json!(999), json!(-1), json!("PKIX_ED25519_PH"), Value::Null];
    for other in other.into_iter().chain(NOT_PERMITTED.map(|name| json!(name))) {
        let refused = details(other.clone());
        assert!(matches!(refused, Err(EntryError::AlgorithmNotAllowed)), "{other}: {refused:?}");
    }
    for no_value in
        [json!("NONSENSE"), json!(""), json!("5"), json!(5.5), json!(1_u64 << 31), json!([5])]
    {
        assert!(is_malformed(details(no_value.clone())), "{no_value}");
    }
    for kind in [5, 7, 8, 9, 10, 11, 12, 13] {
        let named = KeyDetails::from_number(kind).unwrap();
        assert_eq!(KeyDetails::from_name(named.name()), Some(named));
        assert!(!NOT_PERMITTED.contains(&named.name()));
    }
}

#[test]
fn bytes_come_in_four_forms_and_are_logged_in_one() {
    let spec = hashedrekord();
    let entry = verify_hashedrekord(&spec).unwrap();
    for pointer in ["/digest", "/signature/content", "/signature/verifier/publicKey/rawBytes"] {
        let text = spec.pointer(pointer).unwrap().as_str().unwrap();
        let url_safe = text.replace('+', "-").replace('/', "_");
        let bare = |text: &str| text.trim_end_matches('=').to_owned();
        for form in [bare(text), bare(&url_safe), url_safe] {
            let read = verify_hashedrekord(&with(&spec, pointer, json!(form))).unwrap();
            assert_eq!(read.body(), entry.body(), "{pointer} as {form}");
        }
        for broken in ["*", "A", "+_8="] {
            let refused = verify_hashedrekord(&with(&spec, pointer, json!(broken)));
            assert!(is_malformed(refused), "{pointer} as {broken}");
        }
        assert!(is_malformed(verify_hashedrekord(&with(&spec, pointer, json!(7)))), "{pointer}");
    }
}

#[test]
fn null_is_as_if_the_field_were_not_there() {
    let spec = hashedrekord();
    for (pointer, missing) in [
        ("/digest", "digest"),
        ("/signature", "signature"),
        ("/signature/content", "signature.content"),
        ("/signature/verifier", "signature.verifier"),
        ("/signature/verifier/publicKey", "publicKey or x509Certificate"),
        ("/signature/verifier/publicKey/rawBytes", "publicKey.rawBytes"),
    ] {
        let refused = verify_hashedrekord(&with(&spec, pointer, Value::Null));
        assert!(
            matches!(refused, Err(EntryError::Incomplete(what)) if what == missing),
            "{pointer}"
        );
    }
    let beside = with(&spec, "/signature/verifier/x509Certificate", Value::Null);
    assert!(verify_hashedrekord(&beside).is_ok(), "a member of a oneof");
    let beside = json!({ "hashedRekordRequestV002": spec, "dsseRequestV002": null }).to_string();
    assert!(verify(&beside).is_ok(), "a member of the outer oneof");
    let none = json!({ "hashedRekordRequestV002": null, "dsse_request_v002": null }).to_string();
    assert!(matches!(verify(&none), Err(EntryError::UnknownKind(_))));

    let spec = dsse("text/plain", b"text");
    assert!(verify_dsse(&with(&spec, "/envelope/signatures/0/keyid", Value::Null)).is_ok());
    for pointer in ["/verifiers/0", "/envelope/signatures/0"] {
        let mut in_a_list = spec.clone();
        *in_a_list.pointer_mut(pointer).unwrap() = Value::Null;
        assert!(is_malformed(verify_dsse(&in_a_list)), "{pointer}");
    }
}

#[test]
fn a_field_given_twice_and_two_members_of_a_oneof_are_refused() {
    let spec = hashedrekord();
    let request = json!({ "hashedRekordRequestV002": spec }).to_string();
    for (from, to) in [
        ("\"digest\":", "\"digest\":\"\",\"digest\":"),
        ("\"digest\":", "\"digest\":null,\"digest\":"),
        ("\"rawBytes\":", "\"raw_bytes\":\"AA==\",\"rawBytes\":"),
        ("\"keyDetails\":", "\"key_details\":5,\"keyDetails\":"),
        ("\"publicKey\":", "\"public_key\":{},\"publicKey\":"),
        ("\"publicKey\":", "\"x509Certificate\":{},\"publicKey\":"),
        ("{\"hashedRekord", "{\"dsseRequestV002\":{},\"hashedRekord"),
        ("{\"hashedRekord", "{\"hashed_rekord_request_v002\":null,\"hashedRekord"),
    ] {
        let changed = request.replacen(from, to, 1);
        assert_ne!(changed, request);
        assert!(is_malformed(verify(&changed)), "{changed}");
    }
}

#[test]
fn fields_that_no_message_has_are_refused_wherever_they_stand() {
    let (hashedrekord, dsse) = (hashedrekord(), dsse("text/plain", b"text"));
    for pointer in
        ["/x", "/signature/x", "/signature/verifier/x", "/signature/verifier/publicKey/x"]
    {
        let changed = with(&hashedrekord, pointer, json!(1));
        assert!(is_malformed(verify_hashedrekord(&changed)), "{pointer}");
    }
    for pointer in ["/x", "/envelope/x", "/envelope/signatures/0/x", "/verifiers/0/x"] {
        let changed = with(&dsse, pointer, Value::Null);
        assert!(is_malformed(verify_dsse(&changed)), "{pointer}");
    }
    let why = verify(r#"{"foo":1}"#).unwrap_err().to_string();
    assert!(why.contains("unknown field `foo`") && why.contains("line 1"), "{why}");
}

#[test]
fn an_array_is_no_message_and_nothing_follows_one() {
    let (hashedrekord, dsse) = (hashedrekord(), dsse("text/plain", b"text"));
    let values = |object: &Value| {
        Value::from(object.as_object().unwrap().values().cloned().collect::<Vec<_>>())
    };
    for pointer in ["", "/signature", "/signature/verifier", "/signature/verifier/publicKey"] {
        let mut changed = hashedrekord.clone();
        let inner = changed.pointer_mut(pointer).unwrap();
        *inner = values(inner);
        assert!(is_malformed(verify_hashedrekord(&changed)), "{pointer}");
    }
    for pointer in ["", "/envelope", "/envelope/signatures/0", "/verifiers/0"] {
        let mut changed = dsse.clone();
        let inner = changed.pointer_mut(pointer).unwrap();
        *inner = values(inner);
        assert!(is_malformed(verify_dsse(&changed)), "{pointer}");
    }
    let request = json!({ "hashedRekordRequestV002": hashedrekord }).to_string();
    assert!(verify(&format!("\n {request} \r\n\t")).is_ok(), "white space means nothing");
    for rest in ["x", "{}", ",", "]", "\0"] {
        assert!(is_malformed(verify(&format!("{request}{rest}"))), "{rest:?}");
    }
    for other in ["null", "[]", "\"\"", "1", "{", "[{}]", "\u{feff}{}"] {
        assert!(is_malformed(verify(other)), "{other:?}");
    }
}

#[test]
fn no_body_is_the_empty_message() {
    for empty in ["", " \n", "{}"] {
        let request = RequestV2::parse(empty.as_bytes()).unwrap();
        assert_eq!(request.kind(), None);
        assert!(matches!(request.verify(), Err(EntryError::UnknownKind(_))), "{empty:?}");
    }
    let kind = |request: &str| RequestV2::parse(request.as_bytes()).unwrap().kind();
    assert_eq!(kind(r#"{"hashedRekordRequestV002":{}}"#), Some("hashedrekord"));
    assert_eq!(kind(r#"{"dsseRequestV002":{}}"#), Some("dsse"));
}

#[test]
fn of_several_faults_the_first_in_the_order_of_rekor_tiles_is_named() {
    let mut spec = json!({});
    let mut refused = |pointer: &str, value: Value| {
        let found = verify_hashedrekord(&spec).unwrap_err();
        spec = with(&spec, pointer, value);
        found.to_string()
    };
    let good = hashedrekord();
    let part = |pointer: &str| good.pointer(pointer).unwrap().clone();
    // Each step mends one fault, and all that come after are there still.
    assert_eq!(refused("/signature", json!({})), "missing signature");
    assert_eq!(refused("/signature/content", json!("AAAA")), "missing signature.content");
    assert_eq!(refused("/signature/verifier", json!({})), "missing signature.verifier");
    assert_eq!(refused("/digest", json!("AA==")), "missing digest");
    let key = "/signature/verifier/publicKey";
    assert_eq!(refused(key, json!({})), "missing publicKey or x509Certificate");
    let raw = "/signature/verifier/publicKey/rawBytes";
    assert_eq!(refused(raw, json!("AAAA")), "missing publicKey.rawBytes");
    assert!(refused(raw, part(raw)).starts_with("public key: "));
    let details = "/signature/verifier/keyDetails";
    assert_eq!(refused(details, json!(8)), EntryError::AlgorithmNotAllowed.to_string(), "none");
    assert_eq!(refused(details, json!(5)), EntryError::AlgorithmNotAllowed.to_string(), "another");
    assert_eq!(refused("/digest", part("/digest")), EntryError::BadDigest.to_string());
    let content = "/signature/content";
    assert_eq!(refused(content, part(content)), EntryError::SignatureInvalid.to_string());
    assert!(verify_hashedrekord(&spec).is_ok());
}

#[test]
fn an_envelope_may_have_no_payload_and_no_type() {
    let spec = dsse("", b"");
    let without = json!({
        "envelope": { "signatures": spec["envelope"]["signatures"] },
        "verifiers": spec["verifiers"],
    });
    let entry = verify_dsse(&without).unwrap();
    assert_eq!(entry.leaf(), verify_dsse(&spec).unwrap().leaf());
    let Entry::Dsse(logged) = Entry::parse(entry.body()).unwrap() else { panic!("not dsse") };
    assert_eq!(logged.payload_hash(), sha256(b""));
    for (pointer, value) in [("/verifiers", json!([])), ("/envelope/signatures", json!([]))] {
        let refused = verify_dsse(&with(&spec, pointer, value));
        assert!(matches!(refused, Err(EntryError::Count { .. })), "{pointer}");
    }
    for (pointer, missing) in [
        ("/envelope", "envelope"),
        ("/envelope/signatures/0/sig", "signatures.sig"),
        ("/verifiers/0/publicKey/rawBytes", "publicKey.rawBytes"),
    ] {
        let refused = verify_dsse(&with_null(&spec, pointer));
        assert!(
            matches!(refused, Err(EntryError::Incomplete(what)) if what == missing),
            "{pointer}"
        );
    }
}

fn with_null(spec: &Value, pointer: &str) -> Value {
    let mut changed = spec.clone();
    *changed.pointer_mut(pointer).unwrap() = Value::Null;
    changed
}
